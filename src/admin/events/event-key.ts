/**
 * The key that the gateway signs its security events with. Not the log's key and not a token's: whoever has it can end sessions at the
 * authorization server, and nothing more. The file is kept by the composition root, with mode 0600.
 */
import { createHash, createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { SignJWT } from 'jose';
import { Fault } from '../../lib/fault.ts';
import type { JsonObject } from '../../lib/json.ts';

export interface EventKey {
  /** For the key set. */
  readonly publicJwk: JsonObject;
  sign(claims: JsonObject): Promise<string>;
}

/** The text of a new private key, as PKCS 8. */
export function newEventKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** @throws Fault `event_key` when the text is no such key. */
export function eventKey(text: string): EventKey {
  let key;
  try {
    key = createPrivateKey(text);
  } catch {
    // The cause would quote the key.
    throw new Fault('event_key', 'keys/events.key is no private key; restore it from a backup or remove it');
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw new Fault('event_key', 'keys/events.key is no P-256 key; restore it from a backup or remove it');
  const { kty, crv, x, y } = key.export({ format: 'jwk' }) as Record<'kty' | 'crv' | 'x' | 'y', string>;
  // RFC 7638: the thumbprint of the required members in lexical order names the key.
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  return {
    publicJwk: { kty, crv, x, y, kid, alg: 'ES256', use: 'sig' },
    sign: (claims) =>
      new SignJWT({ ...claims }).setProtectedHeader({ alg: 'ES256', typ: 'secevent+jwt', kid }).sign(key),
  };
}
