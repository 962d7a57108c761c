/**
 * Signing in to the admin API as a person: authorization code with PKCE on a loopback redirect (RFC 8252, RFC 7636, RFC 8707, RFC 9207),
 * or, without a browser on this machine, with a code typed in elsewhere (RFC 8628). Asks for what the API said is missing (RFC 9470).
 * The authorization server is found through the resource metadata of the API (RFC 9728), whose `resource` must be the API itself.
 * Opens no browser unless asked to; the refresh token never leaves the credentials file and its issuer.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as oauth from 'openid-client';
import { z } from 'zod';
import { readCredentials, writeCredentials, type Login } from './credentials.ts';
import { isLoopbackHost } from './config.ts';
import { CliFailure } from './failure.ts';

type Env = Readonly<Record<string, string | undefined>>;

export const CLIENT_ID = 'remit-cli';
export const DEFAULT_SCOPE = 'admin:read admin:write offline_access';

const Metadata = z.object({ resource: z.string(), authorization_servers: z.array(z.url()).min(1) });

/** The API's own statement of who may issue tokens for it. */
async function discoverIssuers(adminUrl: string): Promise<{ resource: string; issuers: string[] }> {
  const resource = `${adminUrl}/api/v1`;
  const url = `${adminUrl}/.well-known/oauth-protected-resource/api/v1`;
  let answer: Response;
  try {
    answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(10_000) });
  } catch {
    throw unreachable(adminUrl);
  }
  const metadata = answer.ok ? Metadata.safeParse(await answer.json().catch(() => null)) : null;
  if (metadata?.success !== true)
    throw new CliFailure(
      'unreachable',
      `${adminUrl} does not answer as a Remit admin API.`,
      'Check --url: it is the origin of the admin listener.',
    );
  // RFC 9728 section 3.3: metadata that names another resource must not be used.
  if (metadata.data.resource !== resource)
    throw new CliFailure(
      'failed',
      `The API calls itself ${metadata.data.resource}, not ${resource}.`,
      'Use the address in admin.publicUrl.',
    );
  return { resource, issuers: metadata.data.authorization_servers };
}

export const unreachable = (adminUrl: string): CliFailure =>
  new CliFailure(
    'unreachable',
    `Nothing answers at ${adminUrl}.`,
    'Is the gateway running? Name its admin listener with --url or REMIT_ADMIN_URL.',
  );

async function discover(issuer: string, clientId: string): Promise<oauth.Configuration> {
  const url = new URL(issuer);
  if (url.protocol !== 'https:' && !isLoopbackHost(url.hostname))
    throw new CliFailure(
      'failed',
      `The issuer ${issuer} is not https.`,
      'Sign-in over plain http is possible on a loopback address only.',
    );
  try {
    return await oauth.discovery(url, clientId, { token_endpoint_auth_method: 'none' }, oauth.None(), {
      algorithm: 'oauth2',
      timeout: 10,
      ...(url.protocol === 'https:' ? {} : { execute: [oauth.allowInsecureRequests] }),
    });
  } catch (cause) {
    throw new CliFailure(
      'unreachable',
      `The authorization server ${issuer} does not answer as one (${short(cause)}).`,
      'Is it running?',
    );
  }
}

export interface SignInOptions {
  readonly adminUrl: string;
  /** Needed only when the API trusts more than one issuer. */
  readonly issuer: string | undefined;
  readonly clientId: string;
  readonly scope: string;
  readonly timeoutMs: number;
  /** The person signs in anew when they last did so longer ago than this. */
  readonly maxAgeSeconds?: number | undefined;
  /** What the sign-in must reach, for example a second factor. */
  readonly acrValues?: readonly string[] | undefined;
  /** Shows the address to a person; with the code that they type in there, when the browser is on another machine. */
  readonly onUrl: (url: string, userCode: string | null) => void;
  /** The browser is on another machine (RFC 8628). */
  readonly device: boolean;
}

/** Signs in and stores the result. Resolves once tokens are on disk. @throws CliFailure */
export async function signIn(options: SignInOptions, env: Env): Promise<Login> {
  const { resource, issuers } = await discoverIssuers(options.adminUrl);
  const issuer = options.issuer ?? (issuers.length === 1 ? issuers[0] : undefined);
  if (issuer === undefined)
    throw new CliFailure(
      'usage',
      `The API trusts several issuers: ${issuers.join(', ')}.`,
      'Choose one with --issuer.',
    );
  if (!issuers.includes(issuer))
    throw new CliFailure('usage', `The API does not trust ${issuer}.`, `Use one of: ${issuers.join(', ')}.`);
  const server = await discover(issuer, options.clientId);
  const tokens = await (options.device ? byDevice : byBrowser)(server, resource, options);
  const login = asLogin(tokens, {
    issuer,
    clientId: options.clientId,
    resource,
    scope: options.scope,
    refreshToken: null,
  });
  const stored = readCredentials(env);
  writeCredentials(env, { current: options.adminUrl, logins: { ...stored.logins, [options.adminUrl]: login } });
  return login;
}

type Tokens = oauth.TokenEndpointResponse & oauth.TokenEndpointResponseHelpers;

/** What the sign-in itself must be like (RFC 9470 section 4). */
const asked = ({ maxAgeSeconds, acrValues }: SignInOptions): Record<string, string> => ({
  ...(maxAgeSeconds !== undefined && { max_age: String(maxAgeSeconds) }),
  ...(acrValues !== undefined && acrValues.length > 0 && { acr_values: acrValues.join(' ') }),
});

const notCompleted = (cause: unknown): never => {
  throw new CliFailure('signed_out', `Sign-in was not completed (${short(cause)}).`, 'Run `remit login` again.');
};

async function byDevice(server: oauth.Configuration, resource: string, options: SignInOptions): Promise<Tokens> {
  if (server.serverMetadata().device_authorization_endpoint === undefined)
    throw new CliFailure(
      'failed',
      'The authorization server lets nobody sign in with a code (it names no device_authorization_endpoint).',
      'Run `remit login` without --device where there is a browser.',
    );
  const parameters = { scope: options.scope, resource, ...asked(options) };
  const begun = await oauth.initiateDeviceAuthorization(server, parameters).catch(notCompleted);
  // ATTACKER-CONTROLLED: the answer. A person types what it says into what it says.
  const url = URL.parse(begun.verification_uri);
  const safe =
    url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname)));
  if (!safe || !/^[\x21-\x7e]{1,64}$/.test(begun.user_code))
    throw new CliFailure('failed', 'The authorization server names no page where the code can be typed in safely.');
  options.onUrl(url.href, begun.user_code);
  return oauth
    .pollDeviceAuthorizationGrant(server, begun, { resource }, { signal: AbortSignal.timeout(options.timeoutMs) })
    .catch(notCompleted);
}

async function byBrowser(server: oauth.Configuration, resource: string, options: SignInOptions): Promise<Tokens> {
  const verifier = oauth.randomPKCECodeVerifier();
  const state = oauth.randomState();
  const listener = await listenForCode(options.timeoutMs);
  try {
    const url = oauth.buildAuthorizationUrl(server, {
      redirect_uri: listener.redirectUri,
      scope: options.scope,
      resource,
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      ...asked(options),
    });
    options.onUrl(url.href, null);
    const arrived = await listener.arrived;
    return await oauth
      .authorizationCodeGrant(server, arrived, { pkceCodeVerifier: verifier, expectedState: state }, { resource })
      .catch(notCompleted);
  } finally {
    listener.close();
  }
}

/** A valid access token for the API: the stored one, or a refreshed one. @throws CliFailure `signed_out` */
export async function accessToken(adminUrl: string, env: Env, nowMs: number): Promise<string> {
  const given = env['REMIT_TOKEN'];
  if (given !== undefined && given !== '') return given;
  const stored = readCredentials(env);
  const login = stored.logins[adminUrl];
  if (login === undefined)
    throw new CliFailure(
      'signed_out',
      `You are not signed in to ${adminUrl}.`,
      'Run `remit login`, or set REMIT_TOKEN.',
    );
  if (login.expiresAt - 30_000 > nowMs) return login.accessToken;
  if (login.refreshToken === null)
    throw new CliFailure('signed_out', 'Your sign-in has ended.', 'Run `remit login` again.');
  const server = await discover(login.issuer, login.clientId);
  const tokens = await oauth
    .refreshTokenGrant(server, login.refreshToken, { resource: login.resource })
    .catch((cause: unknown) => {
      // Only this says that the token is worth nothing any more; a server that has just started says something else.
      if (short(cause) === 'invalid_grant')
        throw new CliFailure('signed_out', 'Your sign-in has ended.', 'Run `remit login` again.');
      throw new CliFailure(
        'signed_out',
        `Your sign-in could not be renewed (${short(cause)}).`,
        'Try again shortly; if it stays so, run `remit login` again.',
      );
    });
  const renewed = asLogin(tokens, login);
  writeCredentials(env, { ...stored, logins: { ...stored.logins, [adminUrl]: renewed } });
  return renewed.accessToken;
}

/** Revokes the refresh token at its issuer as far as it answers, and forgets the sign-in here in any case. */
export async function signOut(
  adminUrl: string,
  env: Env,
): Promise<{ readonly was: boolean; readonly revoked: boolean }> {
  const stored = readCredentials(env);
  const { [adminUrl]: login, ...rest } = stored.logins;
  if (login === undefined) return { was: false, revoked: false };
  writeCredentials(env, { current: stored.current === adminUrl ? null : stored.current, logins: rest });
  try {
    await oauth.tokenRevocation(await discover(login.issuer, login.clientId), login.refreshToken ?? login.accessToken);
    return { was: true, revoked: true };
  } catch {
    return { was: true, revoked: false };
  }
}

/**
 * Signs in once more as the same person by the same client, because the API asked for it. False: nobody is there to ask, or the token
 * came from REMIT_TOKEN. Who is there: a terminal, or what REMIT_SIGN_IN says (`browser`, `device`, `never`).
 */
export async function signInAgain(
  adminUrl: string,
  env: Env,
  wanted: { readonly maxAgeSeconds: number | undefined; readonly acrValues: readonly string[] },
): Promise<boolean> {
  const how = env['REMIT_SIGN_IN'] ?? (process.stderr.isTTY ? 'browser' : 'never');
  const login = readCredentials(env).logins[adminUrl];
  if (!['browser', 'device'].includes(how) || login === undefined || (env['REMIT_TOKEN'] ?? '') !== '') return false;
  await signIn(
    {
      adminUrl,
      issuer: login.issuer,
      clientId: login.clientId,
      scope: login.scope,
      timeoutMs: 300_000,
      ...wanted,
      device: how === 'device',
      onUrl: (address, userCode) => {
        process.stderr.write(`This needs a newer or stronger sign-in.\n${invitation(address, userCode)}`);
      },
    },
    env,
  );
  return true;
}

/** What a person is told to do. */
export const invitation = (address: string, userCode: string | null): string =>
  userCode === null
    ? `Open this address in a browser on this machine:\n\n  ${address}\n\n`
    : `Open this address in a browser on any machine:\n\n  ${address}\n\nand type in this code, which you asked for yourself a moment ago:\n\n  ${userCode}\n\n`;

function asLogin(
  tokens: Tokens,
  known: { issuer: string; clientId: string; resource: string; scope: string; refreshToken: string | null },
): Login {
  return {
    issuer: known.issuer,
    clientId: known.clientId,
    resource: known.resource,
    accessToken: tokens.access_token,
    expiresAt: Date.now() + (tokens.expiresIn() ?? 60) * 1000,
    refreshToken: tokens.refresh_token ?? known.refreshToken,
    scope: tokens.scope ?? known.scope,
  };
}

async function listenForCode(
  timeoutMs: number,
): Promise<{ redirectUri: string; arrived: Promise<URL>; close: () => void }> {
  const done = Promise.withResolvers<URL>();
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', redirectUri);
    const mine =
      request.method === 'GET' &&
      url.pathname === '/callback' &&
      (url.searchParams.has('code') || url.searchParams.has('error'));
    response.writeHead(mine ? 200 : 404, {
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
      connection: 'close',
    });
    response.end(mine ? 'You can close this window and go back to the terminal.\n' : 'Not found.\n');
    if (mine) done.resolve(url);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const redirectUri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`;
  const timer = setTimeout(
    () =>
      done.reject(new CliFailure('signed_out', 'Nobody completed the sign-in in time.', 'Run `remit login` again.')),
    timeoutMs,
  );
  return {
    redirectUri,
    arrived: done.promise,
    close: () => {
      clearTimeout(timer);
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Opens the address with the desktop's own tool; a failure is no more than an unopened window. */
export function openBrowser(url: string): void {
  const tool = process.platform === 'darwin' ? 'open' : 'xdg-open';
  const child = spawn(tool, [url], { stdio: 'ignore', detached: true });
  child.on('error', () => undefined);
  child.unref();
}

/** The OAuth error code, or the name of the fault; never a body, which may hold a token. */
function short(cause: unknown): string {
  if (cause instanceof oauth.ResponseBodyError || cause instanceof oauth.AuthorizationResponseError) return cause.error;
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.name) : 'unknown';
}
