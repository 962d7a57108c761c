/**
 * The signing keys of one trusted issuer, as it publishes them (RFC 7517), found by configuration or by its metadata (RFC 8414).
 * Promises: a key is used for the issuer it came from and for no other; one fetch at a time; however many unknown key ids
 * are presented, no more than one fetch per cooldown (five seconds when the last one failed); a key the issuer withdrew is gone with the next fetch;
 * in an outage known keys serve up to a stated age and not longer.
 * The fetch itself is a port: its size, time and address bounds are `upstream/dial.ts`.
 */
import type { KeyObject } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { Fault, isFault } from '../lib/fault.ts';
import { isJsonObject } from '../lib/json.ts';
import { KEY_TYPES, type TokenAlgorithm, readPublicJwk } from './public-jwk.ts';

export { type TokenAlgorithm, isTokenAlgorithm } from './public-jwk.ts';

export interface IssuerKeysOptions {
  readonly issuer: string;
  /** Absent: asked from the issuer's metadata, whose `issuer` must then be exactly this one. */
  readonly jwksUri?: string;
  readonly fetchJson: (url: string) => Promise<unknown>;
  readonly clock: Clock;
  /** After this age keys are fetched again before use. */
  readonly ttlMs: number;
  /** Least time between two fetches that unknown key ids cause. */
  readonly cooldownMs: number;
  /** Age beyond which known keys are no longer used, when the issuer cannot be asked. */
  readonly maxStaleMs: number;
  /** Called with the ids that a fetch no longer brought. */
  readonly onRetired: (keyIds: ReadonlySet<string>) => void;
}

export interface IssuerKeysStatus {
  readonly issuer: string;
  readonly state: 'never_fetched' | 'fresh' | 'stale' | 'unavailable';
  readonly keyIds: readonly string[];
  readonly fetchedAt: number | null;
  /** Code of the last fetch's fault; null when it went well. */
  readonly lastFault: string | null;
}

export interface IssuerKeys {
  /** The public key for exactly this id and algorithm. Never rejects. */
  find(keyId: string, algorithm: TokenAlgorithm): Promise<KeyObject | 'key_unknown' | 'keys_unavailable'>;
  status(): IssuerKeysStatus;
}

interface PublishedKey {
  readonly keyId: string;
  readonly keyType: string;
  /** The only algorithm its publisher allows; null when it says none. */
  readonly algorithm: string | null;
  readonly key: KeyObject;
}

/** After a failed fetch the next one may come sooner than the cooldown, so that a short outage stays short. */
const RETRY_MS = 5_000;
const MAX_KEYS = 100;

export function createIssuerKeys(options: IssuerKeysOptions): IssuerKeys {
  const { clock } = options;
  let keys: readonly PublishedKey[] = [];
  let fetchedAt: number | null = null;
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let lastFault: string | null = null;
  let discoveredUri: string | null = null;
  let inFlight: Promise<void> | null = null;

  const age = (): number => (fetchedAt === null ? Number.POSITIVE_INFINITY : clock.now() - fetchedAt);

  const fetchKeys = async (): Promise<void> => {
    try {
      const uri = options.jwksUri ?? (discoveredUri ??= await discover(options.issuer, options.fetchJson));
      const next = readKeySet(await options.fetchJson(uri));
      const stay = new Set(next.map(({ keyId }) => keyId));
      const retired = new Set(keys.map(({ keyId }) => keyId).filter((keyId) => !stay.has(keyId)));
      keys = next;
      fetchedAt = clock.now();
      lastFault = null;
      if (retired.size > 0) options.onRetired(retired);
    } catch (error) {
      discoveredUri = null; // it may have moved
      lastFault = isFault(error) ? error.code : 'jwks_fetch_failed';
    }
  };
  const refresh = (): Promise<void> => {
    if (inFlight === null) {
      attemptedAt = clock.now();
      inFlight = fetchKeys().finally(() => (inFlight = null));
    }
    return inFlight;
  };
  const mayFetch = (): boolean =>
    inFlight !== null ||
    clock.now() - attemptedAt >= (lastFault === null ? options.cooldownMs : Math.min(RETRY_MS, options.cooldownMs));

  const lookUp = (keyId: string, algorithm: TokenAlgorithm): KeyObject | null => {
    const fitting = keys.filter(
      (key) =>
        key.keyId === keyId &&
        key.keyType === KEY_TYPES[algorithm] &&
        (key.algorithm === null || key.algorithm === algorithm),
    );
    const [only] = fitting;
    return fitting.length === 1 && only !== undefined ? only.key : null; // two keys under one name: neither
  };

  return {
    async find(keyId, algorithm) {
      if (age() >= options.ttlMs && mayFetch()) {
        // In an outage the known keys serve meanwhile: only the first caller waits for the issuer to not answer.
        const fetching = refresh();
        if (lastFault === null || age() >= options.maxStaleMs) await fetching;
      }
      if (age() >= options.maxStaleMs) return 'keys_unavailable';
      const known = lookUp(keyId, algorithm);
      if (known !== null) return known;
      // ATTACKER-CONTROLLED: the key id. It may be new at the issuer, or made up to make us fetch.
      if (mayFetch()) await refresh();
      // Without an answer from the issuer nobody knows whether the key exists: that is not the caller's fault.
      return lookUp(keyId, algorithm) ?? (lastFault === null ? 'key_unknown' : 'keys_unavailable');
    },
    status: () => ({
      issuer: options.issuer,
      state:
        fetchedAt === null
          ? lastFault === null
            ? 'never_fetched'
            : 'unavailable'
          : age() < options.ttlMs
            ? 'fresh'
            : age() < options.maxStaleMs
              ? 'stale'
              : 'unavailable',
      keyIds: keys.map(({ keyId }) => keyId),
      fetchedAt,
      lastFault,
    }),
  };
}

/** RFC 8414 3 (path-inserted), then OpenID Connect Discovery (path-appended), which many issuers offer alone. */
async function discover(issuer: string, fetchJson: (url: string) => Promise<unknown>): Promise<string> {
  const { origin, pathname } = new URL(issuer);
  const path = pathname === '/' ? '' : pathname;
  const places = [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}${path.replace(/\/$/, '')}/.well-known/openid-configuration`,
  ];
  let fault: unknown;
  for (const place of places) {
    const document = await fetchJson(place).catch((error: unknown) => {
      fault = error;
      return null;
    });
    if (!isJsonObject(document)) continue;
    // ATTACKER-CONTROLLED: whoever answers there. A document that speaks for another issuer ends the search.
    if (document['issuer'] !== issuer) throw new Fault('jwks_issuer_mismatch', `${place} does not name ${issuer}`);
    const uri = document['jwks_uri'];
    if (typeof uri !== 'string') throw new Fault('jwks_uri_missing', `${place} names no jwks_uri`);
    return uri;
  }
  throw new Fault('jwks_metadata_missing', `no metadata found for ${issuer}`, { cause: fault });
}

/** Keys that cannot verify our tokens are left out; a document that is no key set is a fault, and changes nothing. */
function readKeySet(document: unknown): readonly PublishedKey[] {
  const list = isJsonObject(document) ? document['keys'] : undefined;
  if (!Array.isArray(list) || list.length > MAX_KEYS)
    throw new Fault('jwks_malformed', 'not a key set of at most 100 keys');
  return list.flatMap((jwk: unknown) => readKey(jwk) ?? []);
}

function readKey(jwk: unknown): PublishedKey | null {
  if (!isJsonObject(jwk)) return null;
  const { kid, use, alg, key_ops: operations } = jwk as Readonly<Record<string, unknown>>;
  if (typeof kid !== 'string' || kid === '' || kid.length > 256) return null;
  if (use !== undefined && use !== 'sig') return null;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return null;
  const read = readPublicJwk(jwk);
  return read && { keyId: kid, algorithm: typeof alg === 'string' ? alg : null, ...read };
}
