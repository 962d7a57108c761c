/**
 * Which clients may ask for tokens: well-known public ones, those of the configuration, and documents of listed hosts (CIMD).
 * Promises: unknown and unlisted clients are refused before anything is fetched for them; a secret ends and has an owner.
 * Does not show consent (pages), fetch (documents.ts) or register anybody (registration.ts).
 */
import type { ClientMetadata, JWKS } from 'oidc-provider';
import { Fault } from '../lib/fault.ts';
import { resolveSecret } from '../upstream/secrets.ts';
import { isLoopbackHost, redirectUriProblem } from './config.ts';
import type { PreregisteredClient } from './config.ts';

/** Ids that dynamic registration gives out. A configured client may not begin so. */
export const REGISTERED_PREFIX = 'registered-';

/** 32 characters of base64 are 192 bits. */
const MIN_SECRET_LENGTH = 32;

const loopback = (path: string): string[] => [`http://127.0.0.1${path}`, `http://localhost${path}`];

/** Clients people use every day, so that none of them has to register. Ports are free (RFC 8252 section 7.3). */
const LOCAL_CLIENTS: readonly Pick<PreregisteredClient, 'clientId' | 'name' | 'redirectUris'>[] = [
  { clientId: 'claude-code', name: 'Claude Code', redirectUris: loopback('/callback') },
  {
    clientId: 'cursor',
    name: 'Cursor',
    redirectUris: [
      'cursor://anysphere.cursor-mcp/oauth/callback',
      'cursor://anysphere.cursor-retrieval/oauth/callback',
      ...loopback('/callback'),
    ],
  },
  {
    clientId: 'vscode',
    name: 'Visual Studio Code',
    redirectUris: [...loopback('/'), 'https://vscode.dev/redirect', 'https://insiders.vscode.dev/redirect'],
  },
  {
    clientId: 'mcp-inspector',
    name: 'MCP Inspector',
    redirectUris: [...loopback('/oauth/callback'), ...loopback('/oauth/callback/debug')],
  },
  { clientId: 'remit-cli', name: 'Remit command line', redirectUris: loopback('/callback') },
  {
    clientId: 'mcp-client',
    name: 'MCP client on this computer',
    redirectUris: [...loopback('/callback'), ...loopback('/oauth/callback'), ...loopback('/')],
  },
];

/** Public clients that run on the person's machine. The command line may also sign in by a code on another device (RFC 8628). */
export const WELL_KNOWN_CLIENTS: readonly PreregisteredClient[] = LOCAL_CLIENTS.map((client) => ({
  ...client,
  grantTypes: [
    'authorization_code',
    'refresh_token',
    ...(client.clientId === 'remit-cli' ? (['urn:ietf:params:oauth:grant-type:device_code'] as const) : []),
  ],
  authentication: { method: 'none' },
  requirePushedRequests: false,
  requireDpop: false,
  introspects: [],
}));

export const CONSOLE_CLIENT = 'remit-console';

/**
 * The pages of the gateways' admin listeners, as a client: it may be sent back to the gateways that are trusted anyway, to the letter.
 * Not native: no other program on a person's machine can stand in for it, so what a person allowed it once is not asked again.
 */
export const consoleClient = (gateways: readonly { readonly origin: string }[]): ClientMetadata => ({
  client_id: CONSOLE_CLIENT,
  client_name: 'Remit pages',
  application_type: 'web',
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  redirect_uris: gateways.map(({ origin }) => `${origin}/session/callback`),
});

/** A configured client whose secret, if it has one, was read from where its reference points. */
export type ResolvedClient = PreregisteredClient & { readonly secretText?: string };

/** The configured clients win over well-known ones of the same id. */
export function staticClients(configured: readonly ResolvedClient[]): ClientMetadata[] {
  const byId = new Map<string, ResolvedClient>(
    [...WELL_KNOWN_CLIENTS, ...configured].map((client) => [client.clientId, client]),
  );
  return [...byId.values()].map((client) => ({
    client_id: client.clientId,
    client_name: client.name,
    application_type: 'native',
    grant_types: [...client.grantTypes],
    response_types: client.grantTypes.includes('authorization_code') ? ['code'] : [],
    redirect_uris: [...client.redirectUris],
    require_pushed_authorization_requests: client.requirePushedRequests,
    dpop_bound_access_tokens: client.requireDpop,
    ...authenticationMetadata(client),
  }));
}

function authenticationMetadata({ authentication, secretText }: ResolvedClient): Partial<ClientMetadata> {
  switch (authentication.method) {
    case 'none':
      return { token_endpoint_auth_method: 'none' };
    case 'private_key_jwt':
      return {
        token_endpoint_auth_method: 'private_key_jwt',
        ...(authentication.jwks !== undefined && { jwks: structuredClone(authentication.jwks) as JWKS }),
        ...(authentication.jwksUri !== undefined && { jwks_uri: authentication.jwksUri }),
      };
    default:
      // INVARIANT: without the secret there is no client; the start fails before (`resolveSecrets`).
      return {
        token_endpoint_auth_method: authentication.method,
        client_secret: secretText ?? '',
        client_secret_expires_at: Math.floor(Date.parse(authentication.secretExpiresAt) / 1_000),
      };
  }
}

/** Reads the secrets that the configuration refers to. @throws Fault `secret_reference`, `secret_missing`, `config_invalid` */
export async function resolveSecrets(
  clients: readonly PreregisteredClient[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<ResolvedClient[]> {
  return Promise.all(
    clients.map(async (client) => {
      if (!('secret' in client.authentication)) return client;
      return {
        ...client,
        secretText: await strongSecret(client.authentication.secret, `client ${client.clientId}`, env),
      };
    }),
  );
}

/** @throws Fault `secret_reference`, `secret_missing`, `config_invalid` for one that could be guessed */
export async function strongSecret(
  reference: string,
  whose: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<string> {
  const secret = await resolveSecret({ secret: reference }, env);
  if (secret.length < MIN_SECRET_LENGTH || !/^[\x21-\x7e]+$/.test(secret)) {
    throw new Fault(
      'config_invalid',
      `the secret of the ${whose} must have at least ${MIN_SECRET_LENGTH} printable ASCII characters; make one with: openssl rand -base64 36`,
    );
  }
  return secret;
}

export type ClientRefusal = 'host_not_listed' | 'not_an_exact_url' | 'redirect_uri' | 'policy';

/** May a document be fetched for this client id? ATTACKER-CONTROLLED: the id is whatever stood in the request. */
export function documentHostRefusal(clientId: string, allowedHosts: readonly string[]): ClientRefusal | null {
  const url = URL.parse(clientId);
  // One spelling only, and the draft's demand for a path: two ids must never mean one client.
  if (url === null || url.href !== clientId || url.protocol !== 'https:' || url.pathname === '/')
    return 'not_an_exact_url';
  if (url.port !== '' || url.username !== '' || url.password !== '' || url.hash !== '' || url.search !== '')
    return 'not_an_exact_url';
  return allowedHosts.includes(url.hostname) ? null : 'host_not_listed';
}

/** What a metadata document must say beyond what the engine checks; null if it does. */
export function metadataProblem(metadata: {
  readonly redirect_uris?: unknown;
  readonly client_name?: unknown;
  readonly token_endpoint_auth_method?: unknown;
}): string | null {
  const { redirect_uris: uris, client_name: name } = metadata;
  if (!Array.isArray(uris) || uris.length === 0 || uris.length > 20) return 'redirect_uris must have 1 to 20 members';
  for (const uri of uris) {
    if (typeof uri !== 'string' || uri.length > 500) return 'redirect_uris must be texts of at most 500 characters';
    const problem = redirectUriProblem(uri);
    if (problem !== null) return `redirect_uris: one of them ${problem}`;
  }
  if (name !== undefined && (typeof name !== 'string' || name.length > 200))
    return 'client_name must be a text of at most 200 characters';
  return null;
}

/** A client that listens on loopback runs on the person's machine, whatever its document calls itself; its port is free. */
export function isNativeByRedirect(redirectUris: readonly string[]): boolean {
  return redirectUris.some((uri) => {
    const url = URL.parse(uri);
    return (
      url !== null && ((url.protocol === 'http:' && isLoopbackHost(url.hostname)) || !/^https?:$/.test(url.protocol))
    );
  });
}

/** A browser-based client may read token responses only from an origin it is redirected to (loopback: any port). */
export function originMayRead(origin: string, redirectUris: readonly string[]): boolean {
  const from = URL.parse(origin);
  if (from === null || from.origin !== origin) return false;
  return redirectUris.some((uri) => {
    const to = URL.parse(uri);
    if (to === null) return false;
    const sameLoopback =
      to.protocol === 'http:' &&
      from.protocol === 'http:' &&
      to.hostname === from.hostname &&
      isLoopbackHost(to.hostname);
    return to.origin === origin || sameLoopback;
  });
}
