/**
 * The authorization server's configuration: every key, its default and what breaks without it. Parsed once, strictly;
 * all problems are reported together. Does not touch the disk or the network.
 */
import { z } from 'zod';
import { Fault } from '../lib/fault.ts';

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
});

const redirectUri = z
  .string()
  .max(500)
  .superRefine((text, context) => {
    const problem = redirectUriProblem(text);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  });

/** A client known before it first calls. Always a public client: it proves itself by redirect address and PKCE. */
const PreregisteredClient = z.strictObject({
  clientId: z.string().regex(/^[\w.-]{1,100}$/, 'use letters, digits, dot, dash, underscore; at most 100'),
  name: z.string().min(1).max(100),
  /** Loopback http addresses match on any port (RFC 8252 section 7.3); everything else must be equal to the letter. */
  redirectUris: z.array(redirectUri).min(1).max(20),
});
export type PreregisteredClient = z.infer<typeof PreregisteredClient>;

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
  /** Added to (or, by the same clientId, instead of) the well-known local clients of `clients.ts`. */
  preregisteredClients: z.array(PreregisteredClient).max(200).default([]),
  clientIdMetadata: z
    .strictObject({
      /** Hosts whose metadata documents may act as client ids (CIMD), exact names. Empty (default): none. */
      allowedHosts: z.array(hostName).max(200).default([]),
    })
    .default({ allowedHosts: [] }),
  lifetimes: z
    .strictObject({
      /** Access tokens. They cannot be recalled here, only refused by the gateway's locks: keep this short. */
      accessSeconds: seconds(60, 3_600, 600),
      /** A refresh token that is not used this long dies. */
      refreshIdleSeconds: seconds(300, 30 * 86_400, 8 * 3_600),
      /** A sign-in is asked again after this long, however often it was refreshed. */
      refreshMaxSeconds: seconds(300, 365 * 86_400, 30 * 86_400),
      codeSeconds: seconds(5, 300, 60),
      /** How long the browser stays signed in. */
      sessionSeconds: seconds(60, 7 * 86_400, 8 * 3_600),
      /** How long a person may take over sign-in and consent. */
      interactionSeconds: seconds(60, 3_600, 600),
    })
    .prefault({}),
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
  if (config.evaluationUsers && !isLoopbackHost(issuer.hostname)) {
    context.addIssue({
      code: 'custom',
      path: ['evaluationUsers'],
      message:
        'local users are for trying Remit on one machine, with an issuer on loopback; set it to false and connect an identity provider',
    });
  }
  if (config.lifetimes.refreshIdleSeconds > config.lifetimes.refreshMaxSeconds) {
    context.addIssue({
      code: 'custom',
      path: ['lifetimes', 'refreshIdleSeconds'],
      message: 'must not exceed refreshMaxSeconds',
    });
  }
  for (const [at, id] of config.preregisteredClients.map((client) => client.clientId).entries()) {
    if (config.preregisteredClients.findIndex((client) => client.clientId === id) !== at) {
      context.addIssue({ code: 'custom', path: ['preregisteredClients', at, 'clientId'], message: 'is used twice' });
    }
  }
});

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
