/**
 * What looks drawn by lot (CI-03): long runs that are no word, number, digest or id. Only likely, so it informs (`secret.entropy`).
 */
import type { Found } from './found.ts';

/** Bits per character of what a text says about itself: log2 of the length for all different, 0 for all the same. */
export function entropyOf(text: string, from = 0, to = text.length): number {
  counts.fill(0);
  const length = to - from;
  for (let i = from; i < to; i++) {
    const slot = text.charCodeAt(i) & 127;
    counts[slot] = counts[slot]! + 1;
  }
  let bits = 0;
  for (let slot = 0; slot < 128; slot++) {
    const share = counts[slot]! / length;
    if (share > 0) bits -= share * Math.log2(share);
  }
  return bits;
}
const counts = new Uint16Array(128);

const RUN = /[A-Za-z0-9+_=-]{20,}/g;
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
const LONGEST = 200;

/** A run by itself: all three kinds of characters in it, often changing, and hardly a character twice. */
function drawn(run: string): boolean {
  if (run.length > LONGEST || /^[0-9a-fA-F-]+$/.test(run) || UUID.test(run)) return false;
  const body = run.replace(/=+$/, '');
  let changes = 0;
  let kinds = 0;
  let before = 0;
  let words = 0;
  for (let i = 0; i < body.length; i++) {
    const kind = kindOf(body.charCodeAt(i));
    kinds |= 1 << kind;
    if (kind !== before) changes++;
    else if (kind === 1) words++;
    before = kind;
  }
  if ((kinds & 0b1110) !== 0b1110) return false;
  // Words in camel case and names with numbers change seldom.
  return (
    changes / body.length > 0.42 &&
    words / body.length < 0.4 &&
    entropyOf(body) > Math.min(4.4, Math.log2(body.length) * 0.86)
  );
}
/** 1: lower case, 2: upper case, 3: digit, 0: else. */
const kindOf = (code: number): number =>
  code > 96 && code < 123 ? 1 : code > 64 && code < 91 ? 2 : code > 47 && code < 58 ? 3 : 0;

export function drawnRuns(text: string, add: (found: Found) => void): void {
  for (const { index, 0: run } of text.matchAll(RUN)) {
    // Bytes that something else names: a data URI, the integrity of a package.
    if (
      !drawn(run) ||
      /^sha\d{3}-/.test(run) ||
      /(?:base64,|sha\d{3}-|[/.])$/.test(text.slice(Math.max(0, index - 8), index))
    )
      continue;
    add({ class: 'secret.entropy', start: index, end: index + run.length });
  }
}
