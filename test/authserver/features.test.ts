/** What the server offers beyond the plain flow: pushed requests, proofs of possession, introspection, revocation, devices. */
import { SignJWT, decodeJwt, exportJWK, generateKeyPair } from 'jose';
import type { CryptoKey, JWK } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import type { AuthServerConfig } from '../../src/authserver/config.ts';
import type { Revoked } from '../../src/authserver/endings.ts';
import { browser, cookieJar, signInAndConsent } from '../support/browser.ts';
import { post, REDIRECT, startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

const SECRET = 'secret-of-the-resource-server-0123456789';
const EXPIRED = 'secret-that-has-ended-01234567890123456789';
const FAILED =
  'client authentication failed: check the client id, that it authenticates as registered, and that its key or secret has not ended';

let at: Fixture;
let publicKey: JWK;
let privateKey: CryptoKey;
const revoked: Revoked[] = [];

beforeAll(async () => {
  const pair = await generateKeyPair('ES256', { extractable: true });
  publicKey = { ...(await exportJWK(pair.publicKey)), kid: 'k1', alg: 'ES256', use: 'sig' };
  privateKey = pair.privateKey;
  at = await startFixture(
    (gateway) => ({
      preregisteredClients: [
        {
          clientId: 'keyed',
          name: 'Keyed',
          redirectUris: [REDIRECT],
          authentication: { method: 'private_key_jwt', jwks: { keys: [publicKey as { kty: 'EC' }] } },
        },
        { clientId: 'pushes', name: 'Pushes', redirectUris: [REDIRECT], requirePushedRequests: true },
        { clientId: 'proves', name: 'Proves', redirectUris: [REDIRECT], requireDpop: true },
        {
          clientId: 'resource-server',
          name: 'A resource server',
          owner: 'platform team',
          grantTypes: ['client_credentials'],
          introspects: [gateway.resource],
          authentication: {
            method: 'client_secret_basic',
            secret: 'env:RS_SECRET',
            secretExpiresAt: new Date(Date.now() + 86_400_000).toISOString(),
          },
        },
        {
          clientId: 'ended',
          name: 'A client whose secret has ended',
          owner: 'platform team',
          grantTypes: ['client_credentials'],
          authentication: {
            method: 'client_secret_basic',
            secret: 'env:ENDED_SECRET',
            secretExpiresAt: '2020-01-01T00:00:00Z',
          },
        },
        {
          clientId: 'other-server',
          name: 'Serves something else',
          owner: 'platform team',
          grantTypes: ['client_credentials'],
          introspects: [`${gateway.origin}/mcp/default/other`],
          authentication: {
            method: 'client_secret_post',
            secret: 'env:RS_SECRET',
            secretExpiresAt: '2999-01-01T00:00:00Z',
          },
        },
      ],
    }),
    { env: { RS_SECRET: SECRET, ENDED_SECRET: EXPIRED } },
  );
  at.server.endings.onRevoked((event) => revoked.push(event));
});
afterAll(() => at.stop());
afterEach(() => void revoked.splice(0));

const clientOf = (id: string, auth: oidc.ClientAuth = oidc.None()): Promise<oidc.Configuration> =>
  oidc.discovery(new URL(at.server.issuer), id, undefined, auth, {
    algorithm: 'oauth2',
    execute: [oidc.allowInsecureRequests],
  });

const through = async (url: URL): Promise<URL> =>
  signInAndConsent({ authorizationUrl: url, ...at.user, decision: 'allow' });

async function request(id: string, more: Record<string, string> = {}) {
  const verifier = oidc.randomPKCECodeVerifier();
  const parameters = {
    client_id: id,
    response_type: 'code',
    redirect_uri: REDIRECT,
    scope: 'files:read',
    resource: at.gateway.resource,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...more,
  };
  return { verifier, parameters };
}

const introspect = async (token: string, authorization = `Basic ${btoa(`resource-server:${SECRET}`)}`) => {
  const response = await fetch(`${at.server.issuer}/introspect`, {
    method: 'POST',
    headers: { authorization },
    body: new URLSearchParams({ token }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};

describe('pushed authorization requests (RFC 9126)', () => {
  test('of a public client and of one with a key lead to a token', async () => {
    for (const [id, auth] of [
      ['mcp-client', oidc.None()],
      ['keyed', oidc.PrivateKeyJwt({ key: privateKey, kid: 'k1' })],
    ] as const) {
      const config = await clientOf(id, auth);
      const { verifier, parameters } = await request(id);
      const url = await oidc.buildAuthorizationUrlWithPAR(config, parameters);
      expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri']);
      const tokens = await oidc.authorizationCodeGrant(config, await through(url), { pkceCodeVerifier: verifier });
      expect(decodeJwt(tokens.access_token)).toMatchObject({ client_id: id, aud: at.gateway.resource });
    }
  });

  test('are refused before a person sees anything: a foreign redirect address, a scope nobody offers, no resource', async () => {
    const { parameters } = await request('mcp-client');
    const push = (change: Record<string, string>) => post(`${at.server.issuer}/par`, { ...parameters, ...change });
    expect(await push({ redirect_uri: 'https://evil.example/' })).toMatchObject({
      status: 400,
      body: { error: 'invalid_request' },
    });
    expect(await push({ scope: 'files:everything' })).toMatchObject({ status: 400, body: { error: 'invalid_scope' } });
    const { resource: _, ...without } = parameters;
    expect(await post(`${at.server.issuer}/par`, without)).toMatchObject({
      status: 400,
      body: { error: 'invalid_target' },
    });
  });

  test('can be demanded of a client: a plain request of it is refused', async () => {
    const { parameters } = await request('pushes');
    const response = await fetch(`${at.server.issuer}/authorize?${new URLSearchParams(parameters).toString()}`, {
      redirect: 'manual',
    });
    const back = new URL(response.headers.get('location') ?? '');
    expect(back.origin + back.pathname).toBe(REDIRECT);
    expect(back.searchParams.get('error')).toBe('invalid_request');
    const pushed = await post(`${at.server.issuer}/par`, parameters);
    expect(pushed.status).toBe(201);
  });

  test('are good for one browser flow', async () => {
    const config = await clientOf('mcp-client');
    const { parameters } = await request('mcp-client');
    const url = await oidc.buildAuthorizationUrlWithPAR(config, parameters);
    await through(url);
    const again = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } });
    expect(again.status).toBe(400);
    expect(await again.text()).toContain('invalid_request_uri');
  });
});

describe('AN-13: proofs of possession (RFC 9449)', () => {
  const proofs = async (config: oidc.Configuration) => oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair());

  test('bind access and refresh token to a key; the refresh token of a public client needs the same key', async () => {
    const config = await clientOf('mcp-client');
    const DPoP = await proofs(config);
    const { verifier, parameters } = await request('mcp-client');
    const url = oidc.buildAuthorizationUrl(config, parameters);
    const checks = { pkceCodeVerifier: verifier };
    const tokens = await oidc.authorizationCodeGrant(config, await through(url), checks, undefined, { DPoP });
    expect(tokens.token_type).toBe('dpop');
    const jkt = await DPoP.calculateThumbprint();
    expect(decodeJwt(tokens.access_token)).toMatchObject({ cnf: { jkt } });
    expect((await introspect(tokens.access_token)).body).toMatchObject({
      active: true,
      token_type: 'DPoP',
      cnf: { jkt },
    });

    const refresh = String(tokens.refresh_token);
    const grant = { grant_type: 'refresh_token', client_id: 'mcp-client', refresh_token: refresh };
    const stolen = await post(`${at.server.issuer}/token`, grant);
    expect(stolen).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    const other = await oidc
      .refreshTokenGrant(config, refresh, undefined, { DPoP: await proofs(config) })
      .catch((error: { error?: string }) => error.error);
    expect(other).toBe('invalid_grant');
    const next = await oidc.refreshTokenGrant(config, refresh, undefined, { DPoP });
    expect(decodeJwt(next.access_token)).toMatchObject({ cnf: { jkt } });
  });

  test('are demanded of a client that is registered so', async () => {
    const config = await clientOf('proves');
    const { verifier, parameters } = await request('proves');
    const callback = await through(oidc.buildAuthorizationUrl(config, parameters));
    const bare = await post(`${at.server.issuer}/token`, {
      grant_type: 'authorization_code',
      client_id: 'proves',
      redirect_uri: REDIRECT,
      code: callback.searchParams.get('code') ?? '',
      code_verifier: verifier,
    });
    expect(bare).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  });

  test('are good once: the same proof with another refresh token is refused', async () => {
    const config = await clientOf('mcp-client');
    const keys = await oidc.randomDPoPKeyPair();
    const seen: string[] = [];
    config[oidc.customFetch] = (url, options) => {
      const proof = new Headers(options.headers).get('dpop');
      if (proof !== null) seen.push(proof);
      return fetch(url, options as RequestInit);
    };
    const DPoP = oidc.getDPoPHandle(config, keys);
    const { verifier, parameters } = await request('mcp-client');
    const callback = await through(oidc.buildAuthorizationUrl(config, parameters));
    const tokens = await oidc.authorizationCodeGrant(config, callback, { pkceCodeVerifier: verifier }, undefined, {
      DPoP,
    });
    const replay = await fetch(`${at.server.issuer}/token`, {
      method: 'POST',
      headers: { dpop: seen.at(-1) ?? '' },
      body: new URLSearchParams({
        grant_type: 'refresh_token',
        client_id: 'mcp-client',
        refresh_token: String(tokens.refresh_token),
      }),
    });
    expect(seen).toHaveLength(1);
    expect([replay.status, ((await replay.json()) as { error: string }).error]).toEqual([400, 'invalid_grant']);
  });
});

describe('AN-14: a client with a secret', () => {
  test('whose secret has ended, whose secret is wrong, and one that does not exist get the same answer', async () => {
    const ask = async (id: string, secret: string) => {
      const response = await fetch(`${at.server.issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${btoa(`${id}:${secret}`)}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', resource: at.gateway.resource }),
      });
      return [response.status, response.headers.get('www-authenticate'), await response.text()];
    };
    const answer = [
      401,
      `Basic realm="${at.server.issuer}", error="invalid_client"`,
      JSON.stringify({ error: 'invalid_client', error_description: FAILED }),
    ];
    expect(await ask('ended', EXPIRED)).toEqual(answer);
    expect(await ask('ended', 'wrong')).toEqual(answer);
    expect(await ask('resource-server', 'wrong')).toEqual(answer);
    expect(await ask('nobody', 'wrong')).toEqual(answer);
    // The twin: the right secret that has not ended is not refused for its client.
    expect((await ask('resource-server', SECRET)).join()).not.toContain('invalid_client');
  });

  test('the secret stands in no log line and not in the database', () => {
    expect(at.log.join('')).not.toContain(SECRET);
  });
});

describe('AN-14: the configuration of a client', () => {
  const base = { issuer: 'https://as.example', listen: { port: 0 }, dataDir: '/tmp/x' };
  const client = { clientId: 'c', name: 'C', owner: 'team', grantTypes: ['client_credentials'] };
  const secret = { method: 'client_secret_basic', secret: 'env:X', secretExpiresAt: '2999-01-01T00:00:00Z' };
  const { secretExpiresAt: _, ...endless } = secret;
  const { owner: __, ...ownerless } = client;
  const rows: [string, unknown, string][] = [
    [
      'a secret without an end',
      { ...client, authentication: endless },
      'authentication.secretExpiresAt: must be a time',
    ],
    [
      'a secret without an owner',
      { ...ownerless, authentication: secret },
      'owner: a client with a secret needs an owner',
    ],
    [
      'a literal secret',
      { ...client, authentication: { ...secret, secret: 'hunter2' } },
      'a literal secret is refused',
    ],
    [
      'a public client that acts alone',
      { ...client, authentication: { method: 'none' } },
      'needs a client that authenticates',
    ],
    ['no keys', { ...client, authentication: { method: 'private_key_jwt' } }, 'either jwks or jwksUri'],
    [
      'a private key',
      { ...client, authentication: { method: 'private_key_jwt', jwks: { keys: [{ kty: 'EC', d: 'x' }] } } },
      'must be the public half',
    ],
    [
      'keys over http',
      { ...client, authentication: { method: 'private_key_jwt', jwksUri: 'http://x.example/jwks' } },
      'jwksUri',
    ],
    ['a flow without a redirect address', { clientId: 'c', name: 'C' }, 'needs a redirect address'],
    ['the id of a registered client', { ...client, clientId: 'registered-x', authentication: secret }, 'is reserved'],
  ];
  test.for(rows)('refuses %s and names the key', ([, preregistered, says]) => {
    expect(() => parseAuthServerConfig({ ...base, preregisteredClients: [preregistered] })).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        message: expect.stringMatching(/authserver\.preregisteredClients\.0\./) as unknown,
      }),
    );
    expect(() => parseAuthServerConfig({ ...base, preregisteredClients: [preregistered] })).toThrow(says);
  });

  test('a secret that could be guessed stops the start, and is not quoted', async () => {
    const config = { preregisteredClients: [{ ...client, authentication: secret }] } as Partial<AuthServerConfig>;
    const starting = startFixture(config, { env: { X: 'short-secret' } });
    await expect(starting).rejects.toMatchObject({
      code: 'config_invalid',
      message:
        'the secret of the client c must have at least 32 printable ASCII characters; make one with: openssl rand -base64 36',
    });
  });
});

describe('a recent sign-in (RFC 9470)', () => {
  test('asked for by max_age alone, without OpenID, is asked of the person; the token says when it was', async () => {
    const jar = cookieJar();
    await at.tokens({ jar });
    const pages: string[] = [];
    const onPage = (page: { text: string }): void => void pages.push(page.text);
    await at.tokens({ jar, onPage });
    expect(pages.some((text) => text.includes('name="password"'))).toBe(false);
    const { access_token: token } = await at.tokens({ jar, onPage, params: { max_age: '0' } });
    expect(pages.some((text) => text.includes('name="password"'))).toBe(true);
    const { auth_time: time, iat } = decodeJwt(token);
    expect(Number(iat) - Number(time)).toBeLessThan(10);
  });
});

describe('introspection (RFC 7662)', () => {
  test('tells a resource server of tokens for its resources, and nobody else', async () => {
    const { access_token: token } = await at.tokens();
    expect(await introspect(token)).toMatchObject({
      status: 200,
      body: {
        active: true,
        token_type: 'Bearer',
        client_id: 'mcp-client',
        sub: at.user.sub,
        aud: at.gateway.resource,
        scope: 'files:read',
        org: 'default',
      },
    });
    const other = { token, client_id: 'other-server', client_secret: SECRET };
    expect(await post(`${at.server.issuer}/introspect`, other)).toEqual({ status: 200, body: { active: false } });
    expect(await post(`${at.server.issuer}/introspect`, { token, client_id: 'mcp-client' })).toMatchObject({
      status: 401,
      body: { error: 'invalid_client', error_description: FAILED },
    });
    expect(await post(`${at.server.issuer}/introspect`, { token })).toMatchObject({
      status: 400,
      body: { error: 'invalid_request' },
    });
    expect(await introspect(token, `Basic ${btoa('resource-server:wrong')}`)).toEqual({
      status: 401,
      body: { error: 'invalid_client', error_description: FAILED },
    });
  });

  test('calls everything else inactive: no token, another key, another type, a refresh token of somebody else', async () => {
    const tokens = await at.tokens();
    const [head = '', body = '', signature = ''] = tokens.access_token.split('.');
    const foreign = await generateKeyPair('ES256');
    const forged = await new SignJWT({ ...decodeJwt(tokens.access_token) })
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
      .sign(foreign.privateKey);
    for (const token of [
      'x',
      'a.b.c',
      `${head}.${body}.AAAA`,
      `${head}.${body}`,
      forged,
      String(tokens.refresh_token),
      `${body}.${head}.${signature}`,
    ])
      expect(await introspect(token)).toEqual({ status: 200, body: { active: false } });
  });

  const endings: [string, (token: Record<string, string>) => void][] = [
    ['its grant', (claims) => at.server.endings.endGrant(claims['grant_id'] ?? '', 'administrator')],
    ['its session', (claims) => at.server.endings.endSession(claims['sid'] ?? '', 'administrator')],
    ['its person', (claims) => at.server.endings.endPerson(claims['sub'] ?? '', 'administrator')],
    ['its client', (claims) => at.server.endings.endClient(claims['client_id'] ?? '', 'administrator')],
  ];
  test.for(endings)('AN-08: a token is active until %s has ended; the refresh token goes too', async ([, end]) => {
    const tokens = await at.tokens();
    expect((await introspect(tokens.access_token)).body['active']).toBe(true);
    end(decodeJwt(tokens.access_token) as unknown as Record<string, string>);
    expect((await introspect(tokens.access_token)).body).toEqual({ active: false });
    const grant = { grant_type: 'refresh_token', client_id: 'mcp-client', refresh_token: String(tokens.refresh_token) };
    expect(await post(`${at.server.issuer}/token`, grant)).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
    expect(revoked).toHaveLength(1);
    // What counts is the second of the end: a token of the next one is good again.
    await expect
      .poll(async () => (await introspect((await at.tokens()).access_token)).body['active'], { timeout: 30_000 })
      .toBe(true);
  });
});

describe('AN-08: revocation (RFC 7009)', () => {
  const revoke = (token: string, client = 'mcp-client') =>
    post(`${at.server.issuer}/revoke`, { token, client_id: client });

  test('of an access token, although it is a JWT, ends it, its grant and its refresh token, and tells who listens', async () => {
    const tokens = await at.tokens();
    const { grant_id: grantId, jti } = decodeJwt(tokens.access_token);
    expect(await revoke(tokens.access_token)).toEqual({ status: 200, body: {} });
    expect((await introspect(tokens.access_token)).body).toEqual({ active: false });
    expect(revoked).toMatchObject([
      { kind: 'token', jti, clientId: 'mcp-client', by: 'client' },
      { kind: 'grant', grantId, sub: at.user.sub, clientId: 'mcp-client', by: 'client' },
    ]);
    const grant = { grant_type: 'refresh_token', client_id: 'mcp-client', refresh_token: String(tokens.refresh_token) };
    expect((await post(`${at.server.issuer}/token`, grant)).body['error']).toBe('invalid_grant');
  });

  test('of a refresh token ends the grant', async () => {
    const tokens = await at.tokens();
    expect(await revoke(String(tokens.refresh_token))).toEqual({ status: 200, body: {} });
    expect((await introspect(tokens.access_token)).body).toEqual({ active: false });
    expect(revoked).toMatchObject([{ kind: 'grant', sub: at.user.sub, clientId: 'mcp-client', by: 'client' }]);
  });

  test('by another client changes nothing, and does not say so', async () => {
    const tokens = await at.tokens();
    for (const token of [tokens.access_token, String(tokens.refresh_token)])
      expect(await revoke(token, 'cursor')).toEqual({ status: 200, body: {} });
    expect((await introspect(tokens.access_token)).body['active']).toBe(true);
    expect(revoked).toEqual([]);
  });

  test('a refresh token that comes twice ends the family and tells who listens', async () => {
    const tokens = await at.tokens();
    const grant = { grant_type: 'refresh_token', client_id: 'mcp-client', refresh_token: String(tokens.refresh_token) };
    expect((await post(`${at.server.issuer}/token`, grant)).status).toBe(200);
    expect((await post(`${at.server.issuer}/token`, grant)).body['error']).toBe('invalid_grant');
    const { grant_id: grantId } = decodeJwt(tokens.access_token);
    expect(revoked).toMatchObject([{ kind: 'grant', grantId, sub: at.user.sub, clientId: 'mcp-client', by: 'reuse' }]);
    expect((await introspect(tokens.access_token)).body).toEqual({ active: false });
  });
});

describe('the device flow (RFC 8628)', () => {
  const start = async (client = 'remit-cli') =>
    post(`${at.server.issuer}/device_authorization`, {
      client_id: client,
      scope: 'files:read',
      resource: at.gateway.resource,
    });
  const poll = (deviceCode: unknown, client = 'remit-cli') =>
    post(`${at.server.issuer}/token`, {
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
      client_id: client,
      device_code: String(deviceCode),
    });
  const page = (result: Awaited<ReturnType<ReturnType<typeof browser>['open']>>) => {
    if ('leftFor' in result) throw new Error(`left for ${result.leftFor.href}`);
    return result.page;
  };

  async function approve(userCode: string, decision: 'allow' | 'deny' = 'allow') {
    const visit = browser(cookieJar());
    let seen = page(await visit.open(`${at.server.issuer}/device`));
    expect(seen.text).toContain('Nobody who helps you will ever send you a code');
    seen = page(await visit.submit(seen, { user_code: userCode }));
    expect(seen.text).toContain(userCode);
    expect(seen.text).toContain('Remit command line');
    seen = page(await visit.submit(seen, { confirm: 'yes' }));
    seen = page(
      await visit.submit(seen, { username: at.user.username, password: at.user.password, decision: 'continue' }),
    );
    expect(seen.text).toContain('nowhere: the device that showed you the code');
    return page(await visit.submit(seen, { decision }));
  }

  test('signs in a device: pending, too fast, allowed once, and the token is for the person', async () => {
    const { status, body } = await start();
    expect(status).toBe(200);
    expect(body).toMatchObject({ verification_uri: `${at.server.issuer}/device`, expires_in: 300 });
    expect(body['user_code']).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    expect((await poll(body['device_code'])).body['error']).toBe('authorization_pending');
    expect((await poll(body['device_code'])).body['error']).toBe('slow_down');
    const done = await approve(String(body['user_code']));
    expect(done.text).toContain('The device is connected');
    expect((await poll(body['device_code'], 'mcp-client')).status).toBe(400);
    const { status: given, body: tokens } = await poll(body['device_code']);
    expect(given).toBe(200);
    expect(decodeJwt(String(tokens['access_token']))).toMatchObject({
      sub: at.user.sub,
      client_id: 'remit-cli',
      aud: at.gateway.resource,
      scope: 'files:read',
      amr: ['pwd'],
    });
    expect((await poll(body['device_code'])).body['error']).toBe('invalid_grant');
  });

  test('that the person denies ends with access_denied', async () => {
    const { body } = await start();
    const done = await approve(String(body['user_code']), 'deny');
    expect(done.text).toContain('Nothing was allowed');
    expect((await poll(body['device_code'])).body['error']).toBe('access_denied');
  });

  test('is for clients that may: others are refused with the remedy', async () => {
    expect(await start('mcp-client')).toEqual({
      status: 400,
      body: {
        error: 'unauthorized_client',
        error_description:
          'this client may not sign in by a code; an administrator can allow it in grantTypes of the client',
      },
    });
  });

  test('AN-11: a link with the code in it fills in the form and goes no further; a form from elsewhere is refused', async () => {
    const { body } = await start();
    const jar = cookieJar();
    const visit = browser(jar);
    const seen = page(await visit.open(String(body['verification_uri_complete'])));
    expect(seen.text).toContain(`value="${String(body['user_code'])}"`);
    expect(seen.text).not.toContain('<script');
    expect(seen.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    const blind = (cookie: string) =>
      fetch(`${at.server.issuer}/device`, {
        method: 'POST',
        redirect: 'manual',
        headers: { cookie, accept: 'text/html' },
        body: new URLSearchParams({ user_code: String(body['user_code']), confirm: 'yes', xsrf: 'guess' }),
      });
    // A browser that never saw the form is sent to it; one that did is told to load it again.
    const nowhere = await blind('');
    expect([nowhere.status, nowhere.headers.get('location')]).toEqual([303, '/device']);
    const forged = await blind(jar.header(new URL(`${at.server.issuer}/device`)));
    expect([forged.status, await forged.text()]).toEqual([400, expect.stringContaining('Load the page again')]);
    expect((await poll(body['device_code'])).body['error']).toBe('authorization_pending');
  });

  test('wrong codes are counted, and after fifty in a quarter of an hour nobody there may try', async () => {
    const own = await startFixture();
    try {
      const visit = browser(cookieJar());
      let seen = page(await visit.open(`${own.server.issuer}/device`));
      for (let tries = 0; tries < 50; tries++) {
        seen = page(await visit.submit(seen, { user_code: 'BBBB-BBBB' }));
        expect(seen.text).toContain('There is no such code');
      }
      expect(page(await visit.submit(seen, { user_code: 'BBBB-BBBB' })).status).toBe(429);
    } finally {
      await own.stop();
    }
  });
});
