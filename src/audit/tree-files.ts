/**
 * Writes a log as static files (C2SP tlog-tiles): tiles and entry bundles first, the checkpoint last, so that whoever reads the
 * checkpoint finds everything it speaks of. Only what is new is written. Used for publishing and for exports.
 * CRASH: tiles without their checkpoint may stay; they are not covered by the old one and are written again.
 */
import { readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openCheckpoint } from '../verify/checkpoint.ts';
import type { Checkpoint } from '../verify/checkpoint.ts';
import { FormatError } from '../verify/format-error.ts';
import { compactRange, extendRange, sameHash } from '../verify/merkle.ts';
import type { HashReader } from '../verify/merkle.ts';
import type { Vkey } from '../verify/note.ts';
import { encodeBundle, TILE_WIDTH, tilePath, tilesOf } from '../verify/tiles.ts';
import type { TileName } from '../verify/tiles.ts';
import { AuditFault } from './audit-log.ts';
import { replaceFile, syncDirectory } from './durable-file.ts';
import { LedgerFault } from './ledger.ts';
import type { Ledger } from './ledger.ts';

/** Each file waits for its fsync; a few wait together. */
const FILES_AT_ONCE = 8;

/** Stored hashes of one log; a gap is a corrupt ledger. */
export function hashReader(ledger: Ledger, log: string): HashReader {
  return async (level, start, count) => {
    const hashes = await ledger.hashes(log, level, start, count);
    if (hashes.length === count && hashes.every((hash) => hash.length === 32)) return hashes;
    throw new LedgerFault('ledger_corrupt', `log ${log} lacks hashes of level ${level} from ${start}`);
  };
}

export interface Published {
  readonly size: number;
  readonly note: string;
}

/**
 * The checkpoint a directory holds, checked: signed by one of our keys, and our ledger has the same root at that size. Null: none there.
 * `known` is what this process put there itself; when it still stands it is not checked again.
 * @throws AuditFault `log_forked` when it is not a statement about our log, `log_rolled_back` when our ledger is shorter than it.
 */
export async function readPublished(
  ledger: Ledger,
  log: string,
  dir: string,
  trusted: readonly Vkey[],
  known: Published | null = null,
): Promise<Published | null> {
  const note = await readText(join(dir, 'checkpoint'));
  if (note === null || note === known?.note) return note === null ? null : known;
  const checkpoint = openOurs(note, trusted, `${dir} holds a checkpoint that is not of this log`);
  const size = await ledger.size(log);
  if (checkpoint.size > size) {
    const message = `${dir} speaks of ${checkpoint.size} entries and the ledger has ${size}: the ledger was rolled back; restore the newer one, or begin a new log with another origin`;
    throw new AuditFault('log_rolled_back', message);
  }
  const range = compactRange();
  await extendRange(range, checkpoint.size, hashReader(ledger, log));
  if (!sameHash(range.root(), checkpoint.root)) {
    throw new AuditFault('log_forked', `${dir} holds another history under this log's key: two gateways use one key`);
  }
  return { size: checkpoint.size, note };
}

async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

function openOurs(note: string, trusted: readonly Vkey[], complaint: string): Checkpoint {
  try {
    const opened = openCheckpoint(note, trusted);
    if (opened.ok) return opened.checkpoint;
    throw new AuditFault('log_forked', `${complaint}: ${opened.message}`);
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    throw new AuditFault('log_forked', `${complaint}: ${cause.message}`, { cause });
  }
}

/** Writes everything between the published size and the checkpoint's, then the checkpoint, then drops partial tiles that became full. */
export async function writeTree(options: {
  readonly ledger: Ledger;
  readonly log: string;
  readonly dir: string;
  readonly checkpoint: { readonly size: number; readonly note: string };
  /** Size of the checkpoint that is there; everything up to it is there too. */
  readonly from: number;
  readonly vkeys: readonly Vkey[];
}): Promise<void> {
  const { ledger, log, dir, checkpoint, from } = options;
  const folders = new Set<string>([dir]);
  const put = async (path: string, content: string | Uint8Array) => {
    await replaceFile(join(dir, path), content);
    for (let folder = dirname(join(dir, path)); folder.length > dir.length; folder = dirname(folder))
      folders.add(folder);
  };
  const full: string[] = [];
  const write = async (tile: TileName) => {
    const path = tilePath(tile);
    if (tile.width === TILE_WIDTH) full.push(path);
    if (await exists(join(dir, path))) return;
    await put(path, tile.level === 'entries' ? await bundle(ledger, log, tile) : await tileBytes(ledger, log, tile));
  };
  let together: Promise<void>[] = [];
  for (const tile of tilesOf(checkpoint.size, from)) {
    together.push(write(tile));
    if (together.length < FILES_AT_ONCE) continue;
    await Promise.all(together);
    together = [];
  }
  await Promise.all(together);
  const vkeys = options.vkeys
    .map(
      ({ text }) => `${text}
`,
    )
    .join('');
  if ((await readText(join(dir, 'log.vkey'))) !== vkeys) await put('log.vkey', vkeys);
  for (const folder of folders) await syncDirectory(folder);
  await put('checkpoint', checkpoint.note);
  await syncDirectory(dir);
  for (const path of full) await rm(join(dir, `${path}.p`), { recursive: true, force: true });
}

async function bundle(ledger: Ledger, log: string, tile: TileName): Promise<Buffer> {
  const start = tile.index * TILE_WIDTH;
  const entries = await ledger.read(log, start, tile.width);
  if (entries.length !== tile.width || entries.some(({ index }, i) => index !== start + i)) {
    throw new LedgerFault('ledger_corrupt', `log ${log} lacks entries from ${start}`);
  }
  return encodeBundle(entries.map(({ text }) => text));
}

async function tileBytes(ledger: Ledger, log: string, tile: TileName): Promise<Buffer> {
  const read = hashReader(ledger, log);
  return Buffer.concat(await read(Number(tile.level), tile.index * TILE_WIDTH, tile.width));
}

/** Files appear by rename only, so what exists is whole. */
async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    (facts) => facts.isFile(),
    () => false,
  );
}
