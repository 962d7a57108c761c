/** AN-14: an agent that acts alone authenticates by a key of its own or a secret that ends, and gets what an administrator allowed it, no more. */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import { CLIENT_ASSERTION_CHECKS, clientAssertionProblem } from '../../src/authserver/grants/client-assertion.ts';
import type { Members } from '../support/issuer.ts';
import { SECRET, basic, startRig } from './grants-rig.ts';
import type { Answer, Fields, Rig } from './grants-rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const seconds = (): number => Math.floor(Date.now() / 1_000);
const ask = (fields: Fields = {}, headers: Record<string, string> = {}): Promise<Answer> =>
  rig.token({ grant_type: 'client_credentials', resource: rig.at.gateway.resource, ...fields }, headers);
const asDesk = (fields: Fields = {}): Promise<Answer> => ask({ ...rig.by(rig.clients.desk), ...fields });

describe('a token', () => {
  test('AN-14: is that of the client alone, for one server, without a refresh token', async () => {
    const answer = await asDesk({ scope: 'files:read' });
    expect(answer.status).toBe(200);
    expect(Object.keys(answer.body).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type']);
    const claims = answer.claims();
    expect(claims).toMatchObject({ sub: 'desk', client_id: 'desk', aud: rig.at.gateway.resource, scope: 'files:read' });
    expect(claims).not.toHaveProperty('grant_id');
    expect(claims).not.toHaveProperty('auth_time');
  });

  test('has all that the client is allowed and the server offers, when it asks for nothing', async () => {
    expect((await asDesk()).body).toMatchObject({ scope: 'files:read files:write' });
  });

  test('comes by secret, in the header or in the body, whichever of the two is registered', async () => {
    const answers = await Promise.all([
      ask({}, basic('basic-agent', SECRET)),
      ask({ client_id: 'basic-agent', client_secret: SECRET }),
      ask({}, basic('post-agent', SECRET)),
      ask({ client_id: 'post-agent', client_secret: SECRET }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(answers[0].claims().sub).toBe('basic-agent');
  });

  test('is recorded', async () => {
    const { jti } = (await asDesk()).claims();
    expect(rig.at.log.some((line) => line.includes('"token granted"') && line.includes(String(jti)))).toBe(true);
  });
});

describe('is refused', () => {
  const CASES: readonly [string, string, string | null, () => Promise<Answer>][] = [
    ['without a resource', 'invalid_request', 'resource_missing', () => asDesk({ resource: undefined })],
    [
      'for a server that the client is not allowed',
      'invalid_target',
      'resource_not_allowed',
      () => asDesk({ resource: rig.other.resource }),
    ],
    [
      'for a server that nobody knows',
      'invalid_target',
      'resource_unknown',
      () => asDesk({ resource: `${rig.at.gateway.origin}/mcp/default/gone` }),
    ],
    [
      'for a server of somebody else',
      'invalid_target',
      'resource_not_trusted',
      () => asDesk({ resource: 'https://evil.example/mcp' }),
    ],
    ['for a scope that the client is not allowed', 'invalid_scope', 'scope', () => asDesk({ scope: 'files:exec' })],
    [
      'for one allowed scope and one that is not',
      'invalid_scope',
      'scope',
      () => asDesk({ scope: 'files:read files:exec' }),
    ],
    ['for a scope that is allowed but not offered', 'invalid_scope', 'scope', () => asDesk({ scope: 'files:gone' })],
    ['to a client without an allowance', 'unauthorized_client', 'no_allowance', () => ask(rig.by(rig.clients.writer))],
    ['to a client whose secret has ended', 'invalid_client', null, () => ask({}, basic('late-agent', SECRET))],
    ['to a client with a wrong secret', 'invalid_client', null, () => ask({}, basic('basic-agent', `${SECRET}x`))],
    ['to a client that shows a secret and has a key', 'invalid_client', null, () => ask({}, basic('desk', SECRET))],
    ['to a client with a key that shows nothing', 'invalid_client', null, () => ask({ client_id: 'desk' })],
    ['to nobody', 'invalid_request', null, () => ask()],
    ['to a public client', 'unauthorized_client', null, () => ask({ client_id: 'mcp-client' })],
    [
      'to a client that says two ways',
      'invalid_request',
      null,
      () => ask(rig.by(rig.clients.desk), basic('basic-agent', SECRET)),
    ],
  ];
  test.each(CASES)('AN-14: %s', async (_name, error, reason, make) => {
    const answer = await make();
    expect(answer.body).toEqual({ error, error_description: expect.any(String) });
    expect(answer.status).toBe(error === 'invalid_client' ? 401 : 400);
    if (error === 'invalid_client') expect(answer.body['error_description']).toMatch(/^client authentication failed/);
    expect(answer.reasons).toEqual(reason === null ? [] : [reason]);
    expect(answer.logged.filter((line) => line.includes('"msg":"refused"'))).toHaveLength(1);
  });

  test('AN-14: at the start: a secret without an end, without an owner, or written into the configuration', () => {
    const client = (authentication: unknown, more = {}) => ({
      issuer: 'http://127.0.0.1:0',
      listen: { port: 0 },
      dataDir: '/nowhere',
      preregisteredClients: [{ clientId: 'x', name: 'x', grantTypes: ['client_credentials'], authentication, ...more }],
    });
    const method = 'client_secret_basic';
    const ends = { secretExpiresAt: '2099-01-01T00:00:00Z' };
    expect(() => parseAuthServerConfig(client({ method, secret: 'env:A' }, { owner: 'Ada' }))).toThrow(
      /secretExpiresAt/,
    );
    expect(() => parseAuthServerConfig(client({ method, secret: 'env:A', ...ends }))).toThrow(/owner/);
    expect(() => parseAuthServerConfig(client({ method, secret: 'abc', ...ends }, { owner: 'Ada' }))).toThrow(
      /env:NAME/,
    );
    expect(() => parseAuthServerConfig(client({ method: 'none' }))).toThrow(/private_key_jwt/);
  });
});

interface Mutation {
  readonly name: string;
  /** The check of ours that refuses, and further ones that would as well; none: the engine does. */
  readonly checks?: readonly string[];
  readonly claims?: () => Members;
  readonly header?: Members;
}

const MUTATIONS: readonly Mutation[] = [
  { name: 'is for the token endpoint', checks: ['audience'], claims: () => ({ aud: `${rig.at.server.issuer}/token` }) },
  {
    name: 'is for us and somebody else',
    checks: ['audience'],
    claims: () => ({ aud: [rig.at.server.issuer, 'https://b.example'] }),
  },
  { name: 'is for us with a slash', claims: () => ({ aud: `${rig.at.server.issuer}/` }) },
  { name: 'is for another server', claims: () => ({ aud: 'https://b.example' }) },
  { name: 'is for nobody', claims: () => ({ aud: undefined }) },
  { name: 'is issued by another client', claims: () => ({ iss: 'writer' }) },
  { name: 'is about another client', claims: () => ({ sub: 'writer' }) },
  { name: 'is about nobody', claims: () => ({ sub: undefined }) },
  { name: 'never expires', claims: () => ({ exp: undefined }) },
  { name: 'has expired', claims: () => ({ iat: seconds() - 300, exp: seconds() - 100 }) },
  { name: 'lives for six minutes', checks: ['lifetime'], claims: () => ({ exp: seconds() + 360 }) },
  {
    name: 'lives for an hour and does not say since when',
    checks: ['lifetime'],
    claims: () => ({ iat: undefined, exp: seconds() + 3_600 }),
  },
  {
    name: 'was signed long ago to be used now',
    checks: ['lifetime'],
    claims: () => ({ iat: seconds() - 3_600, exp: seconds() + 100 }),
  },
  { name: 'is issued in the future', claims: () => ({ iat: seconds() + 600, exp: seconds() + 700 }) },
  { name: 'is not valid yet', claims: () => ({ nbf: seconds() + 100 }) },
  { name: 'has no id', claims: () => ({ jti: undefined }) },
  { name: 'has an endless id', checks: ['id'], claims: () => ({ jti: 'x'.repeat(600) }) },
  { name: 'was made as an ID-JAG', checks: ['type'], header: { typ: 'oauth-id-jag+jwt' } },
  { name: 'was made as an access token', checks: ['type'], header: { typ: 'at+jwt' } },
  { name: 'was made as a proof of possession', checks: ['type'], header: { typ: 'dpop+jwt' } },
  { name: 'brings its own key', checks: ['header_refused'], header: { jwk: { kty: 'EC' } } },
  { name: 'names a place for its key', checks: ['header_refused'], header: { jku: 'https://evil.example' } },
  { name: 'says it is not signed', header: { alg: 'none' } },
  { name: 'claims another algorithm', header: { alg: 'RS256' } },
  { name: 'claims a shared secret', header: { alg: 'HS256' } },
];

describe.each(MUTATIONS)('a client assertion that $name', ({ checks, claims, header }) => {
  test('AN-14: is no proof of who calls', async () => {
    const fields = rig.by(rig.clients.desk, claims?.(), header);
    const answer = await ask(fields);
    expect([400, 401]).toContain(answer.status);
    expect(['invalid_client', 'invalid_request']).toContain(answer.body['error']);
    expect(answer.body['access_token']).toBe(undefined);
    const [refused, ...more] = answer.logged.filter((line) => line.includes('"msg":"refused"'));
    expect([refused, more]).toEqual([expect.any(String), []]);
    if (checks === undefined) return;
    expect(refused).toContain(`client assertion: ${checks[0]!}`);
    const text = fields['client_assertion']!;
    const rule = {
      issuer: rig.at.server.issuer,
      tokenEndpoint: `${rig.at.server.issuer}/token`,
      unsafeTokenEndpointAudience: false,
      now: seconds,
    };
    type Claims = Parameters<typeof clientAssertionProblem>[0];
    const facts = [decodeJwt(text) as Claims, decodeProtectedHeader(text) as Claims, 'desk', rule] as const;
    const rest = Object.fromEntries(Object.entries(CLIENT_ASSERTION_CHECKS).filter(([name]) => !checks.includes(name)));
    expect(clientAssertionProblem(...facts)).toBe(checks[0]);
    expect(clientAssertionProblem(...facts, rest)).toBe(null);
  });
});

describe('a client assertion', () => {
  test('AN-14: by another key is no proof, whatever name the key has', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    expect((await ask(rig.by(rig.clients.desk, {}, {}, privateKey))).status).toBe(401);
    expect((await ask(rig.by(rig.clients.desk, {}, {}, rig.clients.writer.key))).status).toBe(401);
  });

  test('AN-14: counts once, also when ten race', async () => {
    const fields = rig.by(rig.clients.desk, { jti: randomUUID() });
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(fields)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect((await ask(fields)).status).not.toBe(200);
  });

  test('may omit the client id beside it, may be of five minutes, and may name us in a list of one', async () => {
    expect((await ask(rig.by(rig.clients.desk, { exp: seconds() + 300 }))).status).toBe(200);
    expect((await ask(rig.by(rig.clients.desk, { aud: [rig.at.server.issuer], iat: undefined }))).status).toBe(200);
    expect((await ask({ client_id: 'writer', ...rig.by(rig.clients.desk) })).status).toBe(400);
  });

  test('may be for the token endpoint where a setting says so, and for no other address then', async () => {
    const own = await startRig(() => ({ unsafeTokenEndpointAudience: true }));
    try {
      const send = (aud: string): Promise<Answer> =>
        own.token({
          grant_type: 'client_credentials',
          resource: own.at.gateway.resource,
          ...own.by(own.clients.desk, { aud }),
        });
      const { issuer } = own.at.server;
      expect((await send(issuer)).status).toBe(200);
      expect((await send(`${issuer}/token`)).status).toBe(200);
      expect((await send(`${issuer}/revoke`)).status).toBe(401);
    } finally {
      await own.stop();
    }
  });
});
