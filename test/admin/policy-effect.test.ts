/** What an activation would do is read before it is agreed to, and nothing else is agreed to. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { definitionDigest } from '../../src/integrity/definition.ts';
import { SERVER, startPlane, type Plane, type Reply } from './plane.ts';

let plane: Plane;
const item = (name: string, risk: string) => {
  const definition = { name, inputSchema: { type: 'object', properties: { path: { type: 'string' } } } };
  const digest = definitionDigest(definition);
  return plane.put('tool', `docs/${name}`, {
    server: 'docs',
    kind: 'tool',
    name,
    observed: { digest, definition, seenAt: 1 },
    approved: { digest, definition, risk, scope: `docs:${risk}`, justification: 'x', by: 'sven', at: 1 },
  });
};
beforeAll(async () => {
  plane = await startPlane();
  await plane.seed([
    plane.put('server', 'docs', { ...SERVER, state: 'enabled' }),
    item('look', 'read'),
    item('burn', 'destructive'),
  ]);
});
afterAll(() => plane.close());

const TEXT = `permit (principal in Remit::Role::"developer", action == Remit::Action::"callTool", resource in Remit::Server::"docs")
when { resource.risk == Remit::Risk::"destructive" && context.scopeHeld && context.approved };`;
const code = (reply: Reply) => [reply.status, reply.body.error?.['code']];
const store = async (id: string, text = TEXT, replaces: readonly string[] = []): Promise<Record<string, string>> => {
  const reply = await plane.as(
    'sven',
    'PUT',
    `/policies/${id}`,
    { reason: 'x', policy: { description: 'x', text, replaces } },
    { 'if-none-match': '*' },
  );
  expect([reply.status, reply.text]).toEqual([201, reply.text]);
  return { 'if-match': reply.headers.get('etag') ?? '' };
};
const effectOf = (path: string, query = '') => plane.as('ada', 'GET', `/policies/${path}/effect${query}`);

describe('AZ-08: activation', () => {
  test('AZ-08: the effect names people, agents and items, and the log says which effect was agreed to', async () => {
    const etag = await store('team.burn');
    const { body } = await effectOf('team.burn');
    expect(body).toMatchObject({
      change: 'activate',
      counts: { gained: 2, lost: 0, changed: 0, may_change: 0 },
      groups: [{ kind: 'gained', from: 'deny', to: 'hold', people: 1, agents: 2, items: 1, triples: 2 }],
      triples: [
        { person: 'dana', personName: 'dana', agent: 'agent_0', agentTitle: 'remit-cli', item: 'docs/burn' },
        { person: 'dana', agent: 'agent_1', item: 'docs/burn' },
      ],
      next: null,
    });
    const done = await plane.as(
      'ada',
      'POST',
      '/policies/team.burn/activate',
      { reason: 'read', effect: body['digest'] },
      etag,
    );
    expect([done.status, done.body['state']]).toEqual([200, 'active']);
    expect((await plane.entries('admin')).at(-1)).toMatchObject({
      event: { what: 'policy.activated', effect: body['digest'], gained: 2, lost: 0 },
    });
    expect((await effectOf('team.burn')).body).toMatchObject({ change: 'deactivate', counts: { gained: 0, lost: 2 } });
  });

  test('AZ-08: without the revision, or without the effect, nothing is activated', async () => {
    const etag = await store('team.unread');
    const effect = (await effectOf('team.unread')).body['digest'];
    const activate = (body: object, headers: Record<string, string>) =>
      plane.as('ada', 'POST', '/policies/team.unread/activate', { reason: 'x', ...body }, headers);
    expect(code(await activate({ effect }, {}))).toEqual([428, 'precondition_required']);
    expect(code(await activate({}, etag))).toEqual([428, 'effect_unread']);
    expect(code(await activate({ effect }, { 'if-match': '"1"' }))).toEqual([412, 'precondition_failed']);
    const other = await activate({ effect: `sha256:${'0'.repeat(64)}` }, etag);
    expect(code(other)).toEqual([409, 'effect_changed']);
    expect(other.body.error?.['message']).toContain(String(effect));
    expect(plane.snapshot().policies?.policies.map(({ id }) => id)).not.toContain('team.unread');
  });

  test('AZ-08: who read the effect before somebody joined, or before an item was reviewed, reads it again', async () => {
    const etag = await store('team.more', TEXT.replace('&& context.approved', ''));
    const effect = (await effectOf('team.more')).body['digest'];
    const issuer = plane.issuer.issuer;
    await plane.seed([
      plane.put(
        'person',
        'dan',
        { issuer, subject: 'dan', name: 'dan', state: 'active', roles: ['developer'] },
        `${issuer} dan`,
      ),
    ]);
    const stale = await plane.as('ada', 'POST', '/policies/team.more/activate', { reason: 'x', effect }, etag);
    expect(code(stale)).toEqual([409, 'effect_changed']);
    const fresh = (await effectOf('team.more')).body;
    expect(fresh['counts']).toMatchObject({ changed: 4 });
    expect(
      (await plane.as('ada', 'POST', '/policies/team.more/activate', { reason: 'x', effect: fresh['digest'] }, etag))
        .status,
    ).toBe(200);
  });

  test('a text that nobody stored has an effect, too; one that does not compile has problems', async () => {
    const ask = (text: string, replaces: readonly string[] = []) =>
      plane.as('sven', 'POST', '/policies/team.idea/effect?kind=lost&limit=1', { text, replaces });
    const forbid = await ask(
      'forbid (principal, action == Remit::Action::"callTool", resource == Remit::Tool::"docs/look");',
    );
    expect(forbid.body).toMatchObject({ counts: { gained: 0, changed: 0 }, next: 1 });
    expect((forbid.body['triples'] as unknown[]).length).toBe(1);
    expect(code(await ask('permit (principal'))).toEqual([422, 'invalid']);
    expect(code(await ask(TEXT, ['no.such']))).toEqual([422, 'invalid']);
    expect(code(await plane.as('dana', 'POST', '/policies/team.idea/effect', { text: TEXT }))).toEqual([
      403,
      'role_missing',
    ]);
  });

  test('a person who is not active, or an agent under a ceiling, is not in it', async () => {
    const issuer = plane.issuer.issuer;
    await plane.seed([
      plane.put(
        'person',
        'dan',
        { issuer, subject: 'dan', name: 'dan', state: 'inactive', roles: ['developer'] },
        `${issuer} dan`,
      ),
      plane.put(
        'agent',
        'agent_1',
        {
          issuer,
          clientId: 'agent-7',
          title: 'agent-7',
          kind: 'delegate',
          state: 'active',
          roles: [],
          ceiling: { risks: ['read'] },
        },
        `${issuer} agent-7`,
      ),
    ]);
    await store('team.narrow', TEXT.replace('developer', 'auditor'));
    const { body } = await effectOf('team.narrow');
    expect(body['triples']).toMatchObject([{ person: 'aiko', agent: 'agent_0', item: 'docs/burn' }]);
  });
});

describe('grants', () => {
  test('AZ-08: the effect of a grant is read before it is agreed to, and again when it has changed', async () => {
    const asked = await plane.as('aiko', 'POST', '/grants', {
      grant: {
        who: { kind: 'person', id: 'aiko' },
        what: { server: 'docs', items: ['look', 'burn'] },
        justification: 'audit',
      },
    });
    expect([asked.status, asked.text]).toEqual([201, asked.text]);
    const id = String(asked.body['id']);
    const etag = { 'if-match': asked.headers.get('etag') ?? '' };
    const read = await plane.as('sven', 'GET', `/grants/${id}/effect`);
    expect(read.body).toMatchObject({
      change: 'begin',
      counts: { gained: 3 },
      groups: [
        { kind: 'gained', to: 'allow', items: 1 },
        { kind: 'gained', to: 'hold', items: 1 },
      ],
    });
    const approve = (effect: unknown) => plane.as('sven', 'POST', `/grants/${id}/approve`, { effect }, etag);
    expect(code(await approve(`sha256:${'0'.repeat(64)}`))).toEqual([409, 'effect_changed']);
    expect((await approve(read.body['digest'])).status).toBe(200);
    expect((await plane.as('sven', 'GET', `/grants/${id}/effect`)).body).toMatchObject({
      change: 'end',
      counts: { lost: 3 },
    });
  });
});

describe('tests of policies', () => {
  const cases = [
    { name: 'dana looks', who: 'dana', tool: 'docs/look', expect: 'allow', by: ['baseline.developer'] },
    {
      name: 'auditors burn, approved',
      who: { roles: ['auditor'] },
      tool: 'docs/burn',
      approved: true,
      expect: 'allow',
    },
  ];
  const run = (body: object) => plane.as('omar', 'POST', '/policies/test', { cases, ...body });

  test('cases are asked of what is in force, and of it with a draft among it; nothing changes', async () => {
    await plane.seed([
      plane.put('policy', 'team.test', {
        description: 'x',
        text: TEXT.replace('developer', 'auditor'),
        state: 'draft',
      }),
    ]);
    const before = plane.snapshot().policies;
    const now = await run({});
    expect(now.body).toMatchObject({
      passed: 1,
      failed: 1,
      results: [
        { passed: true },
        { passed: false, got: 'deny', problem: 'said deny, not allow', reason: 'not_permitted' },
      ],
    });
    expect((await run({ candidate: { policy: 'team.test' } })).body).toMatchObject({ passed: 2, failed: 0 });
    expect((await run({ candidate: { text: TEXT.replace('developer', 'auditor') } })).body).toMatchObject({
      failed: 0,
    });
    expect(plane.snapshot().policies).toBe(before);
  });

  test('a candidate that is not there or does not compile is refused, and so is a case of no shape', async () => {
    expect(code(await run({ candidate: { policy: 'no.such' } }))).toEqual([404, 'not_found']);
    expect(code(await run({ candidate: { text: 'permit (' } }))).toEqual([422, 'invalid']);
    expect(code(await run({ cases: [{ name: 'x', who: 'dana', tool: 'docs/look', expect: 'maybe' }] }))).toEqual([
      422,
      'invalid',
    ]);
  });
});
