/**
 * oidc-provider, configured: the one place where its options are set, so one long table. Promises: no token without a
 * resource, one audience per token, ES256 only, PKCE S256 for everybody, refresh rotation with reuse detection, nothing
 * enabled that is not listed here. Does not render pages and does not listen. RFC 6749, 7636, 8707, 9068, 9207, 9700.
 */
import { Provider, errors } from 'oidc-provider';
import type { Client, ClientMetadata, Configuration, KoaContextWithOIDC, ResourceServer } from 'oidc-provider';
import type { AuthStorage } from './adapter.ts';
import { clientFacts } from './client-facts.ts';
import type { ClientPolicy, TokenClaims } from './client-facts.ts';
import { PUBLIC_GRANT_TYPES, clientMetadata } from './client-metadata.ts';
import { documentHostRefusal, originMayRead } from './clients.ts';
import type { AuthServerSettings } from './config.ts';
import { CONSENTS_CLIENT } from './consents-page.ts';
import type { Consents } from './consents.ts';
import { FLOW_COOKIES } from './cookies.ts';
import { DEVICE_AUTHORIZATION_PATH, DEVICE_PATH } from './device.ts';
import type { DeviceFlow } from './device.ts';
import type { FetchDocument } from './documents.ts';
import { existingGrant } from './existing-grant.ts';
import { clientAssertionCheck } from './grants/client-assertion.ts';
import { claimsOfGrant } from './grants/issue.ts';
import type { AuthServerKeys } from './keys.ts';
import { truthfulMetadata } from './metadata.ts';
import { promptPolicy } from './prompt-policy.ts';
import { REGISTRATION_PATH } from './registration.ts';
import type { Registration } from './registration.ts';
import type { ResourceDirectory } from './resources.ts';
import { OWN_SCOPES, resourceError, settleScopes, wordsOf } from './scopes.ts';
import { personClaims } from './token-claims.ts';
import type { UserDirectory } from './users.ts';

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
  readonly registration: Registration;
  readonly deviceFlow: DeviceFlow;
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

/** Where a request says what it wants: only there do scopes become those that are granted. */
const ASKING_ROUTES: ReadonlySet<string> = new Set([
  'authorization',
  'pushed_authorization_request',
  'device_authorization',
]);

export function createEngine(parts: EngineParts): Provider {
  const { settings, issuer } = parts;
  const { lifetimes } = settings;
  const secure = issuer.startsWith('https:');
  const nowSeconds = (): number => Math.floor(Date.now() / 1_000);
  const settleMetadata = clientMetadata(parts.clients, parts.registration);

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
    if (client.clientId === CONSENTS_CLIENT) throw new errors.InvalidTarget('this client gets no tokens');
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
    if (ASKING_ROUTES.has(route) && params !== undefined)
      params['scope'] = settleScopes(wordsOf(params['scope']), found.value);
    return {
      scope: [...found.value.offered.keys()].join(' '),
      audience: indicator,
      accessTokenFormat: 'jwt',
      accessTokenTTL: lifetimes.accessSeconds,
      jwt: { sign: { alg: 'ES256' } },
    };
  };

  const grants = parts.storage.adapter('Grant');
  const claimsOfPerson = personClaims(parts.directory, parts.tokenClaims, settings.trustedGateways);

  const configuration: Configuration = {
    adapter: parts.registration.storage(parts.storage.adapter),
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
      validator: (_ctx, _key, _value, metadata) => settleMetadata(metadata),
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
      // The last two reach the browser under names of their own (cookies.ts).
      names: { session: secure ? '__Host-remit_session' : 'remit_session', ...FLOW_COOKIES },
      long: { httpOnly: true, sameSite: 'lax', signed: true, secure, path: '/' },
      short: { httpOnly: true, sameSite: 'lax', signed: true, secure },
    },
    enabledJWA: {
      idTokenSigningAlgValues: ['ES256'],
      clientAuthSigningAlgValues: ['ES256', 'PS256', 'RS256', 'EdDSA'],
      // What the gateway verifies.
      dPoPSigningAlgValues: ['ES256', 'PS256', 'RS256', 'EdDSA'],
    },
    expiresWithSession: async () => false,
    extraTokenClaims: async (ctx, token) => {
      // Asked last, for every token of a person: a grant that ended while its token was in the making brings none.
      const { grantId } = token as { grantId?: string };
      if (token.kind === 'AccessToken' && (await grants.find(grantId ?? '')) === undefined)
        throw new errors.InvalidGrant('the grant has ended');
      const byGrant = claimsOfGrant(token);
      return byGrant === undefined ? claimsOfPerson(ctx, token) : { ...byGrant };
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
      deviceFlow: parts.deviceFlow.feature,
      dPoP: { enabled: true, allowReplay: false },
      introspection: {
        enabled: true,
        // Refresh tokens; our access tokens are answered for in token-status.ts.
        allowedPolicy: (_ctx, client, token) =>
          token.clientId === client.clientId && client.clientAuthMethod !== 'none',
      },
      pushedAuthorizationRequests: { enabled: true },
      registration: parts.registration.feature,
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: resourceServer,
        // Required always: "the only one known" would change its meaning when a second server is added.
        defaultResource: (_ctx, client, oneOf) => {
          if (client.clientId === CONSENTS_CLIENT) return undefined;
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
    interactions: {
      policy: promptPolicy(settings.unsafeSilentNativeConsent),
      url: (_ctx, interaction) => `/interaction/${interaction.uid}`,
    },
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    jwks: { keys: [parts.keys.signingKey()] },
    loadExistingGrant: existingGrant(parts.consents, settings.unsafeSilentNativeConsent),
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
    routes: {
      authorization: '/authorize',
      token: '/token',
      revocation: '/revoke',
      introspection: '/introspect',
      jwks: '/jwks',
      pushed_authorization_request: '/par',
      device_authorization: DEVICE_AUTHORIZATION_PATH,
      code_verification: DEVICE_PATH,
      registration: REGISTRATION_PATH,
    },
    scopes: OWN_SCOPES,
    subjectTypes: ['public'],
    ttl: {
      AccessToken: lifetimes.accessSeconds,
      AuthorizationCode: lifetimes.codeSeconds,
      ClientCredentials: lifetimes.accessSeconds,
      DeviceCode: lifetimes.deviceCodeSeconds,
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
    // RFC 9470 asks without OpenID; the engine knows these parameters with it only.
    if (ctx.path === '/authorize' && (ctx.query['max_age'] !== undefined || ctx.query['acr_values'] !== undefined)) {
      const scopes = wordsOf(ctx.query['scope']);
      if (!scopes.includes('openid')) ctx.query = { ...ctx.query, scope: ['openid', ...scopes].join(' ') };
    }
    await next();
    const route = (ctx as Partial<KoaContextWithOIDC>).oidc?.route;
    // The engine signs with the current key alone; those rotated out are published from here.
    if (route === 'jwks') ctx.body = { keys: parts.keys.published() };
    if (route === 'discovery') ctx.body = truthfulMetadata(ctx.body as Record<string, unknown>, parts.moreMetadata());
  });
  return provider;
}
