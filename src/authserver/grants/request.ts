/**
 * What all grants of this folder share: reading a token request, finding the resource, settling scopes, and the one way a decision becomes
 * a token or an error. Every refusal and every token leaves a line in the log; only the client's own mistakes are told to the client.
 */
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { ok } from '../../lib/result.ts';
import type { ClientFacts } from '../client-facts.ts';
import { clientFacts } from '../client-facts.ts';
import type { DisabledAccounts } from '../events/accounts.ts';
import { mayUse } from '../federation/organisation.ts';
import type { ProtectedResource } from '../resources.ts';
import type { SharedParts } from '../shared.ts';
import type { Issuance } from './issue.ts';
import { issueToken } from './issue.ts';
import type { Proof } from './proof.ts';
import { readProof } from './proof.ts';
import type { UsedAssertions } from './replay.ts';
import type { Decision } from './refusal.ts';
import { asError, refuse } from './refusal.ts';
import type { IdentityProvider, WorkloadIssuer } from './settings.ts';
import type { TrustedIssuers } from './trusted-issuers.ts';

export interface GrantParts extends SharedParts {
  readonly provider: Provider;
  /** People whom a gateway reported inactive. */
  readonly disabled: Pick<DisabledAccounts, 'has'>;
  readonly used: UsedAssertions;
  readonly identityProviders: TrustedIssuers<IdentityProvider>;
  readonly workloads: TrustedIssuers<WorkloadIssuer>;
}

export interface TokenRequest {
  readonly ctx: KoaContextWithOIDC;
  /** The client as the engine authenticated it. */
  readonly clientId: string;
  /** False: it is a public client, and its id is all that it showed. */
  readonly authenticated: boolean;
  readonly facts: ClientFacts;
  /** A parameter; an empty one counts as left out (RFC 6749 3.2). The engine has refused repeated ones. */
  param(name: string): string | null;
  /** Seconds since the epoch. */
  readonly now: number;
  /** Facts for the log, added as they become certain. */
  readonly seen: Record<string, unknown>;
}

/** Turns a decision into the handler that the engine calls. The policy for clients is asked first, and the key, if one is shown, is proved. */
export function grantHandler(
  parts: GrantParts,
  grant: string,
  decide: (request: TokenRequest, proof: Proof | null) => Promise<Decision<Omit<Issuance, 'grant' | 'proof'>>>,
): (ctx: KoaContextWithOIDC) => Promise<void> {
  return async (ctx) => {
    const client = ctx.oidc.client!;
    const request: TokenRequest = {
      ctx,
      clientId: client.clientId,
      authenticated: client.clientAuthMethod !== 'none',
      facts: clientFacts(client),
      param: (name) => {
        const value = ctx.oidc.params?.[name];
        return typeof value === 'string' && value !== '' ? value : null;
      },
      now: Math.floor(parts.clock.now() / 1_000),
      seen: {},
    };
    const proof = await readProof(parts.provider, ctx);
    const allowed = mayCome(parts, request.facts);
    const decision = !allowed.ok
      ? allowed
      : client.dpopBoundAccessTokens === true && proof === null
        ? refuse('invalid_grant', 'proof_required')
        : await decide(request, proof);
    if (!decision.ok) {
      const { error, reason } = decision.error;
      parts.note('token request refused', { grant, clientId: request.clientId, ...request.seen, error, reason });
      throw asError(decision.error);
    }
    const { tokenId } = await issueToken(parts.provider, ctx, { ...decision.value, grant, proof }, request.now);
    parts.note('token granted', {
      grant,
      clientId: decision.value.client.clientId,
      ...request.seen,
      aud: decision.value.resource.resource,
      scope: decision.value.scopes.join(' '),
      jti: tokenId,
      bound: proof !== null,
    });
  };
}

/** The administrator's rule about clients, asked for whoever will stand in the token. */
export function mayCome(parts: Pick<SharedParts, 'clientPolicy'>, client: ClientFacts): Decision<true> {
  const verdict = parts.clientPolicy(client);
  return verdict.allow ? ok(true) : refuse('unauthorized_client', `client_policy: ${verdict.reason}`);
}

/** @param organisation whose person or program asks (ID-01); null: a client whom the settings allow this very resource. */
export async function findResource(
  parts: Pick<SharedParts, 'resources' | 'settings'>,
  indicator: string | null,
  organisation: string | null,
): Promise<Decision<ProtectedResource>> {
  if (indicator === null) return refuse('invalid_request', 'resource_missing');
  const found = await parts.resources.find(indicator);
  if (found.ok) {
    const theirs = organisation === null || mayUse(parts.settings.trustedGateways, { organisation }, indicator);
    return theirs ? found : refuse('invalid_target', 'resource_of_another_organisation');
  }
  const { reason } = found.error;
  return refuse(reason === 'unreachable' ? 'temporarily_unavailable' : 'invalid_target', `resource_${reason}`);
}

/** Clients add these out of habit; neither belongs to a resource, and nothing here is refreshed. */
const HABITS: ReadonlySet<string> = new Set(['openid', 'offline_access']);

/** The scopes of the `scope` parameter; null when it was left out. */
export function askedScopes(request: TokenRequest): readonly string[] | null {
  const text = request.param('scope');
  return text === null ? null : [...new Set(text.split(' '))].filter((scope) => scope !== '' && !HABITS.has(scope));
}

/** What was asked, all of it or nothing: a scope that cannot be had is refused, so that the client learns of it. Nothing asked: what may be had. */
export function settleAll(
  asked: readonly string[] | null,
  allowed: readonly string[],
  resource: ProtectedResource,
): Decision<readonly string[]> {
  const possible = allowed.filter((scope) => resource.offered.has(scope));
  const wanted = asked === null || asked.length === 0 ? possible : asked;
  if (wanted.length === 0 || wanted.some((scope) => !possible.includes(scope))) return refuse('invalid_scope', 'scope');
  return ok([...new Set(wanted)]);
}
