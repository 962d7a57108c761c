/**
 * ID-02: an assertion of the company's identity provider counts only when everything in it is about this client, this server, this person
 * and this minute. Each mutation goes to a real server; its twin asks the same table of checks without the one that held it back.
 */
import { createHash, generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { IDENTITY_ASSERTION_CHECKS, identityAssertionProblem } from '../../src/authserver/grants/identity-assertion.ts';
import type { AssertionFacts } from '../../src/authserver/grants/identity-assertion.ts';
import { GrantSettings } from '../../src/authserver/grants/settings.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { RISC, push, startTransmitter } from '../admin/events/transmitter.ts';
import { startIssuer } from '../support/issuer.ts';
import type { Members } from '../support/issuer.ts';
import { ID_JAG, JWT_BEARER, SECRET, basic, compact, startRig } from './grants-rig.ts';
import type { Answer, Fields, Rig } from './grants-rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const seconds = (): number => Math.floor(Date.now() / 1_000);

const send = (assertion: string, more: Fields = {}, from: Rig = rig): Promise<Answer> =>
  from.token({ grant_type: JWT_BEARER, assertion, ...from.by(from.clients.desk), ...more });

/** What every client reads whose assertion is refused. */
let words: unknown;

function expectRefused(answer: Answer, reason: string, error = 'invalid_grant'): void {
  expect(answer.body).toEqual({ error, error_description: expect.any(String) });
  expect(answer.status).toBe(error === 'invalid_client' ? 401 : 400);
  expect(answer.reasons).toEqual([reason]);
  // Which check it was is nobody's business but the operator's.
  if (error !== 'invalid_grant') return;
  words ??= answer.body['error_description'];
  expect(answer.body['error_description']).toBe(words);
}

function factsOf(assertion: string, from: Rig, asked: Fields = {}): AssertionFacts {
  const [rule] = GrantSettings.parse({
    assertionIssuers: { identityProviders: [{ id: 'acme', issuer: from.idp.issuer }] },
  }).assertionIssuers.identityProviders;
  return {
    type: String(decodeProtectedHeader(assertion).typ),
    claims: decodeJwt(assertion) as AssertionFacts['claims'],
    rule: rule!,
    issuer: from.at.server.issuer,
    clientId: 'desk',
    now: seconds(),
    asked: { resource: asked['resource'] ?? null, scopes: asked['scope']?.split(' ') ?? null },
  };
}

describe('a good assertion', () => {
  test('brings a token for the same account as sign-in, at the server it names, without a refresh token', async () => {
    const answer = await send(rig.idJag({ acr: 'phr', amr: ['hwk', 'pin'], auth_time: seconds() - 60 }));
    expect(answer.status).toBe(200);
    expect(Object.keys(answer.body).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type']);
    expect(answer.claims()).toMatchObject({
      iss: rig.at.server.issuer,
      sub: 'acme|ada-1815',
      client_id: 'desk',
      aud: rig.at.gateway.resource,
      scope: 'files:read files:write',
      org: 'default',
      acr: 'phr',
      amr: ['hwk', 'pin'],
      auth_time: expect.any(Number),
      grant_id: expect.any(String),
    });
    expect(JSON.stringify(answer.claims())).not.toContain('example.com');
  });

  test.each([
    ['what was asked, of what it lets', 'files:read', 'files:read', 'files:read'],
    ['never more than it lets', 'files:read', 'files:read files:write', 'files:read'],
    ['never what the server does not offer', 'files:read mail:send', 'files:read mail:send', 'files:read'],
    ['all it lets when nothing was asked', 'files:read files:exec', undefined, 'files:read files:exec'],
    ['the default of the server when it names no scope', undefined, undefined, 'files:read'],
  ])('gives %s', async (_what, lets, asked, gets) => {
    const answer = await send(rig.idJag({ scope: lets }), { scope: asked });
    expect(answer.body).toMatchObject({ scope: gets });
    expect(answer.claims()['scope']).toBe(gets);
  });

  test('counts for a client that authenticates by a secret, in the header as in the body', async () => {
    const one = await rig.token(
      { grant_type: JWT_BEARER, assertion: rig.idJag({ client_id: 'basic-agent' }) },
      basic('basic-agent', SECRET),
    );
    const other = await rig.token({
      grant_type: JWT_BEARER,
      assertion: rig.idJag({ client_id: 'post-agent' }),
      client_id: 'post-agent',
      client_secret: SECRET,
    });
    expect([one.status, other.status]).toEqual([200, 200]);
  });

  test('may name us in a list of one, and the server in a list of several when the request says which', async () => {
    const list = { aud: [rig.at.server.issuer], resource: [rig.at.gateway.resource, rig.other.resource] };
    const answer = await send(rig.idJag(list), { resource: rig.at.gateway.resource });
    expect(answer.claims()['aud']).toBe(rig.at.gateway.resource);
    const unsaid = await send(rig.idJag(list));
    expect(unsaid.body).toMatchObject({ error: 'invalid_request' });
  });

  test('is announced in the metadata', async () => {
    const metadata = (await (
      await fetch(`${rig.at.server.issuer}/.well-known/oauth-authorization-server`)
    ).json()) as Record<string, unknown>;
    expect(metadata['grant_types_supported']).toContain(JWT_BEARER);
    expect(metadata['authorization_grant_profiles_supported']).toEqual(['urn:ietf:params:oauth:grant-profile:id-jag']);
    expect(metadata['token_endpoint_auth_methods_supported']).toEqual(
      expect.arrayContaining(['private_key_jwt', 'client_secret_basic']),
    );
  });
});

interface Mutation {
  readonly name: string;
  /** The check that refuses; further ones that would as well. */
  readonly checks: readonly string[];
  readonly claims?: () => Members;
  readonly header?: Members;
  readonly more?: () => Fields;
}

const MUTATIONS: readonly Mutation[] = [
  {
    name: 'is for another authorization server',
    checks: ['audience'],
    claims: () => ({ aud: 'https://login.other.example' }),
  },
  {
    name: 'names us with a slash at the end',
    checks: ['audience'],
    claims: () => ({ aud: `${rig.at.server.issuer}/` }),
  },
  { name: 'names our token endpoint', checks: ['audience'], claims: () => ({ aud: `${rig.at.server.issuer}/token` }) },
  {
    name: 'names us in other letters',
    checks: ['audience'],
    claims: () => ({ aud: rig.at.server.issuer.toUpperCase() }),
  },
  {
    name: 'is for us and somebody else',
    checks: ['audience'],
    claims: () => ({ aud: [rig.at.server.issuer, 'https://b.example'] }),
  },
  {
    name: 'names us twice',
    checks: ['audience'],
    claims: () => ({ aud: [rig.at.server.issuer, rig.at.server.issuer] }),
  },
  { name: 'has an empty list of audiences', checks: ['audience'], claims: () => ({ aud: [] }) },
  { name: 'has no audience', checks: ['audience'], claims: () => ({ aud: undefined }) },
  { name: 'names the server as audience', checks: ['audience'], claims: () => ({ aud: rig.at.gateway.resource }) },
  { name: 'was issued to another client', checks: ['client'], claims: () => ({ client_id: 'writer' }) },
  { name: 'was issued to no client', checks: ['client'], claims: () => ({ client_id: undefined }) },
  { name: 'was issued to a list of clients', checks: ['client'], claims: () => ({ client_id: ['desk'] }) },
  { name: 'has no subject', checks: ['subject'], claims: () => ({ sub: undefined }) },
  { name: 'has an empty subject', checks: ['subject'], claims: () => ({ sub: '' }) },
  { name: 'has a number as subject', checks: ['subject'], claims: () => ({ sub: 1815 }) },
  { name: 'has a subject with a line break', checks: ['subject'], claims: () => ({ sub: 'ada\nroot' }) },
  { name: 'has no id', checks: ['id'], claims: () => ({ jti: undefined }) },
  { name: 'has an empty id', checks: ['id'], claims: () => ({ jti: '' }) },
  { name: 'has an endless id', checks: ['id'], claims: () => ({ jti: 'x'.repeat(600) }) },
  { name: 'has a number as id', checks: ['id'], claims: () => ({ jti: 7 }) },
  { name: 'never expires', checks: ['expiry', 'expired', 'lifetime'], claims: () => ({ exp: undefined }) },
  { name: 'has a text as expiry', checks: ['expiry'], claims: () => ({ exp: String(seconds() + 100) }) },
  {
    name: 'has no time of issue',
    checks: ['issued_at', 'issued_later', 'lifetime'],
    claims: () => ({ iat: undefined }),
  },
  { name: 'has expired', checks: ['expired'], claims: () => ({ iat: seconds() - 200, exp: seconds() - 20 }) },
  {
    name: 'is issued in the future',
    checks: ['issued_later'],
    claims: () => ({ iat: seconds() + 60, exp: seconds() + 200 }),
  },
  { name: 'is not valid yet', checks: ['not_before'], claims: () => ({ nbf: seconds() + 60 }) },
  {
    name: 'lives for longer than five minutes',
    checks: ['lifetime'],
    claims: () => ({ exp: seconds() + 301, iat: seconds() }),
  },
  {
    name: 'expires before it was issued',
    checks: ['lifetime'],
    claims: () => ({ iat: seconds() + 8, exp: seconds() + 5 }),
  },
  { name: 'is of a tenant that we did not expect', checks: ['tenant'], claims: () => ({ tenant: 'other-company' }) },
  { name: 'is for another tenant of ours', checks: ['audience_tenant'], claims: () => ({ aud_tenant: 'other' }) },
  { name: 'names no server', checks: ['resource'], claims: () => ({ resource: undefined }) },
  { name: 'names an object as server', checks: ['resource'], claims: () => ({ resource: { url: 'x' } }) },
  { name: 'names an empty server', checks: ['resource'], claims: () => ({ resource: '' }) },
  {
    name: 'names another server than the request',
    checks: ['resource_of_request'],
    claims: () => ({ resource: rig.other.resource }),
    more: () => ({ resource: rig.at.gateway.resource }),
  },
  { name: 'has a list as scope', checks: ['scope'], claims: () => ({ scope: ['files:read'] }) },
  { name: 'has a scope with a quote', checks: ['scope'], claims: () => ({ scope: 'files:read "x' }) },
  {
    name: 'brings a scope that the request did not ask for',
    checks: ['scope_of_request'],
    claims: () => ({ scope: 'files:read files:exec' }),
    more: () => ({ scope: 'files:read' }),
  },
  { name: 'has a number as acr', checks: ['sign_in'], claims: () => ({ acr: 3 }) },
  { name: 'has a text as amr', checks: ['sign_in'], claims: () => ({ amr: 'hwk' }) },
  { name: 'has a sign-in of tomorrow', checks: ['sign_in'], claims: () => ({ auth_time: seconds() + 86_400 }) },
  { name: 'is of somebody who acts for somebody', checks: ['actor'], claims: () => ({ act: { sub: 'agent' } }) },
  {
    name: 'is bound to a key in a way we do not know',
    checks: ['key'],
    claims: () => ({ cnf: { 'x5t#S256': 'abc' } }),
  },
  { name: 'is bound to nothing, but says so', checks: ['key'], claims: () => ({ cnf: 'jkt' }) },
];

describe.each(MUTATIONS)('an assertion that $name', ({ checks, claims, header, more }) => {
  test('ID-02: is refused, recorded, and not explained', async () => {
    const assertion = rig.idJag(claims?.(), header);
    const fields = more?.() ?? {};
    expectRefused(await send(assertion, fields), checks[0]!);
    // The twin: the same text, and nobody who looks.
    const facts = factsOf(assertion, rig, fields);
    expect(identityAssertionProblem(facts)).toBe(checks[0]);
    const rest = Object.fromEntries(
      Object.entries(IDENTITY_ASSERTION_CHECKS).filter(([name]) => !checks.includes(name)),
    );
    expect(identityAssertionProblem(facts, rest)).toBe(null);
  });
});

describe('an assertion whose signature', () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const FORGED: readonly [string, string, () => string][] = [
    [
      'is by another key under the known name',
      'signature',
      () => rig.idJag({}, {}, { key: { ...rig.idp.currentKey(), privateKey: other.privateKey } }),
    ],
    ['is by a key that nobody published', 'key_unknown', () => rig.idJag({}, { kid: randomUUID() })],
    ['is missing, and says so', 'algorithm', () => rig.idJag({}, { alg: 'none' }, { unsigned: true })],
    ['is missing, and does not say so', 'signature', () => rig.idJag({}, {}, { unsigned: true })],
    [
      'is an HMAC with the public key',
      'algorithm',
      () =>
        rig.idJag(
          {},
          { alg: 'HS256' },
          { hmacSecret: rig.idp.currentKey().publicKey.export({ type: 'spki', format: 'pem' }) },
        ),
    ],
    ['claims an algorithm of another key type', 'key_unknown', () => rig.idJag({}, { alg: 'RS256' })],
    ['claims an algorithm in lower case', 'algorithm', () => rig.idJag({}, { alg: 'es256' })],
    ['brings its own key', 'header_refused', () => rig.idJag({}, { jwk: other.publicKey.export({ format: 'jwk' }) })],
    ['names a place for its key', 'header_refused', () => rig.idJag({}, { jku: 'https://evil.example/jwks' })],
    ['demands what we do not know', 'header_refused', () => rig.idJag({}, { crit: ['b64'], b64: false })],
    ['has no key name', 'key_unknown', () => rig.idJag({}, { kid: undefined })],
    [
      'covers other claims',
      'signature',
      () => {
        const [header, , signature] = rig.idJag().split('.');
        const [, payload] = rig.idJag({ sub: 'root' }).split('.');
        return `${header}.${payload}.${signature}`;
      },
    ],
  ];
  test.each(FORGED)('ID-02: %s is refused', async (_name, reason, make) => {
    expectRefused(await send(make()), reason);
  });

  test('ID-02: holds, but by an issuer that we do not trust, is refused', async () => {
    const stranger = await startIssuer();
    try {
      expectRefused(await send(rig.idJag({ iss: stranger.issuer }, {}, { key: stranger.currentKey() })), 'issuer');
      expectRefused(await send(rig.idJag({ iss: undefined })), 'issuer');
      expectRefused(await send(rig.idJag({ iss: `${rig.idp.issuer}/` })), 'issuer');
    } finally {
      await stranger.close();
    }
  });
});

describe('a text that is no assertion', () => {
  test.each([
    ['nothing', 'x', 'malformed'],
    ['three empty parts', '..', 'malformed'],
    ['longer than 8192 characters', `${'a'.repeat(9_000)}.e30.x`, 'malformed'],
  ])('ID-02: %s is refused', async (_name, text, reason) => {
    // Such a text does not say what it is; it comes to the side of programs when no client is named.
    expectRefused(await rig.token({ grant_type: JWT_BEARER, assertion: text }), reason);
    expectRefused(await send(text), reason);
  });

  test('ID-02: one with a claim twice is refused', async () => {
    const good = decodeJwt(rig.idJag());
    const payload = JSON.stringify(good).replace('"sub":', '"sub":"root","sub":');
    const key = rig.idp.currentKey();
    const text = rig.idp.mintRaw(JSON.stringify({ alg: 'ES256', kid: key.kid, ...ID_JAG }), payload);
    expectRefused(await send(text), 'malformed');
  });

  test('ID-02: none at all is a mistake of the request', async () => {
    const answer = await rig.token({ grant_type: JWT_BEARER, ...rig.by(rig.clients.desk) });
    expect(answer.body).toEqual({ error: 'invalid_request', error_description: 'the assertion parameter is required' });
  });
});

describe('the type in the header', () => {
  test.each([
    ['JWT'],
    ['at+jwt'],
    ['OAUTH-ID-JAG+JWT'],
    ['application/oauth-id-jag+jwt'],
    ['oauth-id-jag'],
    [undefined],
  ])('ID-02: %s is not an ID-JAG: the provider of people does not count for programs', async (typ) => {
    const assertion = rig.idJag({}, { typ });
    expectRefused(await rig.token({ grant_type: JWT_BEARER, assertion }), 'issuer');
    expectRefused(await send(assertion), 'type');
    const facts = { ...factsOf(assertion, rig), type: typ ?? null };
    const { type: _, ...rest } = IDENTITY_ASSERTION_CHECKS;
    expect(identityAssertionProblem(facts)).toBe('type');
    expect(identityAssertionProblem(facts, rest)).toBe(null);
  });

  test('ID-02: the platform of programs does not count for people', async () => {
    const assertion = rig.workload({ client_id: 'desk', resource: rig.at.gateway.resource }, ID_JAG);
    expectRefused(await send(assertion), 'issuer');
  });
});

describe('who sends it', () => {
  test('ID-02: a client that does not authenticate is refused before anything is believed', async () => {
    const assertion = rig.idJag({ client_id: 'public-app' });
    expectRefused(
      await rig.token({ grant_type: JWT_BEARER, assertion, client_id: 'public-app' }),
      'public_client',
      'invalid_client',
    );
  });

  test('ID-02: a client with a wrong key or secret gets 401 and no reason', async () => {
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const answers = [
      await rig.token({
        grant_type: JWT_BEARER,
        assertion: rig.idJag(),
        ...rig.by(rig.clients.desk, {}, {}, stranger.privateKey),
      }),
      await rig.token({ grant_type: JWT_BEARER, assertion: rig.idJag() }, basic('basic-agent', 'wrong')),
      await rig.token({ grant_type: JWT_BEARER, assertion: rig.idJag() }, basic('nobody-here', 'wrong')),
    ];
    for (const { status, body } of answers) {
      expect(status).toBe(401);
      // The same words for an unknown client, a wrong key and a wrong secret.
      expect(body).toEqual(answers[0]!.body);
      expect(body).toMatchObject({ error: 'invalid_client' });
    }
  });

  test('ID-02: two clients: one cannot use what was issued to the other', async () => {
    const assertion = rig.idJag({ client_id: 'desk' });
    expectRefused(await rig.token({ grant_type: JWT_BEARER, assertion, ...rig.by(rig.clients.writer) }), 'client');
    expect((await send(assertion)).status).toBe(200);
  });

  test('ID-02: the client of programs cannot be named by anybody', async () => {
    const answer = await rig.token({ grant_type: JWT_BEARER, assertion: rig.idJag(), client_id: 'urn:remit:workload' });
    expect(answer.status).toBe(401);
  });
});

describe('once', () => {
  test('ID-02: an assertion that was used is refused, also after the keys were rotated', async () => {
    const assertion = rig.idJag();
    expect((await send(assertion)).status).toBe(200);
    expectRefused(await send(assertion), 'used');
    rig.at.server.rotateKeys();
    expectRefused(await send(assertion), 'used');
  });

  test('ID-02: ten that race with one assertion get one token', async () => {
    const assertion = rig.idJag();
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(assertion)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status, body }) => status === 400 && body['error'] === 'invalid_grant')).toHaveLength(9);
  });

  test('ID-02: the same id by another provider is another assertion; a refused try does not spend it', async () => {
    const jti = randomUUID();
    expectRefused(await send(rig.idJag({ jti, aud: 'https://b.example' })), 'audience');
    expect((await send(rig.idJag({ jti }), { scope: 'files:none' })).body).toMatchObject({ error: 'invalid_grant' });
    expect((await send(rig.idJag({ jti }))).status).toBe(200);
  });
});

describe('what else decides', () => {
  test('ID-02: a server that nobody registered, or that is of no gateway of ours', async () => {
    const unknown = `${rig.at.gateway.origin}/mcp/default/gone`;
    expectRefused(await send(rig.idJag({ resource: unknown })), 'resource_unknown', 'invalid_target');
    expectRefused(
      await send(rig.idJag({ resource: 'https://evil.example/mcp' })),
      'resource_not_trusted',
      'invalid_target',
    );
  });

  test('ID-02: no scope that all three have is no token', async () => {
    expectRefused(await send(rig.idJag({ scope: 'mail:send' })), 'scope', 'invalid_scope');
  });

  test('ID-02: an assertion from before the person was ended does not bring them back', async () => {
    const sub = `leaver-${randomUUID()}`;
    const before = rig.idJag({ sub, iat: seconds() - 1, exp: seconds() + 60 });
    rig.at.server.endings.endPerson(`acme|${sub}`, 'administrator');
    expectRefused(await send(before), 'ended');
    expect((await send(rig.idJag({ sub, iat: seconds() + 2, exp: seconds() + 120 }))).status).toBe(200);
  });
});

describe('who else may send it, and for whom', () => {
  test('ID-02: a client that is its metadata document counts when it signs with the key that stands there', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const clientId = 'https://app.example/client.json';
    const document = {
      client_id: clientId,
      client_name: 'App',
      redirect_uris: ['https://app.example/callback'],
      grant_types: ['authorization_code', JWT_BEARER],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kid: clientId }] },
    };
    const own = await startRig(
      undefined,
      { fetchDocument: async () => Response.json(document) },
      { clientIdMetadata: { allowedHosts: ['app.example'] } },
    );
    try {
      const client = { clientId, key: privateKey, publicKey };
      const sending = (fields: Fields): Promise<Answer> =>
        own.token({ grant_type: JWT_BEARER, assertion: own.idJag({ client_id: clientId }), ...fields });
      expect((await sending(own.by(client))).claims()).toMatchObject({ client_id: clientId, sub: 'acme|ada-1815' });
      expect((await sending(own.by(client, {}, {}, own.clients.desk.key))).status).toBe(401);
      expect((await sending({ client_id: clientId })).status).toBe(401);
      const alone = { grant_type: 'client_credentials', resource: own.at.gateway.resource, ...own.by(client) };
      expect((await own.token(alone)).body).toMatchObject({ error: 'unauthorized_client' });
    } finally {
      await own.stop();
    }
  });

  test('ID-02: somebody whom a gateway reported inactive gets nothing by an assertion, however new', async () => {
    const transmitter = await startTransmitter();
    const bearer = 'token-for-the-authorization-server-00000';
    const folder = mkdtempSync(join(tmpdir(), 'remit-grants-'));
    writeFileSync(join(folder, 'token'), bearer, { mode: 0o600 });
    const gateways = [
      {
        issuer: transmitter.issuer.issuer,
        jwksUri: transmitter.issuer.jwksUri,
        receive: { token: `file:${join(folder, 'token')}` },
      },
    ];
    const own = await startRig(undefined, {}, { events: { gateways } });
    try {
      const { issuer } = own.at.server;
      const tell = (event: string): Promise<{ status: number }> =>
        push(
          `${issuer}/events`,
          transmitter.event(
            `${RISC}${event}`,
            {},
            { aud: issuer, sub_id: { format: 'iss_sub', iss: issuer, sub: 'acme|ada-1815' } },
          ),
          { authorization: `Bearer ${bearer}` },
        );
      expect((await send(own.idJag(), {}, own)).status).toBe(200);
      expect(await tell('account-disabled')).toMatchObject({ status: 202 });
      const later = { iat: seconds() + 5, exp: seconds() + 100 };
      expectRefused(await send(own.idJag(later), {}, own), 'account_disabled');
      expect((await tell('account-enabled')).status).toBe(202);
      expect((await send(own.idJag(later), {}, own)).status).toBe(200);
    } finally {
      await own.stop();
      await transmitter.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('bound to a key (RFC 9449)', () => {
  const holder = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = holder.publicKey.export({ format: 'jwk' });
  const jkt = createHash('sha256')
    .update(JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y }))
    .digest('base64url');
  const proof = (claims: Members = {}): Record<string, string> => ({
    dpop: compact(
      { alg: 'ES256', typ: 'dpop+jwt', jwk },
      { jti: randomUUID(), htm: 'POST', htu: `${rig.at.server.issuer}/token`, iat: seconds(), ...claims },
      holder.privateKey,
    ),
  });
  const sendWith = (assertion: string, headers: Record<string, string>): Promise<Answer> =>
    rig.token({ grant_type: JWT_BEARER, assertion, ...rig.by(rig.clients.desk) }, headers);

  test('AN-13: an assertion with `cnf` needs a proof with exactly that key, and the token is bound to it', async () => {
    const bound = { cnf: { jkt } };
    expectRefused(await send(rig.idJag(bound)), 'key_not_proved');
    expectRefused(await sendWith(rig.idJag({ cnf: { jkt: 'A'.repeat(43) } }), proof()), 'key_not_proved');
    const answer = await sendWith(rig.idJag(bound), proof());
    expect(answer.body).toMatchObject({ token_type: 'DPoP' });
    expect(answer.claims()).toMatchObject({ cnf: { jkt } });
  });

  test('AN-13: a proof that was used, or is for another place, is refused', async () => {
    const once = proof();
    expect((await sendWith(rig.idJag(), once)).status).toBe(200);
    expect((await sendWith(rig.idJag(), once)).body).toMatchObject({ error: 'invalid_grant' });
    expect((await sendWith(rig.idJag(), proof({ htu: 'https://b.example/token' }))).body).toMatchObject({
      error: 'invalid_dpop_proof',
    });
  });
});

describe('settings', () => {
  const withProvider = (members: Record<string, unknown>) => (_r: string, _o: string, issuer: string) => ({
    assertionIssuers: { identityProviders: [{ id: 'acme', issuer, ...members }] },
  });
  const inRig = async (
    members: Record<string, unknown>,
    use: (own: Rig, sending: (assertion: string, more?: Fields) => Promise<Answer>) => Promise<void>,
  ): Promise<void> => {
    const own = await startRig(withProvider(members));
    try {
      await use(own, (assertion, more) => send(assertion, more, own));
    } finally {
      await own.stop();
    }
  };

  test('ID-02: each relaxation lets in exactly what it says', async () => {
    await inRig(
      {
        unsafeIgnoreTrailingSlash: true,
        unsafeAcceptAgain: true,
        unsafePublicClients: true,
        unsafeResourceFromRequest: true,
        scopesWithinRequest: false,
      },
      async (own, sending) => {
        const warned = own.at.log.filter((line) => line.includes('a check of who gets a token is relaxed'));
        expect(warned.map((line) => /unsafe\w+/.exec(line)?.[0] ?? '').toSorted()).toEqual([
          'unsafeAcceptAgain',
          'unsafeIgnoreTrailingSlash',
          'unsafePublicClients',
          'unsafeResourceFromRequest',
        ]);
        const slashed = own.idJag({ aud: `${own.at.server.issuer}/` });
        expect((await sending(slashed)).status).toBe(200);
        expect((await sending(slashed)).status).toBe(200);
        expectRefused(await sending(own.idJag({ aud: `${own.at.server.issuer}//` })), 'audience');
        const assertion = own.idJag({ client_id: 'public-app', resource: undefined });
        const { resource } = own.at.gateway;
        const answer = await own.token({ grant_type: JWT_BEARER, assertion, client_id: 'public-app', resource });
        expect(answer.claims()).toMatchObject({ client_id: 'public-app', aud: resource });
        expect((await sending(own.idJag(), { scope: 'files:read' })).body).toMatchObject({ scope: 'files:read' });
      },
    );
  });

  test('ID-02: a provider of many companies: only assertions of the tenant, under the subject that is configured', async () => {
    await inRig(
      { tenant: { claim: 'tid', value: 'acme-1' }, subjectClaim: 'oid', audienceTenant: 'us' },
      async (own, sending) => {
        expectRefused(await sending(own.idJag({ oid: 'o-1' })), 'tenant');
        expectRefused(await sending(own.idJag({ oid: 'o-1', tid: 'other' })), 'tenant');
        expectRefused(await sending(own.idJag({ tid: 'acme-1' })), 'subject');
        const answer = await sending(own.idJag({ oid: 'o-1', tid: 'acme-1', aud_tenant: 'us' }));
        expect(answer.claims()).toMatchObject({ sub: 'acme|o-1', org: 'default' });
      },
    );
  });

  test('ID-02: a new key counts from the next fetch, a withdrawn one no more', async () => {
    const clock = manualClock(Date.now());
    const own = await startRig(undefined, { clock });
    try {
      expect((await send(own.idJag(), {}, own)).status).toBe(200);
      const old = own.idp.currentKey();
      own.idp.rotate({ withdraw: true });
      expectRefused(await send(own.idJag(), {}, own), 'key_unknown');
      const fetched = own.idp.hits.jwks;
      // However many unknown names come, nobody makes us fetch more often.
      for (let i = 0; i < 5; i++) await send(own.idJag({}, { kid: randomUUID() }), {}, own);
      expect(own.idp.hits.jwks).toBe(fetched);
      clock.advance(31_000);
      const fresh = { iat: Math.floor(clock.now() / 1_000), exp: Math.floor(clock.now() / 1_000) + 100 };
      expect((await send(own.idJag(fresh), {}, own)).status).toBe(200);
      expectRefused(await send(own.idJag(fresh, { kid: old.kid }, { key: old }), {}, own), 'key_unknown');
    } finally {
      await own.stop();
    }
  });

  test('ID-02: a provider that cannot be asked for its keys is nobody’s fault: try again', async () => {
    const own = await startRig();
    try {
      own.idp.setMode('down');
      const answer = await send(own.idJag(), {}, own);
      expect(answer.status).toBe(400);
      expect(answer.body).toMatchObject({ error: 'temporarily_unavailable' });
    } finally {
      await own.stop();
    }
  });
});
