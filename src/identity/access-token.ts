/**
 * Verifies access tokens of the issuers we trust (RFC 9068, 7519, 7662, 8725, 9449; CONTROLS AN-03, AN-07, AN-13). Promises: the algorithm
 * comes from our list, the key from that issuer, the audience is the one of the resource asked about; a bound token is good only with the
 * proof of its holder; a verified token is remembered for a short while and never past its expiry; nothing here throws, whatever the token says.
 * Not checked: standing and revocation (the snapshot; `forget` is a help, not the gate), scopes.
 */
import { hash } from 'node:crypto';
import { compactVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import { type Clock, systemClock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import { type Result, err } from '../lib/result.ts';
import type { Caller } from './caller.ts';
import { holds, readCaller } from './claims.ts';
import { isOpaque, readCompactJws } from './compact-jws.ts';
import { type Possession, type ProofSettings, proofChecker } from './dpop.ts';
import { type Introspector, type PostForm, introspector } from './introspection.ts';
import { type IssuerKeys, type IssuerKeysStatus, createIssuerKeys } from './issuer-keys.ts';
import { type IssuerRule, type TrustedIssuer, issuerRule } from './issuer-rule.ts';
import { isTokenAlgorithm } from './public-jwk.ts';
import type { TokenProblem } from './token-problem.ts';

export type { TokenProblem } from './token-problem.ts';

export interface TokenVerifierOptions {
  readonly issuers: readonly TrustedIssuer[];
  /** Fetches key sets and issuer metadata. In the product this is `guardedJson` with its rule. */
  readonly fetchJwks: (url: string) => Promise<unknown>;
  /** Needed as soon as an issuer has an introspection endpoint. */
  readonly postForm?: PostForm;
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
  /** Longest `act` chain (ID-06). Default 2. */
  readonly maxActDepth?: number;
  readonly proofs?: ProofSettings;
  /** Told once per verification of an attribute that was left out because the token does not hold all of it. */
  readonly onLeftOut?: (issuer: string, claim: string, why: 'overage' | 'too_large') => void;
}

export interface TokenVerifier {
  /**
   * Never rejects. `audience` is the resource's canonical URL. With `possession` the token must be bound to a key and the request
   * must prove it (scheme DPoP); without, it must not be bound.
   */
  verify(token: string, audience: string, possession?: Possession): Promise<Result<Caller, TokenProblem>>;
  /** The caller of a bearer token verified a moment ago for this audience, or undefined: then ask `verify`. Synchronous, a few microseconds. */
  cached(token: string, audience: string): Caller | undefined;
  /** Drops remembered callers (revocation, lock). Also those being verified right now are not remembered. Returns how many it dropped. */
  forget(match: (caller: Caller) => boolean): number;
  jwksStatus(): readonly IssuerKeysStatus[];
}

export interface ClaimsReader {
  /** What a token with these claims would be read as. Checks no signature and no possession, and remembers nothing: for dry runs alone. */
  read(claims: JsonObject, audience: string): Result<Caller, TokenProblem>;
}

interface Remembered {
  readonly caller: Caller;
  readonly keyId: string;
  readonly until: number;
}

interface Issuer {
  readonly rule: IssuerRule;
  readonly keys: IssuerKeys;
}

const INTROSPECTED = '';

/** @throws Fault `token_verifier_rule` when an issuer is named twice, or its settings are unusable or unsafe. */
export function createTokenVerifier(options: TokenVerifierOptions): TokenVerifier & ClaimsReader {
  const {
    clock = systemClock,
    maxLifetimeSeconds = { user: 900, machine: 3600 },
    clockSkewSeconds = 5,
    cacheTtlMs = 60_000,
    maxActDepth = 2,
  } = options;
  const remembered = new LRUCache<string, Remembered>({ max: options.cacheSize ?? 10_000 });
  const proofs = proofChecker(clock, options.proofs);
  // Raised by everything that drops: what was verified before that moment must not be remembered after it.
  let epoch = 0;

  const forgetEntries = (match: (entry: Remembered) => boolean): number => {
    epoch++;
    const gone = [...remembered].filter(([, entry]) => match(entry));
    for (const [key] of gone) remembered.delete(key);
    return gone.length;
  };

  const issuers = new Map<string, Issuer>();
  let opaque: { readonly rule: IssuerRule; readonly asks: Introspector; readonly cacheMs: number } | null = null;
  for (const settings of options.issuers) {
    const rule = issuerRule(settings, { maxLifetimeSeconds, maxActDepth });
    const { issuer, jwksUri, introspection } = settings;
    if (issuers.has(issuer)) throw new Fault('token_verifier_rule', `issuer ${issuer} is listed twice`);
    issuers.set(issuer, {
      rule,
      keys: createIssuerKeys({
        issuer,
        ...(jwksUri !== undefined && { jwksUri }),
        fetchJson: options.fetchJwks,
        clock,
        ttlMs: options.jwksTtlMs ?? 300_000,
        cooldownMs: options.jwksCooldownMs ?? 30_000,
        maxStaleMs: options.jwksMaxStaleMs ?? 600_000,
        onRetired: (ids) => void forgetEntries(({ caller, keyId }) => caller.issuer === issuer && ids.has(keyId)),
      }),
    });
    if (!introspection) continue;
    // INVARIANT: an opaque token does not say whose it is; asking a second issuer would show it the tokens of the first.
    if (opaque) throw new Fault('token_verifier_rule', `issuer ${issuer}: another one has an introspection endpoint`);
    if (!options.postForm) throw new Fault('token_verifier_rule', `issuer ${issuer}: no way to its introspection`);
    const asks = introspector(issuer, introspection, { clock, post: options.postForm });
    opaque = { rule, asks, cacheMs: Math.min(introspection.cacheSeconds ?? 5, 60) * 1_000 };
  }

  /** The claims hold for this resource: then they are a caller, remembered if nothing was dropped since `startedIn`. */
  function admit(
    claims: JsonObject,
    rule: IssuerRule,
    token: string,
    resource: string,
    from: { readonly keyId: string; readonly ttlMs: number; readonly startedIn: number },
  ): Result<Caller, TokenProblem> {
    const { issuer } = rule;
    const onLeftOut = (claim: string, why: 'overage' | 'too_large'): void => options.onLeftOut?.(issuer, claim, why);
    const caller = readCaller(claims, { rule, resource, clockSkewSeconds, onLeftOut }, clock.now());
    if (caller.ok && from.startedIn === epoch) {
      const until = Math.min(clock.now() + from.ttlMs, caller.value.expiresAt * 1000);
      if (until > clock.now())
        remembered.set(cacheKey(token, resource), { caller: caller.value, keyId: from.keyId, until });
    }
    return caller;
  }

  const verifySigned = async (token: string, resource: string): Promise<Result<Caller, TokenProblem>> => {
    const startedIn = epoch;
    const read = readCompactJws(token);
    if (!read.ok) return read;
    const { algorithm, keyId, type, claims } = read.value;
    const issuer = typeof claims['iss'] === 'string' ? issuers.get(claims['iss']) : undefined;
    if (issuer === undefined) return err({ kind: 'issuer' });
    const { rule, keys } = issuer;
    if (!rule.types.has(type) || (type !== 'at+jwt' && !isAccessToken(claims, rule))) return err({ kind: 'type' });
    if (!isTokenAlgorithm(algorithm) || !rule.algorithms.has(algorithm)) return err({ kind: 'algorithm' });
    const key = await keys.find(keyId, algorithm);
    if (typeof key === 'string') return err({ kind: key });
    try {
      await compactVerify(token, key, { algorithms: [algorithm] });
    } catch {
      return err({ kind: 'signature' });
    }
    return admit(claims, rule, token, resource, { keyId, ttlMs: cacheTtlMs, startedIn });
  };

  const establish = async (token: string, resource: string): Promise<Result<Caller, TokenProblem>> => {
    if (opaque === null || !isOpaque(token)) return verifySigned(token, resource);
    const startedIn = epoch;
    const { rule, asks, cacheMs } = opaque;
    const claims = await asks.ask(token);
    return claims.ok
      ? admit(claims.value, rule, token, resource, { keyId: INTROSPECTED, ttlMs: cacheMs, startedIn })
      : claims;
  };

  const lookUp = (token: string, resource: string): Caller | undefined => {
    const key = cacheKey(token, resource);
    const entry = remembered.get(key);
    if (entry === undefined) return undefined;
    if (clock.now() < entry.until) return entry.caller;
    remembered.delete(key);
    return undefined;
  };

  return {
    async verify(token, audience, possession) {
      const known = possession && lookUp(token, audience);
      const result = known ? ({ ok: true, value: known } as const) : await establish(token, audience);
      if (!result.ok) return result;
      const { keyThumbprint } = result.value;
      if (!possession) return keyThumbprint === null ? result : err({ kind: 'sender_binding' });
      if (keyThumbprint === null) return err({ kind: 'proof', detail: 'unbound' });
      const problem = await proofs.check(possession, token, keyThumbprint);
      return problem ? err(problem) : result;
    },
    read(claims, resource) {
      const issuer = typeof claims['iss'] === 'string' ? issuers.get(claims['iss']) : undefined;
      if (issuer === undefined) return err({ kind: 'issuer' });
      const { rule } = issuer;
      return readCaller(claims, { rule, resource, clockSkewSeconds, onLeftOut: () => undefined }, clock.now());
    },
    cached(token, audience) {
      const caller = lookUp(token, audience);
      return caller?.keyThumbprint === null ? caller : undefined;
    },
    forget: (match) => forgetEntries(({ caller }) => match(caller)),
    jwksStatus: () => [...issuers.values()].map(({ keys }) => keys.status()),
  };
}

/** Signs of an ID token (OpenID Connect Core 3.1.3.6, 3.3.2.11): whatever else such a token says, it is none for a resource. */
const ID_TOKEN_CLAIMS = ['at_hash', 'c_hash', 's_hash'] as const;

/** For a token that is not one by its type. Before the signature: what is refused here was signed by nobody we would ask. */
function isAccessToken(claims: JsonObject, { accessTokenWhen, claims: names }: IssuerRule): boolean {
  if (ID_TOKEN_CLAIMS.some((claim) => Object.hasOwn(claims, claim))) return false;
  const client = names.clientId.map((name) => claims[name]).find((value) => typeof value === 'string') ?? '';
  return accessTokenWhen.some((test) => holds(claims, test, client));
}

/** The digest has a fixed length, so no two pairs of token and audience share a key. The token itself is not kept. */
function cacheKey(token: string, audience: string): string {
  return hash('sha256', token, 'base64') + audience;
}
