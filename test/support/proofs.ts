/** A holder of a key that makes proofs of possession (RFC 9449), right ones and, by overrides, wrong ones with a good signature. */
import { constants, createHmac, generateKeyPairSync, hash, randomUUID, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';

export type ProofAlgorithm = 'ES256' | 'EdDSA' | 'RS256' | 'PS256' | 'ES384';

export interface ProofOptions {
  readonly method?: string;
  readonly url: string;
  readonly token: string;
  /** Seconds. */
  readonly at: number;
  /** A member that is undefined removes the default of that name. */
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  /** Signs with another key, or a secret, than the header says. */
  readonly signWith?: KeyObject | { readonly secret: string } | 'nothing';
}

export interface Holder {
  readonly thumbprint: string;
  readonly publicJwk: Readonly<Record<string, unknown>>;
  readonly privateJwk: Readonly<Record<string, unknown>>;
  readonly privateKey: KeyObject;
  proof(options: ProofOptions): string;
}

export async function holder(algorithm: ProofAlgorithm = 'ES256'): Promise<Holder> {
  const { publicKey, privateKey } = pairFor(algorithm);
  const publicJwk = publicKey.export({ format: 'jwk' });
  return {
    thumbprint: await calculateJwkThumbprint(publicJwk),
    publicJwk,
    privateJwk: privateKey.export({ format: 'jwk' }),
    privateKey,
    proof({ method = 'POST', url, token, at, header = {}, claims = {}, signWith = privateKey }) {
      const head = { typ: 'dpop+jwt', alg: algorithm, jwk: publicJwk, ...header };
      const body = {
        jti: randomUUID(),
        htm: method,
        htu: url,
        iat: at,
        ath: hash('sha256', token, 'base64url'),
        ...claims,
      };
      const input = [head, body].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
      return `${input}.${signatureOf(input, algorithm, signWith)}`;
    },
  };
}

function pairFor(algorithm: ProofAlgorithm): { publicKey: KeyObject; privateKey: KeyObject } {
  if (algorithm === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' });
  if (algorithm === 'ES384') return generateKeyPairSync('ec', { namedCurve: 'P-384' });
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519');
  return generateKeyPairSync('rsa', { modulusLength: 2048 });
}

function signatureOf(input: string, algorithm: ProofAlgorithm, key: NonNullable<ProofOptions['signWith']>): string {
  if (key === 'nothing') return '';
  if ('secret' in key) return createHmac('sha256', key.secret).update(input).digest('base64url');
  const bytes = Buffer.from(input);
  if (algorithm === 'EdDSA') return sign(null, bytes, key).toString('base64url');
  if (algorithm === 'RS256') return sign('sha256', bytes, key).toString('base64url');
  if (algorithm === 'PS256') {
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    return sign('sha256', bytes, { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }).toString('base64url');
  }
  const digest = algorithm === 'ES384' ? 'sha384' : 'sha256';
  return sign(digest, bytes, { key, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}
