/**
 * Something that was contained and that people should look at (CI-07): one record per kind and subject while it is open. Record kind
 * `incident`. What was seen and where stands in the log; a record holds no peer's text and no secret.
 */
import { z } from 'zod';

/** What can happen; `alarm`s become records and are told to people, `notice`s are in the log and in the counts only. */
export const INCIDENTS = {
  /** A planted secret was given to a tool, or came back from one. */
  honeytoken: 'alarm',
  /** A secret that Remit itself holds was given to a tool or came back from one. */
  own_secret: 'alarm',
  /** A sandbox asked for a way out that its record does not allow. */
  egress_refused: 'notice',
  /** A server's process was ended for what it did: memory, processes, processor time, output. */
  process_ended: 'notice',
  /** What a server's artifact is, or where it says it goes, is not what was reviewed. */
  artifact: 'alarm',
  /** A detector failed and the fail mode of the risk class was applied (CI-11). */
  detector_failed: 'notice',
  /** An upstream is left alone for a while. */
  breaker_open: 'notice',
  /** One agent repeats one call (RL-07). */
  loop: 'notice',
} as const satisfies Record<string, 'alarm' | 'notice'>;
export type IncidentKind = keyof typeof INCIDENTS;

const KINDS = Object.keys(INCIDENTS) as [IncidentKind, ...IncidentKind[]];

export const IncidentRecord = z.strictObject({
  what: z.enum(KINDS),
  /** `server/<id>`, `tool/<server>/<key>`, `honeytoken/<id>`, `credential/<id>`. */
  subject: z.string().min(1).max(2_300),
  /** Codes and ids. */
  facts: z.record(z.string(), z.union([z.string().max(2_300), z.number(), z.boolean(), z.null()])),
  openedAt: z.number().int(),
  closed: z
    .strictObject({ by: z.string().min(1), at: z.number().int(), reason: z.string().min(1).max(2_000) })
    .exactOptional(),
});
export type IncidentRecord = z.infer<typeof IncidentRecord>;
