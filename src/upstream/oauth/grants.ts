/**
 * A token without anybody's consent: the grants that the gateway can ask for by itself or on behalf of the caller, each exactly once per call.
 * Without a caller (looking at what the server offers) a grant on behalf of callers is the gateway's own account at the same place.
 */
import type { Clock } from '../../lib/clock.ts';
import type { DialRule } from '../dial.ts';
import {
  type ClientCredentialsAuth,
  type EnterpriseManagedAuth,
  type TokenExchangeAuth,
  type WorkloadIdentityAuth,
  accountsOf,
} from './auth-target.ts';
import { type Identity, type ResolveSecret, configuredIdentity, nobody } from './client.ts';
import { type Site, issuerMetadata } from './discovery.ts';
import type { ProofKey } from './dpop.ts';
import { asAuthFault } from './faults.ts';
import { type Holder, tokenFor } from './holder.ts';
import { type Endpoint, type Token, requestToken } from './token-endpoint.ts';

export interface GrantContext {
  readonly site: Site;
  readonly rule: DialRule;
  readonly clock: Clock;
  readonly key: ProofKey | null;
  readonly resolveSecret: ResolveSecret;
  readonly scopes: readonly string[];
}

export type OwnAuth = ClientCredentialsAuth | WorkloadIdentityAuth | EnterpriseManagedAuth | TokenExchangeAuth;

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

/** A token, and who we were when we got it. */
export interface Obtained {
  readonly token: Token;
  readonly endpoint: Endpoint;
}

/** @throws UpstreamFault */
export async function ownToken(auth: OwnAuth, context: GrantContext, holder: Holder | null): Promise<Obtained> {
  const { site, resolveSecret, clock } = context;
  const ask = async (identity: Identity, grant: string, parameters: Record<string, string>, issued?: string) => {
    const endpoint = endpointOf(context, identity);
    return { endpoint, token: await requestToken(endpoint, grant, parameters, issued === undefined ? {} : { issued }) };
  };
  try {
    if (auth.grant === 'workload_identity') {
      const assertion = await resolveSecret(auth.assertion);
      return await ask(nobody, JWT_BEARER, { assertion, ...aimed(context) });
    }
    const identity = await configuredIdentity(auth.client, site.server, resolveSecret);
    if (auth.grant === 'client_credentials' || (holder === null && accountsOf(auth) === 'exchanged'))
      return await ask(identity, 'client_credentials', aimed(context));
    if (auth.grant === 'enterprise_managed') {
      const assertion = await identityAssertion(auth, context, holder);
      return await ask(identity, JWT_BEARER, { assertion, ...aimed(context) });
    }
    const parameters = {
      ...aimed(context),
      ...(auth.audience !== undefined && { audience: auth.audience }),
      requested_token_type: `${TOKEN_TYPE}access_token`,
      subject_token: tokenFor(holder!, site.server.issuer, clock.now()),
      subject_token_type: `${TOKEN_TYPE}access_token`,
    };
    return await ask(identity, TOKEN_EXCHANGE, parameters, `${TOKEN_TYPE}access_token`);
  } catch (error) {
    throw asAuthFault(error, `the token by ${auth.grant}`);
  }
}

/** The identity provider's word for this one authorization server and resource (RFC 8693; draft-ietf-oauth-identity-assertion-authz-grant). */
async function identityAssertion(
  { identityProvider: { issuer, client, subject } }: EnterpriseManagedAuth,
  context: GrantContext,
  holder: Holder | null,
): Promise<string> {
  const { site, rule, clock, resolveSecret } = context;
  try {
    const server = await issuerMetadata(issuer, rule);
    const identity = await configuredIdentity(client, server, resolveSecret);
    const said =
      subject === 'caller'
        ? { token: tokenFor(holder!, server.issuer, clock.now()), type: 'access_token' }
        : { token: await resolveSecret(subject.token), type: subject.type };
    const { value } = await requestToken(
      { server, rule, clock, key: null, ...identity },
      TOKEN_EXCHANGE,
      {
        ...aimed(context),
        requested_token_type: `${TOKEN_TYPE}id-jag`,
        audience: site.server.issuer,
        subject_token: said.token,
        subject_token_type: TOKEN_TYPE + said.type,
      },
      { issued: `${TOKEN_TYPE}id-jag` },
    );
    return value;
  } catch (error) {
    throw asAuthFault(error, 'the assertion of the identity provider');
  }
}
