/**
 * Enterprise-managed authorization: the company's identity provider says by an ID-JAG which person a client may act for, and at which server
 * (draft-ietf-oauth-identity-assertion-authz-grant, MCP extension; CONTROLS ID-02). Every check is a row of one table over verified claims;
 * whose signature it is was settled before. The account is the same as by sign-in in a browser. Never a refresh token.
 */
import type { Json, JsonObject } from '../../lib/json.ts';
import { isJsonObject } from '../../lib/json.ts';
import { ok } from '../../lib/result.ts';
import { sha256Hex } from '../../lib/bytes.ts';
import type { ProtectedResource } from '../resources.ts';
import type { Issuance } from './issue.ts';
import type { Proof } from './proof.ts';
import type { Decision } from './refusal.ts';
import { refuse } from './refusal.ts';
import type { GrantParts, TokenRequest } from './request.ts';
import { askedScopes, findResource } from './request.ts';
import type { IdentityProvider } from './settings.ts';
import { isName, isTime, readScopes, textOf, theOnly } from './signed-text.ts';
import type { SignedText } from './signed-text.ts';

export const ID_JAG = 'oauth-id-jag+jwt';

export interface AssertionFacts {
  readonly type: string | null;
  readonly claims: Readonly<Record<string, Json | undefined>>;
  readonly rule: IdentityProvider;
  /** Ours. */
  readonly issuer: string;
  /** Of the client that sends it. */
  readonly clientId: string;
  /** Seconds since the epoch. */
  readonly now: number;
  readonly asked: { readonly resource: string | null; readonly scopes: readonly string[] | null };
}

const withoutSlash = (text: string): string => text.replace(/\/$/, '');

/** The resources that an assertion names; null when that is no list of texts. */
function resourcesOf(resource: Json | undefined): readonly string[] | null {
  const list: readonly (Json | undefined)[] = Array.isArray(resource) ? (resource as readonly Json[]) : [resource];
  return list.length <= 20 && list.every((one) => typeof one === 'string' && one !== '') ? (list as string[]) : null;
}

/** Each row refuses what its name says. A table, so that a test can take one out and see what it held back. */
export const IDENTITY_ASSERTION_CHECKS: Readonly<Record<string, (facts: AssertionFacts) => boolean>> = {
  type: ({ type }) => type === ID_JAG,
  // Exactly us: an assertion for another server must not work here, even when that server is a neighbour.
  audience: ({ claims, issuer, rule }) => {
    const audience = theOnly(claims['aud']);
    if (typeof audience !== 'string') return false;
    return audience === issuer || (rule.unsafeIgnoreTrailingSlash && withoutSlash(audience) === withoutSlash(issuer));
  },
  client: ({ claims, clientId }) => claims['client_id'] === clientId,
  subject: ({ claims, rule }) => isName(claims['sub']) && isName(claims[rule.subjectClaim]),
  id: ({ claims }) => isName(claims['jti']),
  expiry: ({ claims }) => isTime(claims['exp']),
  issued_at: ({ claims }) => isTime(claims['iat']),
  expired: ({ claims, now, rule }) => Number(claims['exp']) > now - rule.clockSkewSeconds,
  issued_later: ({ claims, now, rule }) => Number(claims['iat']) <= now + rule.clockSkewSeconds,
  not_before: ({ claims: { nbf }, now, rule }) =>
    nbf === undefined || (isTime(nbf) && nbf <= now + rule.clockSkewSeconds),
  lifetime: ({ claims, rule }) => {
    const seconds = Number(claims['exp']) - Number(claims['iat']);
    return seconds > 0 && seconds <= rule.maxLifetimeSeconds;
  },
  // A provider of many companies: one that we did not expect to name a tenant, or names another, speaks of somebody else's people.
  tenant: ({ claims, rule: { tenant } }) =>
    tenant === undefined ? claims['tenant'] === undefined : claims[tenant.claim] === tenant.value,
  audience_tenant: ({ claims, rule }) =>
    claims['aud_tenant'] === undefined || claims['aud_tenant'] === (rule.audienceTenant ?? rule.organisation),
  resource: ({ claims, rule }) =>
    claims['resource'] === undefined ? rule.unsafeResourceFromRequest : resourcesOf(claims['resource']) !== null,
  resource_of_request: ({ claims: { resource }, asked }) =>
    resource === undefined || asked.resource === null || (resourcesOf(resource) ?? []).includes(asked.resource),
  scope: ({ claims }) => readScopes(claims['scope']) !== null,
  scope_of_request: ({ claims, asked, rule }) =>
    !rule.scopesWithinRequest ||
    asked.scopes === null ||
    (readScopes(claims['scope']) ?? []).every((scope) => asked.scopes!.includes(scope) || scope === 'openid'),
  sign_in: ({ claims: { acr, amr, auth_time: authTime }, now, rule }) =>
    (acr === undefined || isName(acr)) &&
    (amr === undefined || (Array.isArray(amr) && amr.length <= 20 && amr.every((method) => isName(method as Json)))) &&
    (authTime === undefined || (isTime(authTime) && authTime <= now + rule.clockSkewSeconds)),
  // Somebody who acts for somebody: the chain would be lost here.
  actor: ({ claims }) => claims['act'] === undefined,
  key: ({ claims: { cnf } }) =>
    cnf === undefined || (isJsonObject(cnf) && Object.keys(cnf).length === 1 && isName(cnf['jkt'])),
};

/** The first check that fails; null when all hold. */
export function identityAssertionProblem(
  facts: AssertionFacts,
  checks: typeof IDENTITY_ASSERTION_CHECKS = IDENTITY_ASSERTION_CHECKS,
): string | null {
  return Object.entries(checks).find(([, holds]) => !holds(facts))?.[0] ?? null;
}

/** Chosen by what the assertion says; nothing of it is believed before the signature of exactly this rule holds. */
function ruleFor(rules: readonly IdentityProvider[], claims: JsonObject): IdentityProvider | undefined {
  return rules.length <= 1 ? rules[0] : rules.find(({ tenant }) => tenant && claims[tenant.claim] === tenant.value);
}

export async function decideIdentityAssertion(
  parts: GrantParts,
  request: TokenRequest,
  proof: Proof | null,
  assertion: { readonly text: string; readonly read: SignedText },
): Promise<Decision<Omit<Issuance, 'grant' | 'proof'>>> {
  const { read, text } = assertion;
  const { claims } = read;
  const rules = parts.identityProviders.rulesFor(claims['iss']);
  const rule = ruleFor(rules, claims);
  if (rule === undefined) return refuse('invalid_grant', rules.length === 0 ? 'issuer' : 'tenant');
  request.seen['identityProvider'] = rule.id;
  if (!request.authenticated && !rule.unsafePublicClients) return refuse('invalid_client', 'public_client');
  const signed = await parts.identityProviders.verify(rule, text, read);
  if (!signed.ok)
    return refuse(signed.error === 'keys_unavailable' ? 'temporarily_unavailable' : 'invalid_grant', signed.error);

  const asked = { resource: request.param('resource'), scopes: askedScopes(request) };
  const { issuer } = parts;
  const { clientId, now } = request;
  const problem = identityAssertionProblem({ type: read.type, claims, rule, issuer, clientId, now, asked });
  if (problem !== null) return refuse('invalid_grant', problem);

  const account = `${rule.id}|${textOf(claims[rule.subjectClaim])}`;
  request.seen['sub'] = account;
  const bound = isJsonObject(claims['cnf']) ? claims['cnf']['jkt'] : undefined;
  if (bound !== undefined && bound !== proof?.thumbprint) return refuse('invalid_grant', 'key_not_proved');
  const iat = Number(claims['iat']);
  // Signed before this person or client was ended here: a new token would bring back what was just taken away.
  if (parts.endings.isVoid({ jti: '', iat, sub: account, clientId, grantId: null, sid: null }))
    return refuse('invalid_grant', 'ended');
  if (parts.disabled.has(account)) return refuse('invalid_grant', 'account_disabled');

  const named = claims['resource'] === undefined ? [] : (resourcesOf(claims['resource']) ?? []);
  if (asked.resource === null && named.length > 1) return refuse('invalid_request', 'resource_missing');
  const resource = await findResource(parts, asked.resource ?? named[0] ?? null, rule.organisation);
  if (!resource.ok) return resource;
  const scopes = grantedScopes(resource.value, asked.scopes, claims['scope']);
  if (scopes.length === 0) return refuse('invalid_scope', 'scope');

  // Last, so that a refused try does not spend it. INVARIANT: between this and the token nothing is decided any more.
  if (!rule.unsafeAcceptAgain) {
    const expiresAt = Number(claims['exp']) + rule.clockSkewSeconds;
    if (!(await parts.used.use(rule.issuer, textOf(claims['jti']), expiresAt))) return refuse('invalid_grant', 'used');
  }
  request.seen['assertion'] = sha256Hex(textOf(claims['jti'])).slice(0, 16);
  const lifetimeSeconds = parts.settings.lifetimes.accessSeconds;
  const { acr, amr, auth_time: authTime } = claims;
  return ok({
    accountId: account,
    client: request.ctx.oidc.client!,
    resource: resource.value,
    scopes,
    lifetimeSeconds,
    grantId: await saveGrant(parts, account, clientId, resource.value, scopes),
    sessionId: null,
    claims: {
      org: rule.organisation,
      ...(acr !== undefined && { acr }),
      ...(amr !== undefined && { amr }),
      ...(authTime !== undefined && { auth_time: authTime }),
    },
  });
}

/** What was asked, what the provider lets, and what the server has: all three. A provider that names no scope lets the server's default. */
function grantedScopes(
  resource: ProtectedResource,
  asked: readonly string[] | null,
  claimed: Json | undefined,
): readonly string[] {
  const lets = claimed === undefined ? resource.defaultScopes : (readScopes(claimed) ?? []);
  return lets.filter((scope) => resource.offered.has(scope) && (asked === null || asked.includes(scope)));
}

/** What the token hangs on, so that it can be revoked like one from a browser. Lives as long as the token. */
async function saveGrant(
  { provider, settings }: GrantParts,
  accountId: string,
  clientId: string,
  resource: ProtectedResource,
  scopes: readonly string[],
): Promise<string> {
  const lasts = { expiresIn: settings.lifetimes.accessSeconds + 60 };
  const grant = new provider.Grant({ accountId, clientId, ...lasts });
  grant.addResourceScope(resource.resource, scopes.join(' '));
  return grant.save();
}
