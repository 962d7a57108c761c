/** The server's surface: its metadata pinned, what it does not have, whom it answers, and what it keeps to itself. */
import { readFileSync, readdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import { startAuthServer } from '../../src/authserver/server.ts';
import { browser, cookieJar, hiddenFields, signInAndConsent } from '../support/browser.ts';
import { REDIRECT, post, startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

let at: Fixture;
beforeAll(async () => {
  at = await startFixture();
});
afterAll(() => at.stop());

interface Answer {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly text: string;
}

/** A request with any header, as no browser would send it. */
function raw(port: number, path: string, headers: Record<string, string>, method = 'GET', body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(
      { host: '127.0.0.1', port, path, method, headers, agent: false, timeout: 10_000 },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(chunks).toString(),
          }),
        );
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

describe('metadata', () => {
  test('says exactly this (RFC 8414)', async () => {
    const { issuer } = at.server;
    const methods = ['private_key_jwt', 'client_secret_basic', 'client_secret_post'];
    const algorithms = ['ES256', 'PS256', 'RS256', 'EdDSA'];
    const expected = {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      revocation_endpoint: `${issuer}/revoke`,
      response_types_supported: ['code'],
      response_modes_supported: ['query'],
      introspection_endpoint: `${issuer}/introspect`,
      pushed_authorization_request_endpoint: `${issuer}/par`,
      device_authorization_endpoint: `${issuer}/device_authorization`,
      grant_types_supported: [
        'authorization_code',
        'refresh_token',
        'client_credentials',
        'urn:ietf:params:oauth:grant-type:device_code',
      ],
      code_challenge_methods_supported: ['S256'],
      scopes_supported: ['openid'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
      token_endpoint_auth_methods_supported: ['none', ...methods],
      token_endpoint_auth_signing_alg_values_supported: algorithms,
      revocation_endpoint_auth_methods_supported: ['none', ...methods],
      revocation_endpoint_auth_signing_alg_values_supported: algorithms,
      introspection_endpoint_auth_methods_supported: methods,
      introspection_endpoint_auth_signing_alg_values_supported: algorithms,
      dpop_signing_alg_values_supported: algorithms,
      authorization_response_iss_parameter_supported: true,
      client_id_metadata_document_supported: true,
      request_uri_parameter_supported: false,
      claims_parameter_supported: false,
      claims_supported: ['sub', 'sid', 'auth_time', 'iss'],
      claim_types_supported: ['normal'],
    };
    for (const name of ['oauth-authorization-server', 'openid-configuration']) {
      const response = await fetch(`${issuer}/.well-known/${name}`);
      expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
      expect(await response.json()).toEqual(expected);
    }
  });

  test('may be read by pages of any origin, and preflighted', async () => {
    const url = `${at.server.issuer}/.well-known/oauth-authorization-server`;
    const read = await fetch(url, { headers: { origin: 'https://app.example' } });
    expect(['*', 'https://app.example']).toContain(read.headers.get('access-control-allow-origin'));
    const preflight = await fetch(url, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'GET' },
    });
    expect(preflight.status).toBe(204);
  });

  test('does not follow the Host or X-Forwarded headers of a request', async () => {
    const path = '/.well-known/oauth-authorization-server';
    const { host } = new URL(at.server.issuer);
    const honest = await raw(at.server.port, path, {
      host,
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'https',
    });
    expect(honest.text).not.toContain('evil.example');
    expect(JSON.parse(honest.text)).toMatchObject({ token_endpoint: `${at.server.issuer}/token` });
    const rebound = await raw(at.server.port, path, { host: 'evil.example' });
    expect([rebound.status, rebound.text]).toEqual([421, 'this server is not known by that host name\n']);
    for (const target of [`http://evil.example${path}`, `//evil.example${path}`]) {
      const absolute = await raw(at.server.port, target, { host });
      expect([absolute.status, absolute.text]).toEqual([400, 'the request target must be a path\n']);
    }
  });
});

test('a browser client may read token answers from its own origin, and no other page may', async () => {
  const ask = (origin: string) =>
    fetch(`${at.server.issuer}/token`, {
      method: 'POST',
      headers: { origin },
      body: new URLSearchParams({ grant_type: 'refresh_token', client_id: 'mcp-inspector', refresh_token: 'x' }),
    });
  const own = await ask('http://localhost:6274');
  expect([own.headers.get('access-control-allow-origin'), await own.json()]).toMatchObject([
    'http://localhost:6274',
    { error: 'invalid_grant' },
  ]);
  const foreign = await ask('https://evil.example');
  expect(foreign.headers.get('access-control-allow-origin')).toBeNull();
  expect(await foreign.json()).toMatchObject({ error: 'invalid_request' });
});

describe('PH-09: there is no way in but the flow', () => {
  const absent = [
    '/',
    '/admin',
    '/api/v1',
    '/users',
    '/keys',
    '/reg',
    '/register',
    '/me',
    '/userinfo',
    '/token/introspection',
    '/request',
    '/backchannel',
    '/session/end',
    '/metrics',
    '/interaction/',
    '/.well-known/openid-credential-issuer',
  ];
  test.for(absent)('nothing answers at %s', async (path) => {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
      const response = await fetch(at.server.issuer + path, { method, redirect: 'manual' });
      expect([method, response.status]).toEqual([method, 404]);
    }
  });

  test('with evaluation sign-in off, sign-in is closed and says so; no form is shown', async () => {
    const closed = await startFixture({ evaluationUsers: false });
    try {
      const { url } = await closed.authorizationUrl();
      const seen = await browser().open(url);
      if (!('page' in seen)) throw new Error('no page');
      expect(seen.page.status).toBe(404);
      expect(seen.page.text).toContain('sign-in is not set up');
      expect(seen.page.text).not.toContain('<form');
      await expect(
        closed.server.createEvaluationUsers([{ username: 'eve', name: 'E', email: 'e@example.com' }]),
      ).rejects.toMatchObject({ code: 'evaluation_users_off' });
    } finally {
      await closed.stop();
    }
  });
});

describe('a form counts only', () => {
  const atSignIn = async () => {
    const jar = cookieJar();
    const { url } = await at.authorizationUrl();
    const seen = await browser(jar).open(url);
    if (!('page' in seen)) throw new Error('no page');
    return { jar, page: seen.page, url: new URL(seen.page.url) };
  };
  const send = async (
    form: Awaited<ReturnType<typeof atSignIn>>,
    change: { headers?: Record<string, string>; fields?: Record<string, string>; body?: string },
  ) => {
    const fields = {
      ...hiddenFields(form.page.text),
      username: 'ada',
      password: at.user.password,
      decision: 'continue',
      ...change.fields,
    };
    return fetch(form.url, {
      method: 'POST',
      redirect: 'manual',
      headers: {
        origin: at.server.issuer,
        cookie: form.jar.header(form.url),
        'content-type': 'application/x-www-form-urlencoded',
        ...change.headers,
      },
      body: change.body ?? new URLSearchParams(fields).toString(),
    });
  };

  test('as shown: the control case signs in', async () => {
    expect((await send(await atSignIn(), {})).status).toBe(303);
  });

  test.for([
    ['from our own origin', { headers: { origin: 'https://evil.example' } }, 403],
    ['from our own port', { headers: { origin: 'http://127.0.0.1:1' } }, 403],
    ['with an origin at all', { headers: { origin: 'null' } }, 403],
    ['when the browser says same-origin', { headers: { 'sec-fetch-site': 'cross-site' } }, 403],
    ['with its own token', { fields: { form_token: 'x' } }, 403],
    ['for its own step', { fields: { step: 'consent' } }, 403],
    ['with the cookie of the interaction', { headers: { cookie: '' } }, 400],
    ['as a form', { headers: { 'content-type': 'application/json' } }, 415],
    ['up to its size', { body: 'x'.repeat(9_000) }, 413],
    ['with each field once', { body: 'form_token=a&form_token=b' }, 400],
  ] as const)('%s', async ([, change, status]) => {
    const answer = await send(await atSignIn(), change);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('location')).toBeNull();
    expect(await answer.text()).toContain('Reference');
  });

  test('for the interaction the cookie belongs to', async () => {
    const [mine, theirs] = [await atSignIn(), await atSignIn()];
    const crossed = { ...mine, jar: { ...mine.jar, header: () => theirs.jar.header(theirs.url) } };
    expect((await send(crossed, {})).status).toBe(400);
  });
});

describe('sessions', () => {
  test('of another account end when somebody else signs in, and consent can be handed to another account', async () => {
    const [bob] = await at.server.createEvaluationUsers([{ username: 'bob', name: 'Bob', email: 'bob@example.com' }]);
    const jar = cookieJar();
    await at.authorize({ jar });
    const { url, verifier } = await at.authorizationUrl();
    const visit = browser(jar);
    const consent = await visit.open(url);
    if (!('page' in consent)) throw new Error('no page');
    expect(consent.page.text).toContain('Ada Lovelace');
    const signIn = await visit.submit(consent.page, { decision: 'switch' });
    if (!('page' in signIn)) throw new Error('no page');
    expect(hiddenFields(signIn.page.text)['step']).toBe('sign-in');
    const again = await visit.submit(signIn.page, {
      username: 'bob',
      password: bob?.password ?? '',
      decision: 'continue',
    });
    if (!('page' in again)) throw new Error('no page');
    expect(again.page.text).toContain('bob@example.com');
    const done = await visit.submit(again.page, { decision: 'allow' });
    if (!('leftFor' in done)) throw new Error('no callback');
    const { body } = await post(`${at.server.issuer}/token`, {
      grant_type: 'authorization_code',
      client_id: 'mcp-client',
      redirect_uri: REDIRECT,
      code_verifier: verifier,
      code: done.leftFor.searchParams.get('code') ?? '',
    });
    expect(
      JSON.parse(Buffer.from(String(body['access_token']).split('.')[1] ?? '', 'base64url').toString()),
    ).toMatchObject({ sub: bob?.sub });
  });

  test('a client that asks for a new sign-in (prompt=login) gets the account that signs in then', async () => {
    const [eve] = await at.server.createEvaluationUsers([{ username: 'eve', name: 'Eve', email: 'eve@example.com' }]);
    const jar = cookieJar();
    await at.authorize({ jar });
    const { url } = await at.authorizationUrl({ params: { prompt: 'login' } });
    const pages: string[] = [];
    const callback = await signInAndConsent({
      authorizationUrl: url,
      username: 'eve',
      password: eve?.password ?? '',
      decision: 'allow',
      jar,
      onPage: (page) => pages.push(page.text),
    });
    expect(callback.searchParams.get('code')).not.toBeNull();
    expect(pages.at(-1)).toContain('eve@example.com');
  });

  test('of a person who is gone lead to sign-in, not to a dead end', async () => {
    const people = new Map([['ada', { sub: 'person_a', name: 'Ada', email: 'a@example.com' }]]);
    const own = await startFixture(
      {},
      {
        directory: {
          authenticate: async ({ username }) => people.get(username) ?? null,
          find: async (sub) => [...people.values()].find((person) => person.sub === sub) ?? null,
        },
      },
    );
    try {
      const jar = cookieJar();
      const sign = async (username: string) =>
        signInAndConsent({
          authorizationUrl: (await own.authorizationUrl()).url,
          username,
          password: 'x',
          decision: 'allow',
          jar,
        });
      expect((await sign('ada')).searchParams.get('code')).not.toBeNull();
      people.clear();
      people.set('bob', { sub: 'person_b', name: 'Bob', email: 'b@example.com' });
      expect((await sign('bob')).searchParams.get('code')).not.toBeNull();
    } finally {
      await own.stop();
    }
  });

  test('behind https use __Host- cookies, HttpOnly, SameSite=Lax, one name for each flow', async () => {
    const secure = await startAuthServer(
      {
        issuer: 'https://as.example',
        listen: { host: '127.0.0.1', port: 0 },
        dataDir: join(at.dataDir, 'https'),
        trustedGateways: [{ origin: at.gateway.origin }],
      },
      { log: pino({ level: 'silent' }) },
    );
    try {
      const path = new URL((await at.authorizationUrl()).url).search;
      at.gateway.document = { ...at.gateway.document, authorization_servers: [at.server.issuer, 'https://as.example'] };
      const answer = await raw(secure.port, `/authorize${path}`, { host: 'as.example' });
      expect(answer.status).toBe(303);
      const cookies = [answer.headers['set-cookie'] ?? []].flat();
      expect(cookies.length).toBeGreaterThan(0);
      for (const cookie of cookies)
        expect(cookie).toMatch(
          /^__Host-remit_(interaction|resume)-[\w-]{43}(\.sig)?=[^;]*; path=\/; .*samesite=lax; secure; httponly$/i,
        );
      expect(answer.headers['strict-transport-security']).toBe('max-age=31536000');
    } finally {
      await secure.close();
    }
  });
});

describe('AN-12 and PH-10: what it keeps to itself', () => {
  test('AN-12: passwords, codes, tokens, verifiers, cookies and private keys are in no log line and no database file', async () => {
    const own = await startFixture();
    try {
      const jar = cookieJar();
      const { callback, verifier } = await own.authorize({ jar });
      const code = callback.searchParams.get('code') ?? '';
      const redeem = {
        grant_type: 'authorization_code',
        client_id: 'mcp-client',
        redirect_uri: REDIRECT,
        code_verifier: verifier,
        code,
      };
      const { body } = await post(`${own.server.issuer}/token`, redeem);
      const refresh = String(body['refresh_token']);
      await post(`${own.server.issuer}/token`, redeem); // reuse, so that errors are logged too
      await post(`${own.server.issuer}/token`, {
        grant_type: 'refresh_token',
        client_id: 'mcp-client',
        refresh_token: refresh,
      });
      await own.authorize({ params: { scope: 'nothing:known' } }).catch(() => {});
      const { url } = await own.authorizationUrl();
      await signInAndConsent({
        authorizationUrl: url,
        username: 'ada',
        password: 'canary-wrong-password',
        decision: 'allow',
      }).catch(() => {});
      own.server.rotateKeys();

      const session = /remit_session=([\w-]+)/.exec(jar.header(new URL(own.server.issuer)))?.[1] ?? '';
      const keys = JSON.parse(readFileSync(join(own.dataDir, 'keys', 'signing-keys.json'), 'utf8')) as {
        current: { d: string };
      };
      const secrets = {
        password: own.user.password,
        wrong: 'canary-wrong-password',
        code,
        verifier,
        refresh,
        access: String(body['access_token']),
        session,
        key: keys.current.d,
      };
      const log = own.log.join('');
      const disk = readdirSync(own.dataDir)
        .filter((name) => name.startsWith('authserver.db'))
        .map((name) => readFileSync(join(own.dataDir, name), 'latin1'))
        .join('');
      for (const [name, secret] of Object.entries(secrets)) {
        expect([name, secret.length > 15]).toEqual([name, true]);
        expect([name, log.includes(secret)]).toEqual([name, false]);
        expect([name, disk.includes(secret)]).toEqual([name, false]);
      }
      // The search would find something: these are meant to be there.
      for (const known of ['token issued', 'grant revoked', 'sign-in refused', own.user.sub])
        expect(log).toContain(known);
      expect(disk).toContain(own.user.sub);
    } finally {
      await own.stop();
    }
  });

  test('PH-10: a fault shows a reference and nothing of its reason; the log has the reference', async () => {
    const broken = await startFixture(
      {},
      {
        directory: {
          authenticate: async () => {
            throw new Error('canary: connection to ldap.internal refused for svc-remit');
          },
          find: async () => null,
        },
      },
    );
    try {
      const { url } = await broken.authorizationUrl();
      const visit = browser();
      const seen = await visit.open(url);
      if (!('page' in seen)) throw new Error('no page');
      const fault = await visit.submit(seen.page, { username: 'ada', password: 'x', decision: 'continue' });
      if (!('page' in fault)) throw new Error('no page');
      expect(fault.page.status).toBe(500);
      expect(fault.page.text).toContain('Something went wrong');
      const reference = /ref_[0-9a-z]{26}/.exec(fault.page.text)?.[0] ?? 'none';
      for (const leak of ['canary', 'ldap', '.ts:', 'node_modules', broken.dataDir]) {
        expect(fault.page.text).not.toContain(leak);
      }
      const line = broken.log.find((text) => text.includes(reference)) ?? '';
      expect(line).toContain('"status":500');
      expect(broken.log.join('')).not.toContain('canary');
    } finally {
      await broken.stop();
    }
  });

  test('PH-10: a fault at the token endpoint is server_error with a reference', async () => {
    let fail = false;
    const person = { sub: 'person_x', name: 'X', email: 'x@example.com' };
    const broken = await startFixture(
      {},
      {
        directory: {
          authenticate: async () => person,
          find: async () => {
            if (fail) throw new Error('canary: /var/lib/secret');
            return person;
          },
        },
      },
    );
    try {
      const { callback, verifier } = await broken.authorize();
      fail = true;
      const answer = await post(`${broken.server.issuer}/token`, {
        grant_type: 'authorization_code',
        client_id: 'mcp-client',
        redirect_uri: REDIRECT,
        code_verifier: verifier,
        code: callback.searchParams.get('code') ?? '',
      });
      expect(answer.status).toBe(500);
      expect(answer.body).toEqual({
        error: 'server_error',
        error_description: expect.stringMatching(/^internal error, reference ref_[0-9a-z]{26}$/) as string,
      });
      const reference = String(answer.body['error_description']).slice(-30);
      expect(broken.log.some((line) => line.includes(reference) && line.includes('"fault":"Error"'))).toBe(true);
    } finally {
      await broken.stop();
    }
  });

  test('a person who is gone gets no more tokens', async () => {
    let here = true;
    const person = { sub: 'person_x', name: 'X', email: 'x@example.com' };
    const own = await startFixture(
      {},
      { directory: { authenticate: async () => person, find: async () => (here ? person : null) } },
    );
    try {
      const tokens = await own.tokens();
      here = false;
      const answer = await post(`${own.server.issuer}/token`, {
        grant_type: 'refresh_token',
        client_id: 'mcp-client',
        refresh_token: tokens.refresh_token ?? '',
      });
      expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    } finally {
      await own.stop();
    }
  });
});

test('more requests than allowed from one address get 429 and Retry-After', async () => {
  const own = await startFixture({ requestsPerMinute: 20 });
  try {
    const answers = await Promise.all(Array.from({ length: 30 }, () => fetch(`${own.server.issuer}/jwks`)));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(10);
    expect(refused[0]?.headers.get('retry-after')).toBe('60');
  } finally {
    await own.stop();
  }
});

test('claims of a policy are added to tokens and never replace the registered ones', async () => {
  const own = await startFixture(
    {},
    {
      tokenClaims: ({ resource }) => ({
        department: 'engines',
        seen: resource,
        sub: 'root',
        aud: 'https://evil.example',
        iss: 'x',
      }),
    },
  );
  try {
    const { access_token: token } = await own.tokens();
    expect(JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())).toMatchObject({
      department: 'engines',
      seen: own.gateway.resource,
      sub: own.user.sub,
      aud: own.gateway.resource,
      iss: own.server.issuer,
    });
  } finally {
    await own.stop();
  }
});

describe('configuration', () => {
  const good = { issuer: 'https://as.example', listen: { port: 0 }, dataDir: '/tmp/x' };

  test('has safe defaults', () => {
    expect(parseAuthServerConfig(good)).toEqual({
      ...good,
      listen: { host: '127.0.0.1', port: 0 },
      trustedGateways: [],
      evaluationUsers: false,
      identityProviders: [],
      preregisteredClients: [],
      grants: {
        assertionIssuers: { identityProviders: [], workloads: [] },
        clientCredentials: [],
        tokenExchange: { maxDepth: 2, rules: [] },
        unsafeTokenEndpointAudience: false,
      },
      events: { gateways: [] },
      registration: { mayRegister: 'nobody', redirectHosts: [], maxPerHour: 20, maxClients: 500, unusedDays: 30 },
      clientIdMetadata: { allowedHosts: [] },
      lifetimes: {
        accessSeconds: 600,
        refreshIdleSeconds: 28_800,
        refreshMaxSeconds: 2_592_000,
        codeSeconds: 60,
        deviceCodeSeconds: 300,
        sessionSeconds: 28_800,
        interactionSeconds: 600,
      },
      requestsPerMinute: 600,
      unsafeSilentNativeConsent: false,
    });
  });

  test('refuses local users for an issuer that others reach, and says what to do instead', () => {
    const message =
      "the authorization server's configuration is not valid:\n" +
      'authserver.evaluationUsers: local users are for trying Remit on one machine, with an issuer on loopback; ' +
      'set it to false and connect an identity provider';
    for (const issuer of ['https://as.example', 'https://10.0.0.7:8443', 'https://localhost.as.example'])
      expect(() => parseAuthServerConfig({ ...good, issuer, evaluationUsers: true })).toThrow(
        expect.objectContaining({ code: 'config_invalid', message }),
      );
    for (const issuer of ['http://127.0.0.1:1', 'https://localhost:1', 'http://[::1]:1'])
      expect(parseAuthServerConfig({ ...good, issuer, evaluationUsers: true }).evaluationUsers).toBe(true);
  });

  test('reports every problem at once, each with its key', () => {
    const bad = {
      issuer: 'http://as.example/path',
      listen: { host: '0.0.0.0', port: 70_000 },
      dataDir: '',
      trustedGateways: [{ origin: 'http://gw.example' }, { origin: 'https://gw.example/' }],
      clientIdMetadata: { allowedHosts: ['127.0.0.1', '*.claude.ai'] },
      preregisteredClients: [{ clientId: 'x y', name: '', redirectUris: ['http://evil.example/cb'] }],
      lifetimes: { accessSeconds: 1 },
      evalutionUsers: true,
    };
    const message = (() => {
      try {
        parseAuthServerConfig(bad);
        return '';
      } catch (error) {
        return (error as Error).message;
      }
    })();
    expect(
      message
        .split('\n')
        .slice(1)
        .map((line) => line.split(':')[0]),
    ).toEqual([
      'authserver.issuer',
      'authserver.listen.port',
      'authserver.dataDir',
      'authserver.trustedGateways.0.origin',
      'authserver.trustedGateways.1.origin',
      'authserver.preregisteredClients.0.clientId',
      'authserver.preregisteredClients.0.name',
      'authserver.preregisteredClients.0.redirectUris.0',
      'authserver.clientIdMetadata.allowedHosts.0',
      'authserver.clientIdMetadata.allowedHosts.1',
      'authserver.lifetimes.accessSeconds',
      'authserver.(root)',
      'authserver.listen.host',
    ]);
    expect(message).toContain('Unrecognized key: "evalutionUsers"');
  });

  test.for([
    [{ issuer: 'http://as.example' }, 'must be https; plain http is accepted for loopback addresses only'],
    [
      { issuer: 'http://127.0.0.1:1', listen: { host: '0.0.0.0', port: 1 } },
      'an http issuer may listen on loopback only; use an https issuer behind TLS',
    ],
    [{ issuer: 'http://127.0.0.1:0', listen: { port: 4_000 } }, 'port 0 goes with listen.port 0 only'],
    [{ lifetimes: { refreshIdleSeconds: 86_400, refreshMaxSeconds: 3_600 } }, 'must not exceed refreshMaxSeconds'],
  ] as const)('refuses %j', ([change, message]) => {
    expect(() => parseAuthServerConfig({ ...good, ...change })).toThrow(message);
  });

  test('a port in use is named', async () => {
    await expect(
      startAuthServer({
        issuer: at.server.issuer,
        listen: { host: '127.0.0.1', port: at.server.port },
        dataDir: join(at.dataDir, 'second'),
      }),
    ).rejects.toMatchObject({
      code: 'authserver_listen_failed',
      message: `cannot listen on 127.0.0.1 port ${at.server.port}`,
    });
  });
});
