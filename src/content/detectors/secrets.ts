/** Credentials (CI-03, CI-04): of known shape (`lib/secret-shapes.ts`), by the name in front of them, and what looks drawn by lot. */
import { SECRET_NEEDLES, secretRanges } from '../../lib/secret-shapes.ts';
import { SIGN_RUN } from '../signs.ts';
import { assignedValues, SIGN_ASSIGNED } from './assigned.ts';
import { drawnRuns } from './entropy.ts';
import type { Detector, Found } from './found.ts';
import { NOTHING } from './found.ts';

export const SIGN_SECRET = 4;
export const SECRET_WORDS = SECRET_NEEDLES;

export const secrets: Detector = {
  name: 'secrets',
  version: 1,
  family: 'secret',
  signs: SIGN_SECRET | SIGN_ASSIGNED | SIGN_RUN,
  find: (text, _terms, signs) => {
    const found: Found[] = [];
    if ((signs & SIGN_SECRET) !== 0)
      for (const { kind, start, end } of secretRanges(text)) found.push({ class: `secret.${kind}`, start, end });
    const shaped = found.length;
    /** Shaped ones are in order and apart. */
    const add = (one: Found): void => {
      let low = 0;
      let high = shaped;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (found[middle]!.end <= one.start) low = middle + 1;
        else high = middle;
      }
      if (low === shaped || found[low]!.start >= one.end) found.push(one);
    };
    if ((signs & SIGN_ASSIGNED) !== 0) assignedValues(text, add);
    if ((signs & SIGN_RUN) !== 0) drawnRuns(text, add);
    return found.length === 0 ? NOTHING : found;
  },
};
