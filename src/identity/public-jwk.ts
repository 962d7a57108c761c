/**
 * Public keys in JSON (RFC 7517), read for one purpose: checking a signature. A key that could sign, or that two parties share, is no key here;
 * RSA below 2048 bits neither. Which key may be used for what is the caller's question.
 */
import { type KeyObject, createPublicKey } from 'node:crypto';
import { isJsonObject } from '../lib/json.ts';

/** Every algorithm a token or proof may be signed with. Asymmetric only: with a shared secret, whoever verifies could also sign. */
export const KEY_TYPES = {
  RS256: 'RSA',
  RS384: 'RSA',
  RS512: 'RSA',
  PS256: 'RSA',
  PS384: 'RSA',
  PS512: 'RSA',
  ES256: 'P-256',
  ES384: 'P-384',
  ES512: 'P-521',
  EdDSA: 'Ed25519',
  Ed25519: 'Ed25519',
} as const;
export type TokenAlgorithm = keyof typeof KEY_TYPES;

export function isTokenAlgorithm(name: string): name is TokenAlgorithm {
  return Object.hasOwn(KEY_TYPES, name);
}

const MIN_RSA_BITS = 2048;
/** Private members of every key type (RFC 7518 6, RFC 8037 2). A private key that was shown is everybody's key. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const;

export interface PublicKey {
  /** `RSA`, or the curve. */
  readonly keyType: string;
  readonly key: KeyObject;
}

/** Null for everything that cannot serve. Never throws. */
export function readPublicJwk(jwk: unknown): PublicKey | null {
  if (!isJsonObject(jwk) || PRIVATE_MEMBERS.some((member) => Object.hasOwn(jwk, member))) return null;
  const { kty, crv } = jwk;
  const keyType = kty === 'RSA' ? kty : kty === 'EC' || kty === 'OKP' ? crv : null;
  if (typeof keyType !== 'string') return null;
  try {
    const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
    if (keyType === 'RSA' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) return null;
    return { keyType, key };
  } catch {
    return null;
  }
}
