/** What `remit up --json` prints, and signing its evaluation users in: authorization code with PKCE, by hand, with the scripted browser. */
import { createHash, randomBytes } from 'node:crypto';
import { signInAndConsent } from '../support/browser.ts';

export interface UpReady {
  readonly dir: string;
  readonly configFile: string;
  readonly mcpUrl: string;
  readonly adminUrl: string;
  readonly issuer: string;
  readonly servers: ReadonlyArray<{
    readonly id: string;
    readonly url: string;
    readonly tools: number;
    readonly problem: string | null;
  }>;
  readonly users: ReadonlyArray<{ readonly username: string; readonly password: string | null }>;
  readonly filesDir: string;
  readonly verifierKey: string;
  readonly unknown: readonly unknown[];
}

export const CALLBACK = 'http://127.0.0.1:51999/callback';

/** Only on the start that made the users. */
export function passwordOf(ready: UpReady, username: string): string {
  const password = ready.users.find((user) => user.username === username)?.password;
  if (typeof password !== 'string') throw new Error(`no password of ${username} was shown`);
  return password;
}

export const urlOf = (ready: UpReady, server: string): string =>
  ready.servers.find(({ id }) => id === server)?.url ?? `no server ${server}`;

export interface Grant {
  readonly issuer: string;
  readonly resource: string;
  readonly scope: string;
  readonly clientId: string;
}

/** @throws Error when the server refuses sign-in, consent or the code. */
export async function accessToken(grant: Grant, username: string, password: string): Promise<string> {
  const verifier = randomBytes(32).toString('base64url');
  const metadata = await fetch(`${grant.issuer}/.well-known/oauth-authorization-server`);
  const endpoints = (await metadata.json()) as { authorization_endpoint: string; token_endpoint: string };
  const authorizationUrl = new URL(endpoints.authorization_endpoint);
  authorizationUrl.search = new URLSearchParams({
    response_type: 'code',
    client_id: grant.clientId,
    redirect_uri: CALLBACK,
    resource: grant.resource,
    scope: grant.scope,
    state: 'journey',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString();
  const callback = await signInAndConsent({ authorizationUrl, username, password, decision: 'allow' });
  const response = await fetch(endpoints.token_endpoint, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      client_id: grant.clientId,
      code: callback.searchParams.get('code') ?? `none: ${callback.search}`,
      redirect_uri: CALLBACK,
      resource: grant.resource,
      code_verifier: verifier,
    }),
  });
  const body = (await response.json()) as { access_token?: string };
  if (body.access_token === undefined) throw new Error(`no token: ${JSON.stringify(body)}`);
  return body.access_token;
}

export function adminToken(ready: UpReady, username: string, password: string): Promise<string> {
  const resource = `${ready.adminUrl}/api/v1`;
  const grant = { issuer: ready.issuer, resource, scope: 'admin:read admin:write', clientId: 'remit-cli' };
  return accessToken(grant, username, password);
}

export function serverToken(
  ready: UpReady,
  server: string,
  scope: string,
  username: string,
  password: string,
): Promise<string> {
  const grant = { issuer: ready.issuer, resource: urlOf(ready, server), scope, clientId: 'mcp-client' };
  return accessToken(grant, username, password);
}
