/**
 * Verifies an exported log (C2SP tlog-tiles directory) offline: recomputes every leaf from the entries and every tile from the leaves,
 * compares the root with the signed checkpoint and with every checkpoint the reader kept, then reads the history for sense.
 * On failure it names the entry. What this proves and what it cannot: docs/audit-format.md.
 * Longer than other files: one fixed sequence (open, walk, compare, conclude) that a reviewer should see whole.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openCheckpoint } from './checkpoint.ts';
import type { Checkpoint } from './checkpoint.ts';
import { describeEntry, readEntry } from './entry.ts';
import type { VerifiedEntry } from './entry.ts';
import { FormatError } from './format-error.ts';
import { history } from './history.ts';
import { entryLookup, readBounded, readEntries, readHashes } from './log-files.ts';
import { compactRange, leafHash, sameHash } from './merkle.ts';
import type { CompactRange } from './merkle.ts';
import { parseVkey } from './note.ts';
import type { Vkey } from './note.ts';
import { checkKeyFile, checkOtherFiles } from './other-files.ts';
import { findings, printable } from './report.ts';
import type { Finding, Findings, Report } from './report.ts';
import { TILE_WIDTH } from './tiles.ts';
import { upperTiles } from './upper-tiles.ts';

const MAX_CHECKPOINT_BYTES = 256 * 1024;
/** The promise is one checkpoint every 10 s; five more for a slow disk. */
export const DEFAULT_GAP_MS = 15_000;

export interface VerifyOptions {
  /** Verifier keys the reader trusts, as text or parsed. They must not come from the directory that is verified. */
  readonly vkeys: readonly (string | Vkey)[];
  /** Checkpoints the reader kept from earlier or got from somebody else. */
  readonly held?: readonly { readonly name: string; readonly note: string | Uint8Array }[];
  /** Silence longer than this is a finding. Milliseconds. */
  readonly gapMs?: number;
  readonly onProgress?: (done: number, total: number) => void;
}

interface HeldCheckpoint extends Checkpoint {
  readonly name: string;
}

/**
 * @throws FormatError when a given key is malformed, and the error of the file system when the directory itself cannot be read.
 * Everything wrong *inside* the directory is a finding.
 */
export async function verifyLog(dir: string, options: VerifyOptions): Promise<Report> {
  const trusted = options.vkeys.map((vkey) => (typeof vkey === 'string' ? parseVkey(vkey) : vkey));
  const found = findings();
  await readdir(dir);
  await checkKeyFile(dir, trusted, found);
  const signed = await openSigned(dir, trusted, found);
  if (signed === null) return emptyReport(found);
  const { checkpoint } = signed;
  const held = openHeld(options.held ?? [], checkpoint, trusted, found);
  held.push(...(await openKept(dir, checkpoint, trusted, found)));
  const past = history(found, options.gapMs ?? DEFAULT_GAP_MS);
  const walked = await walk(dir, checkpoint, held, found, past, options.onProgress);
  conclude(walked, checkpoint, found);
  await checkOtherFiles(dir, checkpoint.size, found);
  return {
    verified: !found.failed,
    origin: printable(checkpoint.origin),
    size: checkpoint.size,
    root: checkpoint.root.toString('base64'),
    signedBy: signed.signers.map(({ name, id }) => `${name}+${id}`),
    heldCheckpoints: held.map((one) => ({
      name: one.name,
      size: one.size,
      consistent: walked.consistent.has(one),
    })),
    ...past.summary(),
    findings: found.list(),
    findingCount: found.count,
  };
}

function emptyReport(found: Findings): Report {
  return {
    verified: false,
    origin: null,
    size: 0,
    root: null,
    signedBy: [],
    heldCheckpoints: [],
    kinds: {},
    firstTime: null,
    lastTime: null,
    unfinished: [],
    unfinishedCount: 0,
    findings: found.list(),
    findingCount: found.count,
  };
}

async function openSigned(dir: string, trusted: readonly Vkey[], found: Findings) {
  const note = await readBounded(dir, 'checkpoint', MAX_CHECKPOINT_BYTES);
  if (note === null) {
    found.add({ severity: 'error', code: 'checkpoint_missing', message: 'the log has no readable checkpoint' });
    return null;
  }
  const opened = tryOpen(note, trusted);
  if (opened.ok) return opened;
  found.add({ severity: 'error', code: 'checkpoint_untrusted', message: printable(opened.message) });
  return null;
}

function tryOpen(note: string | Uint8Array, trusted: readonly Vkey[]) {
  try {
    return openCheckpoint(note, trusted);
  } catch (error) {
    if (error instanceof FormatError) return { ok: false as const, message: error.message };
    throw error;
  }
}

function openHeld(
  given: NonNullable<VerifyOptions['held']>,
  checkpoint: Checkpoint,
  trusted: readonly Vkey[],
  found: Findings,
): HeldCheckpoint[] {
  const held: HeldCheckpoint[] = [];
  for (const { name, note } of given) {
    const opened = tryOpen(note, trusted);
    const message = opened.ok
      ? opened.checkpoint.origin === checkpoint.origin
        ? null
        : 'it belongs to another log'
      : opened.message;
    if (message !== null) {
      const text = `the checkpoint ${printable(name)} cannot be used: ${printable(message)}`;
      found.add({ severity: 'error', code: 'held_checkpoint_unusable', message: text });
    } else if (opened.ok) held.push({ ...opened.checkpoint, name });
  }
  for (const { name, size } of held) {
    if (size <= checkpoint.size) continue;
    const message = `the checkpoint ${printable(name)} speaks of ${size} entries, this log has ${checkpoint.size}: its tail was cut or it was rolled back`;
    found.add({ severity: 'error', code: 'rolled_back', message, index: checkpoint.size });
  }
  return held;
}

/** Older checkpoints that the export kept beside the log. They help to say where a change lies; trust comes from those held elsewhere. */
async function openKept(dir: string, checkpoint: Checkpoint, trusted: readonly Vkey[], found: Findings) {
  const names = await readdir(join(dir, 'checkpoints')).catch(() => []);
  const notes: { name: string; note: Buffer }[] = [];
  for (const name of names) {
    const note = await readBounded(dir, `checkpoints/${name}`, MAX_CHECKPOINT_BYTES);
    if (note !== null && !name.startsWith('.')) notes.push({ name: `checkpoints/${name}`, note });
  }
  return openHeld(notes, checkpoint, trusted, found);
}

interface Walked {
  /** Tree over the stored leaf hashes. */
  readonly stored: CompactRange;
  /** Tree over the hashes recomputed from the entries; the same object while nothing differs. Null when entries are missing. */
  readonly recomputed: CompactRange | null;
  readonly mismatches: readonly Mismatch[];
  readonly mismatchCount: number;
  readonly consistent: ReadonlySet<HeldCheckpoint>;
  /** Sizes of held checkpoints that agreed and disagreed, to bracket a change. */
  readonly lastGood: number;
  readonly firstBad: number | null;
}

interface Mismatch {
  readonly index: number;
  readonly time: string | null;
  readonly call: string | null;
  readonly computed: string;
  readonly stored: string;
}

async function walk(
  dir: string,
  checkpoint: Checkpoint,
  held: readonly HeldCheckpoint[],
  found: Findings,
  past: ReturnType<typeof history>,
  onProgress: VerifyOptions['onProgress'],
): Promise<Walked> {
  const { size } = checkpoint;
  const stored = compactRange();
  let recomputed: CompactRange | null = stored;
  const mismatches: Mismatch[] = [];
  let mismatchCount = 0;
  const upper = upperTiles(dir, found);
  const consistent = new Set<HeldCheckpoint>();
  let [lastGood, firstBad]: [number, number | null] = [0, null];
  const lookup = entryLookup(dir, size);

  function compareHeld() {
    for (const one of held) {
      if (one.size !== stored.size) continue;
      const agrees =
        sameHash(stored.root(), one.root) || (recomputed !== null && sameHash(recomputed.root(), one.root));
      if (agrees) {
        consistent.add(one);
        if (firstBad === null) lastGood = one.size;
      } else firstBad ??= one.size;
    }
  }

  compareHeld();
  for (let tile = 0; tile * TILE_WIDTH < size; tile += 1) {
    const width = Math.min(TILE_WIDTH, size - tile * TILE_WIDTH);
    const entries = await readEntries(dir, tile, width, found);
    const hashes = await readHashes(dir, { level: 0, index: tile, width }, found);
    const tileRange = compactRange();
    for (let i = 0; i < width; i += 1) {
      const index = tile * TILE_WIDTH + i;
      const bytes = entries[i];
      const computed = bytes === undefined ? null : leafHash(bytes);
      const leaf = hashes?.[i] ?? computed;
      if (leaf === null) {
        // Neither the entry nor its hash is there: nothing more can be recomputed. Both gaps are named already.
        return { stored, recomputed: null, mismatches, mismatchCount, consistent, lastGood, firstBad };
      }
      if (bytes === undefined || computed === null) recomputed = null;
      else if (!sameHash(computed, leaf)) {
        mismatchCount += 1;
        if (mismatches.length < 20) {
          const [computedHex, storedHex] = [computed.toString('hex'), Buffer.from(leaf).toString('hex')];
          mismatches.push({ index, ...describeEntry(bytes), computed: computedHex, stored: storedHex });
        }
        if (recomputed === stored) recomputed = stored.clone();
      } else {
        await checkHistory(index, bytes, past, found, lookup);
      }
      if (recomputed !== stored && recomputed !== null && computed !== null) recomputed.push(computed);
      stored.push(leaf);
      tileRange.push(leaf);
      compareHeld();
    }
    if (width === TILE_WIDTH) await upper.push(tileRange.root());
    onProgress?.(Math.min(size, (tile + 1) * TILE_WIDTH), size);
  }
  await upper.finish();
  return { stored, recomputed, mismatches, mismatchCount, consistent, lastGood, firstBad };
}

async function checkHistory(
  index: number,
  bytes: Buffer,
  past: ReturnType<typeof history>,
  found: Findings,
  lookup: (index: number) => Promise<VerifiedEntry | null>,
) {
  const read = readEntry(bytes);
  if (!read.ok) {
    const { time, call } = describeEntry(bytes);
    found.add({
      severity: 'error',
      code: read.code,
      message: `entry ${index} ${read.message}`,
      ...named(index, time, call),
    });
    return;
  }
  if (read.unknown.length > 0) {
    const message = `entry ${index} has members this verifier does not know: ${printable(read.unknown.join(', '))}`;
    found.add({ severity: 'warning', code: 'entry_unknown_member', message, index });
  }
  await past.add(index, read.entry, lookup);
}

function named(index: number, time: string | null, call: string | null): Pick<Finding, 'index' | 'time' | 'call'> {
  return {
    index,
    ...(time === null ? {} : { time: printable(time) }),
    ...(call === null ? {} : { call: printable(call) }),
  };
}

/** Decides, once the whole tree is known, whether the entries, the tiles or both left the signed root. */
function conclude(walked: Walked, checkpoint: Checkpoint, found: Findings) {
  const { stored, recomputed, mismatches, mismatchCount, lastGood, firstBad } = walked;
  const whole = stored.size === checkpoint.size;
  const treeHolds = whole && sameHash(stored.root(), checkpoint.root);
  const entriesHold = whole && recomputed !== null && sameHash(recomputed.root(), checkpoint.root);
  for (const { index, time, call, computed, stored: kept } of mismatches) {
    const who = `entry ${index} (${printable(time ?? 'no readable time')}, ${printable(call ?? 'no call id')})`;
    const hashes = `what stands there hashes to ${computed.slice(0, 16)}…, the tree holds ${kept.slice(0, 16)}…`;
    const message = entriesHold
      ? `the stored hash of ${who} was changed; the entry itself agrees with the signed checkpoint`
      : treeHolds
        ? `${who} was changed: ${hashes}, and the tree agrees with the signed checkpoint`
        : `${who} disagrees with its stored hash: ${hashes}`;
    found.add({
      severity: 'error',
      code: entriesHold ? 'entry_hash_changed' : 'entry_changed',
      message,
      ...named(index, time, call),
    });
  }
  if (mismatchCount > mismatches.length) {
    const message = `${mismatchCount} entries disagree with their stored hashes; the first ${mismatches.length} are named`;
    found.add({ severity: 'error', code: 'entry_changed', message });
  }
  if (firstBad !== null) {
    const message = `a checkpoint over ${firstBad} entries contradicts this log: something in entries ${lastGood} to ${firstBad - 1} is not what was signed`;
    found.add({ severity: 'error', code: 'held_checkpoint_contradicts', message, index: lastGood });
  }
  if (whole && !treeHolds && !entriesHold) {
    const from = lastGood;
    const message = `the ${checkpoint.size} entries do not have the signed root; the change lies in entries ${from} to ${(firstBad ?? checkpoint.size) - 1}`;
    found.add({ severity: 'error', code: 'checkpoint_mismatch', message });
  }
}
