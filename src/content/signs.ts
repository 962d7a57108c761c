/**
 * Which detectors have any reason to read a text: one pass over it for all their words. A detector whose signs are missing costs nothing,
 * so most texts cost this pass alone.
 */
import { needlesOf } from '../lib/needles.ts';

/** The text has at least six digits. */
export const SIGN_DIGITS = 1;
/** It has a run of at least 20 letters, digits, `+`, `_`, `-` and `=`. */
export const SIGN_RUN = 2;
const ENOUGH_DIGITS = 6;
const LONG_RUN = 20;

export interface SignWords {
  /** One bit, none of the above. */
  readonly sign: number;
  /** Lower case. */
  readonly words: readonly string[];
}

/** 1: a digit, 2: another character of a run, 3: both. */
const KIND = new Uint8Array(0x10000);
for (const unit of 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+_-=') KIND[unit.charCodeAt(0)] = 2;
for (const unit of '0123456789') KIND[unit.charCodeAt(0)] = 3;

/** Compiles the words once; the function returned gives the signs of a text, in time linear in it. */
export function signsOver(all: readonly SignWords[]): (text: string) => number {
  const signs = all.flatMap(({ sign, words }) => words.map(() => sign));
  const { symbolOf, next, ends } = needlesOf(all.flatMap(({ words }) => words));
  const signsAt = Int32Array.from(ends, (words) => words.reduce((sum, word) => sum | signs[word]!, 0));
  return (text) => {
    let state = 0;
    let found = 0;
    let digits = 0;
    let run = 0;
    let longest = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      state = next[state + symbolOf[unit]!]!;
      found |= signsAt[state]!;
      const kind = KIND[unit]!;
      digits += kind & 1;
      run = kind === 0 ? 0 : run + 1;
      if (run > longest) longest = run;
    }
    if (digits >= ENOUGH_DIGITS) found |= SIGN_DIGITS;
    return longest >= LONG_RUN ? found | SIGN_RUN : found;
  };
}
