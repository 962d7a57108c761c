/**
 * Merkle trees as RFC 6962 section 2.1 defines them: hashes, an append-only range, inclusion and consistency proofs.
 * Verification is pure. Making a proof needs stored hashes and takes a reader (level as in tlog-tiles: L spans 256^L leaves).
 * Positions are below 2^53; nothing here uses 32-bit arithmetic on them.
 */
import { hash } from 'node:crypto';

const LEAF = Uint8Array.of(0);
const NODE = 1;

/** Complete hashes [start, start+count) of a level. A reader that returns fewer has a gap: an error. */
export type HashReader = (level: number, start: number, count: number) => Promise<readonly Uint8Array[]>;

export function leafHash(entry: string | Uint8Array): Buffer {
  // U+0000 in UTF-8 is the byte 0: one call into the engine for a text, which is what every entry is when it is written.
  return hash('sha256', typeof entry === 'string' ? `\0${entry}` : Buffer.concat([LEAF, entry]), 'buffer');
}

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  const both = Buffer.allocUnsafe(1 + left.length + right.length);
  both[0] = NODE;
  both.set(left, 1);
  both.set(right, 1 + left.length);
  return hash('sha256', both, 'buffer');
}

export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** The complete subtrees that make up the first `size` leaves, tallest first. Grows at its right end only. */
export interface CompactRange {
  readonly size: number;
  /** Adds a complete subtree of `2^height` leaves; the range's size must be a multiple of that. */
  push(hash: Uint8Array, height?: number): void;
  root(): Buffer;
  clone(): CompactRange;
}

interface Subtree {
  readonly height: number;
  readonly hash: Uint8Array;
}

export function compactRange(): CompactRange {
  return rangeOf([], 0);
}

function rangeOf(initial: readonly Subtree[], initialSize: number): CompactRange {
  const stack = [...initial];
  let size = initialSize;
  return {
    get size() {
      return size;
    },
    push(hash, height = 0) {
      if (size % 2 ** height !== 0) throw new RangeError(`a subtree of height ${height} does not fit at ${size}`);
      let subtree: Subtree = { height, hash };
      for (let top = stack.at(-1); top?.height === subtree.height; top = stack.at(-1)) {
        stack.pop();
        subtree = { height: subtree.height + 1, hash: nodeHash(top.hash, subtree.hash) };
      }
      stack.push(subtree);
      size += 2 ** height;
    },
    root() {
      const last = stack.at(-1);
      if (last === undefined) return hash('sha256', '', 'buffer');
      return Buffer.from(stack.slice(0, -1).reduceRight((right, { hash }) => nodeHash(hash, right), last.hash));
    },
    clone: () => rangeOf(stack, size),
  };
}

/**
 * Extends a range to `size` leaves with the fewest stored hashes: at most 255 per level on either side, whatever the distance.
 * `offset` is the leaf at which the range begins (a multiple of the largest subtree in it; 0 for a whole tree).
 */
export async function extendRange(range: CompactRange, size: number, read: HashReader, offset = 0): Promise<void> {
  while (range.size < size) {
    const left = size - range.size;
    let level = 0;
    let span = 1;
    while (range.size % (span * 256) === 0 && (offset + range.size) % (span * 256) === 0 && span * 256 <= left) {
      level += 1;
      span *= 256;
    }
    const start = (offset + range.size) / span;
    const untilWider = 256 - (start % 256);
    const count = Math.min(untilWider, Math.floor(left / span));
    const hashes = await read(level, start, count);
    if (hashes.length !== count) {
      throw new RangeError(`level ${level} has ${hashes.length} of ${count} hashes from ${start}`);
    }
    for (const hash of hashes) range.push(hash, level * 8);
  }
}

/** MTH(D[start:end]) for a range that RFC 6962 splits off. */
async function subtree(start: number, end: number, read: HashReader): Promise<Buffer> {
  const range = compactRange();
  await extendRange(range, end - start, read, start);
  return range.root();
}

/** Largest power of two below `n`; `n` > 1. */
function splitOf(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

/** PATH(index, D[size]), leaf's sibling first. */
export async function inclusionProof(index: number, size: number, read: HashReader): Promise<Buffer[]> {
  if (!(index >= 0 && index < size)) throw new RangeError(`no entry ${index} in a log of ${size}`);
  const proof: Buffer[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + splitOf(end - start);
    if (index < middle) {
      proof.push(await subtree(middle, end, read));
      end = middle;
    } else {
      proof.push(await subtree(start, middle, read));
      start = middle;
    }
  }
  return proof.reverse();
}

/** PROOF(oldSize, D[newSize]). Empty when the sizes are equal or the old log was empty. */
export async function consistencyProof(oldSize: number, newSize: number, read: HashReader): Promise<Buffer[]> {
  if (!(oldSize >= 0 && oldSize <= newSize)) throw new RangeError(`a log of ${newSize} never had ${oldSize} entries`);
  if (oldSize === 0 || oldSize === newSize) return [];
  const proof: Buffer[] = [];
  let [start, end] = [0, newSize];
  let whole = true; // the old tree still is a complete left part of what we look at
  while (oldSize !== end) {
    const middle = start + splitOf(end - start);
    if (oldSize <= middle) {
      proof.push(await subtree(middle, end, read));
      end = middle;
    } else {
      proof.push(await subtree(start, middle, read));
      start = middle;
      whole = false;
    }
  }
  if (!whole) proof.push(await subtree(start, end, read));
  return proof.reverse();
}

/** RFC 9162 section 2.1.3.2: does this path lead from the leaf at `index` to the root of a tree of `size`? */
export function inclusionHolds(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return false;
  let node = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && sameHash(hash, root);
}

/** RFC 9162 section 2.1.4.2: is the tree of `newSize` an extension of the tree of `oldSize`? An empty old tree is extended by any. */
export function consistencyHolds(
  oldSize: number,
  oldRoot: Uint8Array,
  newSize: number,
  newRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!Number.isSafeInteger(oldSize) || !Number.isSafeInteger(newSize) || oldSize < 0 || oldSize > newSize)
    return false;
  if (oldSize === newSize) return proof.length === 0 && sameHash(oldRoot, newRoot);
  if (oldSize === 0) return proof.length === 0 && sameHash(oldRoot, compactRange().root());
  const path = Number.isInteger(Math.log2(oldSize)) ? [oldRoot, ...proof] : proof;
  let node = oldSize - 1;
  let last = newSize - 1;
  while (node % 2 === 1) [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let [oldHash, newHash] = [first, first];
  for (const sibling of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      oldHash = nodeHash(sibling, oldHash);
      newHash = nodeHash(sibling, newHash);
      while (node % 2 === 0 && node !== 0) [node, last] = [node / 2, Math.floor(last / 2)];
    } else {
      newHash = nodeHash(newHash, sibling);
    }
    [node, last] = [Math.floor(node / 2), Math.floor(last / 2)];
  }
  return last === 0 && sameHash(oldHash, oldRoot) && sameHash(newHash, newRoot);
}
