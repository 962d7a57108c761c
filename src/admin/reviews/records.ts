/**
 * Access reviews as records: a campaign, one attestation for each grant it asks about (`campaign/grant`), and the evidence of use.
 * Times are ms since the epoch.
 */
import { z } from 'zod';

export const Campaign = z.strictObject({
  title: z.string().min(1).max(200),
  purpose: z.string().min(1).max(2_000),
  /** Which grants: of one server, of one group; left out: all. */
  server: z.string().min(1).max(63).exactOptional(),
  group: z.string().min(1).max(200).exactOptional(),
  /** Who is asked: a person, or `group/<id>`; left out: who answers for the server of each grant. */
  reviewer: z.string().min(1).max(200).exactOptional(),
  state: z.enum(['open', 'closed', 'cancelled']),
  openedBy: z.string().min(1),
  openedAt: z.number().int(),
  /** What nobody attested by then is suspended. */
  dueAt: z.number().int(),
  closedAt: z.number().int().nullable(),
});
export type Campaign = z.infer<typeof Campaign>;

export const Evidence = z.strictObject({
  lastUsedAt: z.number().int(),
  /** Of the log entry that proves it. */
  index: z.number().int().nonnegative(),
  uses: z.number().int().positive(),
});
export type Evidence = z.infer<typeof Evidence>;

export const Attestation = z.strictObject({
  campaign: z.string().min(1),
  grant: z.string().min(1),
  /** A person, or `group/<id>`. */
  reviewer: z.string().min(1).max(200),
  /** `lapsed`: nobody said anything in time; `moot`: the grant had ended meanwhile. */
  decision: z.enum(['pending', 'kept', 'revoked', 'lapsed', 'moot']),
  by: z.string().nullable(),
  at: z.number().int().nullable(),
  /** Why. */
  note: z.string().max(2_000).nullable(),
  /** What was known of its use when it was decided; null: no use is known. */
  evidence: Evidence.nullable(),
});
export type Attestation = z.infer<typeof Attestation>;

export const attestationId = (campaign: string, grant: string): string => `${campaign}/${grant}`;
