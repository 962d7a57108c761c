/** Credentials of known shape (CI-03, CI-04), as `lib/secret-shapes.ts` knows them. */
import { SECRET_NEEDLES as NEEDLES, secretRanges } from '../../lib/secret-shapes.ts';
import type { Detector } from './found.ts';
import { NOTHING } from './found.ts';

export const SIGN_SECRET = 2;
export const SECRET_NEEDLES: readonly string[] = NEEDLES.map((needle) => needle.toLowerCase());

export const secrets: Detector = {
  name: 'secrets',
  version: 1,
  family: 'secret',
  signs: SIGN_SECRET,
  find: (text) => {
    const ranges = secretRanges(text);
    return ranges.length === 0
      ? NOTHING
      : ranges.map(({ kind, start, end }) => ({ class: `secret.${kind}`, start, end }));
  },
};
