/**
 * An agent that acts alone asks for itself (RFC 6749 4.4; MCP extension oauth-client-credentials). Only a client that an administrator
 * registered, that authenticates, and that has an allowance for this resource. `sub` is the client: nobody stands behind it here; who
 * answers for it stands in the gateway's record of the agent.
 */
import { ok } from '../../lib/result.ts';
import type { GrantParts } from './request.ts';
import { askedScopes, findResource, grantHandler, settleAll } from './request.ts';
import { refuse } from './refusal.ts';

export const CLIENT_CREDENTIALS = 'client_credentials';

export function clientCredentials(parts: GrantParts) {
  const { settings } = parts;
  const registered = new Set(settings.preregisteredClients.map(({ clientId }) => clientId));
  const allowances = new Map(settings.grants.clientCredentials.map(({ client, may }) => [client, may]));
  return grantHandler(parts, CLIENT_CREDENTIALS, async (request) => {
    if (!request.authenticated) return refuse('invalid_client', 'public_client');
    const may = registered.has(request.clientId) ? allowances.get(request.clientId) : undefined;
    if (may === undefined) return refuse('unauthorized_client', 'no_allowance');
    const resource = await findResource(parts, request.param('resource'), null);
    if (!resource.ok) return resource;
    const allowed = may.filter((one) => one.resource === resource.value.resource).flatMap(({ scopes }) => scopes);
    if (allowed.length === 0) return refuse('invalid_target', 'resource_not_allowed');
    const scopes = settleAll(askedScopes(request), allowed, resource.value);
    if (!scopes.ok) return scopes;
    return ok({
      accountId: null,
      client: { clientId: request.clientId },
      resource: resource.value,
      scopes: scopes.value,
      lifetimeSeconds: settings.lifetimes.accessSeconds,
      grantId: null,
      sessionId: null,
      claims: {},
    });
  });
}
