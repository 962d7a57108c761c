/**
 * Text that leaves this node and comes back unread and unchanged: session ids, cursors, request state, items of the exchange.
 * AES-256-GCM under a key derived by HKDF (RFC 5869) for one purpose, so that what was sealed for one can never be opened as another.
 * One text has exactly one sealed spelling per sealing. Not promised: freshness or single use; put a time inside and keep a list.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { Fault } from './fault.ts';

export interface SealedBox {
  /** Base64url. `aad` is what the text belongs to; it is not in the result. @throws Fault `sealed_too_large` */
  seal(text: string, aad?: string): string;
  /** Null: not ours, altered, for something else (`aad`), or sealed under a key we no longer hold. */
  open(sealed: string, aad?: string): string | null;
}

const KEY_ID_BYTES = 4;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const HEAD_BYTES = KEY_ID_BYTES + IV_BYTES;
const BASE64URL = /^[A-Za-z0-9_-]+$/;

interface Key {
  readonly id: Buffer;
  readonly key: Uint8Array;
}

/**
 * @param keys at least 32 random bytes each; the first seals, all open.
 * @param purpose names the use, for example `session`; another purpose is another key.
 * @param maxLength characters of a sealed text: more is neither made nor decoded. Default 24 MiB.
 */
export function sealedBox(
  keys: readonly Uint8Array[],
  purpose: string,
  maxLength: number = 24 * 1024 * 1024,
): SealedBox {
  const derived = keys.map((secret) => derive(secret, purpose));
  const sealing = derived[0];
  if (sealing === undefined) throw new Fault('sealing_key', 'at least one sealing key is needed');

  return {
    seal: (text, aad = '') => {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealing.key, iv).setAAD(Buffer.from(aad));
      const parts = [sealing.id, iv, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()];
      const sealed = Buffer.concat(parts).toString('base64url');
      if (sealed.length > maxLength) throw new Fault('sealed_too_large', `${purpose}: the text does not fit`);
      return sealed;
    },

    open: (sealed, aad = '') => {
      // ATTACKER-CONTROLLED: bounded before it is decoded, authenticated before anybody reads it.
      if (sealed.length > maxLength || !BASE64URL.test(sealed)) return null;
      const bytes = Buffer.from(sealed, 'base64url');
      // Spare bits of the last character would give one text several spellings.
      if (bytes.length < HEAD_BYTES + TAG_BYTES || bytes.toString('base64url') !== sealed) return null;
      const key = derived.find(({ id }) => id.equals(bytes.subarray(0, KEY_ID_BYTES)));
      return key === undefined ? null : unseal(key.key, bytes, aad);
    },
  };
}

function derive(secret: Uint8Array, purpose: string): Key {
  if (secret.byteLength < 32) throw new Fault('sealing_key', 'a sealing key needs at least 32 bytes');
  const of = (use: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', secret, '', `remit ${purpose} ${use}`, bytes));
  return { id: of('key id', KEY_ID_BYTES), key: of('sealing', 32) };
}

function unseal(key: Uint8Array, bytes: Buffer, aad: string): string | null {
  const iv = bytes.subarray(KEY_ID_BYTES, HEAD_BYTES);
  const body = bytes.subarray(HEAD_BYTES, bytes.length - TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES })
    .setAAD(Buffer.from(aad))
    .setAuthTag(bytes.subarray(bytes.length - TAG_BYTES));
  try {
    return decipher.update(body, undefined, 'utf8') + decipher.final('utf8');
  } catch {
    return null;
  }
}
