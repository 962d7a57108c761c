/**
 * ID-06: an agent hands a part of its task to another. The person stays, the chain grows, everything else shrinks; what ends the first grant
 * ends what came of it. Each mutation is signed by the server's own key; its twin asks the same table of checks without the one that held.
 */
import { createHash, createPrivateKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  SUBJECT_TOKEN_CHECKS,
  chainWith,
  depthAfter,
  subjectTokenProblem,
} from '../../src/authserver/grants/token-exchange.ts';
import type { SubjectFacts } from '../../src/authserver/grants/token-exchange.ts';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import { REDIRECT, post } from './fixture.ts';
import { ACCESS_TOKEN, ID_JAG, JWT_BEARER, TOKEN_EXCHANGE, compact, startRig } from './grants-rig.ts';
import type { Answer, Fields, KeyHolder, Rig } from './grants-rig.ts';
import type { Members } from '../support/issuer.ts';

let rig: Rig;
let person: string;
/** The server's own key: only so can a token be wrong in one thing alone. */
let own: { readonly key: KeyObject; readonly kid: string };
beforeAll(async () => {
  rig = await startRig();
  person = await rig.personToken();
  const file = JSON.parse(readFileSync(join(rig.at.dataDir, 'keys', 'signing-keys.json'), 'utf8')) as {
    current: { kid: string };
  };
  own = { key: createPrivateKey({ key: file.current, format: 'jwk' }), kid: file.current.kid };
});
afterAll(() => rig.stop());

const seconds = (): number => Math.floor(Date.now() / 1_000);

const exchange = (
  token: string,
  by: KeyHolder = rig.clients.writer,
  more: Fields = {},
  headers = {},
): Promise<Answer> =>
  rig.token(
    { grant_type: TOKEN_EXCHANGE, subject_token: token, subject_token_type: ACCESS_TOKEN, ...rig.by(by), ...more },
    headers,
  );

const signed = (claims: Members, header: Members = {}): string =>
  compact({ alg: 'ES256', typ: 'at+jwt', kid: own.kid, ...header }, { ...decodeJwt(person), ...claims }, own.key);

function expectRefused(answer: Answer, reason: string, error = 'invalid_request'): void {
  expect(answer.body).toEqual({ error, error_description: expect.any(String) });
  expect(answer.status).toBe(error === 'invalid_client' ? 401 : 400);
  expect(answer.reasons).toEqual([reason]);
}

describe('an exchanged token', () => {
  test('ID-06: is of the same person, for the taker, with everybody in the chain, on the same grant', async () => {
    const answer = await exchange(person, rig.clients.writer, { scope: 'files:read' });
    expect(answer.body).toMatchObject({
      token_type: 'Bearer',
      issued_token_type: ACCESS_TOKEN,
      scope: 'files:read',
    });
    expect(answer.body).not.toHaveProperty('refresh_token');
    const before = decodeJwt(person);
    const after = answer.claims();
    expect(after).toMatchObject({
      sub: rig.at.user.sub,
      client_id: 'writer',
      aud: rig.at.gateway.resource,
      scope: 'files:read',
      act: { sub: 'writer', act: { sub: 'mcp-client' } },
      grant_id: before['grant_id'],
      sid: before['sid'],
      auth_time: before['auth_time'],
      org: before['org'],
    });
    expect(after.jti).not.toBe(before.jti);
    expect(after.exp).toBeLessThanOrEqual(before.exp!);
  });

  test('ID-06: has what the rule and the first token both have, when nothing is asked', async () => {
    expect((await exchange(person)).body).toMatchObject({ scope: 'files:read files:write' });
    expect((await exchange(person, rig.clients.third)).body).toMatchObject({ scope: 'files:read' });
  });

  test('ID-06: for another server has what a rule says of that server', async () => {
    const answer = await exchange(person, rig.clients.writer, { resource: rig.other.resource });
    expect(answer.claims()).toMatchObject({ aud: rig.other.resource, scope: 'mail:send', sub: rig.at.user.sub });
  });

  test('ID-06: can come of an assertion of the company’s provider, and ends with that grant', async () => {
    const { body } = await rig.token({ grant_type: JWT_BEARER, assertion: rig.idJag(), ...rig.by(rig.clients.desk) });
    const answer = await exchange(String(body['access_token']));
    expect(answer.claims()).toMatchObject({ sub: 'acme|ada-1815', act: { sub: 'writer', act: { sub: 'desk' } } });
    expect(ID_JAG.typ).not.toBe('at+jwt');
  });

  test('ID-06: can be handed on once more, and then no further: depth 3 is refused', async () => {
    const second = await exchange(person);
    const third = await exchange(String(second.body['access_token']), rig.clients.third);
    expect(third.claims()['act']).toEqual({ sub: 'third', act: { sub: 'writer', act: { sub: 'mcp-client' } } });
    const handedOn = String(third.body['access_token']);
    expectRefused(await exchange(handedOn, rig.clients.fourth), 'depth');
    const facts = factsOf(handedOn, 'fourth');
    const { depth: _, ...rest } = SUBJECT_TOKEN_CHECKS;
    expect(subjectTokenProblem(facts)).toBe('depth');
    expect(subjectTokenProblem(facts, rest)).toBe(null);
  });

  test('ID-06: is read by a gateway as it is meant: everybody in the chain, and one hand more is refused there too', async () => {
    const verifier = createTokenVerifier({
      issuers: [{ issuer: rig.at.server.issuer }],
      fetchJwks: async (url) => (await fetch(url)).json(),
    });
    const verify = (answer: Answer) => verifier.verify(String(answer.body['access_token']), rig.at.gateway.resource);
    const second = await exchange(person);
    expect(await verify(second)).toMatchObject({
      ok: true,
      value: { clientId: 'writer', alone: false, actChain: ['writer', 'mcp-client'], subject: rig.at.user.sub },
    });
    const third = await exchange(String(second.body['access_token']), rig.clients.third);
    expect(await verify(third)).toMatchObject({ ok: true, value: { actChain: ['third', 'writer', 'mcp-client'] } });
    const further = signed({
      client_id: 'fourth',
      act: { sub: 'fourth', act: { sub: 'third', act: { sub: 'writer', act: { sub: 'mcp-client' } } } },
    });
    expect(await verifier.verify(further, rig.at.gateway.resource)).toMatchObject({
      ok: false,
      error: { kind: 'claim_invalid', claim: 'act' },
    });
  });

  test('ID-06: ends with the first grant, and cannot be made any more', async () => {
    const token = await rig.personToken('files:read');
    const answer = await exchange(token);
    expect(answer.status).toBe(200);
    rig.at.server.endings.endGrant(String(decodeJwt(token)['grant_id']), 'administrator');
    expectRefused(await exchange(token), 'ended');
    expectRefused(await exchange(String(answer.body['access_token']), rig.clients.third), 'ended');
  });

  test('ID-06: keeps what we said of the person, and ends with any agent of its chain', async () => {
    const token = signed({
      groups: ['g-1'],
      amr: ['hwk'],
      client_id: 'writer',
      act: { sub: 'writer', act: { sub: 'gone' } },
    });
    const answer = await exchange(token, rig.clients.third);
    expect(answer.claims()).toMatchObject({ groups: ['g-1'], amr: ['hwk'] });
    rig.at.server.endings.endClient('gone', 'administrator');
    expectRefused(await exchange(token, rig.clients.third), 'ended');
  });

  test('ID-06: cannot be made of a token of somebody who left, or that was revoked', async () => {
    const { body } = await rig.token({
      grant_type: JWT_BEARER,
      assertion: rig.idJag({ sub: 'leaver' }),
      ...rig.by(rig.clients.desk),
    });
    const token = String(body['access_token']);
    expect((await exchange(token)).status).toBe(200);
    rig.at.server.endings.endPerson('acme|leaver', 'administrator');
    expectRefused(await exchange(token), 'ended');
  });
});

function factsOf(token: string, clientId = 'writer'): SubjectFacts {
  const header = JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as { typ?: string };
  return {
    type: header.typ ?? null,
    claims: decodeJwt(token) as SubjectFacts['claims'],
    issuer: rig.at.server.issuer,
    clientId,
    now: seconds(),
    maxDepth: 2,
    proof: null,
  };
}

interface Mutation {
  readonly name: string;
  readonly checks: readonly string[];
  readonly claims?: () => Members;
  readonly header?: Members;
}

const deep = (depth: number): Members => (depth === 0 ? { sub: 'x' } : { sub: 'x', act: deep(depth - 1) });

const MUTATIONS: readonly Mutation[] = [
  { name: 'is no access token', checks: ['type'], header: { typ: 'JWT' } },
  { name: 'is an ID-JAG', checks: ['type'], header: { typ: 'oauth-id-jag+jwt' } },
  { name: 'has no type', checks: ['type'], header: { typ: undefined } },
  { name: 'is by another server', checks: ['issuer'], claims: () => ({ iss: 'https://b.example' }) },
  { name: 'is by us with a slash', checks: ['issuer'], claims: () => ({ iss: `${rig.at.server.issuer}/` }) },
  { name: 'is about nobody', checks: ['claims'], claims: () => ({ sub: undefined }) },
  { name: 'is of no client', checks: ['claims'], claims: () => ({ client_id: undefined }) },
  { name: 'has no id', checks: ['claims'], claims: () => ({ jti: undefined }) },
  {
    name: 'is for two servers',
    checks: ['claims'],
    claims: () => ({ aud: [rig.at.gateway.resource, rig.other.resource] }),
  },
  { name: 'has a list as scope', checks: ['claims'], claims: () => ({ scope: ['files:read'] }) },
  { name: 'never expires', checks: ['expiry', 'expired'], claims: () => ({ exp: undefined }) },
  { name: 'has no time of issue', checks: ['expiry'], claims: () => ({ iat: undefined }) },
  { name: 'has expired', checks: ['expired'], claims: () => ({ exp: seconds() - 1 }) },
  { name: 'is not valid yet', checks: ['not_before'], claims: () => ({ nbf: seconds() + 60 }) },
  { name: 'is of an agent that acts alone', checks: ['person'], claims: () => ({ sub: 'desk', client_id: 'desk' }) },
  { name: 'hangs on no grant', checks: ['grant'], claims: () => ({ grant_id: undefined }) },
  { name: 'has a text as chain', checks: ['chain', 'depth'], claims: () => ({ act: 'desk' }) },
  { name: 'has an actor without a name', checks: ['chain', 'depth'], claims: () => ({ act: { client_id: 'desk' } }) },
  { name: 'has an endless chain', checks: ['chain', 'depth'], claims: () => ({ act: deep(11) }) },
  { name: 'was handed on often enough', checks: ['depth'], claims: () => ({ act: deep(2) }) },
  { name: 'says that another may act', checks: ['may_act'], claims: () => ({ may_act: { sub: 'third' } }) },
  {
    name: 'says that one of another server may act',
    checks: ['may_act'],
    claims: () => ({ may_act: { sub: 'writer', iss: 'https://b.example' } }),
  },
  {
    name: 'says who may act in a way we do not know',
    checks: ['may_act'],
    claims: () => ({ may_act: { sub: 'writer', email: 'x' } }),
  },
  { name: 'says that nobody may act', checks: ['may_act'], claims: () => ({ may_act: 'nobody' }) },
  { name: 'is bound to a key, and none is shown', checks: ['key'], claims: () => ({ cnf: { jkt: 'A'.repeat(43) } }) },
];

describe.each(MUTATIONS)('a subject token that $name', ({ checks, claims, header }) => {
  test('ID-06: is refused, recorded, and not explained', async () => {
    const token = signed(claims?.() ?? {}, header);
    const answer = await exchange(token);
    expectRefused(answer, checks[0]!);
    expect(answer.body['error_description']).toBe('subject_token cannot be exchanged');
    const facts = factsOf(token);
    const rest = Object.fromEntries(Object.entries(SUBJECT_TOKEN_CHECKS).filter(([name]) => !checks.includes(name)));
    expect(subjectTokenProblem(facts)).toBe(checks[0]);
    expect(subjectTokenProblem(facts, rest)).toBe(null);
  });
});

describe('a subject token', () => {
  test('that is good in everything passes: the mutations above have one thing wrong each', async () => {
    expect((await exchange(signed({ may_act: { sub: 'writer', iss: rig.at.server.issuer } }))).status).toBe(200);
  });

  test.each<readonly [string, string, () => string]>([
    [
      'by another key under our name',
      'signature',
      () => compact({ alg: 'ES256', typ: 'at+jwt', kid: own.kid }, decodeJwt(person), rig.clients.desk.key),
    ],
    [
      'by a key that we do not publish',
      'key_unknown',
      () => compact({ alg: 'ES256', typ: 'at+jwt', kid: 'desk' }, decodeJwt(person), rig.clients.desk.key),
    ],
    ['without a signature', 'algorithm', () => signed({}, { alg: 'none' })],
    ['that brings its own key', 'header_refused', () => signed({}, { jwk: { kty: 'EC' } })],
    ['that is no token', 'malformed', () => 'x'],
    ['of the company’s provider', 'key_unknown', () => rig.idJag()],
  ])('ID-06: %s is refused', async (_name, reason, make) => {
    expectRefused(await exchange(make()), reason);
  });

  test('ID-06: that is bound to a key is exchanged only for one that is bound as well', async () => {
    const holder = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = holder.publicKey.export({ format: 'jwk' });
    const jkt = createHash('sha256')
      .update(JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x, y: jwk.y }))
      .digest('base64url');
    const dpop = compact(
      { alg: 'ES256', typ: 'dpop+jwt', jwk },
      { jti: randomUUID(), htm: 'POST', htu: `${rig.at.server.issuer}/token`, iat: seconds() },
      holder.privateKey,
    );
    const answer = await exchange(signed({ cnf: { jkt: 'A'.repeat(43) } }), rig.clients.writer, {}, { dpop });
    expect(answer.body).toMatchObject({ token_type: 'DPoP' });
    expect(answer.claims()).toMatchObject({ cnf: { jkt } });
  });
});

describe('who may exchange what', () => {
  test.each<readonly [string, string, string, (r: Rig) => Promise<Answer>]>([
    ['a client without a rule', 'no_rule', 'unauthorized_client', (r) => exchange(person, r.clients.desk)],
    [
      'a client whose rule is for others’ tokens',
      'no_rule',
      'unauthorized_client',
      (r) => exchange(person, r.clients.fourth),
    ],
    [
      'a server that no rule names',
      'resource_not_allowed',
      'invalid_target',
      (r) => exchange(person, r.clients.third, { resource: r.other.resource }),
    ],
    [
      'a server that is not ours',
      'resource_not_trusted',
      'invalid_target',
      (r) => exchange(person, r.clients.writer, { resource: 'https://evil.example/mcp' }),
    ],
    [
      'a scope that the first token has not',
      'scope',
      'invalid_scope',
      (r) => exchange(person, r.clients.writer, { scope: 'files:exec' }),
    ],
    [
      'a scope that the rule has not',
      'scope',
      'invalid_scope',
      (r) => exchange(person, r.clients.third, { scope: 'files:write' }),
    ],
    [
      'a scope of the other server that the rule has not',
      'scope',
      'invalid_scope',
      (r) => exchange(person, r.clients.writer, { resource: r.other.resource, scope: 'mail:read' }),
    ],
    [
      'an actor token',
      'actor_token',
      'invalid_request',
      (r) => exchange(person, r.clients.writer, { actor_token: person, actor_token_type: ACCESS_TOKEN }),
    ],
    ['an audience', 'audience', 'invalid_request', (r) => exchange(person, r.clients.writer, { audience: 'x' })],
    [
      'another kind of token',
      'requested_token_type',
      'invalid_request',
      (r) =>
        exchange(person, r.clients.writer, { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }),
    ],
    [
      'a subject token of another kind',
      'subject_token_type',
      'invalid_request',
      (r) => exchange(person, r.clients.writer, { subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' }),
    ],
    [
      'no subject token',
      'subject_token_missing',
      'invalid_request',
      (r) => exchange(person, r.clients.writer, { subject_token: undefined }),
    ],
  ])('ID-06: %s is refused', async (_name, reason, error, make) => {
    expectRefused(await make(rig), reason, error);
  });

  test('ID-06: a public client is refused, whatever it shows', async () => {
    const fields = { grant_type: TOKEN_EXCHANGE, subject_token: person, subject_token_type: ACCESS_TOKEN };
    const answer = await rig.token({ ...fields, client_id: 'mcp-client' });
    expect(answer.status).toBe(400);
    expect(answer.body['access_token']).toBe(undefined);
    expect((await rig.token(fields)).status).toBe(400);
  });

  test('a twin that forgets the giver gives the taker more than both may', () => {
    // With the giver in the chain the gateway cuts by its ceiling too; without, the taker's alone would count.
    expect(chainWith('b', { client_id: 'a' })).toEqual({ sub: 'b', act: { sub: 'a' } });
    expect(chainWith('c', { client_id: 'b', act: { sub: 'b', act: { sub: 'a' } } })).toEqual({
      sub: 'c',
      act: { sub: 'b', act: { sub: 'a' } },
    });
    expect(chainWith('c', { client_id: 'b', act: { sub: 'z' } })).toEqual({
      sub: 'c',
      act: { sub: 'b', act: { sub: 'z' } },
    });
    expect([undefined, { sub: 'b', act: { sub: 'a' } }].map(depthAfter)).toEqual([1, 2]);
  });

  test('the code flow still needs a code: the grants do not open each other', async () => {
    const { issuer } = rig.at.server;
    const answer = await post(`${issuer}/token`, {
      grant_type: 'authorization_code',
      code: person,
      redirect_uri: REDIRECT,
      client_id: 'mcp-client',
    });
    expect(answer.status).toBe(400);
  });
});
