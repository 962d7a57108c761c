/**
 * Which scopes a request ends up with, and where each belongs: to this server or to the resource (RFC 6749 section 3.3,
 * RFC 8707). Does not ask anybody; the resource was found before.
 */
import { errors } from 'oidc-provider';
import type { ProtectedResource, ResourceRefusal } from './resources.ts';

/** Scopes of the server itself. Everything else belongs to a resource. `offline_access` is not needed: refresh is by policy. */
export const OWN_SCOPES = ['openid'];

/** Codes and words for the client; the details stay here. */
const RESOURCE_ERRORS: Record<ResourceRefusal['reason'], () => errors.OIDCProviderError> = {
  malformed: () =>
    new errors.InvalidTarget('resource must be the exact URL of an MCP server, without query or fragment'),
  not_trusted: () => new errors.InvalidTarget('resource is not known to this authorization server'),
  unknown: () => new errors.InvalidTarget('resource is not known to this authorization server'),
  mismatch: () =>
    new errors.InvalidTarget('the metadata of the resource names another resource or another authorization server'),
  unreachable: () => new errors.TemporarilyUnavailable('the metadata of the resource cannot be read now; try again'),
};

export const resourceError = (refusal: ResourceRefusal): errors.OIDCProviderError => RESOURCE_ERRORS[refusal.reason]();

export const wordsOf = (value: unknown): string[] =>
  (typeof value === 'string' ? value : '').split(' ').filter(Boolean);

/**
 * The scopes a request ends up with: what it asked for, or the resource's default when it asked for none of it.
 * @throws invalid_scope, for scopes that nobody offers: refused, not dropped, so that the client learns of it.
 */
export function settleScopes(asked: readonly string[], resource: ProtectedResource): string {
  // Clients add this one out of habit; refresh tokens are issued without it.
  const wanted = asked.filter((scope) => scope !== 'offline_access');
  const unknown = wanted.filter((scope) => !OWN_SCOPES.includes(scope) && !resource.offered.has(scope));
  if (unknown.length > 0) throw new errors.InvalidScope('the resource does not offer this scope', unknown.join(' '));
  const settled = wanted.some((scope) => resource.offered.has(scope)) ? wanted : [...wanted, ...resource.defaultScopes];
  if (settled.length === 0) throw new errors.InvalidScope('ask for a scope: the resource has no default', '');
  return [...new Set(settled)].join(' ');
}

/** Puts each scope where it belongs: the server's own, or the resource's. */
export function grantScopes(
  grant: { addOIDCScope(scope: string): void; addResourceScope(resource: string, scope: string): void },
  resource: string,
  scopes: readonly string[],
): void {
  const own = scopes.filter((scope) => OWN_SCOPES.includes(scope));
  const others = scopes.filter((scope) => !OWN_SCOPES.includes(scope));
  if (own.length > 0) grant.addOIDCScope(own.join(' '));
  if (others.length > 0) grant.addResourceScope(resource, others.join(' '));
}
