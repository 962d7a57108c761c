/**
 * Workload identity (SEP-1933): a platform says which program is asking, a rule says which agent that is. No registration, no secret, nothing
 * of the assertion is copied into the token. The platform is of a class of its own: it never speaks of people, and a provider of people never
 * speaks here. The token is that of an agent acting alone. RFC 7523 2.1; AN-14.
 */
import type { Json, JsonObject } from '../../lib/json.ts';
import { isJsonObject } from '../../lib/json.ts';
import { ok } from '../../lib/result.ts';
import type { Issuance } from './issue.ts';
import type { Decision } from './refusal.ts';
import { refuse } from './refusal.ts';
import type { GrantParts, TokenRequest } from './request.ts';
import { askedScopes, findResource, mayCome, settleAll } from './request.ts';
import type { WorkloadIssuer, WorkloadRule } from './settings.ts';
import { isName, isTime, textOf, theOnly } from './signed-text.ts';
import type { SignedText } from './signed-text.ts';

/** In the engine, what has no registration stands under this id. Nobody can use it but through this file. */
export const WORKLOAD_CLIENT = 'urn:remit:workload';

export interface WorkloadFacts {
  readonly type: string | null;
  readonly claims: Readonly<Record<string, Json | undefined>>;
  readonly rule: WorkloadIssuer;
  /** Ours. */
  readonly issuer: string;
  /** Seconds since the epoch. */
  readonly now: number;
}

/** What is signed for another purpose is no workload's token, whoever signed it. */
const OTHER_PURPOSES =
  /^(application\/)?(oauth-id-jag|at|dpop|secevent|logout|client-authentication|token-introspection)\+jwt$/i;

/** Each row refuses what its name says. A table, so that a test can take one out and see what it held back. */
export const WORKLOAD_CHECKS: Readonly<Record<string, (facts: WorkloadFacts) => boolean>> = {
  type: ({ type }) => type === null || !OTHER_PURPOSES.test(type),
  audience: ({ claims, rule, issuer }) => {
    // One audience: with more, everybody else it names could come here with it.
    const audience = theOnly(claims['aud']);
    return typeof audience === 'string' && (rule.audiences ?? [issuer]).includes(audience);
  },
  subject: ({ claims }) => isName(claims['sub']),
  expiry: ({ claims }) => isTime(claims['exp']),
  expired: ({ claims, now, rule }) => Number(claims['exp']) > now - rule.clockSkewSeconds,
  issued_at: ({ claims: { iat }, now, rule }) =>
    iat === undefined || (isTime(iat) && iat <= now + rule.clockSkewSeconds),
  not_before: ({ claims: { nbf }, now, rule }) =>
    nbf === undefined || (isTime(nbf) && nbf <= now + rule.clockSkewSeconds),
  // Some platforms leave `iat` out; then what is left counts.
  lifetime: ({ claims: { exp, iat }, now, rule }) => {
    const seconds = Number(exp) - (isTime(iat) ? iat : now);
    return seconds <= rule.maxLifetimeSeconds + (isTime(iat) ? 0 : rule.clockSkewSeconds);
  },
  id: ({ claims, rule }) => rule.reuse === 'until_expiry' || isName(claims['jti']),
};

/** The first check that fails; null when all hold. */
export function workloadProblem(facts: WorkloadFacts, checks: typeof WORKLOAD_CHECKS = WORKLOAD_CHECKS): string | null {
  return Object.entries(checks).find(([, holds]) => !holds(facts))?.[0] ?? null;
}

/** Whether the rule speaks of this workload. */
export function ruleMatches({ subject, claims: conditions }: WorkloadRule, claims: JsonObject): boolean {
  const own = claims['sub'];
  if (typeof own !== 'string') return false;
  // What merely begins with the prefix is nobody: something must follow it.
  const named =
    'equals' in subject
      ? own === subject.equals
      : own.startsWith(subject.startsWith) && own.length > subject.startsWith.length;
  return named && conditions.every(({ claim, equals }) => valueAt(claims, [claim].flat()) === equals);
}

function valueAt(claims: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = claims;
  for (const name of path) value = isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return value;
}

export async function decideWorkload(
  parts: GrantParts,
  request: TokenRequest,
  assertion: { readonly text: string; readonly read: SignedText },
  askedClient: string | null,
): Promise<Decision<Omit<Issuance, 'grant' | 'proof'>>> {
  const { read, text } = assertion;
  const { claims } = read;
  const [rule] = parts.workloads.rulesFor(claims['iss']);
  if (rule === undefined) return refuse('invalid_grant', 'issuer');
  request.seen['workloadIssuer'] = rule.issuer;
  const signed = await parts.workloads.verify(rule, text, read);
  if (!signed.ok)
    return refuse(signed.error === 'keys_unavailable' ? 'temporarily_unavailable' : 'invalid_grant', signed.error);
  const { issuer } = parts;
  const { now } = request;
  const problem = workloadProblem({ type: read.type, claims, rule, issuer, now });
  if (problem !== null) return refuse('invalid_grant', problem);
  request.seen['workload'] = claims['sub'];

  const matching = rule.rules.filter(
    (one) => ruleMatches(one, claims) && (askedClient === null || one.principal === askedClient),
  );
  const principal = matching[0]?.principal;
  if (principal === undefined) return refuse('unauthorized_client', 'no_rule');
  // Which agent it is must not depend on the order of rules.
  if (matching.some((one) => one.principal !== principal)) return refuse('unauthorized_client', 'several_agents');
  request.seen['principal'] = principal;
  const facts = { clientId: principal, name: principal, vouchedBy: null, registeredItself: false, redirectUris: [] };
  const allowed = mayCome(parts, facts);
  if (!allowed.ok) return allowed;
  const iat = isTime(claims['iat']) ? claims['iat'] : now;
  if (parts.endings.isVoid({ jti: '', iat, sub: principal, clientId: principal, grantId: null, sid: null }))
    return refuse('invalid_grant', 'ended');

  const resource = await findResource(parts, request.param('resource'), rule.organisation);
  if (!resource.ok) return resource;
  const may = matching.flatMap((one) => one.may).filter((one) => one.resource === resource.value.resource);
  if (may.length === 0) return refuse('unauthorized_client', 'resource_not_allowed');
  const scopes = settleAll(
    askedScopes(request),
    may.flatMap((one) => one.scopes),
    resource.value,
  );
  if (!scopes.ok) return scopes;

  const left = Number(claims['exp']) - now;
  let lifetimeSeconds = parts.settings.lifetimes.accessSeconds;
  if (rule.reuse === 'once') {
    // Last, so that a refused try does not spend it.
    const expiresAt = Number(claims['exp']) + rule.clockSkewSeconds;
    if (!(await parts.used.use(rule.issuer, textOf(claims['jti']), expiresAt))) return refuse('invalid_grant', 'used');
  } else {
    // What can be shown again must not outlive itself through us.
    if (left < 1) return refuse('invalid_grant', 'expired');
    lifetimeSeconds = Math.min(lifetimeSeconds, left);
  }
  return ok({
    accountId: null,
    client: { clientId: principal },
    resource: resource.value,
    scopes: scopes.value,
    lifetimeSeconds,
    grantId: null,
    sessionId: null,
    claims: { org: rule.organisation },
  });
}
