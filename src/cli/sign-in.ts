/**
 * Signing in to the admin API as a person: authorization code with PKCE on a loopback redirect (RFC 8252, RFC 7636, RFC 8707, RFC 9207).
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
  /** Shows the address to a person. */
  readonly onUrl: (url: string) => void;
}

/** Signs in and stores the result. Resolves once tokens are on disk. */
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
    });
    options.onUrl(url.href);
    const arrived = await listener.arrived;
    const tokens = await oauth
      .authorizationCodeGrant(server, arrived, { pkceCodeVerifier: verifier, expectedState: state }, { resource })
      .catch((cause: unknown) => {
        throw new CliFailure('signed_out', `Sign-in was not completed (${short(cause)}).`, 'Run `remit login` again.');
      });
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
  const tokens = await oauth.refreshTokenGrant(server, login.refreshToken, { resource: login.resource }).catch(() => {
    throw new CliFailure('signed_out', 'Your sign-in has ended.', 'Run `remit login` again.');
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

function asLogin(
  tokens: oauth.TokenEndpointResponse & oauth.TokenEndpointResponseHelpers,
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
