/**
 * Whose assertions count, in two classes that never mix: identity providers speak of people, workload issuers of programs. Keys come from
 * the issuer's own key set over the guarded dialler; a key is used for the issuer it came from. Says who signed, not what it is worth.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Result } from '../../lib/result.ts';
import { err, ok } from '../../lib/result.ts';
import type { IssuerKeys } from '../../identity/issuer-keys.ts';
import { createIssuerKeys } from '../../identity/issuer-keys.ts';
import { isTokenAlgorithm } from '../../identity/public-jwk.ts';
import { guardedJson } from '../../upstream/dial.ts';
import { isLoopbackHost } from '../config.ts';
import type { SignedText } from './signed-text.ts';
import { signatureHolds } from './signed-text.ts';

interface IssuerRule {
  readonly issuer: string;
  readonly jwksUri?: string | undefined;
  readonly algorithms: readonly string[];
  readonly allowedNetworks: readonly string[];
}

export interface TrustedIssuers<R extends IssuerRule> {
  /** Rules for this issuer; none: it is not of this class. */
  rulesFor(issuer: unknown): readonly R[];
  /** Whether the issuer of the rule signed this text. Never rejects; otherwise why not. */
  verify(rule: R, text: string, read: SignedText): Promise<Result<true, string>>;
}

const LOOPBACK_NETWORKS = ['127.0.0.0/8', '::1/128'];
const KEYS = { ttlMs: 300_000, cooldownMs: 30_000, maxStaleMs: 600_000 };

export function trustedIssuers<R extends IssuerRule>(
  rules: readonly R[],
  clock: Clock,
  cooldownMs = KEYS.cooldownMs,
): TrustedIssuers<R> {
  const byIssuer = Map.groupBy(rules, ({ issuer }) => issuer);
  const keys = new Map<R, IssuerKeys>(rules.map((rule) => [rule, keysOf(rule, clock, cooldownMs)]));
  return {
    rulesFor: (issuer) => (typeof issuer === 'string' ? (byIssuer.get(issuer) ?? []) : []),
    async verify(rule, text, { algorithm, keyId }) {
      if (!rule.algorithms.includes(algorithm) || !isTokenAlgorithm(algorithm)) return err('algorithm');
      const key = await keys.get(rule)!.find(keyId, algorithm);
      if (typeof key === 'string') return err(key);
      return (await signatureHolds(text, key, algorithm)) ? ok(true) : err('signature');
    },
  };
}

function keysOf(rule: IssuerRule, clock: Clock, cooldownMs: number): IssuerKeys {
  const own = new URL(rule.issuer);
  const allowedNetworks = [...rule.allowedNetworks, ...(isLoopbackHost(own.hostname) ? LOOPBACK_NETWORKS : [])];
  return createIssuerKeys({
    issuer: rule.issuer,
    ...(rule.jwksUri !== undefined && { jwksUri: rule.jwksUri }),
    fetchJson: (url) => guardedJson(url, { rule: { allowedNetworks, requireHttps: true } }),
    clock,
    ...KEYS,
    cooldownMs,
    onRetired: () => undefined,
  });
}
