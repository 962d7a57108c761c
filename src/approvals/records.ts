/**
 * A held call as a governed record (TRUST.md section 7): bound to the digest of one exact call, single use, expiring.
 * The requester never decides. State moves once from `pending`; `approved` moves once to `used` or `expired`.
 */
import { z } from 'zod';

export const APPROVAL_STATES = ['pending', 'approved', 'denied', 'expired', 'cancelled', 'used'] as const;

export const Approval = z.strictObject({
  person: z.string(),
  agent: z.string(),
  server: z.string(),
  tool: z.string(),
  /** Digest of the approved tool definition at the time of the request: a changed tool voids the approval. */
  definition: z.string(),
  /** Digest over (org, person, agent, server, tool, definition, arguments). */
  call: z.string(),
  /** Shown to the approver in full. */
  arguments: z.record(z.string(), z.json()),
  state: z.enum(APPROVAL_STATES),
  requestedAt: z.number().int(),
  expiresAt: z.number().int(),
  decidedBy: z.string().nullable(),
  decidedAt: z.number().int().nullable(),
  note: z.string().max(2000).nullable(),
});
export type Approval = z.infer<typeof Approval>;
