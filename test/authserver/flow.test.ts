/** The whole code flow against the real server: what a client gets, and everything that must stop it. */
import { createRemoteJWKSet, jwtVerify } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signInAndConsent } from '../support/browser.ts';
import { REDIRECT, fakeGateway, post, startFixture } from './fixture.ts';
import type { AuthorizeOptions, Fixture } from './fixture.ts';

let at: Fixture;
beforeAll(async () => {
  at = await startFixture();
});
afterAll(() => at.stop());

const verify = (token: string) =>
  jwtVerify(token, createRemoteJWKSet(new URL(`${at.server.issuer}/jwks`)), {
    issuer: at.server.issuer,
    typ: 'at+jwt',
    algorithms: ['ES256'],
  });

const redeem = (code: string, verifier: string, change: Record<string, string> = {}) =>
  post(`${at.server.issuer}/token`, {
    grant_type: 'authorization_code',
    client_id: 'mcp-client',
    redirect_uri: REDIRECT,
    code_verifier: verifier,
    code,
    ...change,
  });

const refresh = (token: string, change: Record<string, string> = {}) =>
  post(`${at.server.issuer}/token`, {
    grant_type: 'refresh_token',
    client_id: 'mcp-client',
    refresh_token: token,
    ...change,
  });

const codeOf = (callback: URL): string => callback.searchParams.get('code') ?? '';

describe('a token', () => {
  test('is an at+jwt for exactly the resource asked for, with the claims of RFC 9068', async () => {
    const tokens = await at.tokens();
    const { payload, protectedHeader } = await verify(tokens.access_token);
    expect(protectedHeader).toMatchObject({ typ: 'at+jwt', alg: 'ES256' });
    expect(Object.keys(payload).sort()).toEqual([
      'amr',
      'aud',
      'auth_time',
      'client_id',
      'exp',
      'grant_id',
      'iat',
      'iss',
      'jti',
      'org',
      'scope',
      'sid',
      'sub',
    ]);
    expect(payload).toMatchObject({ org: 'default', amr: ['pwd'] });
    expect(payload).toMatchObject({
      aud: at.gateway.resource,
      client_id: 'mcp-client',
      scope: 'files:read',
      sub: at.user.sub,
    });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(600);
    expect(tokens.expires_in).toBe(600);
    expect(tokens.refresh_token).toMatch(/^[\w-]{40,}$/);
    expect(tokens.scope).toBe('files:read');
  });

  test('comes from a response that names its issuer (RFC 9207)', async () => {
    const { callback } = await at.authorize();
    expect(callback.searchParams.get('iss')).toBe(at.server.issuer);
    const denied = await at.authorize({ decision: 'deny' });
    expect(denied.callback.searchParams.get('error')).toBe('access_denied');
    expect(denied.callback.searchParams.get('iss')).toBe(at.server.issuer);
    expect(denied.callback.searchParams.get('code')).toBeNull();
  });

  test('has the default scope of the resource when the client asks for none', async () => {
    expect((await at.tokens({ params: { scope: undefined } })).scope).toBe('files:read');
  });

  test('has the scopes asked for, and needs no offline_access to be refreshed', async () => {
    const tokens = await at.tokens({ params: { scope: 'files:read files:write offline_access' } });
    expect(tokens.scope).toBe('files:read files:write');
    expect(tokens.refresh_token).toBeDefined();
  });

  test('for the resource comes also when openid is asked for; the id token is ES256', async () => {
    const { callback, verifier } = await at.authorize({ params: { scope: 'openid files:read' } });
    const { body } = await redeem(codeOf(callback), verifier);
    expect((await verify(String(body['access_token']))).payload.aud).toBe(at.gateway.resource);
    expect(JSON.parse(Buffer.from(String(body['id_token']).split('.')[0] ?? '', 'base64url').toString())).toMatchObject(
      { alg: 'ES256' },
    );
  });
});

/** What the client sees at its redirect address. */
const refusals: readonly [
  title: string,
  params: NonNullable<AuthorizeOptions['params']>,
  error: string,
  description: string,
][] = [
  [
    'no resource',
    { resource: undefined },
    'invalid_target',
    'the resource parameter is required: the URL of the MCP server the token is for',
  ],
  [
    'a resource of an unknown origin',
    { resource: 'https://mcp.example.net/files' },
    'invalid_target',
    'resource is not known to this authorization server',
  ],
  [
    'a resource with a query',
    { resource: 'http://127.0.0.1:1/mcp?x=1' },
    'invalid_target',
    'resource must be the exact URL of an MCP server, without query or fragment',
  ],
  [
    'a resource that is not a URL',
    { resource: 'files' },
    'invalid_target',
    'resource indicator must be an absolute URI',
  ],
  [
    'a scope the resource does not offer',
    { scope: 'files:read admin:all' },
    'invalid_scope',
    'the resource does not offer this scope',
  ],
  [
    'no PKCE',
    { code_challenge: undefined, code_challenge_method: undefined },
    'invalid_request',
    'Authorization Server policy requires PKCE to be used for this request',
  ],
  [
    'PKCE with the method plain',
    { code_challenge_method: 'plain' },
    'invalid_request',
    'not supported value of code_challenge_method',
  ],
  [
    'the implicit grant',
    { response_type: 'token' },
    'invalid_request',
    'requested response_mode is not allowed for this client or request',
  ],
  [
    'a response mode that needs a script',
    { response_mode: 'form_post' },
    'invalid_request',
    'requested response_mode is not allowed for this client or request',
  ],
];

describe('an authorization request is refused', () => {
  test.for(refusals)('with %s', async ([, params, error, description]) => {
    const { url, state } = await at.authorizationUrl({ params });
    const response = await fetch(url, { redirect: 'manual' });
    const location = new URL(response.headers.get('location') ?? `data:,${response.status}`);
    const mode = params['response_mode'] === 'form_post' || params['response_type'] === 'token';
    if (!mode) {
      expect(location.origin + location.pathname).toBe(REDIRECT);
      expect(Object.fromEntries(location.searchParams)).toMatchObject({
        error,
        error_description: description,
        state,
        iss: at.server.issuer,
      });
    } else {
      const text = (await response.text()) + decodeURIComponent(location.hash);
      expect(text).toContain(error);
      expect(text).not.toContain('code=');
    }
  });

  test('with a resource of the trusted gateway that does not exist', async () => {
    const { url } = await at.authorizationUrl({ params: { resource: `${at.gateway.origin}/mcp/default/ghost` } });
    const location = new URL((await fetch(url, { redirect: 'manual' })).headers.get('location') ?? '');
    expect(location.searchParams.get('error')).toBe('invalid_target');
    expect(location.searchParams.get('error_description')).toBe('resource is not known to this authorization server');
  });

  test('with two resources: a token has one audience', async () => {
    const { url } = await at.authorizationUrl();
    url.searchParams.append('resource', `${at.gateway.origin}/mcp/default/other`);
    const location = new URL((await fetch(url, { redirect: 'manual' })).headers.get('location') ?? '');
    expect(location.searchParams.get('error_description')).toBe(
      'ask for one resource at a time: a token has one audience',
    );
  });

  test.for([
    ['another path', 'http://127.0.0.1:53682/elsewhere'],
    ['another host', 'https://evil.example/callback'],
    ['a user part', 'http://127.0.0.1:53682@evil.example/callback'],
    ['a suffix', 'http://127.0.0.1:53682/callback/../../x'],
    ['https on loopback', 'https://127.0.0.1:53682/callback'],
  ] as const)('and not redirected, with a redirect address of %s', async ([, redirectUri]) => {
    const { url } = await at.authorizationUrl({ params: { redirect_uri: redirectUri } });
    const response = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } });
    expect(response.status).toBe(400);
    expect(response.headers.get('location')).toBeNull();
    expect(await response.text()).toContain('invalid_redirect_uri');
  });

  test('and not redirected, when the client is unknown', async () => {
    const { url } = await at.authorizationUrl({ params: { client_id: 'nobody' } });
    const response = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('This application is not known here');
  });

  test('when the metadata names another authorization server or another resource', async () => {
    for (const lie of [{ authorization_servers: ['https://as.example'] }, { resource: 'http://127.0.0.1:1/other' }]) {
      const gateway = await fakeGateway('/mcp/default/lies');
      const other = await startFixture({ trustedGateways: [{ origin: gateway.origin }] });
      try {
        gateway.document = { resource: gateway.resource, authorization_servers: [other.server.issuer], ...lie };
        const { url } = await other.authorizationUrl({ params: { resource: gateway.resource } });
        const location = new URL((await fetch(url, { redirect: 'manual' })).headers.get('location') ?? '');
        expect(location.searchParams.get('error')).toBe('invalid_target');
        expect(location.searchParams.get('error_description')).toBe(
          'the metadata of the resource names another resource or another authorization server',
        );
      } finally {
        await other.stop();
        await gateway.stop();
      }
    }
  });
});

describe('a code', () => {
  test('is not redeemed with a wrong verifier', async () => {
    const { callback } = await at.authorize();
    const answer = await redeem(codeOf(callback), oidc.randomPKCECodeVerifier());
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  test('is not redeemed without a verifier', async () => {
    const { callback } = await at.authorize();
    const answer = await redeem(codeOf(callback), '');
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  test.for([
    ['another redirect address', { redirect_uri: 'http://127.0.0.1:53682/other' }, 'invalid_grant'],
    ['another client', { client_id: 'claude-code' }, 'invalid_grant'],
    ['another resource', { resource: 'https://mcp.example.net/files' }, 'invalid_target'],
  ] as const)('is not redeemed for %s', async ([, change, error]) => {
    const { callback, verifier } = await at.authorize();
    expect(await redeem(codeOf(callback), verifier, change)).toMatchObject({ status: 400, body: { error } });
  });

  test('used twice is refused and ends the family: its refresh token is dead', async () => {
    const { callback, verifier } = await at.authorize();
    const first = await redeem(codeOf(callback), verifier);
    expect(first.status).toBe(200);
    expect(await redeem(codeOf(callback), verifier)).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect(await refresh(String(first.body['refresh_token']))).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
  });

  test('redeemed eight times at once is redeemed once at most, and that family is dead too', async () => {
    const { callback, verifier } = await at.authorize();
    const answers = await Promise.all(Array.from({ length: 8 }, () => redeem(codeOf(callback), verifier)));
    const winners = answers.filter(({ status }) => status === 200);
    // The losers end the grant, perhaps before the winner's token is signed.
    expect(winners.length).toBeLessThanOrEqual(1);
    for (const loser of answers.filter(({ status }) => status !== 200))
      expect(loser.body['error']).toBe('invalid_grant');
    for (const winner of winners)
      expect(await refresh(String(winner.body['refresh_token']))).toMatchObject({
        status: 400,
        body: { error: 'invalid_grant' },
      });
  });
});

describe('a refresh token', () => {
  test('is rotated; the new one works, and the access token keeps its audience', async () => {
    const tokens = await at.tokens();
    const second = await refresh(tokens.refresh_token ?? '');
    expect(second.status).toBe(200);
    expect(second.body['refresh_token']).not.toBe(tokens.refresh_token);
    expect((await verify(String(second.body['access_token']))).payload.aud).toBe(at.gateway.resource);
    expect((await refresh(String(second.body['refresh_token']))).status).toBe(200);
  });

  test('used again ends the family, the newest one too; another sign-in of the same client lives on', async () => {
    const tokens = await at.tokens();
    const bystander = await at.tokens();
    const second = await refresh(tokens.refresh_token ?? '');
    expect(await refresh(tokens.refresh_token ?? '')).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect(await refresh(String(second.body['refresh_token']))).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
    expect((await refresh(bystander.refresh_token ?? '')).status).toBe(200);
  });

  test('does not widen: a scope or a resource that was not granted is refused', async () => {
    const tokens = await at.tokens();
    expect(await refresh(tokens.refresh_token ?? '', { scope: 'files:write' })).toMatchObject({
      status: 400,
      body: { error: 'invalid_scope' },
    });
    expect(await refresh(tokens.refresh_token ?? '', { resource: 'https://mcp.example.net/x' })).toMatchObject({
      status: 400,
    });
  });

  test('belongs to its client', async () => {
    const tokens = await at.tokens();
    expect(await refresh(tokens.refresh_token ?? '', { client_id: 'cursor' })).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
  });

  test('is dead after revocation, and nobody else can revoke it', async () => {
    const tokens = await at.tokens();
    const token = tokens.refresh_token ?? '';
    await post(`${at.server.issuer}/revoke`, { client_id: 'cursor', token });
    const next = await refresh(token);
    expect(next.status).toBe(200);
    await oidc.tokenRevocation(at.client, String(next.body['refresh_token']));
    expect(await refresh(String(next.body['refresh_token']))).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
  });

  test('is not spent when the gateway cannot be asked: the same token works once it answers again', async () => {
    const other = await startFixture();
    try {
      const tokens = await other.tokens();
      other.server.rotateKeys(); // a new engine, the same state
      const again = { grant_type: 'refresh_token', client_id: 'mcp-client', refresh_token: tokens.refresh_token ?? '' };
      // The answer of the first minute is cached for 15 s; another resource directory has no such memory.
      const down = await other.restart({ gatewayStatus: 503 });
      expect(await post(`${down.issuer}/token`, again)).toMatchObject({
        status: 400,
        body: { error: 'temporarily_unavailable' },
      });
      const up = await other.restart({ gatewayStatus: 200 });
      expect((await post(`${up.issuer}/token`, again)).status).toBe(200);
    } finally {
      await other.stop();
    }
  });
});

describe('consent', () => {
  test('of a native client is shown again and says that it was given before', async () => {
    const pages: string[] = [];
    await at.authorize({ onPage: (page) => pages.push(page.text) });
    expect(pages.some((text) => text.includes('You have allowed this before.'))).toBe(true);
  });

  test('asks for a new scope and names it in plain words with its risk', async () => {
    const pages: string[] = [];
    await at.authorize({ params: { scope: 'files:exec' }, decision: 'deny', onPage: (page) => pages.push(page.text) });
    const page = pages.at(-1) ?? '';
    for (const words of [
      'Run programs',
      'risk not stated',
      'files:exec',
      'Sample files',
      'MCP client on this computer',
      'registered with this installation',
      '127.0.0.1:53682 (this computer)',
      'any program there can claim this name',
      'Ada Lovelace',
    ]) {
      expect(page).toContain(words);
    }
    expect(page).not.toContain('You have allowed this before.');
  });

  test('that was denied is not remembered', async () => {
    await at.authorize({
      params: { scope: 'files:write', client_id: 'vscode', redirect_uri: 'http://127.0.0.1:9/' },
      decision: 'deny',
    });
    const pages: string[] = [];
    await at.authorize({
      params: { scope: 'files:write', client_id: 'vscode', redirect_uri: 'http://127.0.0.1:9/' },
      decision: 'deny',
      onPage: (page) => pages.push(page.text),
    });
    expect(pages.at(-1)).not.toContain('You have allowed this before.');
  });

  test('given with unsafeSilentNativeConsent is not asked again for the same scopes, and is for more', async () => {
    const other = await startFixture({ unsafeSilentNativeConsent: true });
    try {
      const seen = async (scope: string): Promise<string[]> => {
        const steps: string[] = [];
        await other.authorize({
          params: { scope },
          onPage: (page) => steps.push(/name="step" value="([^"]+)"/.exec(page.text)?.[1] ?? ''),
        });
        return steps;
      };
      expect(await seen('files:read')).toEqual(['sign-in', 'consent']);
      expect(await seen('files:read')).toEqual(['sign-in']);
      expect(await seen('files:read files:write')).toEqual(['sign-in', 'consent']);
    } finally {
      await other.stop();
    }
  });
});

test('a wrong password stops the browser at the form', async () => {
  const { url } = await at.authorizationUrl();
  await expect(
    signInAndConsent({ authorizationUrl: url, username: at.user.username, password: 'wrong', decision: 'allow' }),
  ).rejects.toThrow('That did not work. Check the user name and password');
});
