/** Proofs of possession for our own tokens (RFC 9449): one key per account, a new proof for every request. */
import { createHash, randomBytes } from 'node:crypto';
import { type JWK, SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK } from 'jose';
import type { Clock } from '../../lib/clock.ts';

export interface ProofKey {
  /** To be sealed with what is bound to it; null: it cannot leave this process. */
  readonly privateJwk: JWK | null;
  /** RFC 7638. */
  readonly thumbprint: string;
  /** `accessToken`: whose hash goes into the proof, towards the resource. The nonce is the last one its origin gave. */
  proof(method: string, url: string, accessToken?: string): Promise<string>;
  /** What the next proof for this address will hold; undefined: its origin gave none. */
  nonceFor(url: string): string | undefined;
  /** Keeps what an answer says in `DPoP-Nonce`. True: it is another one than before. */
  takeNonce(url: string, header: string | string[] | undefined): boolean;
}

const NONCE = /^[\x21\x23-\x5b\x5d-\x7e]{1,512}$/;
/** Origins: the resource and its authorization server. */
const MAX_NONCES = 8;

/** `kept`: a key from before, or `new` for one that will be kept; left out: one that ends with this process. */
export async function proofKey(clock: Clock, kept?: JWK | 'new'): Promise<ProofKey> {
  const made = typeof kept === 'object' ? null : await generateKeyPair('ES256', { extractable: kept === 'new' });
  const privateKey = made?.privateKey ?? (await importJWK(kept as JWK, 'ES256'));
  const privateJwk = typeof kept === 'object' ? kept : kept === 'new' ? await exportJWK(made!.privateKey) : null;
  const { kty, crv, x, y } = privateJwk ?? (await exportJWK(made!.publicKey));
  const jwk = { kty, crv, x, y } as JWK;
  const nonces = new Map<string, string>();
  return {
    privateJwk,
    thumbprint: await calculateJwkThumbprint(jwk),
    proof: (method, url, accessToken) => {
      const { origin, pathname } = new URL(url);
      const nonce = nonces.get(origin);
      return new SignJWT({
        jti: randomBytes(16).toString('base64url'),
        htm: method,
        htu: origin + pathname,
        ...(accessToken !== undefined && { ath: createHash('sha256').update(accessToken).digest('base64url') }),
        ...(nonce !== undefined && { nonce }),
      })
        .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
        .setIssuedAt(Math.floor(clock.now() / 1000))
        .sign(privateKey);
    },
    nonceFor: (url) => nonces.get(new URL(url).origin),
    takeNonce: (url, header) => {
      if (typeof header !== 'string' || !NONCE.test(header)) return false;
      const { origin } = new URL(url);
      const isNew = nonces.get(origin) !== header;
      if (nonces.size < MAX_NONCES || nonces.has(origin)) nonces.set(origin, header);
      return isNew;
    },
  };
}
