/**
 * Sealed values: compact JWE (RFC 7516), A256GCMKW with A256GCM, a data key for each value. The protected header binds organisation,
 * credential and version, and is compared after it was authenticated: a value moved to another record opens nowhere.
 * `kid` names the key of the installation; the first key of the ring seals, all open. Not done here: keeping the records.
 */
import { hkdfSync } from 'node:crypto';
import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';
import { Fault } from '../../lib/fault.ts';
import { MAX_SECRET_BYTES, type SecretSource, secretFault } from './secret-source.ts';

const ALGORITHM = 'A256GCMKW';
const ENCRYPTION = 'A256GCM';
const TYPE = 'remit-credential';
const MAX_SEALED = 2 * MAX_SECRET_BYTES;

/** What a value belongs to. */
export interface SealBinding {
  readonly org: string;
  readonly credential: string;
  readonly version: string;
}

export interface KeyRing {
  /** Of the key that seals now. */
  readonly newest: string;
  /** All that open, the one that seals first. */
  readonly ids: readonly string[];
  /** @throws SecretFault `secret_reference` when the value is empty or too large */
  seal(value: string, binding: SealBinding): Promise<string>;
  /** Null: not ours, altered, of something else, or under a key that is not in the ring. */
  open(sealed: string, binding: SealBinding): Promise<string | null>;
}

/** Under which key a sealed value lies; null when it cannot be read. Not authenticated: for counting, never for trust. */
export function keyIdOf(sealed: string): string | null {
  try {
    return decodeProtectedHeader(sealed).kid ?? null;
  } catch {
    return null;
  }
}

/** @param keys at least 32 random bytes each. @throws Fault `sealing_key` */
export function keyRing(keys: readonly Uint8Array[]): KeyRing {
  const ring = new Map(keys.map((secret) => keyOf(secret)));
  const [first] = ring;
  if (first === undefined) throw new Fault('sealing_key', 'at least one key for credentials is needed');
  const [newest, sealing] = first;

  return {
    newest,
    ids: [...ring.keys()],
    seal: (value, { org, credential, version }) => {
      const bytes = Buffer.from(value);
      if (bytes.length === 0 || bytes.length > MAX_SECRET_BYTES)
        throw secretFault('secret_reference', `the value of ${credential} must have 1 to ${MAX_SECRET_BYTES} bytes`);
      return new CompactEncrypt(bytes)
        .setProtectedHeader({ alg: ALGORITHM, enc: ENCRYPTION, typ: TYPE, kid: newest, org, credential, version })
        .encrypt(sealing);
    },
    open: async (sealed, { org, credential, version }) => {
      // ATTACKER-CONTROLLED: whoever can write to the database. Bounded before it is decoded.
      if (sealed.length > MAX_SEALED) return null;
      const key = ring.get(keyIdOf(sealed) ?? '');
      if (key === undefined) return null;
      try {
        const { plaintext, protectedHeader: said } = await compactDecrypt(sealed, key, {
          keyManagementAlgorithms: [ALGORITHM],
          contentEncryptionAlgorithms: [ENCRYPTION],
        });
        const bound = said['org'] === org && said['credential'] === credential && said['version'] === version;
        return bound && said.typ === TYPE ? new TextDecoder('utf-8', { fatal: true }).decode(plaintext) : null;
      } catch {
        return null;
      }
    },
  };
}

function keyOf(secret: Uint8Array): [id: string, key: Uint8Array] {
  if (secret.byteLength < 32) throw new Fault('sealing_key', 'a key for credentials needs at least 32 bytes');
  const of = (use: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', secret, '', `remit credentials ${use}`, bytes));
  return [of('key id', 8).toString('hex'), of('sealing', 32)];
}

/** Sealed values by `credential/version`, as somebody keeps them for one organisation. */
export function sealedSource(
  ring: KeyRing,
  org: string,
  kept: (credential: string, version: string) => string | null,
): SecretSource {
  return {
    read: async (name) => {
      const [credential, version, ...more] = name.split('/');
      if (!credential || !version || more.length > 0)
        throw secretFault('secret_reference', `${JSON.stringify(name.slice(0, 200))} is not credential/version`);
      const sealed = kept(credential, version);
      if (sealed === null) throw secretFault('secret_missing', `the credential ${credential} has no value ${version}`);
      const value = await ring.open(sealed, { org, credential, version });
      if (value === null)
        throw secretFault(
          'secret_refused',
          `the value ${version} of the credential ${credential} does not open: it is under a key that this node does not hold, or was altered`,
        );
      return { value, version, expiresAt: null };
    },
  };
}
