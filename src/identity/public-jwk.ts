/**
 * Public keys in JSON (RFC 7517), read for one purpose: checking a signature. A key that could sign, or that two parties share, is no key here;
 * neither is RSA below 2048 bits, or with an exponent by which signatures can be made without the key. What a key may be used for is the
 * caller's question. Not found: keys that a faulty device made (ROCA, 2017); their publisher has to know.
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

/** FIPS 186-5 A.1.1 for what counts as strong; the upper bounds keep checking cheap, for clients bring keys of their own. */
const RSA_BITS = { min: 2048, max: 8192 };
const RSA_EXPONENT = { min: 65_537n, max: 0xffff_ffffn };
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
    if (keyType === 'RSA') {
      const { modulusLength: bits = 0, publicExponent: exponent = 0n } = key.asymmetricKeyDetails ?? {};
      if (bits < RSA_BITS.min || bits > RSA_BITS.max) return null;
      if (exponent < RSA_EXPONENT.min || exponent > RSA_EXPONENT.max) return null;
    }
    return { keyType, key };
  } catch {
    return null;
  }
}
