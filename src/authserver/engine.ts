/**
 * oidc-provider, configured: the one place where its options are set, so one long table. Promises: no token without a
 * resource, one audience per token, ES256 only, PKCE S256 for everybody, refresh rotation with reuse detection, nothing
 * enabled that is not listed here. Does not render pages and does not listen. RFC 6749, 7636, 8707, 9068, 9207, 9700.
 */
import { Provider, errors, interactionPolicy } from 'oidc-provider';
import type { Client, ClientMetadata, Configuration, KoaContextWithOIDC, ResourceServer } from 'oidc-provider';
import type { AuthStorage } from './adapter.ts';
import { documentHostRefusal, isNativeByRedirect, metadataProblem, originMayRead } from './clients.ts';
import type { AuthServerSettings } from './config.ts';
import type { Consents } from './consents.ts';
import type { FetchDocument } from './documents.ts';
import { clientAssertionCheck } from './grants/client-assertion.ts';
import { claimsOfGrant } from './grants/issue.ts';
import type { AuthServerKeys } from './keys.ts';
import type { ProtectedResource, ResourceDirectory, ResourceRefusal } from './resources.ts';
import type { SignedInPerson, UserDirectory } from './users.ts';

/** What is known of a client when a policy is asked about it. */
export interface ClientFacts {
  readonly clientId: string;
  readonly name: string;
  /** Host of its metadata document; null for a pre-registered client. */
  readonly vouchedBy: string | null;
  /** By dynamic registration (RFC 7591): nobody here knows who it is. */
  readonly registeredItself: boolean;
  readonly redirectUris: readonly string[];
}

export type ClientPolicy = (
  client: ClientFacts,
) => { readonly allow: true } | { readonly allow: false; readonly reason: string };

/** More claims for an access token. Must not repeat the registered ones; they win. */
export type TokenClaims = (facts: {
  readonly person: SignedInPerson;
  readonly client: ClientFacts;
  readonly resource: string;
}) => Readonly<Record<string, unknown>>;

export interface EngineParts {
  readonly issuer: string;
  readonly settings: AuthServerSettings;
  readonly keys: AuthServerKeys;
  readonly storage: AuthStorage;
  readonly consents: Consents;
  readonly resources: ResourceDirectory;
  readonly directory: UserDirectory;
  readonly clientPolicy: ClientPolicy;
  readonly tokenClaims: TokenClaims;
  /** Fetches metadata documents and key sets that peers name; must guard the address it connects to. */
  readonly fetchDocument: FetchDocument;
  readonly clients: ClientMetadata[];
  /** Members of the metadata that others bring. Asked at each request. */
  readonly moreMetadata: () => Readonly<Record<string, unknown>>;
  /** Writes the error page. `error` is for the log and must not reach the page. */
  readonly renderError: (
    ctx: KoaContextWithOIDC,
    out: { readonly error: string; readonly error_description?: string | undefined },
    error: unknown,
  ) => void;
  /** A decision worth a log line; never a secret. */
  readonly note: (event: string, facts: Record<string, unknown>) => void;
}

/** Scopes of the server itself. Everything else belongs to a resource. `offline_access` is not needed: refresh is by policy. */
export const OWN_SCOPES = ['openid'];

/** Ids that dynamic registration gives out. A configured client may not begin so. */
export const REGISTERED_PREFIX = 'registered-';

/** What a client gets that says nothing, and the most that a document may ask for. */
const PUBLIC_GRANT_TYPES = ['authorization_code', 'refresh_token'];

/** Grants that a client may have which nobody here registered. Acting alone is for clients that an administrator named. */
function mayAskFor(metadata: ClientMetadata): readonly string[] {
  return metadata.token_endpoint_auth_method === 'private_key_jwt'
    ? [...PUBLIC_GRANT_TYPES, 'urn:ietf:params:oauth:grant-type:jwt-bearer']
    : PUBLIC_GRANT_TYPES;
}

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

export function clientFacts(client: Client): ClientFacts {
  return {
    clientId: client.clientId,
    name: client.clientName ?? client.clientId,
    vouchedBy: client.clientIdMetadataDocument === true ? (URL.parse(client.clientId)?.hostname ?? null) : null,
    registeredItself: client.clientId.startsWith(REGISTERED_PREFIX),
    redirectUris: client.redirectUris ?? [],
  };
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

export const wordsOf = (value: unknown): string[] => (textOf(value) ?? '').split(' ').filter(Boolean);

/**
 * The scopes a request ends up with: what it asked for, or the resource's default when it asked for none of it.
 * @throws invalid_scope, for scopes that nobody offers: refused, not dropped, so that the client learns of it.
 */
function settleScopes(asked: readonly string[], resource: ProtectedResource): string {
  // Clients add this one out of habit; refresh tokens are issued without it.
  const wanted = asked.filter((scope) => scope !== 'offline_access');
  const unknown = wanted.filter((scope) => !OWN_SCOPES.includes(scope) && !resource.offered.has(scope));
  if (unknown.length > 0) throw new errors.InvalidScope('the resource does not offer this scope', unknown.join(' '));
  const settled = wanted.some((scope) => resource.offered.has(scope)) ? wanted : [...wanted, ...resource.defaultScopes];
  if (settled.length === 0) throw new errors.InvalidScope('ask for a scope: the resource has no default', '');
  return [...new Set(settled)].join(' ');
}

export function createEngine(parts: EngineParts): Provider {
  const { settings, issuer } = parts;
  const { lifetimes } = settings;
  const secure = issuer.startsWith('https:');
  const nowSeconds = (): number => Math.floor(Date.now() / 1_000);
  const configured = new Set(parts.clients.map((client) => client.client_id));

  const assertPolicy = (client: Client): void => {
    const verdict = parts.clientPolicy(clientFacts(client));
    if (verdict.allow) return;
    parts.note('client refused by policy', { clientId: client.clientId, reason: verdict.reason });
    throw new errors.UnauthorizedClient('this client may not be used here');
  };

  const resourceServer = async (
    ctx: KoaContextWithOIDC,
    indicator: string,
    client: Client,
  ): Promise<ResourceServer> => {
    assertPolicy(client);
    const { params, route } = ctx.oidc;
    if (params !== undefined && Array.isArray(params['resource']) && params['resource'].length > 1) {
      throw new errors.InvalidTarget('ask for one resource at a time: a token has one audience');
    }
    const found = await parts.resources.find(indicator);
    if (!found.ok) {
      parts.note('resource refused', { reason: found.error.reason, clientId: client.clientId });
      throw resourceError(found.error);
    }
    if (route === 'authorization' && params !== undefined)
      params['scope'] = settleScopes(wordsOf(params['scope']), found.value);
    return {
      scope: [...found.value.offered.keys()].join(' '),
      audience: indicator,
      accessTokenFormat: 'jwt',
      accessTokenTTL: lifetimes.accessSeconds,
      jwt: { sign: { alg: 'ES256' } },
    };
  };

  const policy = interactionPolicy.base();
  policy.get('login')?.checks.add(
    new interactionPolicy.Check('person_gone', 'the signed-in person is gone', (ctx) => {
      return ctx.oidc.session?.accountId !== undefined && ctx.oidc.account === undefined;
    }),
  );
  if (settings.unsafeSilentNativeConsent) policy.get('consent')?.checks.remove('native_client_prompt');

  const configuration: Configuration = {
    adapter: parts.storage.adapter,
    clients: parts.clients,
    clientAuthMethods: ['none', 'private_key_jwt', 'client_secret_basic', 'client_secret_post'],
    clientDefaults: {
      application_type: 'web',
      grant_types: PUBLIC_GRANT_TYPES,
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      // The engine's default is RS256, for which there is no key here.
      id_token_signed_response_alg: 'ES256',
    },
    // The engine calls this for every client, whatever its source, before it checks the metadata itself.
    extraClientMetadata: {
      properties: ['remit_checked'],
      validator: (_ctx, _key, _value, metadata) => {
        // Anything but `query` needs a script or leaves the code in the browser.
        metadata.response_modes = ['query'];
        metadata.id_token_signed_response_alg = 'ES256';
        delete metadata.scope;
        if (configured.has(metadata.client_id)) return;
        const problem = metadataProblem(metadata);
        if (problem !== null) throw new errors.InvalidClientMetadata(problem);
        metadata.application_type = isNativeByRedirect(metadata.redirect_uris ?? []) ? 'native' : 'web';
        // Documents are written for every server; what this one has not is left out, not held against the client.
        metadata.grant_types = (metadata.grant_types ?? []).filter((grant) => mayAskFor(metadata).includes(grant));
      },
    },
    allowOmittingSingleRegisteredRedirectUri: false,
    acceptQueryParamAccessTokens: false,
    assertJwtClientAuthClaimsAndHeader: clientAssertionCheck({
      issuer,
      tokenEndpoint: `${issuer}/token`,
      unsafeTokenEndpointAudience: settings.grants.unsafeTokenEndpointAudience,
      now: nowSeconds,
    }),
    enableHttpPostMethods: false,
    clientBasedCORS: (_ctx, origin, client) => originMayRead(origin, client.redirectUris ?? []),
    clockTolerance: 5,
    cookies: {
      keys: [...parts.keys.cookieKeys()],
      names: secure
        ? {
            session: '__Host-remit_session',
            interaction: '__Secure-remit_interaction',
            resume: '__Secure-remit_resume',
          }
        : { session: 'remit_session', interaction: 'remit_interaction', resume: 'remit_resume' },
      long: { httpOnly: true, sameSite: 'lax', signed: true, secure, path: '/' },
      short: { httpOnly: true, sameSite: 'lax', signed: true, secure },
    },
    enabledJWA: {
      idTokenSigningAlgValues: ['ES256'],
      clientAuthSigningAlgValues: ['ES256', 'PS256', 'RS256', 'EdDSA'],
    },
    expiresWithSession: async () => false,
    extraTokenClaims: async (ctx, token) => {
      const byGrant = claimsOfGrant(token);
      if (byGrant !== undefined) return { ...byGrant };
      if (token.kind !== 'AccessToken' || token.accountId === undefined) return undefined;
      const person = await parts.directory.find(token.accountId);
      if (person === null || token.client === undefined) throw new errors.InvalidGrant('the person is gone');
      const { AuthorizationCode, RefreshToken } = ctx.oidc.entities;
      const authTime = (RefreshToken ?? AuthorizationCode)?.authTime;
      return {
        ...parts.tokenClaims({ person, client: clientFacts(token.client), resource: String(token.aud) }),
        ...(authTime === undefined ? {} : { auth_time: authTime }),
      };
    },
    features: {
      backchannelLogout: { enabled: false },
      claimsParameter: { enabled: false },
      clientCredentials: { enabled: true },
      clientIdMetadataDocument: {
        enabled: true,
        ack: 'draft-02',
        cacheDuration: { min: 60, max: 3_600 },
        allowFetch: (_ctx, clientId) => listedDocument(clientId),
        // Asked at every use, also from the cache.
        allowClient: (_ctx, client) => listedDocument(client.clientId),
      },
      devInteractions: { enabled: false },
      deviceFlow: { enabled: false },
      // The gateway does not verify proofs yet; a token that says it is bound must not be accepted unbound.
      dPoP: { enabled: false },
      introspection: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      registration: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: resourceServer,
        // Required always: "the only one known" would change its meaning when a second server is added.
        defaultResource: (_ctx, _client, oneOf) => {
          if (oneOf !== undefined && oneOf.length > 0) return oneOf;
          throw new errors.InvalidTarget(
            'the resource parameter is required: the URL of the MCP server the token is for',
          );
        },
        useGrantedResource: () => true,
      },
      revocation: {
        enabled: true,
        allowedPolicy: async (_ctx, client, token) => token.clientId === client.clientId,
      },
      rpInitiatedLogout: { enabled: false },
      userinfo: { enabled: false },
    },
    fetch: (url) => parts.fetchDocument(String(url instanceof Request ? url.url : url)),
    fetchResponseBodyLimits: {
      'client_id metadata document': 5 * 1_024,
      jwks_uri: 64 * 1_024,
      sector_identifier_uri: 5 * 1_024,
    },
    findAccount: async (_ctx, sub) => {
      const person = await parts.directory.find(sub);
      return person === null ? undefined : { accountId: sub, claims: async () => ({ sub }) };
    },
    interactions: { policy, url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    jwks: { keys: [parts.keys.signingKey()] },
    loadExistingGrant: async (ctx) => {
      const { result, account, client, params } = ctx.oidc;
      const given = result?.consent?.grantId;
      if (given !== undefined) return ctx.oidc.provider.Grant.find(given);
      const silent = client?.applicationType !== 'native' || settings.unsafeSilentNativeConsent;
      const resource = textOf(params?.['resource']);
      if (!silent || account === undefined || client === undefined || resource === undefined) return undefined;
      const asked = wordsOf(params?.['scope']);
      const before = parts.consents.allowed({ accountId: account.accountId, clientId: client.clientId, resource });
      if (asked.length === 0 || !asked.every((scope) => before.has(scope))) return undefined;
      const grant = new ctx.oidc.provider.Grant({ accountId: account.accountId, clientId: client.clientId });
      grantScopes(grant, resource, asked);
      await grant.save();
      return grant;
    },
    pkce: { required: () => true },
    renderError: (ctx, out, error) => parts.renderError(ctx, out, error),
    responseTypes: ['code'],
    rotateRefreshToken: async (ctx) => {
      const token = ctx.oidc.entities.RefreshToken;
      const client = ctx.oidc.client;
      if (token === undefined || client === undefined) return true;
      if (token.totalLifetime() >= lifetimes.refreshMaxSeconds)
        throw new errors.InvalidGrant('refresh token is expired');
      // Everything that can fail is tried before the old token is spent: else a gateway that restarts would sign everybody out.
      for (const resource of [token.resource ?? []].flat()) await resourceServer(ctx, resource, client);
      return true;
    },
    routes: { authorization: '/authorize', token: '/token', revocation: '/revoke', jwks: '/jwks' },
    scopes: OWN_SCOPES,
    subjectTypes: ['public'],
    ttl: {
      AccessToken: lifetimes.accessSeconds,
      AuthorizationCode: lifetimes.codeSeconds,
      ClientCredentials: lifetimes.accessSeconds,
      Grant: lifetimes.refreshMaxSeconds + lifetimes.interactionSeconds + lifetimes.codeSeconds,
      IdToken: lifetimes.accessSeconds,
      Interaction: lifetimes.interactionSeconds,
      RefreshToken: (_ctx, token) =>
        Math.max(
          1,
          Math.min(
            lifetimes.refreshIdleSeconds,
            lifetimes.refreshMaxSeconds - (nowSeconds() - (token.iiat ?? nowSeconds())),
          ),
        ),
      Session: lifetimes.sessionSeconds,
    },
  };

  function listedDocument(clientId: string): boolean {
    const refusal = documentHostRefusal(clientId, settings.clientIdMetadata.allowedHosts);
    if (refusal !== null) parts.note('client document refused', { reason: refusal });
    return refusal === null;
  }

  const provider = new Provider(issuer, configuration);
  // The listener in front has set the forwarded headers to the issuer's own, whatever the client sent.
  provider.proxy = true;

  provider.use(async (ctx, next) => {
    await next();
    const route = (ctx as Partial<KoaContextWithOIDC>).oidc?.route;
    // The engine signs with the current key alone; those rotated out are published from here.
    if (route === 'jwks') ctx.body = { keys: parts.keys.published() };
    if (route === 'discovery') ctx.body = truthfulMetadata(ctx.body as Record<string, unknown>, parts.moreMetadata());
  });
  return provider;
}

/** RFC 8414. The engine lists response modes that no client may use here. */
function truthfulMetadata(
  engineSays: Record<string, unknown>,
  more: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return {
    ...engineSays,
    ...more,
    response_modes_supported: ['query'],
    revocation_endpoint_auth_methods_supported: ['none', 'private_key_jwt'],
  };
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
