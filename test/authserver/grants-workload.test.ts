/**
 * AN-14: a program shows the token of its platform and gets that of the agent a rule names, and nothing of what the platform said. Each
 * mutation goes to a real server; its twin asks the same table of checks without the one that held it back.
 */
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import { GrantSettings } from '../../src/authserver/grants/settings.ts';
import { WORKLOAD_CHECKS, ruleMatches, workloadProblem } from '../../src/authserver/grants/workload.ts';
import type { WorkloadFacts } from '../../src/authserver/grants/workload.ts';
import type { Members } from '../support/issuer.ts';
import { JWT_BEARER, SECRET, basic, startRig } from './grants-rig.ts';
import type { Answer, Fields, Rig } from './grants-rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const seconds = (): number => Math.floor(Date.now() / 1_000);
const send = (assertion: string, more: Fields = {}, from: Rig = rig): Promise<Answer> =>
  from.token({ grant_type: JWT_BEARER, assertion, resource: from.at.gateway.resource, ...more });

function expectRefused(answer: Answer, reason: string, error = 'invalid_grant'): void {
  expect(answer.body).toEqual({ error, error_description: expect.any(String) });
  expect(answer.status).toBe(400);
  expect(answer.reasons).toEqual([reason]);
}

describe('a good token of the platform', () => {
  test('brings the agent of the rule, alone, with the rule’s scopes, and copies nothing', async () => {
    const answer = await send(rig.workload());
    expect(answer.status).toBe(200);
    expect(Object.keys(answer.body).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type']);
    const claims = answer.claims();
    expect(claims).toMatchObject({
      sub: 'reporter',
      client_id: 'reporter',
      aud: rig.at.gateway.resource,
      scope: 'files:read files:write',
      org: 'default',
    });
    expect(Object.keys(claims).sort()).toEqual(['aud', 'client_id', 'exp', 'iat', 'iss', 'jti', 'org', 'scope', 'sub']);
  });

  test('is recorded with who the platform said it is', async () => {
    const { jti } = (await send(rig.workload())).claims();
    const line = rig.at.log.find((one) => one.includes('"token granted"') && one.includes(String(jti))) ?? '{}';
    expect(JSON.parse(line)).toMatchObject({
      workloadIssuer: rig.platform.issuer,
      workload: 'system:serviceaccount:prod:reporter',
      principal: 'reporter',
      clientId: 'reporter',
    });
  });

  test('may come with the agent’s name as client id, and with a narrower scope', async () => {
    const answer = await send(rig.workload(), { client_id: 'reporter', scope: 'files:read' });
    expect(answer.claims()).toMatchObject({ sub: 'reporter', scope: 'files:read' });
  });

  test('is matched by a prefix that ends where a name ends', async () => {
    const answer = await send(rig.workload({ sub: 'repo:acme/site:ref:refs/heads/main' }));
    expect(answer.claims()).toMatchObject({ sub: 'deployer', scope: 'files:exec' });
  });

  test('needs no registration, and the engine’s client for it is nobody’s', async () => {
    for (const client_id of ['urn:remit:workload', 'desk', 'mcp-client', 'public-app'])
      expectRefused(await send(rig.workload(), { client_id }), 'no_rule', 'unauthorized_client');
    const fields = {
      grant_type: 'client_credentials',
      client_id: 'urn:remit:workload',
      resource: rig.at.gateway.resource,
    };
    expect((await rig.token(fields)).status).toBe(400);
  });
});

interface Mutation {
  readonly name: string;
  readonly checks: readonly string[];
  readonly claims?: () => Members;
  readonly header?: Members;
}

const MUTATIONS: readonly Mutation[] = [
  { name: 'is for another server', checks: ['audience'], claims: () => ({ aud: 'https://b.example' }) },
  { name: 'is for the platform itself', checks: ['audience'], claims: () => ({ aud: rig.platform.issuer }) },
  {
    name: 'is for us and somebody else',
    checks: ['audience'],
    claims: () => ({ aud: [rig.at.server.issuer, 'https://b.example'] }),
  },
  {
    name: 'is for our token endpoint, which nobody configured',
    checks: ['audience'],
    claims: () => ({ aud: `${rig.at.server.issuer}/token` }),
  },
  { name: 'is for nobody', checks: ['audience'], claims: () => ({ aud: undefined }) },
  { name: 'is about nobody', checks: ['subject'], claims: () => ({ sub: undefined }) },
  { name: 'is about a number', checks: ['subject'], claims: () => ({ sub: 5 }) },
  { name: 'is about a name with a line break', checks: ['subject'], claims: () => ({ sub: 'a\nb' }) },
  { name: 'never expires', checks: ['expiry', 'expired', 'lifetime'], claims: () => ({ exp: undefined }) },
  { name: 'has expired', checks: ['expired'], claims: () => ({ iat: seconds() - 200, exp: seconds() - 20 }) },
  { name: 'is issued in the future', checks: ['issued_at'], claims: () => ({ iat: seconds() + 60 }) },
  { name: 'has a text as time of issue', checks: ['issued_at'], claims: () => ({ iat: 'now' }) },
  { name: 'is not valid yet', checks: ['not_before'], claims: () => ({ nbf: seconds() + 60 }) },
  { name: 'lives for a day', checks: ['lifetime'], claims: () => ({ exp: seconds() + 86_400 }) },
  {
    name: 'lives for a day and does not say since when',
    checks: ['lifetime'],
    claims: () => ({ iat: undefined, exp: seconds() + 86_400 }),
  },
  { name: 'has no id', checks: ['id'], claims: () => ({ jti: undefined }) },
  { name: 'has an empty id', checks: ['id'], claims: () => ({ jti: '' }) },
  { name: 'was made as an access token', checks: ['type'], header: { typ: 'at+jwt' } },
  { name: 'was made as an access token, in long form', checks: ['type'], header: { typ: 'application/at+jwt' } },
  { name: 'was made as an event', checks: ['type'], header: { typ: 'secevent+jwt' } },
  { name: 'was made as an ID-JAG in other letters', checks: ['type'], header: { typ: 'OAuth-ID-JAG+JWT' } },
  { name: 'was made as a proof of possession', checks: ['type'], header: { typ: 'dpop+jwt' } },
];

describe.each(MUTATIONS)('a token of the platform that $name', ({ checks, claims, header }) => {
  test('AN-14: is refused and recorded', async () => {
    const assertion = rig.workload(claims?.(), header);
    expectRefused(await send(assertion), checks[0]!);
    const [rule] = GrantSettings.parse({
      assertionIssuers: {
        workloads: [
          {
            issuer: rig.platform.issuer,
            rules: [
              { subject: { equals: 'x' }, principal: 'x', may: [{ resource: 'https://x.example', scopes: ['x'] }] },
            ],
          },
        ],
      },
    }).assertionIssuers.workloads;
    const facts: WorkloadFacts = {
      type: String(decodeProtectedHeader(assertion).typ),
      claims: decodeJwt(assertion) as WorkloadFacts['claims'],
      rule: rule!,
      issuer: rig.at.server.issuer,
      now: seconds(),
    };
    const rest = Object.fromEntries(Object.entries(WORKLOAD_CHECKS).filter(([name]) => !checks.includes(name)));
    expect(workloadProblem(facts)).toBe(checks[0]);
    expect(workloadProblem(facts, rest)).toBe(null);
  });
});

describe('a token of the platform', () => {
  const other = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  test.each<readonly [string, string, () => string]>([
    [
      'is by another key under the known name',
      'signature',
      () => rig.workload({}, {}, { key: { ...rig.platform.currentKey(), privateKey: other.privateKey } }),
    ],
    ['is by a key that nobody published', 'key_unknown', () => rig.workload({}, { kid: randomUUID() })],
    ['says it is not signed', 'algorithm', () => rig.workload({}, { alg: 'none' }, { unsigned: true })],
    [
      'is an HMAC with the public key',
      'algorithm',
      () =>
        rig.workload(
          {},
          { alg: 'HS256' },
          { hmacSecret: rig.platform.currentKey().publicKey.export({ type: 'spki', format: 'pem' }) },
        ),
    ],
    [
      'brings its own key',
      'header_refused',
      () => rig.workload({}, { jwk: other.publicKey.export({ format: 'jwk' }) }),
    ],
    ['is by an issuer that we do not trust', 'issuer', () => rig.workload({ iss: 'https://other.example' })],
    ['is by nobody', 'issuer', () => rig.workload({ iss: undefined })],
    [
      'is by the provider of people',
      'issuer',
      () => rig.idp.mint({ sub: 'x', aud: rig.at.server.issuer, client_id: undefined }, { typ: 'JWT' }),
    ],
    ['is one of ours', 'issuer', () => rig.workload({ iss: rig.at.server.issuer })],
  ])('AN-14: that %s is refused', async (_name, reason, make) => {
    expectRefused(await send(make()), reason);
  });

  test('AN-14: sent by a client that authenticates is not a program’s: the side of people refuses it', async () => {
    expectRefused(await send(rig.workload(), rig.by(rig.clients.desk)), 'issuer');
    const answer = await rig.token(
      { grant_type: JWT_BEARER, assertion: rig.workload(), resource: rig.at.gateway.resource },
      basic('basic-agent', SECRET),
    );
    expectRefused(answer, 'issuer');
  });

  test('AN-14: counts once, also when ten race', async () => {
    const assertion = rig.workload();
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(assertion)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expectRefused(await send(assertion), 'used');
  });
});

describe('what the rules say', () => {
  test.each<readonly [string, string, string, () => Members, Fields]>([
    [
      'a subject that no rule names',
      'no_rule',
      'unauthorized_client',
      () => ({ sub: 'system:serviceaccount:prod:other' }),
      {},
    ],
    [
      'a subject that begins like one',
      'no_rule',
      'unauthorized_client',
      () => ({ sub: 'system:serviceaccount:prod:reporter-2' }),
      {},
    ],
    ['a prefix with nothing behind it', 'no_rule', 'unauthorized_client', () => ({ sub: 'repo:acme/site:' }), {}],
    ['a longer name than the prefix', 'no_rule', 'unauthorized_client', () => ({ sub: 'repo:acme/site-evil:ref' }), {}],
    ['another namespace', 'no_rule', 'unauthorized_client', () => ({ 'kubernetes.io': { namespace: 'dev' } }), {}],
    ['no namespace', 'no_rule', 'unauthorized_client', () => ({ 'kubernetes.io': undefined }), {}],
    [
      'a namespace that is a list',
      'no_rule',
      'unauthorized_client',
      () => ({ 'kubernetes.io': { namespace: ['prod'] } }),
      {},
    ],
    [
      'a flat claim in the place of a nested one',
      'no_rule',
      'unauthorized_client',
      () => ({ 'kubernetes.io': 'prod' }),
      {},
    ],
    ['two rules for two agents', 'several_agents', 'unauthorized_client', () => ({ sub: 'twice:x' }), {}],
    ['another agent’s name as client id', 'no_rule', 'unauthorized_client', () => ({}), { client_id: 'deployer' }],
    ['a scope beyond the rule', 'scope', 'invalid_scope', () => ({}), { scope: 'files:exec' }],
    ['a scope that nobody offers', 'scope', 'invalid_scope', () => ({}), { scope: 'wif.rejected' }],
    ['no resource', 'resource_missing', 'invalid_request', () => ({}), { resource: undefined }],
    [
      'a resource that is not ours',
      'resource_not_trusted',
      'invalid_target',
      () => ({}),
      { resource: 'https://evil.example/mcp' },
    ],
  ])('AN-14: %s gives nothing', async (_name, reason, error, claims, fields) => {
    expectRefused(await send(rig.workload(claims()), fields), reason, error);
  });

  test('AN-14: a resource that the rule does not name gives nothing; of two agents the one that is named comes', async () => {
    expectRefused(
      await send(rig.workload(), { resource: rig.other.resource }),
      'resource_not_allowed',
      'unauthorized_client',
    );
    expect((await send(rig.workload({ sub: 'twice:x' }), { client_id: 'two' })).claims().sub).toBe('two');
  });

  test('AN-14: an agent that was ended does not come back with a token from before', async () => {
    const assertion = rig.workload({ sub: 'repo:acme/site:x', iat: seconds() - 5 });
    rig.at.server.endings.endClient('deployer', 'administrator');
    expectRefused(await send(assertion), 'ended');
  });

  test('a twin without the conditions of a rule takes the neighbour for the agent', () => {
    const may = [{ resource: 'https://x.example', scopes: ['x'] }];
    const strict = {
      subject: { startsWith: 'repo:acme/' },
      claims: [{ claim: 'ref', equals: 'main' }],
      principal: 'x',
      may,
    };
    const neighbour = { sub: 'repo:acme/site', ref: 'feature' };
    expect(ruleMatches(strict, neighbour)).toBe(false);
    expect(ruleMatches({ ...strict, claims: [] }, neighbour)).toBe(true);
    expect(ruleMatches(strict, { ref: 'main' })).toBe(false);
  });
});

describe('a platform that hands out one token for a while', () => {
  test('AN-14: it counts until it expires, and what comes of it ends with it', async () => {
    const rules = (resource: string) => [
      {
        subject: { equals: 'system:serviceaccount:prod:reporter' },
        principal: 'reporter',
        may: [{ resource, scopes: ['files:read'] }],
      },
    ];
    const own = await startRig((resource, _other, _idp, issuer) => ({
      assertionIssuers: {
        workloads: [
          {
            issuer,
            reuse: 'until_expiry',
            audiences: ['remit', 'https://aud.example'],
            maxLifetimeSeconds: 600,
            rules: rules(resource),
          },
        ],
      },
    }));
    try {
      const assertion = own.workload({ jti: undefined, aud: ['remit'], exp: seconds() + 200 });
      const first = await send(assertion, {}, own);
      const second = await send(assertion, {}, own);
      expect([first.status, second.status]).toEqual([200, 200]);
      expect(first.claims().exp).toBeLessThanOrEqual(seconds() + 200);
      expectRefused(await send(own.workload({ aud: own.at.server.issuer }), {}, own), 'audience');
      expectRefused(await send(own.workload({ aud: 'remit', exp: seconds() + 700 }), {}, own), 'lifetime');
      const late = own.workload({ aud: 'remit', iat: seconds() - 100, exp: seconds() - 3 });
      expectRefused(await send(late, {}, own), 'expired');
    } finally {
      await own.stop();
    }
  });
});

describe('settings are refused that', () => {
  const may = [{ resource: 'https://x.example/mcp', scopes: ['x'] }];
  const rule = { subject: { equals: 'x' }, principal: 'x', may };
  const provider = { id: 'acme', issuer: 'https://idp.example' };
  const problems = (settings: unknown): string =>
    GrantSettings.safeParse(settings)
      .error?.issues.map(({ message }) => message)
      .join('\n') ?? '';

  test('AN-14: make one issuer both a provider of people and a platform', () => {
    const both = { identityProviders: [provider], workloads: [{ issuer: provider.issuer, rules: [rule] }] };
    expect(problems({ assertionIssuers: both })).toMatch(/one issuer is one or the other/);
  });
  test('AN-14: match a prefix in the middle of a name', () => {
    const open = { ...rule, subject: { startsWith: 'repo:acme' } };
    expect(problems({ assertionIssuers: { workloads: [{ issuer: 'https://w.example', rules: [open] }] } })).not.toBe(
      '',
    );
  });
  test('ID-02: take a mail address for the subject, a foreign scheme for an issuer, a shared secret for a signature', () => {
    const idp = (more: object): unknown => ({ assertionIssuers: { identityProviders: [{ ...provider, ...more }] } });
    expect(problems(idp({}))).toBe('');
    expect(problems(idp({ subjectClaim: 'email' }))).toMatch(/never given to somebody else/);
    expect(problems(idp({ issuer: 'http://idp.example' }))).toMatch(/https/);
    expect(problems(idp({ algorithms: ['HS256'] }))).not.toBe('');
    expect(problems(idp({ maxLifetimeSeconds: 3_600 }))).not.toBe('');
  });
  test('AN-14: name clients that are not registered for it, or a registered client as a workload', () => {
    const client = {
      clientId: 'svc',
      name: 'svc',
      grantTypes: ['client_credentials'],
      authentication: { method: 'private_key_jwt', jwksUri: 'https://svc.example/jwks' },
    };
    const start = (grants: unknown): void =>
      void parseAuthServerConfig({
        issuer: 'http://127.0.0.1:0',
        listen: { port: 0 },
        dataDir: '/nowhere',
        preregisteredClients: [client],
        grants,
      });
    expect(() => start({ clientCredentials: [{ client: 'svc', may }] })).not.toThrow();
    expect(() => start({ clientCredentials: [{ client: 'other', may }] })).toThrow(
      /clientCredentials.0.client: must be one of/,
    );
    expect(() => start({ tokenExchange: { rules: [{ client: 'svc', from: ['x'], to: may }] } })).toThrow(
      /token-exchange/,
    );
    const workloads = [{ issuer: 'https://w.example', rules: [{ ...rule, principal: 'svc' }] }];
    expect(() => start({ assertionIssuers: { workloads } })).toThrow(/an agent comes in one way/);
  });
  test('name things twice, or two tenants of one issuer alike', () => {
    const twice = (more: object): unknown => ({
      assertionIssuers: { identityProviders: [provider, { ...provider, ...more }] },
    });
    expect(problems(twice({}))).toMatch(/is used twice/);
    expect(problems(twice({ id: 'b' }))).toMatch(/same tenant claim and different values/);
    expect(
      problems({
        clientCredentials: [
          { client: 'x', may },
          { client: 'x', may },
        ],
      }),
    ).toMatch(/is used twice/);
    const workload = { issuer: 'https://w.example', rules: [rule] };
    expect(problems({ assertionIssuers: { workloads: [workload, workload] } })).toMatch(/put the rules together/);
  });
});
