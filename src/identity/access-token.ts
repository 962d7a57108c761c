/**
 * Verifies access tokens of the issuers we trust (RFC 9068, 7519, 8725; CONTROLS AN-03, AN-07). Promises: the algorithm
 * comes from our list, the key from that issuer, the audience is exactly the resource asked about; a verified token is
 * remembered for a short while and never past its expiry; nothing here throws, whatever the token says.
 * Not checked: standing and revocation (the snapshot; `forget` is a help, not the gate), scopes, DPoP.
 */
import { hash } from 'node:crypto';
import { compactVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import { type Clock, systemClock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import { type Result, err } from '../lib/result.ts';
import type { Caller } from './caller.ts';
import { readCaller } from './claims.ts';
import { readCompactJws } from './compact-jws.ts';
import {
  type IssuerKeys,
  type IssuerKeysStatus,
  type TokenAlgorithm,
  createIssuerKeys,
  isTokenAlgorithm,
} from './issuer-keys.ts';
import type { TokenProblem } from './token-problem.ts';

export type { TokenProblem } from './token-problem.ts';

export interface TrustedIssuer {
  /** Compared exactly with `iss`: no normalising, a trailing slash is another issuer. */
  readonly issuer: string;
  /** Absent: found through the issuer's metadata (RFC 8414, then OpenID Connect Discovery). */
  readonly jwksUri?: string;
  /** Default: ES256, RS256, PS256, EdDSA. */
  readonly algorithms?: readonly TokenAlgorithm[];
  /** Replaces the verifier's own limits for tokens of this issuer. */
  readonly maxLifetimeSeconds?: { readonly user: number; readonly machine: number };
  /** Accept an `aud` list with further members: such a token also works elsewhere, and elsewhere can use it here. */
  readonly unsafeMultipleAudiences?: boolean;
}

export interface TokenVerifierOptions {
  readonly issuers: readonly TrustedIssuer[];
  /** Fetches key sets and issuer metadata. In the product this is `guardedJson` with its rule. */
  readonly fetchJwks: (url: string) => Promise<unknown>;
  readonly clock?: Clock;
  /** Largest `exp - iat`. Default 900 for people, 3600 for clients acting by themselves (AN-07). */
  readonly maxLifetimeSeconds?: { readonly user: number; readonly machine: number };
  /** Tolerance for `exp`, `nbf` and `iat`. Default 5. */
  readonly clockSkewSeconds?: number;
  /** Verified tokens remembered. Default 10,000. */
  readonly cacheSize?: number;
  /** Default 60,000. */
  readonly cacheTtlMs?: number;
  /** Default 300,000. */
  readonly jwksTtlMs?: number;
  /** Default 30,000. */
  readonly jwksCooldownMs?: number;
  /** How old keys may get while their issuer cannot be asked. Default 600,000. */
  readonly jwksMaxStaleMs?: number;
  /** Default 8. */
  readonly maxActDepth?: number;
}

export interface TokenVerifier {
  /** Never rejects. `audience` is the resource's canonical URL, compared exactly. */
  verify(token: string, audience: string): Promise<Result<Caller, TokenProblem>>;
  /** The caller of a token verified a moment ago for this audience, or undefined: then ask `verify`. Synchronous, a few microseconds. */
  cached(token: string, audience: string): Caller | undefined;
  /** Drops remembered callers (revocation, lock). Also those being verified right now are not remembered. Returns how many it dropped. */
  forget(match: (caller: Caller) => boolean): number;
  jwksStatus(): readonly IssuerKeysStatus[];
}

const DEFAULT_ALGORITHMS: readonly TokenAlgorithm[] = ['ES256', 'RS256', 'PS256', 'EdDSA'];

interface Remembered {
  readonly caller: Caller;
  readonly keyId: string;
  readonly until: number;
}

interface Issuer {
  readonly rule: TrustedIssuer;
  readonly algorithms: ReadonlySet<string>;
  readonly keys: IssuerKeys;
}

/** @throws Fault `token_verifier_rule` when an issuer is named twice or an algorithm is not one of ours. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier {
  const {
    clock = systemClock,
    maxLifetimeSeconds = { user: 900, machine: 3600 },
    clockSkewSeconds = 5,
    cacheTtlMs = 60_000,
    maxActDepth = 8,
  } = options;
  const remembered = new LRUCache<string, Remembered>({ max: options.cacheSize ?? 10_000 });
  // Raised by everything that drops: what was verified before that moment must not be remembered after it.
  let epoch = 0;

  const forgetEntries = (match: (entry: Remembered) => boolean): number => {
    epoch++;
    const gone = [...remembered].filter(([, entry]) => match(entry));
    for (const [key] of gone) remembered.delete(key);
    return gone.length;
  };

  const issuers = new Map<string, Issuer>();
  for (const rule of options.issuers) {
    const algorithms: readonly string[] = rule.algorithms ?? DEFAULT_ALGORITHMS;
    const wrong = algorithms.find((algorithm) => !isTokenAlgorithm(algorithm));
    if (wrong !== undefined) {
      throw new Fault(
        'token_verifier_rule',
        `issuer ${rule.issuer}: "${wrong}" is not an asymmetric signature algorithm`,
      );
    }
    if (issuers.has(rule.issuer)) throw new Fault('token_verifier_rule', `issuer ${rule.issuer} is listed twice`);
    if (!URL.canParse(rule.issuer)) throw new Fault('token_verifier_rule', `issuer "${rule.issuer}" is not a URL`);
    issuers.set(rule.issuer, {
      rule,
      algorithms: new Set(algorithms),
      keys: createIssuerKeys({
        issuer: rule.issuer,
        ...(rule.jwksUri !== undefined && { jwksUri: rule.jwksUri }),
        fetchJson: options.fetchJwks,
        clock,
        ttlMs: options.jwksTtlMs ?? 300_000,
        cooldownMs: options.jwksCooldownMs ?? 30_000,
        maxStaleMs: options.jwksMaxStaleMs ?? 600_000,
        onRetired: (ids) => void forgetEntries(({ caller, keyId }) => caller.issuer === rule.issuer && ids.has(keyId)),
      }),
    });
  }

  const verify = async (token: string, audience: string): Promise<Result<Caller, TokenProblem>> => {
    const startedIn = epoch;
    const read = readCompactJws(token);
    if (!read.ok) return read;
    const { algorithm, keyId, claims } = read.value;
    const issuer = typeof claims['iss'] === 'string' ? issuers.get(claims['iss']) : undefined;
    if (issuer === undefined) return err({ kind: 'issuer' });
    if (!isTokenAlgorithm(algorithm) || !issuer.algorithms.has(algorithm)) return err({ kind: 'algorithm' });
    const key = await issuer.keys.find(keyId, algorithm);
    if (typeof key === 'string') return err({ kind: key });
    try {
      await compactVerify(token, key, { algorithms: [algorithm] });
    } catch {
      return err({ kind: 'signature' });
    }
    const caller = readCaller(
      claims,
      {
        audience,
        unsafeMultipleAudiences: issuer.rule.unsafeMultipleAudiences ?? false,
        maxLifetimeSeconds: issuer.rule.maxLifetimeSeconds ?? maxLifetimeSeconds,
        clockSkewSeconds,
        maxActDepth,
      },
      clock.now(),
    );
    if (caller.ok && startedIn === epoch) {
      const until = Math.min(clock.now() + cacheTtlMs, caller.value.expiresAt * 1000);
      if (until > clock.now()) remembered.set(cacheKey(token, audience), { caller: caller.value, keyId, until });
    }
    return caller;
  };

  return {
    verify,
    cached(token, audience) {
      const key = cacheKey(token, audience);
      const entry = remembered.get(key);
      if (entry === undefined) return undefined;
      if (clock.now() < entry.until) return entry.caller;
      remembered.delete(key);
      return undefined;
    },
    forget: (match) => forgetEntries(({ caller }) => match(caller)),
    jwksStatus: () => [...issuers.values()].map(({ keys }) => keys.status()),
  };
}

/** The digest has a fixed length, so no two pairs of token and audience share a key. The token itself is not kept. */
function cacheKey(token: string, audience: string): string {
  return hash('sha256', token, 'base64') + audience;
}
