/**
 * What an assertion by which a client authenticates (private_key_jwt, RFC 7523 3 and its revision) must say beyond what the engine checks:
 * the engine holds the signature to the registered keys, `iss` to the client and the `jti` to once. AN-14.
 */
import { errors } from 'oidc-provider';
import type { Client, Configuration } from 'oidc-provider';
import type { Json } from '../../lib/json.ts';
import { isName, isTime, theOnly } from './signed-text.ts';

type Check = NonNullable<Configuration['assertJwtClientAuthClaimsAndHeader']>;

const MAX_LIFETIME_SECONDS = 300;
const CLOCK_SKEW_SECONDS = 10;
/** A text made for another purpose by the same key is no proof of who calls. */
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'JWT', 'client-authentication+jwt']);
const REFUSED_MEMBERS = ['crit', 'b64', 'jwk', 'jku', 'x5u', 'x5c', 'zip'];

export interface ClientAssertionRule {
  readonly issuer: string;
  readonly tokenEndpoint: string;
  readonly unsafeTokenEndpointAudience: boolean;
  /** Seconds since the epoch. */
  readonly now: () => number;
}

/** Each names what it refuses. A table, so that a test can take one out and see what it held back. */
export const CLIENT_ASSERTION_CHECKS: Readonly<
  Record<string, (claims: Claims, header: Claims, client: string, rule: ClientAssertionRule) => boolean>
> = {
  type: (_claims, header) => TYPES.has(header['typ']),
  header_refused: (_claims, header) => !REFUSED_MEMBERS.some((member) => Object.hasOwn(header, member)),
  issuer: (claims, _header, client) => claims['iss'] === client,
  subject: (claims, _header, client) => claims['sub'] === client,
  // The issuer alone: an assertion for somebody else's token endpoint must not work here, nor ours there.
  audience: ({ aud }, _header, _client, { issuer, tokenEndpoint, unsafeTokenEndpointAudience }) => {
    const audience = theOnly(aud);
    return audience === issuer || (unsafeTokenEndpointAudience && audience === tokenEndpoint);
  },
  expiry: ({ exp }) => isTime(exp),
  expired: ({ exp }, _header, _client, { now }) => Number(exp) > now() - CLOCK_SKEW_SECONDS,
  lifetime: ({ exp, iat }, _header, _client, { now }) =>
    Number(exp) - (isTime(iat) ? Math.min(iat, now() + CLOCK_SKEW_SECONDS) : now()) <= MAX_LIFETIME_SECONDS &&
    Number(exp) - now() <= MAX_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS,
  issued_at: ({ iat }, _header, _client, { now }) =>
    iat === undefined || (isTime(iat) && iat <= now() + CLOCK_SKEW_SECONDS),
  not_before: ({ nbf }, _header, _client, { now }) =>
    nbf === undefined || (isTime(nbf) && nbf <= now() + CLOCK_SKEW_SECONDS),
  id: ({ jti }) => isName(jti),
};

type Claims = Readonly<Record<string, Json | undefined>>;

/** The first check that fails; null when all hold. */
export function clientAssertionProblem(
  claims: Claims,
  header: Claims,
  client: string,
  rule: ClientAssertionRule,
  checks: typeof CLIENT_ASSERTION_CHECKS = CLIENT_ASSERTION_CHECKS,
): string | null {
  return Object.entries(checks).find(([, holds]) => !holds(claims, header, client, rule))?.[0] ?? null;
}

/** For the engine's `assertJwtClientAuthClaimsAndHeader`. @throws invalid_client, the reason for the log alone */
export function clientAssertionCheck(rule: ClientAssertionRule): Check {
  return async (_ctx, claims, header, client: Client) => {
    const problem = clientAssertionProblem(claims as Claims, header as Claims, client.clientId, rule);
    if (problem !== null) throw new errors.InvalidClientAuth(`client assertion: ${problem}`);
  };
}
