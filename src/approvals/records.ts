/**
 * A held call as a governed record (TRUST.md section 7): bound to the digest of one exact call, single use, expiring.
 * The requester never decides. It moves once from `pending`; `approved` moves once more. What it was asked for stands in it: the
 * definition, risk and words of the review, the policy in force. Its arguments are sealed; whoever reads the store learns a digest.
 */
import { z } from 'zod';

/** `failed`: what it was asked for is not what it would run any more (another definition, a server or tool that is gone). */
export const APPROVAL_STATES = ['pending', 'approved', 'denied', 'expired', 'cancelled', 'failed', 'used'] as const;

const Note = z.string().max(2000).nullable();

/** One person's word. Nobody has two about one call. */
export const Decision = z.strictObject({
  /** Directory id. */
  by: z.string(),
  outcome: z.enum(['approved', 'denied']),
  note: Note,
  /** ms since the epoch. */
  at: z.number().int(),
});
export type Decision = z.infer<typeof Decision>;

export const Approval = z.strictObject({
  /** Directory id of who asks, or `agent/` and the id of an agent that acts alone. */
  person: z.string(),
  /** OAuth client id. */
  agent: z.string(),
  /** Whose client it is. */
  issuer: z.string().exactOptional(),
  /** Clients that the agent acts for in turn, nearest first. */
  actors: z.array(z.string()).exactOptional(),
  server: z.string(),
  tool: z.string(),
  /** Digest of the approved tool definition at the time of the request: a changed tool voids the approval. */
  definition: z.string(),
  /** Digest over everything that must not differ: `call-digest.ts`. */
  call: z.string(),
  /** Records of before sealing hold them in plain. */
  arguments: z.record(z.string(), z.json()).exactOptional(),
  /** `sealed-arguments.ts`. */
  sealed: z.string().exactOptional(),
  state: z.enum(APPROVAL_STATES),
  requestedAt: z.number().int(),
  /** When a pending one is over, or an approved one that nobody used. */
  expiresAt: z.number().int(),
  /** How long it is good for once it is approved, ms. Left out: until `expiresAt`. */
  validMs: z.number().int().exactOptional(),
  /** People who must say yes. */
  needed: z.number().int().min(1).default(1),
  decisions: z.array(Decision).max(100).default([]),
  /** Who had the last word, and when. */
  decidedBy: z.string().nullable(),
  decidedAt: z.number().int().nullable(),
  note: Note,
  /** Why it ended, where nobody decided: for people to read. */
  ended: z.string().max(500).exactOptional(),
  /** Digest of the policies in force when it was asked for. */
  policy: z.string().nullable().exactOptional(),
  /** What the review says of the tool. */
  risk: z.string().exactOptional(),
  justification: z.string().exactOptional(),
  /** What stands in its way, and what its trace received before: one sentence each, no text of anybody. */
  because: z.array(z.string().max(1_000)).max(50).exactOptional(),
  /** Classes of what was found in its arguments because of which it is held. */
  found: z.array(z.string().max(300)).max(8).exactOptional(),
  /** Id of the call that was held first, as the log names it. */
  ref: z.string().exactOptional(),
});
export type Approval = z.infer<typeof Approval>;

export const isOpen = ({ state }: Pick<Approval, 'state'>): boolean => state === 'pending' || state === 'approved';

/** Unique among approvals while one is open, so that two nodes cannot open two requests for one call. Every write of an open record carries it. */
export const openKey = ({ call }: Pick<Approval, 'call'>): string => `open ${call}`;

/** Who said yes, each of them once. */
export function yesGivers({ state, decisions, decidedBy }: Approval): readonly string[] {
  // Records of before several people could be needed say it in `decidedBy` alone.
  if (decisions.length === 0) return state === 'approved' && decidedBy !== null ? [decidedBy] : [];
  return [...new Set(decisions.filter(({ outcome }) => outcome === 'approved').map(({ by }) => by))];
}
