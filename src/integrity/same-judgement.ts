/**
 * Whether two approvals say the same of an item: definition, risk, scope, typed arguments, tasks, how many must agree, whatever a reviewer may
 * say some day. Who said it, when and why is no part of it. The same object is the same at no cost; a digest is made once for each approval,
 * and only where a review came between two looks of one call.
 */
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import type { Approved } from './records.ts';

const DIGESTS = new WeakMap<Approved, Digest>();

export const sameJudgement = (a: Approved, b: Approved): boolean => a === b || judged(a) === judged(b);

function judged(approved: Approved): Digest {
  const known = DIGESTS.get(approved);
  if (known) return known;
  // `digest` stands for the definition.
  const { definition: _d, justification: _j, by: _b, at: _a, proposedBy: _p, ...said } = approved;
  const digest = digestOf(said);
  DIGESTS.set(approved, digest);
  return digest;
}
