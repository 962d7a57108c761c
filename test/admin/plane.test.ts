/** Who gets into the admin plane, and how requests are read. */
import { fastify } from 'fastify';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ROUTES } from '../../src/admin/routes.ts';
import { startPlane, type Plane } from './plane.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());

const filled = (path: string): string => path.replace(/:\w+/g, 'x');
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'] as const;
const GUESSES = [
  '/',
  '/api',
  '/api/v1',
  '/api/v2/people',
  '/api/v1/bootstrap',
  '/api/v1/setup',
  '/api/v1/init',
  '/api/v1/login',
  '/api/v1/users',
  '/api/v1/people/',
  '/api/v1//people',
  '/api/v1/%2e%2e/people',
  '/API/V1/people',
  '/console',
  '/debug',
  '/metrics',
  '/openapi.json',
  '/.well-known/oauth-protected-resource',
  '/.env',
  '/scim/v2/Users',
];

/** Everything on a listener that answers something else than 401 or 404 without a token. */
async function openDoors(origin: string, doors: ReadonlyArray<readonly [string, string]>): Promise<string[]> {
  const open: string[] = [];
  for (const [method, path] of doors) {
    const response = await fetch(origin + path, { method, redirect: 'manual' });
    await response.arrayBuffer();
    if (response.status !== 401 && response.status !== 404) open.push(`${method} ${path} ${response.status}`);
  }
  return open;
}

const everyDoor = [...new Set([...ROUTES.map(({ path }) => filled(path)), ...GUESSES])].flatMap((path) =>
  METHODS.map((method) => [method, path] as const),
);

describe('PH-09', () => {
  test('PH-09: without a token every route of a fresh installation answers 401, everything else 404', async () => {
    expect(await openDoors(plane.url, everyDoor)).toEqual([]);
    for (const { method, path } of ROUTES) {
      const reply = await plane.raw(method, filled(path));
      expect([method, path, reply.status, reply.body.error?.['code']]).toEqual([method, path, 401, 'unauthenticated']);
      expect(reply.headers.get('www-authenticate')).toMatch(
        /^Bearer resource_metadata="http:\/\/127\.0\.0\.1:\d+\/\.well-known\/oauth-protected-resource\/api\/v1"/,
      );
    }
  });

  test('PH-09: the scan finds a bootstrap route (vulnerable twin)', async () => {
    const leaky = fastify();
    leaky.post('/api/v1/bootstrap', async () => ({ ok: true }));
    const origin = await leaky.listen({ host: '127.0.0.1', port: 0 });
    expect(await openDoors(origin, everyDoor)).toEqual(['POST /api/v1/bootstrap 200']);
    await leaky.close();
  });

  test('PH-09: the listener serves the rows of the table and three open documents, no more', async () => {
    for (const [path, keys] of [
      ['/healthz', ['status']],
      ['/readyz', ['status']],
    ] as const) {
      const reply = await plane.raw('GET', path);
      expect([reply.status, Object.keys(reply.body)]).toEqual([200, keys]);
    }
    const metadata = await plane.raw('GET', '/.well-known/oauth-protected-resource/api/v1');
    expect(metadata.body).toMatchObject({
      resource: `${plane.url}/api/v1`,
      authorization_servers: [plane.issuer.issuer],
      scopes_supported: ['admin:read', 'admin:write'],
      bearer_methods_supported: ['header'],
    });
  });
});

describe('tokens', () => {
  const ME = '/api/v1/me';
  const get = (token: string) => plane.raw('GET', ME, { authorization: `Bearer ${token}` });

  test('accepts an active person with a token for this API', async () => {
    const reply = await get(plane.tokenOf('dana'));
    expect(reply.status).toBe(200);
    expect(reply.body).toMatchObject({
      person: 'dana',
      roles: ['developer'],
      organisation: 'default',
      client: 'remit-cli',
    });
  });

  test('refuses every token that is not one for this API', async () => {
    const nowSeconds = Math.floor(Date.now() / 1000);
    const refused: ReadonlyArray<readonly [string, string]> = [
      ['garbage', 'abc'],
      ['for the MCP listener', plane.tokenOf('ada', { aud: 'http://127.0.0.1:1/mcp/default/files' })],
      ['for the origin only', plane.tokenOf('ada', { aud: plane.url })],
      ['for several audiences', plane.tokenOf('ada', { aud: [`${plane.url}/api/v1`, 'https://other.example'] })],
      ['expired', plane.tokenOf('ada', { iat: nowSeconds - 600, exp: nowSeconds - 300 })],
      ['that lives too long', plane.tokenOf('ada', { exp: nowSeconds + 7200 })],
      ['of another issuer', plane.tokenOf('ada', { iss: 'https://elsewhere.example' })],
      [
        'of another type',
        plane.issuer.mint({ sub: 'ada', aud: `${plane.url}/api/v1`, scope: 'admin:read' }, { typ: 'JWT' }),
      ],
    ];
    for (const [name, token] of refused) {
      const reply = await get(token);
      expect([name, reply.status, reply.body.error?.['code']]).toEqual([name, 401, 'invalid_token']);
      expect(reply.headers.get('www-authenticate')).toContain('error="invalid_token"');
      expect(reply.text).not.toContain(token);
    }
  });

  test('never reads a token from the address', async () => {
    const token = plane.tokenOf('ada');
    const reply = await plane.raw('GET', `${ME}?access_token=${token}`);
    expect([reply.status, reply.body.error?.['code']]).toEqual([401, 'invalid_token']);
    expect(JSON.stringify(plane.logged)).not.toContain(token);
  });

  test('says 403 with one neutral text to unknown and inactive people', async () => {
    await plane.seed([
      plane.put('person', 'gone', {
        issuer: plane.issuer.issuer,
        subject: 'gone',
        name: 'gone',
        state: 'inactive',
        roles: ['administrator'],
      }),
    ]);
    const replies = [await get(plane.tokenOf('stranger')), await get(plane.tokenOf('gone'))];
    for (const reply of replies)
      expect([reply.status, reply.body.error?.['code'], reply.body.error?.['message']]).toEqual([
        403,
        'no_standing',
        'You have no active standing in this organisation.',
      ]);
  });

  test('refuses a locked person, agent or token at the next request', async () => {
    const token = plane.tokenOf('dana', { client_id: 'agent-7', jti: 'token-7' });
    expect((await get(token)).status).toBe(200);
    // With an end: lifting it brings everything back.
    const until = Date.now() + 3_600_000;
    for (const [kind, value] of [
      ['user', 'dana'],
      ['agent', 'agent-7'],
      ['token', 'token-7'],
    ] as const) {
      const added = await plane.as('omar', 'POST', '/locks', { kind, value, reason: 'drill', until });
      expect([kind, added.status]).toEqual([kind, 201]);
      expect([kind, (await get(token)).body.error?.['code']]).toEqual([kind, 'no_standing']);
      expect((await plane.as('sven', 'DELETE', `/locks/${String(added.body['id'])}`, { reason: 'over' })).status).toBe(
        200,
      );
      expect([kind, (await get(token)).status]).toEqual([kind, 200]);
    }
    expect(plane.locks.map(({ subject }) => subject.kind)).toEqual(['user', 'agent', 'token']);
  });

  test('challenges for the scope of the row, and names the roles that are needed', async () => {
    const readOnly = plane.tokenOf('ada', { scope: 'admin:read' });
    const lacking = await plane.raw('POST', '/api/v1/locks', { authorization: `Bearer ${readOnly}` });
    expect([lacking.status, lacking.body.error?.['code']]).toEqual([403, 'insufficient_scope']);
    expect(lacking.headers.get('www-authenticate')).toMatch(/error="insufficient_scope", scope="admin:write"/);
    const role = await plane.as('dana', 'GET', '/people');
    expect([role.status, role.body.error?.['code']]).toEqual([403, 'role_missing']);
  });

  test('every row is closed to a person without roles, except those for everyone', async () => {
    for (const route of ROUTES) {
      const reply = await plane.raw(route.method, filled(route.path), {
        authorization: `Bearer ${plane.tokenOf('nobody')}`,
      });
      const expected = typeof route.roles === 'string' ? 'open' : 'role_missing';
      expect([route.method, route.path, reply.status === 403 ? reply.body.error?.['code'] : 'open']).toEqual([
        route.method,
        route.path,
        expected,
      ]);
    }
  });

  test('a refusal of somebody known is in the audit log with its true reason', async () => {
    const reply = await plane.as('dana', 'POST', '/policies/x/activate', { reason: 'x' });
    const entry = (await plane.entries('admin')).find(({ ref }) => ref === reply.body.error?.['ref']);
    expect(entry).toMatchObject({
      actor: { person: 'dana' },
      event: { what: 'request.refused', route: 'POST /api/v1/policies/:policy/activate', reason: 'role_missing' },
    });
  });
});

describe('requests', () => {
  /** fetch sets Host by itself; this does not. */
  const withHost = (host: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const sent = request(
        `${plane.url}/api/v1/me`,
        { headers: { host, authorization: `Bearer ${plane.tokenOf('ada')}` } },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      sent.on('error', reject);
      sent.end();
    });

  test('refuses a Host that is not ours, whoever asks', async () => {
    expect(await withHost(new URL(plane.url).host)).toBe(200);
    for (const host of ['evil.example', 'localhost', '127.0.0.1', `evil.example:${new URL(plane.url).port}`])
      expect([host, await withHost(host)]).toEqual([host, 403]);
  });

  test('refuses a foreign Origin and sends no CORS header', async () => {
    const headers = { authorization: `Bearer ${plane.tokenOf('ada')}` };
    const foreign = await plane.raw('GET', '/api/v1/me', { ...headers, origin: 'https://evil.example' });
    expect([foreign.status, foreign.body.error?.['code']]).toEqual([403, 'origin_not_allowed']);
    expect((await plane.raw('GET', '/api/v1/me', { ...headers, origin: 'null' })).status).toBe(403);
    const own = await plane.raw('GET', '/api/v1/me', { ...headers, origin: plane.url });
    expect(own.status).toBe(200);
    expect([...own.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
    expect(own.headers.get('cache-control')).toBe('no-store');
    expect(own.headers.get('x-content-type-options')).toBe('nosniff');
    expect(own.headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'");
  });

  const post = (body: string, type = 'application/json') =>
    plane.raw('POST', '/api/v1/locks', { authorization: `Bearer ${plane.tokenOf('ada')}`, 'content-type': type }, body);

  test.each([
    ['two keys of one name', '{"kind":"user","kind":"agent","value":"x","reason":"x"}', 400, 'bad_json'],
    ['a prototype key', '{"__proto__":{"kind":"user"},"value":"x","reason":"x"}', 400, 'bad_json'],
    ['broken JSON', '{"kind":', 400, 'bad_json'],
    ['unknown members', '{"kind":"agent","value":"x","reason":"x","force":true}', 422, 'invalid'],
    ['a missing reason', '{"kind":"agent","value":"x"}', 422, 'invalid'],
    ['an array', '[]', 422, 'invalid'],
    [
      'half a megabyte and more',
      JSON.stringify({ kind: 'agent', value: 'x', reason: 'y'.repeat(600_000) }),
      413,
      'too_large',
    ],
  ])('refuses a body with %s', async (_name, body, status, code) => {
    const reply = await post(body);
    expect([reply.status, reply.body.error?.['code']]).toEqual([status, code]);
    expect(reply.body.error?.['ref']).toMatch(/^ref_/);
  });

  test('names the field that is wrong', async () => {
    const reply = await post('{"kind":"agent","value":"","reason":"x"}');
    expect(reply.body.error).toMatchObject({ code: 'invalid', field: 'value' });
  });

  test('understands application/json only', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      const reply = await post('{"kind":"agent","value":"x","reason":"x"}', type);
      expect([type, reply.status, reply.body.error?.['code']]).toEqual([type, 415, 'unsupported_media_type']);
    }
  });

  test('refuses unknown query parameters and a body where none is taken', async () => {
    expect((await plane.as('ada', 'GET', '/changes?afterr=1')).body.error).toMatchObject({
      code: 'invalid',
      field: 'query',
    });
    const reply = await plane.raw('GET', '/api/v1/me?x=1', { authorization: `Bearer ${plane.tokenOf('ada')}` });
    expect(reply.status).toBe(400);
  });

  test('the OpenAPI document has every row with its scope, and nothing else', async () => {
    const reply = await plane.as('dana', 'GET', '/openapi.json');
    const paths = reply.body['paths'] as Record<string, Record<string, { security: unknown; summary: string }>>;
    const listed = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(
        ([method, { security }]) => `${method.toUpperCase()} ${path} ${JSON.stringify(security)}`,
      ),
    );
    expect(reply.body['openapi']).toBe('3.1.0');
    expect(listed.toSorted()).toEqual(
      ROUTES.map(
        ({ method, path, scope }) => `${method} ${path.replace(/:(\w+)/g, '{$1}')} [{"bearer":["${scope}"]}]`,
      ).toSorted(),
    );
  });
});
