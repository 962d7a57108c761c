/**
 * Recognises text that was seen before (CI-08): fingerprints by winnowing (Schleimer, Wilkerson, Aiken 2003) over letters and digits only, in
 * lower case, so that re-casing, re-wrapping and punctuation change nothing. GUARANTEE: whatever shares a run of at least k + w - 1 letters with
 * a text in the book is recognised; a shared run shorter than k never is. Rewording is not recognised.
 */

export interface ShingleOptions {
  /** Letters of one shingle. */
  readonly k: number;
  /** Shingles of one window, of which one is kept. */
  readonly w: number;
}
/** Runs of 40 letters and more are found: about seven words. */
export const SHINGLES: ShingleOptions = { k: 25, w: 16 };

const MULTIPLIER = 0x01000193;
const LETTER_OR_DIGIT = /[\p{L}\p{N}]/u;
/** What a UTF-16 unit counts as: 0 for what is left out. Half of a pair counts as itself. */
const NORMAL = new Uint16Array(0x10000);
for (let unit = 0; unit < NORMAL.length; unit++) {
  const text = String.fromCharCode(unit);
  if (unit >= 0xd800 && unit <= 0xdfff) NORMAL[unit] = unit;
  else if (LETTER_OR_DIGIT.test(text)) {
    const lower = text.toLowerCase();
    NORMAL[unit] = lower.length === 1 ? lower.charCodeAt(0) : unit;
  }
}

/** Each once, in rising order; empty when the text has fewer letters than k. Time linear in the text. */
export function fingerprintsOf(text: string, options: ShingleOptions = SHINGLES): Uint32Array {
  const all: number[] = [];
  winnow(text, options, (hash) => void all.push(hash));
  return Uint32Array.from(all)
    .sort()
    .filter((hash, i, sorted) => i === 0 || hash !== sorted[i - 1]);
}

export interface Overlap {
  /** Fingerprints of the text that are in the book, of how many. */
  readonly known: number;
  readonly of: number;
  /** Letters of the longest run of the text in which every fingerprint is known; 0: none is. At least k where one is. */
  readonly longestRun: number;
}

/** How much of a text is in a book of fingerprints made with the same options. */
export function overlap(
  book: { has(fingerprint: number): boolean },
  text: string,
  options: ShingleOptions = SHINGLES,
): Overlap {
  let known = 0;
  let of = 0;
  let longestRun = 0;
  let runFrom = -1;
  winnow(text, options, (hash, at) => {
    of++;
    if (!book.has(hash)) {
      runFrom = -1;
      return;
    }
    known++;
    if (runFrom === -1) runFrom = at;
    if (at + options.k - runFrom > longestRun) longestRun = at + options.k - runFrom;
  });
  return { known, of, longestRun };
}

/** Calls back with each kept shingle's hash and its place among the letters. A text with fewer than w shingles keeps its smallest. */
function winnow(text: string, { k, w }: ShingleOptions, keep: (hash: number, at: number) => void): void {
  const codes = new Uint16Array(text.length);
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const code = NORMAL[text.charCodeAt(i)]!;
    if (code !== 0) codes[count++] = code;
  }
  const shingles = count - k + 1;
  if (shingles < 1) return;
  let leaving = 1;
  for (let i = 1; i < k; i++) leaving = Math.imul(leaving, MULTIPLIER);
  /** Places of the shingles of the window whose hashes rise: the first is the smallest, the last of equals. */
  const queue = new Uint32Array(shingles);
  const hashes = new Uint32Array(shingles);
  let head = 0;
  let tail = 0;
  let kept = -1;
  let hash = 0;
  for (let i = 0; i < count; i++) {
    if (i >= k) hash = (hash - Math.imul(codes[i - k]!, leaving)) | 0;
    hash = (Math.imul(hash, MULTIPLIER) + codes[i]!) | 0;
    const at = i - k + 1;
    if (at < 0) continue;
    // Neighbouring texts give neighbouring sums: mixed, so that which one is smallest is anybody's guess.
    let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    const value = (mixed ^ (mixed >>> 16)) >>> 0;
    hashes[at] = value;
    while (tail > head && hashes[queue[tail - 1]!]! >= value) tail--;
    queue[tail++] = at;
    if (queue[head]! <= at - w) head++;
    if (at < w - 1 && at !== shingles - 1) continue;
    if (queue[head]! !== kept) {
      kept = queue[head]!;
      keep(hashes[kept]!, kept);
    }
  }
}
