/**
 * Legacy session ids that need no store: the facts of `initialize`, sealed, so that any node can go on with the session (L2).
 * AES-256-GCM under keys derived by HKDF. An id says which session this is and never who calls: the gateway compares `issuer`,
 * `subject` and `clientId` with the token of every request (G5, PH-04). Ending a session early needs a list, which is not here.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
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
const KEY_ID_BYTES = 4;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const AAD = Buffer.from('remit legacy session 1');
const VISIBLE = /^[A-Za-z0-9_-]+$/;

interface SessionKey {
  readonly id: Buffer;
  readonly key: Uint8Array;
}

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
  const derived = keys.map(derive);
  const sealing = derived[0];
  if (sealing === undefined) throw new Fault('session_key', 'at least one session key is needed');

  return {
    seal: (facts) => {
      const whole: SessionFacts = {
        ...facts,
        client: { name: cut(facts.client.name), version: cut(facts.client.version) },
        createdAt: clock.now(),
        nonce: randomBytes(12).toString('base64url'),
      };
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealing.key, iv).setAAD(AAD);
      const body = Buffer.concat([cipher.update(JSON.stringify(whole), 'utf8'), cipher.final()]);
      const id = Buffer.concat([sealing.id, iv, body, cipher.getAuthTag()]).toString('base64url');
      if (id.length > MAX_ID) throw new Fault('session_too_large', 'the facts of this session do not fit a session id');
      return id;
    },

    open: (id) => {
      // ATTACKER-CONTROLLED: bounded before it is decoded, authenticated before it is parsed.
      if (id.length > MAX_ID || !VISIBLE.test(id)) return err('unknown');
      const bytes = Buffer.from(id, 'base64url');
      if (bytes.length <= KEY_ID_BYTES + IV_BYTES + TAG_BYTES || bytes.toString('base64url') !== id)
        return err('unknown');
      const key = derived.find((candidate) => candidate.id.equals(bytes.subarray(0, KEY_ID_BYTES)));
      if (key === undefined) return err('unknown');
      const facts = unseal(key, bytes.subarray(KEY_ID_BYTES));
      if (facts === null) return err('unknown');
      return clock.now() - facts.createdAt < ttlMs ? ok(facts) : err('expired');
    },
  };
}

function derive(secret: Uint8Array): SessionKey {
  if (secret.byteLength < 32) throw new Fault('session_key', 'a session key needs at least 32 bytes');
  const of = (purpose: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', secret, '', `remit session ${purpose}`, bytes));
  return { id: of('key id', KEY_ID_BYTES), key: of('sealing', 32) };
}

function unseal({ key }: SessionKey, sealed: Buffer): SessionFacts | null {
  const iv = sealed.subarray(0, IV_BYTES);
  const tag = sealed.subarray(sealed.length - TAG_BYTES);
  const body = sealed.subarray(IV_BYTES, sealed.length - TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES }).setAAD(AAD).setAuthTag(tag);
  let text: string;
  try {
    text = decipher.update(body, undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return null;
  }
  // Sealed by us, perhaps by another release of us: what does not fit is unknown.
  const facts = Facts.safeParse(JSON.parse(text));
  return facts.success ? facts.data : null;
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
