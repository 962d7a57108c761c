/**
 * From a server's address to its authorization server (RFC 9728, then RFC 8414 or OpenID Connect Discovery). Promises:
 * every document through the guarded dialler, strictly parsed; `resource` is this server; `issuer` of the metadata is
 * the issuer it was asked for, to the letter. Not done here: whether the gateway has a credential for that issuer.
 */
import type { AuthorizationServer } from 'oauth4webapi';
import { z } from 'zod';
import type { Json } from '../../lib/json.ts';
import type { UpstreamFault } from '../connection.ts';
import { type DialRule, DialFault, dialUrl, guardedJson } from '../dial.ts';
import { type Challenge, checkedScopes } from './challenge.ts';
import { asAuthFault, authFault } from './faults.ts';

export interface Site {
  /** What tokens are asked for (RFC 8707). */
  readonly resource: string;
  readonly server: AuthorizationServer;
  /** Of the resource; null: not said. */
  readonly scopes: readonly string[] | null;
}

export interface DiscoveryRequest {
  readonly url: string;
  readonly rule: DialRule;
  /** Of the last 401; null: there was none. */
  readonly challenge: Challenge | null;
  /** Credentials belong to it; null: any will do. */
  readonly issuer: string | null;
  /** 2025-03-26. */
  readonly originIsAuthorizationServer: boolean;
}

const Resource = z.object({
  resource: z.string().max(2_048),
  authorization_servers: z.array(z.string().max(2_048)).min(1).max(16),
  scopes_supported: z.array(z.string()).max(1_000).exactOptional(),
});

const words = z.array(z.string()).max(1_000).exactOptional();
const endpoint = z.url({ protocol: /^https?$/ }).max(2_048);
const Metadata = z.object({
  issuer: z.string(),
  token_endpoint: endpoint,
  authorization_endpoint: endpoint.exactOptional(),
  registration_endpoint: endpoint.exactOptional(),
  revocation_endpoint: endpoint.exactOptional(),
  scopes_supported: words,
  grant_types_supported: words,
  code_challenge_methods_supported: words,
  token_endpoint_auth_methods_supported: words,
  token_endpoint_auth_signing_alg_values_supported: words,
  dpop_signing_alg_values_supported: words,
  // Without it the library takes RS256 for the only algorithm there is.
  id_token_signing_alg_values_supported: words,
  authorization_response_iss_parameter_supported: z.boolean().exactOptional(),
  client_id_metadata_document_supported: z.boolean().exactOptional(),
});

/** @throws UpstreamFault */
export async function discover(request: DiscoveryRequest): Promise<Site> {
  const { rule, issuer: pinned } = request;
  const { origin, href } = new URL(request.url);
  const found = await protectedResource(request);
  if (found === null) {
    if (!request.originIsAuthorizationServer)
      throw authFault('the server does not say which authorization server is its own (RFC 9728)');
    if (pinned !== null && pinned !== origin) throw moved([origin], pinned);
    return { resource: href, server: (await metadataOf(origin, rule)) ?? assumed(origin), scopes: null };
  }
  const { resource, authorization_servers: servers, scopes_supported: scopes } = found;
  if (pinned !== null && !servers.includes(pinned)) throw moved(servers, pinned);
  const issuer = pinned ?? servers[0]!;
  const server = await metadataOf(issuer, rule);
  if (server === null) throw authFault(`the authorization server ${shown(issuer)} has no metadata`);
  return { resource, server, scopes: scopes === undefined ? null : checkedScopes(scopes) };
}

/** The metadata of an issuer that is known by configuration. @throws UpstreamFault */
export async function issuerMetadata(issuer: string, rule: DialRule): Promise<AuthorizationServer> {
  const server = await metadataOf(issuer, rule);
  if (server === null) throw authFault(`the authorization server ${shown(issuer)} has no metadata`);
  return server;
}

async function protectedResource(request: DiscoveryRequest): Promise<z.infer<typeof Resource> | null> {
  const { url, rule, challenge } = request;
  const { origin, pathname, search, href } = new URL(url);
  const named = challenge?.resourceMetadata ?? null;
  const root = `${origin}/.well-known/oauth-protected-resource`;
  const path = pathname === '/' ? '' : pathname;
  const places = named === null ? [...new Set([`${root}${path}${search}`, root])] : [named];
  for (const place of places) {
    const document = await json(place, rule, 'the metadata of the server');
    if (document === null) continue;
    const parsed = Resource.safeParse(document);
    if (!parsed.success) throw authFault('the metadata of the server is not what RFC 9728 asks for');
    const { resource } = parsed.data;
    // A document at the root may speak of the whole origin, and of nothing else (RFC 9728 section 3.3).
    const own = URL.canParse(resource) ? new URL(resource).href : null;
    if (own !== href && !(place === root && own === `${origin}/`))
      throw authFault('the metadata of the server is of another resource');
    return parsed.data;
  }
  return null;
}

async function metadataOf(issuer: string, rule: DialRule): Promise<AuthorizationServer | null> {
  let at: URL;
  try {
    at = dialUrl(issuer);
  } catch (error) {
    throw asAuthFault(error, 'the address of the authorization server');
  }
  if (at.search !== '' || at.hash !== '')
    throw authFault('the issuer of the authorization server has a query or a fragment');
  const path = at.pathname.replace(/\/$/, '');
  const places = [
    `${at.origin}/.well-known/oauth-authorization-server${path}`,
    `${at.origin}/.well-known/openid-configuration${path}`,
    ...(path === '' ? [] : [`${at.origin}${path}/.well-known/openid-configuration`]),
  ];
  for (const place of places) {
    const document = await json(place, rule, 'the metadata of the authorization server');
    if (document === null) continue;
    const parsed = Metadata.safeParse(document);
    if (!parsed.success) throw authFault(`the metadata of ${shown(issuer)} is not what RFC 8414 asks for`);
    // ATTACKER-CONTROLLED: compared as it stands; two spellings of one URL are two issuers (RFC 8414 section 3.3).
    if (parsed.data.issuer !== issuer) throw authFault(`the metadata of ${shown(issuer)} is of another issuer`);
    return parsed.data;
  }
  return null;
}

/** 2025-03-26, fallbacks for servers without metadata. PKCE is used there, as nothing says that it is not. */
const assumed = (origin: string): AuthorizationServer => ({
  issuer: origin,
  authorization_endpoint: `${origin}/authorize`,
  token_endpoint: `${origin}/token`,
  registration_endpoint: `${origin}/register`,
  code_challenge_methods_supported: ['S256'],
});

/** Null: there is nothing at this place. */
async function json(place: string, rule: DialRule, what: string): Promise<Json | null> {
  try {
    return await guardedJson(place, { rule, maxBytes: 65_536, timeoutMs: 10_000 });
  } catch (error) {
    if (error instanceof DialFault && (error.status ?? 500) < 500) return null;
    throw asAuthFault(error, what);
  }
}

const moved = (servers: readonly string[], pinned: string): UpstreamFault =>
  authFault(
    `the server names the authorization server ${shown(servers[0]!)}, and the credentials of its record belong to ${shown(pinned)}`,
  );

/** For messages: no more of a peer's text than an address. */
const shown = (issuer: string): string => (URL.canParse(issuer) ? new URL(issuer).origin : 'that cannot be read');
