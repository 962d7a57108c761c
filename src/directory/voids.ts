/**
 * Tokens that are void although they have not expired (TRUST.md R5): everything issued to a person, a client, a grant or a session up to a
 * moment, or one token. A void outlives the longest token it can concern; after that it says nothing any more and is removed.
 * Unlike a lock it is past: who signs in anew gets tokens that it does not touch.
 */
import { z } from 'zod';
import { layeredMap } from '../lib/layered-map.ts';
import type { LayeredMap } from '../lib/layered-map.ts';

/** `value`: person = directory id, or issuer, space, subject of an identity that a record gave up; client = client id; grant, session, token = issuer, space, id. */
export const VOID_KINDS = ['person', 'client', 'grant', 'session', 'token'] as const;

export const Void = z.strictObject({
  subject: z.strictObject({ kind: z.enum(VOID_KINDS), value: z.string().min(1).max(1_200) }),
  /** Tokens issued at this moment or before are refused; of a grant, a session or a token itself all of them. ms since the epoch. */
  before: z.number().int(),
  reason: z.string().min(1).max(2000),
  by: z.string().min(1),
  /** From here on it can concern no token any more. ms since the epoch. */
  until: z.number().int(),
});
export type Void = z.infer<typeof Void>;

/** `kind value` -> the latest `before`. */
export type VoidIndex = LayeredMap<number>;

export const voidKey = ({ kind, value }: Void['subject']): string => `${kind} ${value}`;

export function voidIndex(voids: Iterable<Void>): VoidIndex {
  return withVoids(layeredMap(), voids);
}

/** The index with more voids; none is ever taken out of one but by building it anew. */
export function withVoids(index: VoidIndex, voids: Iterable<Void>): VoidIndex {
  const latest = new Map<string, number>();
  for (const entry of voids) {
    const key = voidKey(entry.subject);
    latest.set(key, Math.max(entry.before, latest.get(key) ?? index.get(key) ?? 0));
  }
  return latest.size === 0 ? index : index.with(latest);
}

/** What of a token a void can fall on. */
export interface Voidable {
  readonly issuer: string;
  readonly subject: string;
  readonly clientId: string;
  readonly actChain: readonly string[];
  readonly grantId: string | null;
  readonly sessionId: string | null;
  readonly tokenId: string;
  /** Seconds since the epoch. */
  readonly issuedAt: number;
}

/** The first kind of void that falls on this token; null when it is good. `iat` has whole seconds: the second of the void counts as before it. */
export function voidOn(index: VoidIndex, person: string | null, token: Voidable): (typeof VOID_KINDS)[number] | null {
  if (index.size === 0) return null;
  const { issuer, subject, grantId, sessionId, tokenId } = token;
  const at = token.issuedAt * 1_000;
  const fallsOn = (key: string): boolean => (index.get(key) ?? -1) >= at;
  if (person !== null && fallsOn(`person ${person}`)) return 'person';
  // Whoever has the identity now: tokens of a record that is gone, or has another identity, are not theirs.
  if (fallsOn(`person ${issuer} ${subject}`)) return 'person';
  if (fallsOn(`client ${token.clientId}`)) return 'client';
  // What was handed on hangs on everybody through whose hands it came.
  for (const actor of token.actChain) if (fallsOn(`client ${actor}`)) return 'client';
  // A grant, a sign-in and a token end for good: no clock, and least of all the issuer's, has a say in it.
  const ended = (key: string): boolean => index.get(key) !== undefined;
  if (grantId !== null && ended(`grant ${issuer} ${grantId}`)) return 'grant';
  if (sessionId !== null && ended(`session ${issuer} ${sessionId}`)) return 'session';
  return ended(`token ${issuer} ${tokenId}`) ? 'token' : null;
}
