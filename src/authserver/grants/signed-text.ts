/**
 * Signed texts of any type (JWS compact, RFC 7515), read strictly by `identity/compact-jws.ts`, and what every reader of claims needs.
 * The types and the meaning of claims are the caller's. Nothing here throws, whatever the text says.
 */
import type { KeyObject } from 'node:crypto';
import { compactVerify } from 'jose';
import { readJwsParts } from '../../identity/compact-jws.ts';
import type { Json, JsonObject } from '../../lib/json.ts';
import type { Result } from '../../lib/result.ts';
import { err, ok } from '../../lib/result.ts';

export interface SignedText {
  /** `typ` of the header as it stands there, letter for letter; null: none. */
  readonly type: string | null;
  readonly algorithm: string;
  readonly keyId: string;
  /** NOT verified until `signatureHolds`. */
  readonly claims: JsonObject;
}

export function readSignedText(text: string): Result<SignedText, string> {
  const parts = readJwsParts(text);
  if (!parts.ok) return err(parts.error.kind);
  const { header, claims } = parts.value;
  // ATTACKER-CONTROLLED: a key in the header is a key of whoever wrote the header.
  if (Object.hasOwn(header, 'jwk')) return err('header_refused');
  const { alg: algorithm, kid: keyId, typ: type = null } = header as Record<string, Json | undefined>;
  if (typeof algorithm !== 'string') return err('algorithm');
  if (typeof keyId !== 'string' || keyId === '' || keyId.length > 256) return err('key_unknown');
  if (type !== null && typeof type !== 'string') return err('type');
  return ok({ type, algorithm, keyId, claims });
}

/** ATTACKER-CONTROLLED: the header's `alg`. The caller has held it against a list before. */
export async function signatureHolds(text: string, key: KeyObject, algorithm: string): Promise<boolean> {
  try {
    await compactVerify(text, key, { algorithms: [algorithm] });
    return true;
  } catch {
    return false;
  }
}

/** Bounded, without control characters: these texts go into logs, records and the console. */
export const isName = (value: Json | undefined): value is string =>
  typeof value === 'string' && value !== '' && value.length <= 512 && !/\p{Cc}/u.test(value);

/** A text that was checked before; of anything else nothing. */
export const textOf = (value: Json | undefined): string => (typeof value === 'string' ? value : '');

/** Seconds since the epoch. */
export const isTime = (value: Json | undefined): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value > 0;

/** The value, or the one member of a list; null when it is several or none. */
export const theOnly = (value: Json | undefined): Json | null => {
  if (!Array.isArray(value)) return value ?? null;
  return value.length === 1 ? ((value as readonly Json[])[0] ?? null) : null;
};

const SCOPE_TOKEN = /^[\x21\x23-\x5B\x5D-\x7E]{1,256}$/; // RFC 6749 3.3

/** The scopes of a claim or parameter; null when it is no list of scopes. Absent: none. */
export function readScopes(value: Json | undefined): readonly string[] | null {
  if (value === undefined || value === '') return [];
  if (typeof value !== 'string') return null;
  const scopes = value.split(' ', 501);
  return scopes.length <= 500 && scopes.every((scope) => SCOPE_TOKEN.test(scope)) ? [...new Set(scopes)] : null;
}
