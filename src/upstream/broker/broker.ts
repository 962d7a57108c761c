/**
 * Who gets which secret: references of server records, resolved for one server when a connection opens. A place (`env:`, `file:`, `vault:`)
 * is read from its source; `credential:ID` only if the book says that this server may have it now (NH-03, NH-07), wherever its value lies.
 * Promises: values are returned, kept in memory to be recognised (`held`) and nowhere else; `standing` changes in the moment in which a server may no longer have one, or should have
 * another; places outside of our records are looked at again from time to time. Not done here: the rules of use (the book), connections.
 */
import { createHmac } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { Fault, isFault } from '../../lib/fault.ts';
import type { SecretReference, Target } from '../target.ts';
import { type KeyRing, type SealBinding, keyIdOf, sealedSource } from './sealed.ts';
import { type SecretSource, type SecretValue, secretFault } from './secret-source.ts';

/** What the records say of one credential for one server at this moment. */
export type CredentialUse =
  | {
      readonly ok: true;
      readonly version: string;
      /** Null: the value is sealed here. */
      readonly reference: string | null;
      /** From then on no longer, ms since the epoch. */
      readonly until: number;
    }
  | { readonly ok: false; readonly why: string };

export interface CredentialBook {
  use(credential: string, server: string): CredentialUse;
  /** Null: there is none. */
  sealed(credential: string, version: string): string | null;
}

/** Of all secrets of one definition. `stamp` changes with any of them, holds none, and equals itself while nothing changed. */
export type Standing =
  | { readonly ok: true; readonly stamp: string; readonly until: number }
  | { readonly ok: false; readonly why: string };

export interface CredentialBroker {
  /** @throws SecretFault */
  resolve(reference: SecretReference, serverId: string): Promise<string>;
  standing(serverId: string, upstream: Target): Standing;
  /** Calls back when a place was found to hold another value. Returns the unsubscribe function. */
  onChange(listener: () => void): () => void;
  /** Looks at the places again that were read before; those that do not answer keep what was known of them. */
  lookAgain(): Promise<void>;
  readonly vault: CredentialVault;
  /** What connections were given, for whoever recognises it in content: in memory, never shown. */
  readonly held: HeldValues;
}

/** The newest two values of each secret that was resolved: a server accepts the one before while it is rotated. */
export interface HeldValues {
  /** Changes with the values. */
  revision(): number;
  /** `id`: of the credential, else the reference. */
  values(): Iterable<{ readonly id: string; readonly value: string }>;
}

/** What the admin plane does with values: never gives one back. */
export interface CredentialVault {
  seal(value: string, credential: string, version: string): Promise<string>;
  /** Under the first key; null when it lies there already. @throws SecretFault `secret_refused` when it does not open */
  reseal(sealed: string, credential: string, version: string): Promise<string | null>;
  /** Equal for equal values in this installation; says nothing else. */
  fingerprint(value: string): string;
  /** Reads a place. @throws SecretFault */
  inspect(reference: string): Promise<{ readonly fingerprint: string; readonly expiresAt: number | null }>;
  readonly keys: { readonly newest: string; readonly all: readonly string[]; of(sealed: string): string | null };
}

export interface BrokerOptions {
  readonly org: string;
  readonly clock: Clock;
  readonly ring: KeyRing;
  /** At least 32 random bytes; stays when the ring changes, or fingerprints of before compare with nothing. */
  readonly fingerprintKey: Uint8Array;
  readonly book: CredentialBook;
  readonly places: SecretSource;
  /** Null: none is configured. */
  readonly vault: SecretSource | null;
  /** How often places are looked at again, ms; 0: never by itself. Default 30 s. */
  readonly lookMs?: number;
  readonly onFault?: (reference: string, code: string) => void;
}

/** Places that nobody reads any more are forgotten after so many. */
const MAX_PLACES = 10_000;

export function credentialBroker(options: BrokerOptions): CredentialBroker & { close(): Promise<void> } {
  const { org, ring, book, places, vault, fingerprintKey } = options;
  if (fingerprintKey.byteLength < 32) throw new Fault('sealing_key', 'the key of fingerprints needs at least 32 bytes');
  const sealed = sealedSource(ring, org, (credential, version) => book.sealed(credential, version));
  /** Versions of places as they were last read. */
  const seen = new Map<string, string>();
  const listeners = new Set<() => void>();
  const given = new Map<string, readonly string[]>();
  let givenRevision = 0;
  let looking: Promise<void> | null = null;
  const timer = options.lookMs === 0 ? undefined : setInterval(() => void lookAgain(), options.lookMs ?? 30_000);
  timer?.unref();

  async function read(reference: string): Promise<SecretValue> {
    if (!reference.startsWith('vault:')) return places.read(reference);
    if (vault === null)
      throw secretFault(
        'secret_reference',
        `the secret reference ${reference} is refused: no vault is configured (secrets.vault)`,
      );
    return vault.read(reference);
  }

  async function readAndNote(reference: string): Promise<string> {
    const { value, version } = await read(reference);
    if (seen.size >= MAX_PLACES) seen.delete(seen.keys().next().value!);
    seen.set(reference, version);
    return value;
  }

  /** Where its value is now; throws what keeps it from the server. */
  function usable(id: string, serverId: string): Extract<CredentialUse, { ok: true }> {
    const use = book.use(id, serverId);
    if (!use.ok) throw secretFault('secret_refused', `the credential ${id} ${use.why}`);
    return use;
  }

  async function resolve({ secret }: SecretReference, serverId: string): Promise<string> {
    const id = credentialIn(secret);
    if (id === null) return noted(secret, await readAndNote(secret));
    const { reference, version } = usable(id, serverId);
    const value = reference === null ? (await sealed.read(`${id}/${version}`)).value : await readAndNote(reference);
    // A lock may have fallen while a place was asked.
    usable(id, serverId);
    return noted(id, value);
  }

  /** Before it is given to anybody. */
  function noted(id: string, value: string): string {
    const known = given.get(id) ?? [];
    if (known[0] === value) return value;
    given.delete(id);
    if (given.size >= MAX_PLACES) given.delete(given.keys().next().value!);
    given.set(id, [value, ...known.filter((one) => one !== value).slice(0, 1)]);
    givenRevision++;
    return value;
  }

  function standing(serverId: string, upstream: Target): Standing {
    let until = Number.POSITIVE_INFINITY;
    const parts: string[] = [];
    for (const secret of referencesIn(upstream)) {
      const id = credentialIn(secret);
      if (id === null) {
        parts.push(`${secret}@${seen.get(secret) ?? ''}`);
        continue;
      }
      const use = book.use(id, serverId);
      if (!use.ok) return { ok: false, why: `the credential ${id} ${use.why}` };
      until = Math.min(until, use.until);
      parts.push(`${secret}@${use.version}${use.reference === null ? '' : `@${seen.get(use.reference) ?? ''}`}`);
    }
    return { ok: true, stamp: parts.join(' '), until };
  }

  async function look(): Promise<void> {
    let changed = false;
    for (const [reference, known] of Array.from(seen)) {
      try {
        const { version } = await read(reference);
        if (version === known || seen.get(reference) !== known) continue;
        seen.set(reference, version);
        changed = true;
      } catch (error) {
        options.onFault?.(reference, isFault(error) ? error.code : 'unexpected');
      }
    }
    if (changed) for (const listener of listeners) listener();
  }

  /** Single flight. */
  function lookAgain(): Promise<void> {
    looking ??= look().finally(() => (looking = null));
    return looking;
  }

  const fingerprint = (value: string): string => createHmac('sha256', fingerprintKey).update(value).digest('hex');
  const bound = (credential: string, version: string): SealBinding => ({ org, credential, version });

  return {
    resolve,
    standing,
    lookAgain,
    held: {
      revision: () => givenRevision,
      values: () => [...given].flatMap(([id, values]) => values.map((value) => ({ id, value }))),
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    vault: {
      seal: (value, credential, version) => ring.seal(value, bound(credential, version)),
      reseal: async (text, credential, version) => {
        const value = await ring.open(text, bound(credential, version));
        if (value === null)
          throw secretFault(
            'secret_refused',
            `the value ${version} of the credential ${credential} does not open: its key is not among secrets.keys, or it was altered`,
          );
        return keyIdOf(text) === ring.newest ? null : ring.seal(value, bound(credential, version));
      },
      fingerprint,
      inspect: async (reference) => {
        const { value, expiresAt } = await read(reference);
        return { fingerprint: fingerprint(value), expiresAt };
      },
      keys: { newest: ring.newest, all: ring.ids, of: keyIdOf },
    },
    close: async () => {
      clearInterval(timer);
      await looking;
    },
  };
}

const CREDENTIAL = 'credential:';
const credentialIn = (secret: string): string | null =>
  secret.startsWith(CREDENTIAL) ? secret.slice(CREDENTIAL.length) : null;

const REFERENCE = /^(?:env|file|vault|credential):/;
/** Definitions are replaced, never changed. */
const REFERENCES = new WeakMap<Target, readonly string[]>();

function referencesIn(upstream: Target): readonly string[] {
  const known = REFERENCES.get(upstream);
  if (known !== undefined) return known;
  const found: string[] = [];
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    const { secret } = value as { readonly secret?: unknown };
    if (typeof secret === 'string' && REFERENCE.test(secret)) found.push(secret);
    else for (const inner of Object.values(value)) look(inner);
  };
  look(upstream);
  REFERENCES.set(upstream, found);
  return found;
}
