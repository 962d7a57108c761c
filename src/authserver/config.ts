/**
 * The authorization server's configuration: every key, its default and what breaks without it. Parsed once, strictly;
 * all problems are reported together. Does not touch the disk or the network.
 */
import { z } from 'zod';
import { Fault } from '../lib/fault.ts';
import { EventSettings } from './events/settings.ts';
import { IdentityProviders, OrganisationId } from './federation/settings.ts';
import { GrantSettings, grantProblems } from './grants/settings.ts';

const LOOPBACK_HOSTS: ReadonlySet<string> = new Set(['127.0.0.1', '[::1]', 'localhost']);

export const isLoopbackHost = (hostname: string): boolean => LOOPBACK_HOSTS.has(hostname);

/** https, or plain http on this machine only: there a token never crosses a wire. */
function isSafeWebUrl(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname));
}

const originText = z.string().superRefine((text, context) => {
  const url = URL.parse(text);
  if (url === null || url.origin !== text) {
    context.addIssue({
      code: 'custom',
      message: 'must be an origin such as https://host:port, without a path or a slash at its end',
    });
  } else if (!isSafeWebUrl(url)) {
    context.addIssue({ code: 'custom', message: 'must be https; plain http is accepted for loopback addresses only' });
  }
});

const TrustedGateway = z.strictObject({
  /** Origin of a gateway's public or admin listener. Its RFC 9728 metadata says which resources and scopes exist. */
  origin: originText,
  /** Networks in CIDR form that may be dialled although not public, if the gateway has a private address. Loopback needs no entry. */
  allowedNetworks: z.array(z.string().max(64)).max(16).default([]),
  /** Tokens for its resources go to people of this organisation only. */
  organisation: OrganisationId.default('default'),
});

const redirectUri = z
  .string()
  .max(500)
  .superRefine((text, context) => {
    const problem = redirectUriProblem(text);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  });

/** What a client may do at the token endpoint. Not listed: not allowed. */
export const GRANT_TYPES = [
  'authorization_code',
  'refresh_token',
  'client_credentials',
  'urn:ietf:params:oauth:grant-type:device_code',
  'urn:ietf:params:oauth:grant-type:jwt-bearer',
  'urn:ietf:params:oauth:grant-type:token-exchange',
] as const;

const secretReference = z
  .string()
  .max(1_000)
  .regex(
    /^(env:[A-Za-z_][A-Za-z0-9_]*|file:\/.+)$/,
    'use env:NAME or file:/absolute/path; a literal secret is refused',
  );

const secretEnd = z.iso.datetime({ offset: true, error: 'must be a time such as 2026-12-31T00:00:00Z' });

/** Public halves only: a private or a shared key has no business in the server's configuration. */
const PublicKey = z
  .looseObject({ kty: z.enum(['EC', 'RSA', 'OKP']) })
  .refine((key) => key['d'] === undefined && key['k'] === undefined, 'must be the public half of a key');

const Authentication = z.discriminatedUnion('method', [
  /** A public client: it proves itself by redirect address and PKCE. */
  z.strictObject({ method: z.literal('none') }),
  /** RFC 7523: signs an assertion with its own key. Exactly one of `jwks` and `jwksUri`. */
  z.strictObject({
    method: z.literal('private_key_jwt'),
    jwks: z.strictObject({ keys: z.array(PublicKey).min(1).max(10) }).optional(),
    /** Fetched over https from a public address. */
    jwksUri: z
      .url({ protocol: /^https$/ })
      .max(500)
      .optional(),
  }),
  /** A secret is a long-lived credential of its own: it ends, and somebody answers for it (CONTROLS AN-14). Sent as header or in the body. */
  z.strictObject({
    method: z.enum(['client_secret_basic', 'client_secret_post']),
    secret: secretReference,
    /** From then on the client is refused (`invalid_client`). */
    secretExpiresAt: secretEnd,
  }),
]);

/** A client known before it first calls. */
const PreregisteredClient = z.strictObject({
  clientId: z
    .string()
    .regex(/^[\w.-]{1,100}$/, 'use letters, digits, dot, dash, underscore; at most 100')
    .refine((id) => !id.startsWith('registered-') && id !== 'remit-consents', 'is reserved; use another id'),
  name: z.string().min(1).max(100),
  /** Loopback http addresses match on any port (RFC 8252 section 7.3); everything else must be equal to the letter. */
  redirectUris: z.array(redirectUri).max(20).default([]),
  grantTypes: z.array(z.enum(GRANT_TYPES)).min(1).default(['authorization_code', 'refresh_token']),
  authentication: Authentication.default({ method: 'none' }),
  /** Who answers for the client: a name or an address a person reads. Required with a secret. */
  owner: z.string().min(1).max(200).optional(),
  /** Authorization requests of this client must be pushed (RFC 9126). */
  requirePushedRequests: z.boolean().default(false),
  /** Tokens of this client must be bound to a key (RFC 9449). */
  requireDpop: z.boolean().default(false),
  /** A resource server: may introspect the tokens for these resources (RFC 7662), besides its own. */
  introspects: z.array(z.string().max(2_000)).max(100).default([]),
});
export type PreregisteredClient = z.output<typeof PreregisteredClient>;

const hostName = z
  .string()
  .regex(
    /^(?=.{1,253}$)(?=.*[a-z][a-z0-9-]*$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+$/,
    'must be a plain lower-case host name such as claude.ai',
  );

const seconds = (least: number, most: number, preset: number) => z.number().int().min(least).max(most).default(preset);

const Config = z.strictObject({
  /** The issuer URL: an origin. Clients and gateways compare it byte by byte. Port 0 on loopback: the port that `listen` got. */
  issuer: originText,
  listen: z.strictObject({
    /** Address to bind. Anything but loopback needs an https issuer, served by a TLS proxy in front. Default 127.0.0.1. */
    host: z.string().min(1).max(253).default('127.0.0.1'),
    /** 0 takes a free port. */
    port: z.number().int().min(0).max(65_535),
  }),
  /** Folder of this server alone: `authserver.db` and `keys/`. Losing `keys/` signs everybody out; losing the database forgets users and consents. */
  dataDir: z.string().min(1),
  /** Whose resources tokens are issued for. Empty: no token is ever issued. */
  trustedGateways: z.array(TrustedGateway).max(64).default([]),
  /** Sign-in against local users of this installation. For evaluation; off by default, loopback issuers only, and marked on the page. */
  evaluationUsers: z.boolean().default(false),
  /** OpenID Connect and SAML providers that sign people in, and the organisations these are of then. */
  identityProviders: IdentityProviders,
  /** Added to (or, by the same clientId, instead of) the well-known local clients of `clients.ts`. */
  preregisteredClients: z.array(PreregisteredClient).max(200).default([]),
  clientIdMetadata: z
    .strictObject({
      /** Hosts whose metadata documents may act as client ids (CIMD), exact names. Empty (default): none. */
      allowedHosts: z.array(hostName).max(200).default([]),
    })
    .default({ allowedHosts: [] }),
  registration: z
    .strictObject({
      /** Who may register a client by RFC 7591: `nobody` (default), `holders` of the initial access token, `anybody`. Prefer pre-registered clients and metadata documents. */
      mayRegister: z.enum(['nobody', 'holders', 'anybody']).default('nobody'),
      /** The token of `holders`: a secret of at least 32 characters. */
      initialAccessToken: secretReference.optional(),
      /** From then on nobody may register. Required with the token. */
      initialAccessTokenExpiresAt: secretEnd.optional(),
      /** Hosts that https redirect addresses of registered clients may name, exact names. Loopback needs no entry. */
      redirectHosts: z.array(hostName).max(200).default([]),
      /** Registrations of all together within an hour. Above: 429. */
      maxPerHour: z.number().int().min(1).max(10_000).default(20),
      /** Registered clients at one time. Nobody is evicted to make room. */
      maxClients: z.number().int().min(1).max(100_000).default(500),
      /** A client that gets no token for this long is forgotten. */
      unusedDays: z.number().int().min(1).max(365).default(30),
    })
    .prefault({}),
  lifetimes: z
    .strictObject({
      /** Access tokens. They cannot be recalled here, only refused by the gateway's locks: keep this short. */
      accessSeconds: seconds(60, 3_600, 600),
      /** A refresh token that is not used this long dies. */
      refreshIdleSeconds: seconds(300, 30 * 86_400, 8 * 3_600),
      /** A sign-in is asked again after this long, however often it was refreshed. */
      refreshMaxSeconds: seconds(300, 365 * 86_400, 30 * 86_400),
      codeSeconds: seconds(5, 300, 60),
      /** The code that a device shows, and how long it may wait for its person. */
      deviceCodeSeconds: seconds(60, 1_800, 300),
      /** How long the browser stays signed in. */
      sessionSeconds: seconds(60, 7 * 86_400, 8 * 3_600),
      /** How long a person may take over sign-in and consent. */
      interactionSeconds: seconds(60, 3_600, 600),
    })
    .prefault({}),
  grants: GrantSettings,
  events: EventSettings,
  /** Requests per minute and client address, all endpoints together. Above: 429. */
  requestsPerMinute: z.number().int().min(10).max(1_000_000).default(600),
  /**
   * Skip the consent page for native clients that were allowed before. Unsafe: any program on the person's machine can
   * pretend to be a native client and would get a token without a click (RFC 8252 section 8.6).
   */
  unsafeSilentNativeConsent: z.boolean().default(false),
});

const Checked = Config.superRefine((config, context) => {
  const issuer = URL.parse(config.issuer);
  if (issuer === null) return;
  const loopbackListener = isLoopbackHost(config.listen.host) || config.listen.host === '::1';
  if (issuer.protocol === 'http:' && !loopbackListener) {
    context.addIssue({
      code: 'custom',
      path: ['listen', 'host'],
      message: 'an http issuer may listen on loopback only; use an https issuer behind TLS',
    });
  }
  if (issuer.port === '0' && config.listen.port !== 0) {
    context.addIssue({ code: 'custom', path: ['issuer'], message: 'port 0 goes with listen.port 0 only' });
  }
  for (const { path, message } of grantProblems(config)) context.addIssue({ code: 'custom', path, message });
  if (config.evaluationUsers && !isLoopbackHost(issuer.hostname)) {
    context.addIssue({
      code: 'custom',
      path: ['evaluationUsers'],
      message:
        'local users are for trying Remit on one machine, with an issuer on loopback; set it to false and connect an identity provider',
    });
  }
  const { mayRegister, initialAccessToken, initialAccessTokenExpiresAt } = config.registration;
  if (mayRegister === 'holders' && (initialAccessToken === undefined || initialAccessTokenExpiresAt === undefined)) {
    context.addIssue({
      code: 'custom',
      path: ['registration', 'initialAccessToken'],
      message: 'registration by holders of a token needs initialAccessToken and initialAccessTokenExpiresAt',
    });
  }
  if (config.lifetimes.refreshIdleSeconds > config.lifetimes.refreshMaxSeconds) {
    context.addIssue({
      code: 'custom',
      path: ['lifetimes', 'refreshIdleSeconds'],
      message: 'must not exceed refreshMaxSeconds',
    });
  }
  for (const [at, client] of config.preregisteredClients.entries()) {
    const problem = (path: readonly string[], message: string): void =>
      context.addIssue({ code: 'custom', path: ['preregisteredClients', at, ...path], message });
    if (config.preregisteredClients.findIndex(({ clientId }) => clientId === client.clientId) !== at)
      problem(['clientId'], 'is used twice');
    clientProblems(client, problem);
  }
});

/** What members of one client demand of each other. */
function clientProblems(
  client: PreregisteredClient,
  problem: (path: readonly string[], message: string) => void,
): void {
  const { authentication, grantTypes } = client;
  const byCode = grantTypes.includes('authorization_code');
  if (byCode && client.redirectUris.length === 0)
    problem(['redirectUris'], 'the authorization_code grant needs a redirect address');
  if (!byCode && client.redirectUris.length > 0)
    problem(['redirectUris'], 'only the authorization_code grant uses redirect addresses; remove them');
  if (authentication.method === 'none') {
    for (const grant of ['client_credentials', 'urn:ietf:params:oauth:grant-type:token-exchange'] as const) {
      if (grantTypes.includes(grant))
        problem(['authentication'], `the grant ${grant} needs a client that authenticates: use private_key_jwt`);
    }
    if (client.introspects.length > 0)
      problem(['authentication'], 'a client that introspects must authenticate: use private_key_jwt');
  }
  if (
    authentication.method === 'private_key_jwt' &&
    (authentication.jwks === undefined) === (authentication.jwksUri === undefined)
  )
    problem(['authentication'], 'name the keys of the client: either jwks or jwksUri');
  if ('secret' in authentication && client.owner === undefined)
    problem(['owner'], 'a client with a secret needs an owner who answers for it');
}

/** What callers write; defaults may be left out. */
export type AuthServerConfig = z.input<typeof Config>;
/** What the server runs on: every key present. */
export type AuthServerSettings = z.output<typeof Config>;

/** @throws Fault `config_invalid` whose message lists every problem, one per line: key, reason. */
export function parseAuthServerConfig(input: unknown): AuthServerSettings {
  const parsed = Checked.safeParse(input);
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map((issue) => `authserver.${issue.path.join('.') || '(root)'}: ${issue.message}`);
  throw new Fault('config_invalid', `the authorization server's configuration is not valid:\n${lines.join('\n')}`);
}

const RUNS_CODE: ReadonlySet<string> = new Set([
  'javascript:',
  'vbscript:',
  'data:',
  'blob:',
  'file:',
  'about:',
  'filesystem:',
  'ws:',
  'wss:',
  'ftp:',
]);

/**
 * Why a redirect address may not be registered, or null. https anywhere, http on loopback, a private-use scheme of an
 * installed application; no fragment, no user information, no wildcard.
 */
export function redirectUriProblem(text: string): string | null {
  const url = URL.parse(text);
  if (url === null) return 'is not an absolute URL';
  if (text.includes('#')) return 'must not have a fragment';
  if (text.includes('*')) return 'must not have a wildcard';
  if (url.username !== '' || url.password !== '') return 'must not carry user information';
  if (RUNS_CODE.has(url.protocol)) return `must not use the scheme ${url.protocol}`;
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname))
    return 'must be https; plain http is for loopback only';
  return null;
}
