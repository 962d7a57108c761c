/** A token without a person: the grants that the gateway can ask for by itself, each exactly once per call. */
import type { Clock } from '../../lib/clock.ts';
import type { DialRule } from '../dial.ts';
import type { ClientCredentialsAuth, EnterpriseManagedAuth, WorkloadIdentityAuth } from './auth-target.ts';
import { type Identity, type ResolveSecret, configuredIdentity, nobody } from './client.ts';
import { type Site, issuerMetadata } from './discovery.ts';
import type { ProofKey } from './dpop.ts';
import { asAuthFault } from './faults.ts';
import { type Endpoint, type Token, requestToken } from './token-endpoint.ts';

export interface GrantContext {
  readonly site: Site;
  readonly rule: DialRule;
  readonly clock: Clock;
  readonly key: ProofKey | null;
  readonly resolveSecret: ResolveSecret;
  readonly scopes: readonly string[];
}

export type OwnAuth = ClientCredentialsAuth | WorkloadIdentityAuth | EnterpriseManagedAuth;

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:';

export const endpointOf = ({ site, rule, clock, key }: GrantContext, identity: Identity): Endpoint => ({
  server: site.server,
  rule,
  clock,
  key,
  ...identity,
});

/** What every token request says: for whom, and how much (RFC 8707). */
export const aimed = ({ site, scopes }: GrantContext): Record<string, string> => ({
  resource: site.resource,
  ...(scopes.length > 0 && { scope: scopes.join(' ') }),
});

/** @throws UpstreamFault */
export async function ownToken(auth: OwnAuth, context: GrantContext): Promise<Token> {
  const { site, resolveSecret } = context;
  try {
    switch (auth.grant) {
      case 'client_credentials': {
        const identity = await configuredIdentity(auth.client, site.server, resolveSecret);
        return await requestToken(endpointOf(context, identity), 'client_credentials', aimed(context));
      }
      case 'workload_identity': {
        const assertion = await resolveSecret(auth.assertion);
        return await requestToken(endpointOf(context, nobody), JWT_BEARER, { assertion, ...aimed(context) });
      }
      case 'enterprise_managed': {
        const assertion = await identityAssertion(auth, context);
        const identity = await configuredIdentity(auth.client, site.server, resolveSecret);
        return await requestToken(endpointOf(context, identity), JWT_BEARER, { assertion, ...aimed(context) });
      }
    }
  } catch (error) {
    throw asAuthFault(error, `the token by ${auth.grant}`);
  }
}

/** The identity provider's word for this one authorization server and resource (RFC 8693; draft-ietf-oauth-identity-assertion-authz-grant). */
async function identityAssertion(
  { identityProvider: { issuer, client, subject } }: EnterpriseManagedAuth,
  context: GrantContext,
): Promise<string> {
  const { site, rule, clock, resolveSecret } = context;
  try {
    const server = await issuerMetadata(issuer, rule);
    const identity = await configuredIdentity(client, server, resolveSecret);
    const { value } = await requestToken(
      { server, rule, clock, key: null, ...identity },
      TOKEN_EXCHANGE,
      {
        ...aimed(context),
        requested_token_type: `${TOKEN_TYPE}id-jag`,
        audience: site.server.issuer,
        subject_token: await resolveSecret(subject.token),
        subject_token_type: TOKEN_TYPE + subject.type,
      },
      { issued: `${TOKEN_TYPE}id-jag` },
    );
    return value;
  } catch (error) {
    throw asAuthFault(error, 'the assertion of the identity provider');
  }
}
