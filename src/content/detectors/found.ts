/** What a detector finds in one text: a class and a range. A detector is pure, and costs time linear in the text whatever stands in it. */
import type { Family, Terms } from '../terms.ts';

export interface Found {
  readonly class: string;
  /** UTF-16 offsets, end exclusive. */
  readonly start: number;
  readonly end: number;
  /** What stands there once it is taken out; left out: `[redacted:<kind>]`. */
  readonly instead?: string;
}

export interface Detector {
  readonly name: string;
  /** Raised whenever what it finds changes: the log names it. */
  readonly version: number;
  readonly family: Family;
  /** Signs (signs.ts) of which one must stand in the text; 0: it is always asked. */
  readonly signs: number;
  /** @param text without hidden characters. ATTACKER-CONTROLLED. @param signs of the text; 0 where none are asked for. */
  find(text: string, terms: Terms, signs: number): readonly Found[];
}

export const NOTHING: readonly Found[] = [];
