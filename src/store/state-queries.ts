/**
 * The queries of the governance state, once, for both engines. They promise the order and atomicity that state.ts states;
 * durability is the business of the connection they run on (sqlite/open.ts, postgres/open.ts).
 *
 * INVARIANT: the first statement of a commit updates the single row of `state_head`. Until that transaction ends no other
 * commit passes, so what is read afterwards cannot change, and revisions become visible in order without gaps.
 */
import type { Kysely, Transaction } from 'kysely';
import type { PreparedCommit, PreparedWrite } from './commit-request.ts';
import type { StateTables } from './schema.ts';
import { StoreFault } from './state.ts';

export interface ChangeRow {
  readonly revision: number;
  readonly ordinal: number;
  readonly at: number;
  readonly actor: string;
  readonly reason: string;
  readonly kind: string;
  readonly org: string;
  readonly id: string;
  readonly body: string | null;
}

export interface RecordRow {
  readonly kind: string;
  readonly org: string;
  readonly id: string;
  readonly revision: number;
  readonly body: string;
}

/** Rows per statement: both engines limit the number of bound values. */
const CHUNK = 500;
const CHANGE_COLUMNS = ['revision', 'ordinal', 'at', 'actor', 'reason', 'kind', 'org', 'id', 'body'] as const;

/**
 * Writes one commit and returns its revision.
 * @param notify Runs inside the transaction, last; PostgreSQL sends its wake-up there.
 * @throws StoreFault `store_conflict`; whatever the engine throws otherwise. In both cases nothing was written, unless the fault came from COMMIT itself.
 */
export function commitState(
  db: Kysely<StateTables>,
  commit: PreparedCommit,
  notify: (trx: Transaction<StateTables>) => Promise<void> = () => Promise.resolve(),
): Promise<number> {
  return db.transaction().execute(async (trx) => {
    const { revision } = await trx
      .updateTable('state_head')
      .set((eb) => ({ revision: eb('revision', '+', 1) }))
      .where('id', '=', 1)
      .returning('revision')
      .executeTakeFirstOrThrow();
    for (const group of byKindAndOrg(commit.writes)) await replaceRecords(trx, revision, group);
    const { at, actor, reason } = commit;
    const changes = commit.writes.map(({ kind, org, id, body }, ordinal) => {
      return { revision, ordinal, at, actor, reason, kind, org, id, body };
    });
    for (const rows of chunksOf(changes)) await trx.insertInto('state_change').values(rows).execute();
    await notify(trx);
    return revision;
  });
}

/** All writes of one kind in one organisation: check against what stands there, remove, insert. */
async function replaceRecords(trx: Transaction<StateTables>, revision: number, writes: readonly PreparedWrite[]) {
  const { kind, org } = writes[0] as PreparedWrite;
  const records = trx.selectFrom('state_record').where('kind', '=', kind).where('org', '=', org);
  const ids = writes.map((write) => write.id);
  const keys = writes.flatMap((write) => (write.key === null || write.body === null ? [] : [write.key]));

  const current = new Map<string, number>();
  for (const part of chunksOf(ids)) {
    const rows = await records.select(['id', 'revision']).where('id', 'in', part).execute();
    for (const row of rows) current.set(row.id, row.revision);
  }
  const holders = new Map<string, string>();
  for (const part of chunksOf(keys)) {
    const rows = await records.select(['id', 'key']).where('key', 'in', part).execute();
    for (const row of rows) if (row.key !== null) holders.set(row.key, row.id);
  }
  checkExpectations(writes, current);
  checkKeys(writes, holders);

  for (const part of chunksOf(ids)) {
    await trx
      .deleteFrom('state_record')
      .where('kind', '=', kind)
      .where('org', '=', org)
      .where('id', 'in', part)
      .execute();
  }
  const rows = writes.flatMap(({ id, key, body }) => (body === null ? [] : [{ kind, org, id, revision, key, body }]));
  for (const part of chunksOf(rows)) await trx.insertInto('state_record').values(part).execute();
}

function checkExpectations(writes: readonly PreparedWrite[], current: ReadonlyMap<string, number>): void {
  for (const { kind, org, id, expectedRevision } of writes) {
    if (expectedRevision === undefined) continue;
    const found = current.get(id) ?? null;
    if (found === expectedRevision) continue;
    const expected = expectedRevision === null ? 'not to exist' : `at revision ${expectedRevision}`;
    const actual = found === null ? 'it does not exist' : `it is at revision ${found}`;
    throw new StoreFault(
      'store_conflict',
      `${kind} ${org}/${id} was expected ${expected}, but ${actual}; read it again`,
    );
  }
}

/** A key may move between records of one commit: a holder that this commit rewrites no longer counts. */
function checkKeys(writes: readonly PreparedWrite[], holders: ReadonlyMap<string, string>): void {
  const written = new Set(writes.map((write) => write.id));
  const taken = new Map([...holders].filter(([, id]) => !written.has(id)));
  for (const { kind, org, id, key, body } of writes) {
    if (key === null || body === null) continue;
    const holder = taken.get(key);
    if (holder !== undefined) {
      throw new StoreFault('store_conflict', `${kind} ${org}/${id} cannot have key "${key}": ${holder} has it`);
    }
    taken.set(key, id);
  }
}

export async function readHead(db: Kysely<StateTables>): Promise<number> {
  const row = await db.selectFrom('state_head').select('revision').where('id', '=', 1).executeTakeFirstOrThrow();
  return row.revision;
}

export function loadState(db: Kysely<StateTables>): Promise<{ revision: number; records: RecordRow[] }> {
  const read = db.transaction().setIsolationLevel('repeatable read');
  return read.execute(async (trx) => {
    const revision = await readHead(trx);
    const records = await trx.selectFrom('state_record').select(['kind', 'org', 'id', 'revision', 'body']).execute();
    return { revision, records };
  });
}

/** One statement, so one view: `limit` finds the revision to end with, and that revision comes whole. */
export function readChangesAfter(db: Kysely<StateTables>, after: number, limit: number): Promise<ChangeRow[]> {
  const page = db
    .selectFrom('state_change')
    .select('revision')
    .where('revision', '>', after)
    .orderBy('revision')
    .orderBy('ordinal')
    .limit(limit)
    .as('page');
  return db
    .selectFrom('state_change')
    .select(CHANGE_COLUMNS)
    .where('revision', '>', after)
    .where('revision', '<=', (eb) => eb.selectFrom(page).select((sub) => sub.fn.max('page.revision').as('last')))
    .orderBy('revision')
    .orderBy('ordinal')
    .execute();
}

export function readHistory(db: Kysely<StateTables>, kind: string, org: string, id: string): Promise<ChangeRow[]> {
  return db
    .selectFrom('state_change')
    .select(CHANGE_COLUMNS)
    .where('kind', '=', kind)
    .where('org', '=', org)
    .where('id', '=', id)
    .orderBy('revision')
    .orderBy('ordinal')
    .execute();
}

function byKindAndOrg(writes: readonly PreparedWrite[]): readonly PreparedWrite[][] {
  return [...Map.groupBy(writes, (write) => JSON.stringify([write.kind, write.org])).values()];
}

function* chunksOf<T>(items: readonly T[]): Generator<T[]> {
  for (let start = 0; start < items.length; start += CHUNK) yield items.slice(start, start + CHUNK);
}
