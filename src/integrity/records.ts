/**
 * A tool, or another item a server offers (decision 0008), as a governed record: what the server says it is (`observed`), and what a person approved (`approved`).
 * A tool is visible and callable only while both exist and their digests are equal. Record kind `tool`, id `server/key`.
 */
import { z } from 'zod';
import { PARAMETER_TYPES } from '../lib/canonical-values.ts';

export const RISK_CLASSES = ['read', 'write', 'destructive', 'execute', 'regulated'] as const;
export type RiskClass = (typeof RISK_CLASSES)[number];

export const TASK_SUPPORT = ['forbidden', 'optional', 'required'] as const;
export type TaskSupport = (typeof TASK_SUPPORT)[number];

export const DigestText = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);

/** One sighting of a definition. `definition` is the whole object the server sent, as plain JSON. */
export const Observed = z.strictObject({
  digest: DigestText,
  definition: z.record(z.string(), z.json()),
  seenAt: z.number().int(),
});

/** What a reviewer says of a definition; the server's own words (annotations) never stand in for any of it (AZ-06). */
const judgement = {
  risk: z.enum(RISK_CLASSES),
  /** The OAuth scope a caller must hold, for example `files:read`. */
  scope: z.string().regex(/^[\x21\x23-\x5B\x5D-\x7E]{1,128}$/, 'use RFC 6749 scope-token characters'),
  justification: z.string().min(1).max(2000),
  /** Whether the gateway runs it as a task for clients that can follow one; left out: as the definition says. Tools only. */
  tasks: z.enum(TASK_SUPPORT).exactOptional(),
  /** Arguments that are judged and forwarded in one spelling, by JSON Pointer (AZ-03). */
  parameters: z
    .record(z.string().regex(/^(?:\/(?:[^~/]|~[01])*)+$/, 'must be a JSON Pointer'), z.enum(PARAMETER_TYPES))
    .exactOptional(),
  /** Left out: it does if its server is in production. */
  productionData: z.boolean().exactOptional(),
  /** What it returns may be written by strangers: mail, tickets, web pages, issues of anybody (AZ-10). */
  untrustedOutput: z.literal(true).exactOptional(),
  /** What it is given can leave the organisation (AZ-10). */
  outward: z.literal(true).exactOptional(),
  /** What it does cannot be undone: more than one person agrees to every call (AP-03). */
  irreversible: z.literal(true).exactOptional(),
  /** How many must agree to a held call. */
  approvals: z.number().int().min(1).max(9).exactOptional(),
  /** What one person with one agent may do with it (RL-02); at the budget it stops. */
  budget: z
    .strictObject({
      calls: z.number().int().min(1).max(1_000_000),
      perMinutes: z.number().int().min(1).max(44_640),
      /** The sum of a number in the arguments, by JSON Pointer: a spend. */
      sum: z
        .strictObject({
          argument: z.string().regex(/^(?:\/(?:[^~/]|~[01])*)+$/, 'must be a JSON Pointer'),
          max: z.number().positive(),
        })
        .exactOptional(),
      /** Of everybody together, instead of each. */
      shared: z.literal(true).exactOptional(),
    })
    .exactOptional(),
  /** Doing it twice does no harm: only then may a lost answer be asked for again (RL-05). */
  idempotent: z.literal(true).exactOptional(),
};

export const Judgement = z.strictObject(judgement);
export type Judgement = z.infer<typeof Judgement>;

export const Approved = z.strictObject({
  digest: DigestText,
  definition: z.record(z.string(), z.json()),
  ...judgement,
  by: z.string().min(1),
  at: z.number().int(),
  /** Of a consequential class: who proposed it, somebody else than `by`. */
  proposedBy: z.string().min(1).exactOptional(),
});

/** A judgement that waits for somebody else's yes, about exactly this definition. */
export const Proposal = z.strictObject({
  digest: DigestText,
  ...judgement,
  by: z.string().min(1),
  at: z.number().int(),
});
export type Proposal = z.infer<typeof Proposal>;

export const ITEM_KINDS = ['tool', 'prompt', 'resource', 'template', 'server'] as const;
export type ItemKind = (typeof ITEM_KINDS)[number];

export const ToolRecord = z.strictObject({
  server: z.string(),
  kind: z.enum(ITEM_KINDS).default('tool'),
  /** What the protocol calls it by: the name of a tool or prompt, the URI, the URI template, `instructions`. */
  name: z.string().min(1).max(2048),
  observed: Observed.nullable(),
  approved: Approved.nullable(),
  proposal: Proposal.exactOptional(),
  /** Since when the server says something else than what is approved, or nothing; ms. Left out: it says just that. */
  driftedAt: z.number().int().exactOptional(),
});
export type ToolRecord = z.infer<typeof ToolRecord>;
export type Approved = z.infer<typeof Approved>;
export type Observed = z.infer<typeof Observed>;

/** What an item is found by inside its server. INVARIANT: names of tools hold no space, so no two items have one key. */
export const itemKey = (kind: ItemKind, name: string): string => (kind === 'tool' ? name : `${kind} ${name}`);
/** The other way: a tool's name holds no space. */
export function itemOf(key: string): { readonly kind: Exclude<ItemKind, 'server'>; readonly name: string } {
  for (const kind of ['prompt', 'resource', 'template'] as const)
    if (key.startsWith(`${kind} `)) return { kind, name: key.slice(kind.length + 1) };
  return { kind: 'tool', name: key };
}
export const toolId = (server: string, key: string): string => `${server}/${key}`;
