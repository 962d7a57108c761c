/**
 * The grants beyond the authorization code, registered with the engine after it is built (and again after each rotation of
 * keys). Which client may use which grant stands in its metadata (`clients.ts`); this decides what a grant is worth.
 */
import type { ClientMetadata, Provider } from 'oidc-provider';
import type { AuthServerSettings } from '../config.ts';
import { disabledAccounts } from '../events/accounts.ts';
import type { SharedParts } from '../shared.ts';
import { CLIENT_CREDENTIALS, clientCredentials } from './client-credentials.ts';
import { JWT_BEARER, admitWorkloads, jwtBearer, workloadClient } from './jwt-bearer.ts';
import { usedAssertions } from './replay.ts';
import type { GrantParts } from './request.ts';
import { TOKEN_EXCHANGE, tokenExchange } from './token-exchange.ts';
import { trustedIssuers } from './trusted-issuers.ts';

export interface RegisteredGrants {
  /** Members of the server's metadata (RFC 8414) that follow from what is registered. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

export function registerGrants(provider: Provider, shared: SharedParts): RegisteredGrants {
  const { settings, clock, storage, db } = shared;
  const { identityProviders, workloads } = settings.grants.assertionIssuers;
  const parts: GrantParts = {
    ...shared,
    provider,
    disabled: disabledAccounts(db, clock),
    used: usedAssertions(storage, clock),
    identityProviders: trustedIssuers(identityProviders, clock),
    workloads: trustedIssuers(workloads, clock),
  };
  // In the place of the engine's own, which would give an agent everything that the server offers.
  provider.registerGrantType(CLIENT_CREDENTIALS, clientCredentials(parts), ['scope', 'resource']);
  if (isUsed(settings, JWT_BEARER))
    provider.registerGrantType(JWT_BEARER, jwtBearer(parts), ['assertion', 'scope', 'resource']);
  if (workloads.length > 0) admitWorkloads(provider);
  if (isUsed(settings, TOKEN_EXCHANGE))
    provider.registerGrantType(TOKEN_EXCHANGE, tokenExchange(parts), EXCHANGE_PARAMETERS);
  return {
    metadata:
      identityProviders.length > 0
        ? { authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'] }
        : {},
  };
}

/** Clients of the engine that exist for a grant alone. */
export function clientsOfGrants(settings: Pick<AuthServerSettings, 'grants'>): readonly ClientMetadata[] {
  return settings.grants.assertionIssuers.workloads.length > 0 ? [workloadClient] : [];
}

const EXCHANGE_PARAMETERS = [
  'subject_token',
  'subject_token_type',
  'requested_token_type',
  'actor_token',
  'actor_token_type',
  'audience',
  'resource',
  'scope',
];

/** What nobody can use is not offered. A client that lists a grant must find it, or it would be refused altogether. */
function isUsed({ grants, preregisteredClients }: AuthServerSettings, grant: string): boolean {
  const { assertionIssuers, tokenExchange: exchange } = grants;
  const configured =
    grant === JWT_BEARER
      ? assertionIssuers.identityProviders.length + assertionIssuers.workloads.length > 0
      : exchange.rules.length > 0;
  return configured || preregisteredClients.some(({ grantTypes }) => (grantTypes as readonly string[]).includes(grant));
}
