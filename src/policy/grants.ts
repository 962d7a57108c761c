/**
 * Grants: who may use what, under which conditions, until when and why, as data that anybody can read and a campaign can ask about. Each is
 * compiled to a Cedar policy `grant.<id>` beside the written ones; a `forbid` wins over it like over any other. A request for access is a
 * grant that nobody has agreed to yet; an elevation is one that begins with the yes and ends by itself (AZ-07).
 */
import { z } from 'zod';
import { POLICY_RISKS } from './schema.ts';

export const GRANT_STATES = ['requested', 'active', 'suspended', 'denied', 'cancelled', 'ended'] as const;

const Pointer = z
  .string()
  .max(300)
  .regex(/^(?:\/(?:[^~/]|~[01])*)+$/, 'must be a JSON Pointer (RFC 6901) such as /path');
const Texts = z.array(z.string().min(1).max(2_048)).min(1).max(100);

/** Longest emergency, ms: nobody works under one; it is for what cannot wait. */
export const BREAK_GLASS_MAX_MS = 4 * 3_600_000;

/** What an argument must be. All conditions of a grant hold together; an argument that is missing fits none. */
export const GrantCondition = z.discriminatedUnion('is', [
  /** The path itself or below one of these folders. */
  z.strictObject({ argument: Pointer, is: z.literal('path_under'), values: Texts }),
  /** The host of a URL, or a domain: one of these, or below one that begins with a dot. */
  z.strictObject({ argument: Pointer, is: z.literal('host_in'), values: Texts }),
  z.strictObject({ argument: Pointer, is: z.literal('one_of'), values: Texts }),
  /** A number, or an amount in its smallest unit. */
  z.strictObject({ argument: Pointer, is: z.literal('at_most'), value: z.number().int() }),
  z.strictObject({ argument: Pointer, is: z.literal('at_least'), value: z.number().int() }),
]);
export type GrantCondition = z.infer<typeof GrantCondition>;

/** The members alone, for schemas that show or ask for some of them; `Grant` also says which belong together. */
export const GrantMembers = z.strictObject({
  /** `person`: directory id. `group`: record id. `agent`: record id of an agent that acts alone. */
  who: z.strictObject({ kind: z.enum(['person', 'group', 'agent']), id: z.string().min(1).max(200) }),
  /** Only through this client. */
  through: z.string().min(1).max(512).exactOptional(),
  what: z.strictObject({
    server: z.string().min(1).max(63),
    /** Keys of items. Left out: all of these risk classes, and then the grant must end (AZ-05). */
    items: z.array(z.string().min(1).max(2_100)).min(1).max(100).exactOptional(),
    risks: z.array(z.enum(POLICY_RISKS)).min(1).exactOptional(),
  }),
  conditions: z.array(GrantCondition).max(20),
  /** `by_risk`: destructive, executing and regulated items need an approval of every call. */
  approval: z.enum(['by_risk', 'always', 'waived']),
  /** An emergency: opened by two people, for hours, looked at afterwards. Only such a one waives approvals. */
  breakGlass: z.literal(true).exactOptional(),
  justification: z.string().min(1).max(2_000),
  /** ms since the epoch. */
  startsAt: z.number().int().exactOptional(),
  /** Null: until a review says otherwise. */
  expiresAt: z.number().int().nullable(),
  /** Ends so long after the yes, ms: an elevation. `expiresAt` is then set by the yes. */
  lastsMs: z.number().int().min(60_000).exactOptional(),
  state: z.enum(GRANT_STATES),
  requestedBy: z.string().min(1).max(200),
  requestedAt: z.number().int(),
  /** Never who asked, and never who gets it. */
  decidedBy: z.string().max(200).nullable(),
  decidedAt: z.number().int().nullable(),
  note: z.string().max(2_000).nullable(),
  /** Who last said that it is still needed, and in which campaign. */
  attested: z
    .strictObject({ by: z.string(), at: z.number().int(), campaign: z.string(), note: z.string().max(2_000) })
    .exactOptional(),
  /** Of an emergency that is over: who took no part and looked at what was done under it. */
  postMortem: z
    .strictObject({ by: z.string(), at: z.number().int(), calls: z.number().int(), note: z.string().max(2_000) })
    .exactOptional(),
});
export const Grant = GrantMembers.superRefine(({ approval, breakGlass, lastsMs, postMortem }, ctx) => {
  const refuse = (member: string, message: string): void => {
    ctx.addIssue({ code: 'custom', path: [member], message });
  };
  if (breakGlass === undefined) {
    if (approval === 'waived') refuse('approval', 'is waived in an emergency only (breakGlass)');
    if (postMortem !== undefined) refuse('postMortem', 'is about an emergency only (breakGlass)');
  } else if (lastsMs === undefined || lastsMs > BREAK_GLASS_MAX_MS)
    refuse('lastsMs', 'an emergency lasts at most four hours from the yes');
});
export type Grant = z.infer<typeof Grant>;

/** Record kind `scope`, id = the scope: which other scopes somebody with it has, too (directly; they may include others in turn). */
const ScopeName = z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,128}$/, 'use RFC 6749 scope-token characters');
const Includes = z.array(ScopeName).max(200);
export const ScopeRecord = z.strictObject({
  title: z.string().min(1).max(200),
  includes: Includes,
  /** What somebody wants it to include; it does once somebody else agrees (AZ-11). */
  proposed: z
    .strictObject({ includes: Includes, by: z.string().min(1).max(200), at: z.number().int() })
    .exactOptional(),
});
export type ScopeRecord = z.infer<typeof ScopeRecord>;
