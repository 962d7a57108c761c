/**
 * Legacy session ids that need no store: the facts of `initialize`, sealed, so that any node can go on with the session (L2).
 * An id says which session this is and never who calls: the gateway compares `issuer`,
 * `subject` and `clientId` with the token of every request (G5, PH-04). Ending a session early needs a list, which is not here.
 */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import { Fault, isFault } from '../lib/fault.ts';
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { sealedBox } from '../lib/sealed-box.ts';
import { LEGACY_VERSIONS } from './versions.ts';

/** What a legacy client can declare that changes what we may send it. A closed list keeps ids short. */
export const SESSION_CAPABILITIES = [
  'roots',
  'sampling',
  'sampling.tools',
  'elicitation.form',
  'elicitation.url',
  'tasks', // prettier-ignore
] as const;
export type SessionCapability = (typeof SESSION_CAPABILITIES)[number];

const Facts = z.strictObject({
  org: z.string(),
  /** null: the aggregate endpoint of the organisation. */
  server: z.string().nullable(),
  issuer: z.string(),
  subject: z.string(),
  clientId: z.string(),
  version: z.enum(LEGACY_VERSIONS),
  capabilities: z.array(z.enum(SESSION_CAPABILITIES)),
  /** Self-reported, cut to 64 characters each. */
  client: z.strictObject({ name: z.string(), version: z.string() }),
  /** ms since the epoch. */
  createdAt: z.number().int(),
  /** Makes each session its own; names it in logs without giving the id away. */
  nonce: z.string(),
});
export type SessionFacts = z.infer<typeof Facts>;

export interface SessionSealer {
  /** @throws Fault `session_too_large` when issuer, subject and client id together are beyond all reason (about 1.3 kB). */
  seal(facts: Omit<SessionFacts, 'createdAt' | 'nonce'>): string;
  /** `unknown`: not ours, altered, or sealed by a key we no longer hold. Both mean 404 and a new `initialize`. */
  open(id: string): Result<SessionFacts, 'unknown' | 'expired'>;
}

const MAX_ID = 2048;

/**
 * @param keys at least 32 random bytes each; the first seals, all open.
 * @param options.ttlMs how long after `initialize` an id opens. Default 24 h.
 */
export function sessionSealer(
  keys: readonly Uint8Array[],
  clock: Clock,
  options: { readonly ttlMs?: number } = {},
): SessionSealer {
  const ttlMs = options.ttlMs ?? 86_400_000;
  const box = sealedBox(keys, 'session', MAX_ID);

  return {
    seal: (facts) => {
      const whole: SessionFacts = {
        ...facts,
        client: { name: cut(facts.client.name), version: cut(facts.client.version) },
        createdAt: clock.now(),
        nonce: randomBytes(12).toString('base64url'),
      };
      try {
        return box.seal(JSON.stringify(whole));
      } catch (error) {
        if (!isFault(error, 'sealed_too_large')) throw error;
        throw new Fault('session_too_large', 'the facts of this session do not fit a session id', { cause: error });
      }
    },

    open: (id) => {
      const text = box.open(id);
      if (text === null) return err('unknown');
      // Sealed by us, perhaps by another release of us: what does not fit is unknown.
      const facts = Facts.safeParse(JSON.parse(text));
      if (!facts.success) return err('unknown');
      return clock.now() - facts.data.createdAt < ttlMs ? ok(facts.data) : err('expired');
    },
  };
}

const cut = (text: string): string => text.slice(0, 64).toWellFormed();

/** The capabilities of an `initialize` that Remit keeps. `elicitation: {}` means forms (EL25). */
export function sessionCapabilities(declared: JsonObject): SessionCapability[] {
  const under = (parent: Json | undefined, key: string): boolean => isJsonObject(parent) && isJsonObject(parent[key]);
  const { elicitation } = declared;
  const url = under(elicitation, 'url');
  const found: Readonly<Record<SessionCapability, boolean>> = {
    roots: isJsonObject(declared['roots']),
    sampling: isJsonObject(declared['sampling']),
    'sampling.tools': under(declared['sampling'], 'tools'),
    'elicitation.form': isJsonObject(elicitation) && (under(elicitation, 'form') || !url),
    'elicitation.url': url,
    tasks: isJsonObject(declared['tasks']),
  };
  return SESSION_CAPABILITIES.filter((capability) => found[capability]);
}
