/** The dry run of a token: what it says is what a call with that token gets, and nothing is changed by asking. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { personKey } from '../../src/directory/records.ts';
import { agentKey } from '../../src/inventory/agents.ts';
import { startPlane, type Plane } from './plane.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
  const { issuer } = plane.issuer;
  await plane.seed([
    plane.put('organisation', 'default', { title: 'Test', issuers: [issuer], newAgents: 'pending' }),
    plane.put('group', 'g1', { name: 'Ops', roles: ['operator'] }),
    plane.put(
      'person',
      'gina',
      { issuer, subject: 'gina', name: 'Gina', state: 'active', roles: ['auditor'], groups: ['g1', 'gone'] },
      personKey(issuer, 'gina'),
    ),
    plane.put(
      'agent',
      'narrow',
      {
        issuer,
        clientId: 'narrow',
        title: 'n',
        kind: 'delegate',
        state: 'active',
        roles: [],
        ceiling: { risks: ['read'] },
      },
      agentKey(issuer, 'narrow'),
    ),
  ]);
});
afterAll(() => plane.close());

const preview = async (body: object) => {
  const reply = await plane.as('sven', 'POST', '/access/token', body);
  expect([reply.status, reply.text]).toEqual([200, reply.text]);
  return reply.body;
};
const claims = (more: object) => ({
  claims: { iss: plane.issuer.issuer, sub: 'gina', client_id: 'remit-cli', ...more },
});

test('a token is verified, and every role names where it comes from', async () => {
  const token = plane.tokenOf('gina', { act: { sub: 'narrow' } });
  const body = await preview({ token });
  expect(body).toMatchObject({
    signature: 'verified',
    readable: true,
    admitted: true,
    organisation: 'default',
    person: { id: 'gina', state: 'active' },
    roles: [
      { role: 'auditor', from: 'person' },
      { role: 'operator', from: 'group g1', name: 'Ops' },
    ],
    agents: [
      { client: 'remit-cli', state: 'active' },
      { client: 'narrow', state: 'active' },
    ],
    ceiling: { risks: ['read'] },
    newcomers: [],
    stops: [],
  });
  expect(JSON.stringify([body, await plane.entries(), plane.logged])).not.toContain(token);
});

test('a token that is not good says which rule it breaks', async () => {
  const past = Math.floor(Date.now() / 1000) - 900;
  const problem = async (token: string) => (await preview({ token }))['problem'];
  expect(await problem(plane.tokenOf('gina', { iat: past, exp: past + 60 }))).toMatchObject({ kind: 'expired' });
  expect(await problem(plane.tokenOf('gina', { iss: 'https://evil.example' }))).toMatchObject({ kind: 'issuer' });
  expect(await problem('no token')).toMatchObject({ kind: 'malformed' });
  expect(
    (await preview({ token: plane.tokenOf('gina'), resource: 'https://other.example/mcp' }))['problem'],
  ).toMatchObject({
    kind: 'audience',
  });
  expect(await preview(claims({ iss: 'https://evil.example' }))).toMatchObject({
    readable: false,
    problem: { kind: 'issuer' },
  });
});

test('claims alone are read by the same rules, marked as unchecked, and fill in what they leave out', async () => {
  expect(await preview(claims({}))).toMatchObject({ signature: 'not_checked', admitted: true, person: { id: 'gina' } });
  expect(await preview(claims({ client_id: 'remit-cli', sub: 7 }))).toMatchObject({
    readable: false,
    problem: { kind: 'claim_invalid', claim: 'sub' },
  });
});

test('ID-01: what a client can choose says nothing of the organisation; the tenant claim alone does', async () => {
  const { issuer } = plane.issuer;
  await plane.seed([
    plane.put(
      'mapping',
      'm',
      { issuer, tenant: { claim: 'tid', value: 'ours' }, newcomers: 'refuse', rules: [] },
      issuer,
    ),
  ]);
  const ask = async (more: object) => {
    const headers = {
      authorization: `Bearer ${plane.tokenOf('sven', { tid: 'ours' })}`,
      'content-type': 'application/json',
      'x-org': 'default',
    };
    return (await plane.raw('POST', '/api/v1/access/token', headers, JSON.stringify(claims(more)))).body;
  };
  for (const forged of [
    {},
    { org: 'default' },
    { email: 'gina@default.example', hd: 'default' },
    { tid: 'theirs' },
    { tid: ['ours', 'theirs'] },
  ])
    expect([forged, await ask(forged)]).toEqual([
      forged,
      expect.objectContaining({ organisation: null, admitted: false, reason: 'tenant_unknown' }),
    ]);
  expect(await ask({ tid: 'ours' })).toMatchObject({ organisation: 'default', admitted: true });
  expect((await plane.as('ada', 'GET', '/me')).status).toBe(403);
  await plane.seed([{ kind: 'mapping', org: 'default', id: 'm', body: null }]);
});

test('newcomers: what would become a record, and that none did', async () => {
  const { issuer } = plane.issuer;
  await plane.seed([plane.put('mapping', 'm', { issuer, newcomers: 'create', rules: [] }, issuer)]);
  const before = await plane.state.head();
  expect(await preview(claims({ sub: 'fresh', client_id: 'brand-new' }))).toMatchObject({
    admitted: false,
    reason: 'agent_not_active',
    agents: [{ client: 'brand-new', id: null, state: 'pending' }],
    newcomers: [{ agent: 'brand-new', becomes: 'pending' }],
  });
  expect(await preview(claims({ sub: 'fresh' }))).toMatchObject({
    admitted: false,
    reason: 'person_without_role',
    person: { id: null, state: 'active' },
    newcomers: [{ person: 'fresh', becomes: 'create' }],
  });
  expect(await plane.state.head()).toBe(before);
  expect((await plane.as('fresh', 'GET', '/me')).status).toBe(403);
  await plane.seed([{ kind: 'mapping', org: 'default', id: 'm', body: null }]);
});

test('locks and voids that fall on it are all named', async () => {
  await plane.as('omar', 'POST', '/locks', { kind: 'user', value: 'gina', reason: 'x' });
  await plane.seed([
    plane.put('void', 'v1', {
      subject: { kind: 'person', value: 'gina' },
      before: Date.now() + 5_000,
      reason: 'x',
      by: 'omar',
      until: Date.now() + 60_000,
    }),
  ]);
  const body = await preview(claims({}));
  expect(body).toMatchObject({ admitted: false, reason: 'locked', person: { id: 'gina' } });
  expect(body['stops']).toEqual([expect.objectContaining({ on: 'user' }), { void: 'person' }]);
});
