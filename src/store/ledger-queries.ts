/**
 * The queries of the ledger, once, for both engines. Entry, leaf hash and every tile it completes are one transaction.
 * The Merkle root and its signature are made elsewhere (audit/), from `hashes`.
 *
 * INVARIANT: the first statement on a log updates its row in `ledger_log`. Until that transaction ends nobody else appends to it,
 * so indexes are consecutive and become visible in order, also when several gateways share a log.
 */
import type { CompiledQuery, Kysely } from 'kysely';
import type { LedgerEntry } from '../audit/ledger.ts';
import { LedgerFault } from '../audit/ledger.ts';
import { compactRange, leafHash } from '../verify/merkle.ts';
import type { Group } from './group-commit.ts';
import type { LedgerTables } from './schema.ts';
import { CHUNK, compiledBySize } from './statements.ts';
import type { Statements } from './statements.ts';

/** Tiles are 256 wide (C2SP tlog-tiles). */
const TILE_WIDTH = 256;
/** Appends all groups or none; the first index of each, in their order. */
export type Append = (groups: readonly Group[]) => Statements<number[]>;

/**
 * The one hot path of the store: its queries are compiled once and keep their text, so that an append costs the engine's work and
 * not the building of the query, which is several times as much.
 */
export function ledgerAppender(db: Kysely<LedgerTables>): Append {
  const grow = db
    .updateTable('ledger_log')
    .set((eb) => ({ size: eb('size', '+', 0) }))
    .where('log', '=', '')
    .returning('size')
    .compile();
  const row = { log: '', idx: 0, text: '', leaf: Buffer.alloc(0) };
  const insertOf = compiledBySize((rows) =>
    db
      .insertInto('ledger_entry')
      .values(Array.from({ length: rows }, () => row))
      .compile(),
  );

  /** Takes the log's row and returns the new size. */
  function* reserve(log: string, count: number): Statements<number> {
    const growThis: CompiledQuery = { ...grow, parameters: [count, log] };
    const [grown] = (yield growThis) as ReadonlyArray<{ size: number }>;
    if (grown !== undefined) return grown.size;
    yield db
      .insertInto('ledger_log')
      .values({ log, size: 0 })
      .onConflict((on) => on.doNothing())
      .compile();
    const [row] = (yield growThis) as ReadonlyArray<{ size: number }>;
    return row!.size;
  }

  function* appendGroup({ log, texts }: Group): Statements<number> {
    const size = yield* reserve(log, texts.length);
    const first = size - texts.length;
    for (let start = 0; start < texts.length; start += CHUNK) {
      const count = Math.min(CHUNK, texts.length - start);
      const parameters: unknown[] = [];
      for (let i = start; i < start + count; i++) {
        const text = texts[i]!;
        parameters.push(log, first + i, text, leafHash(text));
      }
      yield { ...insertOf(count), parameters };
    }
    yield* storeTiles(db, log, first, size);
    return first;
  }

  return function* append(groups) {
    const firsts = new Map<string, number>();
    // In the order of their names: two gateways that append to the same two logs cannot wait for each other.
    for (const group of groups.toSorted((a, b) => (a.log < b.log ? -1 : 1))) {
      firsts.set(group.log, yield* appendGroup(group));
    }
    return groups.map(({ log }) => firsts.get(log) as number);
  };
}

/** Hashes of every level whose tile became complete when the log grew from `before` to `after` entries. */
function* storeTiles(db: Kysely<LedgerTables>, log: string, before: number, after: number): Statements<void> {
  let [from, to] = [before, after];
  for (let level = 1; ; level++) {
    [from, to] = [Math.floor(from / TILE_WIDTH), Math.floor(to / TILE_WIDTH)];
    if (from === to) return;
    for (let idx = from; idx < to; idx++) {
      const start = idx * TILE_WIDTH;
      const below = hashesIn(yield hashesQuery(db, log, level - 1, start, TILE_WIDTH).compile());
      if (below.length !== TILE_WIDTH) {
        throw new LedgerFault(
          'ledger_corrupt',
          `log ${log}: tile ${idx} of level ${level - 1} has ${below.length} hashes of ${TILE_WIDTH}`,
        );
      }
      const tile = compactRange();
      for (const hash of below) tile.push(hash);
      yield db.insertInto('ledger_tile').values({ log, level, idx, hash: tile.root() }).compile();
    }
  }
}

/** Stored hashes of a level: leaves stand with their entries, everything above in `ledger_tile`. */
function hashesQuery(db: Kysely<LedgerTables>, log: string, level: number, start: number, count: number) {
  const end = start + count;
  if (level === 0) {
    const leaves = db.selectFrom('ledger_entry').select('leaf as hash').where('log', '=', log);
    return leaves.where('idx', '>=', start).where('idx', '<', end).orderBy('idx');
  }
  const tiles = db.selectFrom('ledger_tile').select('hash').where('log', '=', log).where('level', '=', level);
  return tiles.where('idx', '>=', start).where('idx', '<', end).orderBy('idx');
}

const hashesIn = (rows: readonly unknown[]): Uint8Array[] =>
  (rows as ReadonlyArray<{ hash: Uint8Array }>).map(({ hash }) => hash);

export async function readHashes(
  db: Kysely<LedgerTables>,
  log: string,
  level: number,
  start: number,
  count: number,
): Promise<Uint8Array[]> {
  return hashesIn((await db.executeQuery(hashesQuery(db, log, level, start, count).compile())).rows);
}

export async function readSize(db: Kysely<LedgerTables>, log: string): Promise<number> {
  const row = await db.selectFrom('ledger_log').select('size').where('log', '=', log).executeTakeFirst();
  return row?.size ?? 0;
}

export async function readEntries(
  db: Kysely<LedgerTables>,
  log: string,
  start: number,
  count: number,
): Promise<LedgerEntry[]> {
  const entries = db.selectFrom('ledger_entry').select(['idx', 'text']).where('log', '=', log);
  const rows = await entries
    .where('idx', '>=', start)
    .where('idx', '<', start + count)
    .orderBy('idx')
    .execute();
  return rows.map(({ idx, text }) => ({ index: idx, text }));
}

export interface StoredCheckpoint {
  readonly size: number;
  readonly note: string;
}

export async function readCheckpoint(db: Kysely<LedgerTables>, log: string): Promise<StoredCheckpoint | null> {
  const row = await db
    .selectFrom('ledger_checkpoint')
    .select(['size', 'note'])
    .where('log', '=', log)
    .executeTakeFirst();
  return row ?? null;
}

/** @throws LedgerFault `ledger_invalid` when the checkpoint goes back, or speaks of entries that are not there. */
export function swapCheckpoint(
  db: Kysely<LedgerTables>,
  log: string,
  expectedSize: number,
  next: StoredCheckpoint,
): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const size = await readSize(trx, log);
    if (next.size > size || next.size < expectedSize) {
      throw new LedgerFault(
        'ledger_invalid',
        `a checkpoint of size ${next.size} cannot follow ${expectedSize} in a log of ${size} entries`,
      );
    }
    const row = { size: next.size, note: next.note };
    if (expectedSize === -1) {
      const first = trx.insertInto('ledger_checkpoint').values({ log, ...row });
      const inserted = await first.onConflict((on) => on.doNothing()).executeTakeFirst();
      return inserted.numInsertedOrUpdatedRows === 1n;
    }
    const newer = trx.updateTable('ledger_checkpoint').set(row).where('log', '=', log);
    const updated = await newer.where('size', '=', expectedSize).executeTakeFirst();
    return updated.numUpdatedRows === 1n;
  });
}

export async function readLogs(db: Kysely<LedgerTables>): Promise<string[]> {
  const rows = await db.selectFrom('ledger_log').select('log').execute();
  return rows.map((row) => row.log).sort();
}
