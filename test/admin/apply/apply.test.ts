/** What files do: planned by the rules of single requests, applied whole, remembered, compared. The oracle is the state store. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { startPlane, type Plane } from '../plane.ts';
import {
  actions,
  activated,
  agent,
  applied,
  codeOf,
  everything,
  group,
  mapping,
  plan,
  policy,
  problems,
  rowsOf,
  server,
} from './files.ts';

let plane: Plane;
beforeAll(async () => {
  plane = await startPlane();
});
afterAll(() => plane.close());

const stored = async (kind: string, id: string) =>
  (await plane.state.load()).records.find((record) => record.kind === kind && record.id === id);

describe('what a file does', () => {
  test('resources of every kind come in one commit, each as its route would bring it in', async () => {
    const resources = [
      policy('one.files'),
      server('one', { owner: 'group/one-keepers' }),
      agent(plane, 'one-agent'),
      group('one-keepers', ['operator']),
      mapping(plane, { rules: [{ claim: 'team', value: 'x', roles: ['developer'] }] }),
    ];
    const before = await plane.state.head();
    const planned = await plan(plane, 'ada', resources);
    expect([planned.status, actions(planned)]).toEqual([
      200,
      [
        'create policy/one.files',
        'create server/one',
        'create agent/one-agent',
        'create group/one-keepers',
        'create mapping/main',
      ],
    ]);
    expect(await plane.state.head()).toBe(before);
    const reply = await applied(plane, 'ada', resources);
    expect([reply.status, reply.body['revision']]).toEqual([200, before + 1]);
    for (const { kind, id } of resources)
      expect([kind, (await stored(kind, id))?.revision]).toEqual([kind, before + 1]);
    // NH-01, AZ-11: nothing that gives access begins in force.
    expect((await stored('server', 'one'))?.body['state']).toBe('draft');
    expect((await stored('policy', 'one.files'))?.body['state']).toBe('draft');
    expect((await stored('agent', 'one-agent'))?.body['state']).toBe('pending');
    const again = await plan(plane, 'ada', resources);
    expect(new Set(rowsOf(again).map(({ action }) => action))).toEqual(new Set(['unchanged']));
    expect((await applied(plane, 'ada', resources)).body['revision']).toBe(before + 1);
    expect(await plane.state.head()).toBe(before + 1);
  });

  test('the log names the plan and its records, and has an entry for each of them', async () => {
    const resources = [group('logged-1'), group('logged-2')];
    const planned = await plan(plane, 'ada', resources);
    const reply = await applied(plane, 'ada', resources, { set: 'logged' });
    const entries = (await plane.entries('admin')).filter(
      ({ event }) => event?.['revision'] === reply.body['revision'],
    );
    expect(planned.body['digest']).not.toBe(null);
    expect(
      entries.map(({ actor, event }) => [actor?.person, event?.['what'], event?.['subject'], event?.['reason']]),
    ).toEqual([
      ['ada', 'apply.committed', 'applied_set/logged', 'a test'],
      ['ada', 'group.added', 'group/logged-1', 'a test'],
      ['ada', 'group.added', 'group/logged-2', 'a test'],
      ['ada', 'apply_set.added', 'applied_set/logged', 'a test'],
    ]);
    expect(entries[0]?.event?.['subjects']).toEqual(['group/logged-1', 'group/logged-2', 'applied_set/logged']);
  });

  test('a change of an enabled server puts it back in review; one that says what it says leaves it alone', async () => {
    await applied(plane, 'omar', [server('life')]);
    const record = await stored('server', 'life');
    await plane.seed([plane.put('server', 'life', { ...record!.body, state: 'enabled' })]);
    expect(actions(await plan(plane, 'omar', [server('life')]))).toEqual(['unchanged server/life']);
    const planned = await plan(plane, 'omar', [server('life', { timeoutMs: 5_000 })]);
    expect(rowsOf(planned)[0]?.changes).toEqual([
      { field: 'state', before: 'enabled', after: 'in_review' },
      { field: 'timeoutMs', before: 30_000, after: 5_000 },
    ]);
    await applied(plane, 'omar', [server('life', { timeoutMs: 5_000 })]);
    expect((await stored('server', 'life'))?.body).toMatchObject({ state: 'in_review', timeoutMs: 5_000 });
  });

  test('NH-01: no file says that something is enabled, active or approved', async () => {
    const before = await everything(plane);
    const reply = await plan(plane, 'ada', [
      server('bold', { state: 'enabled' }),
      policy('bold', 'operator', { state: 'active' }),
      agent(plane, 'bold', { state: 'active' }),
    ]);
    expect(problems(reply)).toEqual([
      'server/bold spec.state: unknown_member',
      'policy/bold spec.state: unknown_member',
      'agent/bold spec.state: unknown_member',
    ]);
    expect([reply.body['digest'], await everything(plane)]).toEqual([null, before]);
  });

  test('a policy in force that a file leaves as it is needs nothing, also after activation spent its list; another text is refused', async () => {
    await applied(plane, 'ada', [policy('old.one')]);
    expect(await activated(plane, 'sven', 'old.one')).toBe(200);
    const draft = policy('new.one', 'operator', { replaces: ['old.one'] });
    await applied(plane, 'ada', [draft], { set: 'policies' });
    expect(await activated(plane, 'sven', 'new.one')).toBe(200);
    expect(actions(await plan(plane, 'ada', [draft], { set: 'policies' }))).toEqual(['unchanged policy/new.one']);
    const drift = await plane.as('sven', 'GET', '/apply/sets/policies/drift');
    expect(rowsOf(drift)).toMatchObject([{ id: 'new.one', status: 'same' }]);
    expect(problems(await plan(plane, 'ada', [policy('new.one', 'developer')], { set: 'policies' }))).toEqual([
      'policy/new.one : policy_active',
    ]);
  });

  test('AZ-05: a sweeping permit in a file is refused, and comes in as a draft with an exception that ends', async () => {
    const sweeping = 'permit (principal, action, resource);';
    const reply = await plan(plane, 'sven', [policy('wide', '', { text: sweeping })]);
    expect(problems(reply)).toEqual(['policy/wide spec.text: invalid']);
    expect(rowsOf(reply)[0]?.problems[0]?.message).toMatch(/any_principal.*every_tool.*without_scope/s);
    const until = new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10);
    const excepted = policy('wide', '', { text: `@exception("TICKET-1")\n@until("${until}")\n${sweeping}` });
    expect((await applied(plane, 'sven', [excepted])).status).toBe(200);
    expect((await stored('policy', 'wide'))?.body['state']).toBe('draft');
  });

  test('the sample folder applies as it is', async () => {
    const folder = join(import.meta.dirname, '../../../samples/governance');
    const resources = ['people.yaml', 'servers/docs.yaml', 'policies/docs.yaml'].flatMap((file) =>
      parseAllDocuments(readFileSync(join(folder, file), 'utf8')).map(
        (document) => document.toJS() as ReturnType<typeof group>,
      ),
    );
    const planned = await plan(plane, 'ada', resources, { set: 'sample' });
    expect(problems(planned)).toEqual([]);
    expect((await applied(plane, 'ada', resources, { set: 'sample' })).status).toBe(200);
    expect(
      actions(await plan(plane, 'ada', resources, { set: 'sample' })).every((one) => one.startsWith('unchanged')),
    ).toBe(true);
  });
});

describe('what a file may not do', () => {
  test('every problem of every resource is told at once, and nothing is staged', async () => {
    const before = await everything(plane);
    const reply = await plan(plane, 'ada', [
      server('Bad Id'),
      server('lacks', { owner: undefined, purpose: undefined, color: 'red' }),
      server('wrong', { upstream: { transport: 'http', url: 'http://a.example/', allowedNetworks: ['x'] } }),
      { kind: 'rocket', id: 'x', spec: {} },
      group('twice'),
      group('twice'),
      group('same-1', [], 'One name'),
      group('same-2', [], 'One name'),
      policy('broken', '', { text: 'permit (' }),
      { kind: 'organisation', id: 'other', spec: { title: 'Mine' } },
    ]);
    expect(problems(reply)).toEqual([
      'server/Bad Id id: invalid',
      'server/lacks spec.owner: invalid',
      'server/lacks spec.purpose: invalid',
      'server/lacks spec.color: unknown_member',
      'server/wrong spec.upstream.allowedNetworks.0: server_network',
      'rocket/x kind: unknown_kind',
      'group/twice id: named_twice',
      'group/twice id: named_twice',
      'group/same-2 : named_twice',
      'policy/broken spec.text: invalid',
      'organisation/other id: not_found',
    ]);
    expect(await everything(plane)).toBe(before);
    const forced = await plane.as('ada', 'POST', '/apply', {
      resources: [server('Bad Id')],
      digest: `sha256:${'0'.repeat(64)}`,
      reason: 'x',
    });
    expect(codeOf(forced)).toEqual([422, 'apply_refused']);
    expect(await everything(plane)).toBe(before);
  });

  test.each([
    ['omar', () => group('by-omar'), 'role_missing'],
    ['omar', () => policy('by-omar'), 'role_missing'],
    ['omar', () => mapping(plane, { newcomers: 'create' }), 'role_missing'],
    ['sven', () => server('by-sven'), 'role_missing'],
    ['sven', () => ({ kind: 'organisation', id: 'default', spec: { title: 'Mine' } }), 'role_missing'],
  ] as const)('%s needs for a resource the role that its route needs', async (who, resource, code) => {
    const before = await everything(plane);
    const reply = await plan(plane, who, [resource()]);
    expect(rowsOf(reply)[0]?.problems.map((problem) => problem.code)).toContain(code);
    // Nor is shown how a record stands that they could not read.
    expect(rowsOf(reply)[0]?.changes).toEqual([]);
    const forced = await plane.as(who, 'POST', '/apply', {
      resources: [resource()],
      digest: `sha256:${'0'.repeat(64)}`,
      reason: 'x',
    });
    expect(codeOf(forced)).toEqual([403, 'apply_refused']);
    expect(await everything(plane)).toBe(before);
  });

  test('who has none of the roles reaches none of the rows, and applying asks for a sign-in of a moment ago', async () => {
    for (const who of ['dana', 'petra', 'aiko'])
      expect([who, ...codeOf(await plan(plane, who, []))]).toEqual([who, 403, 'role_missing']);
    const old = plane.tokenOf('ada', { auth_time: Math.floor(Date.now() / 1000) - 7_200 });
    const reply = await plane.raw(
      'POST',
      '/api/v1/apply',
      { authorization: `Bearer ${old}`, 'content-type': 'application/json' },
      JSON.stringify({ resources: [], digest: `sha256:${'0'.repeat(64)}`, reason: 'x' }),
    );
    expect(codeOf(reply)).toEqual([401, 'insufficient_user_authentication']);
  });

  test('nobody changes their own standing through a file; the same file from somebody else is applied', async () => {
    await applied(plane, 'ada', [group('own')]);
    expect((await plane.as('abel', 'PUT', '/groups/own/members/ada', { reason: 'x' })).status).toBe(200);
    const more = [server('beside'), group('own', ['security_reviewer'])];
    const before = await everything(plane);
    expect(problems(await plan(plane, 'ada', more))).toEqual(['group/own : own_standing']);
    const forced = await plane.as('ada', 'POST', '/apply', {
      resources: more,
      digest: `sha256:${'0'.repeat(64)}`,
      reason: 'x',
    });
    expect([codeOf(forced), await everything(plane)]).toEqual([[403, 'apply_refused'], before]);
    expect((await applied(plane, 'abel', more)).status).toBe(200);
    expect((await stored('group', 'own'))?.body['roles']).toEqual(['security_reviewer']);
  });

  test('a claim makes no administrator through a file', async () => {
    const reply = await plan(plane, 'ada', [
      mapping(plane, { rules: [{ claim: 'a', value: 'b', roles: ['administrator'] }] }),
    ]);
    expect(problems(reply)).toEqual(['mapping/main spec.rules.0.roles: invalid']);
  });

  test('what a directory provisions is refused, and an id that was somebody’s never comes again', async () => {
    await plane.seed([
      plane.put('group', 'from-directory', { name: 'D', roles: [], provisioned: { connection: 'okta' } }),
    ]);
    expect(problems(await plan(plane, 'ada', [group('from-directory', [], 'Mine')]))).toEqual([
      'group/from-directory : provisioned',
    ]);
    await applied(plane, 'ada', [group('spent')]);
    await plane.as('ada', 'DELETE', '/groups/spent', { reason: 'x' });
    expect(problems(await plan(plane, 'ada', [group('spent')]))).toEqual(['group/spent id: id_spent']);
  });

  test('issuer and client of an agent do not change, and the rest does', async () => {
    await applied(plane, 'omar', [agent(plane, 'fixed')]);
    expect(problems(await plan(plane, 'ada', [agent(plane, 'fixed', { clientId: 'another' })]))).toEqual([
      'agent/fixed spec.clientId: invalid',
    ]);
    expect(problems(await plan(plane, 'ada', [agent(plane, 'fixed-2', { clientId: 'client-fixed' })]))).toEqual([
      'agent/fixed-2 : agent_exists',
    ]);
    const [row] = rowsOf(await plan(plane, 'ada', [agent(plane, 'fixed', { title: 'New' })]));
    expect(row).toMatchObject({ action: 'change', changes: [{ field: 'title', before: 'fixed', after: 'New' }] });
    const two = [agent(plane, 'pair-1', { clientId: 'pair' }), agent(plane, 'pair-2', { clientId: 'pair' })];
    expect(problems(await plan(plane, 'ada', two))).toEqual(['agent/pair-2 : named_twice']);
  });
});

describe('credentials', () => {
  const credential = (more: object = {}) => ({
    kind: 'credential',
    id: 'docs-key',
    spec: {
      title: 'Key of the docs',
      owner: 'omar',
      purpose: 'reads the docs',
      environment: 'development',
      source: { kind: 'reference', reference: 'env:DOCS_KEY' },
      servers: ['files'],
      maxAgeDays: 90,
      ...more,
    },
  });
  test('NH-04: come in as drafts that refer to their value, never with one', async () => {
    const before = await everything(plane);
    const literal = [
      credential({ value: 'hunter22' }),
      { ...credential({ versions: [] }), id: 'docs-2' },
      { ...credential({ source: { kind: 'reference', reference: 'hunter22' } }), id: 'docs-3' },
    ];
    const refused = await plan(plane, 'omar', literal);
    expect(problems(refused)).toEqual([
      'credential/docs-key spec.value: unknown_member',
      'credential/docs-2 spec.versions: unknown_member',
      'credential/docs-3 spec.source.reference: invalid',
    ]);
    expect([refused.text.includes('hunter22'), await everything(plane)]).toEqual([false, before]);
    const shared = credential({ sharing: { reason: 'one vendor', until: Date.now() + 86_400_000 } });
    expect((await applied(plane, 'omar', [shared], { set: 'keys' })).status).toBe(200);
    expect((await stored('credential', 'docs-key'))?.body).toMatchObject({
      state: 'draft',
      versions: [],
      sharing: { by: 'omar' },
    });
    expect(actions(await plan(plane, 'abel', [shared], { set: 'keys' }))).toEqual(['unchanged credential/docs-key']);
    expect(actions(await plan(plane, 'omar', [], { set: 'keys', prune: true }))).toEqual([
      'retire credential/docs-key',
    ]);
    expect((await applied(plane, 'omar', [], { set: 'keys', prune: true })).status).toBe(200);
    expect((await stored('credential', 'docs-key'))?.body['state']).toBe('retired');
  });
});

describe('grants', () => {
  const END = Date.now() + 30 * 86_400_000;
  const grant = (id: string, more: object = {}) => ({
    kind: 'grant',
    id,
    spec: {
      who: { kind: 'group', id: 'readers' },
      what: { server: 'granted', risks: ['read'] },
      expiresAt: END,
      justification: 'they need it',
      ...more,
    },
  });
  test('come in as requests of whoever applied the file, who does not agree to them; they end and do not change', async () => {
    await applied(plane, 'ada', [group('readers', ['member']), server('granted')]);
    expect((await applied(plane, 'ada', [grant('readers-read')], { set: 'grants' })).text).toContain('"create":1');
    expect((await stored('grant', 'readers-read'))?.body).toMatchObject({
      state: 'requested',
      requestedBy: 'ada',
      decidedBy: null,
    });
    expect(actions(await plan(plane, 'ada', [grant('readers-read')], { set: 'grants' }))).toEqual([
      'unchanged grant/readers-read',
    ]);
    const read = await plane.as('ada', 'GET', '/grants/readers-read');
    const own = await plane.as(
      'ada',
      'POST',
      '/grants/readers-read/approve',
      {},
      { 'if-match': read.headers.get('etag')! },
    );
    expect(own.status).toBe(403);
    expect(
      problems(await plan(plane, 'ada', [grant('readers-read', { justification: 'another' })], { set: 'grants' })),
    ).toEqual(['grant/readers-read : not_changed']);
    expect(problems(await plan(plane, 'ada', [grant('more', { state: 'active', decidedBy: 'sven' })]))).toEqual([
      'grant/more spec.state: unknown_member',
      'grant/more spec.decidedBy: unknown_member',
    ]);
    expect(actions(await plan(plane, 'ada', [], { set: 'grants', prune: true }))).toEqual([
      'retire grant/readers-read',
    ]);
    expect((await applied(plane, 'ada', [], { set: 'grants', prune: true })).status).toBe(200);
    expect((await stored('grant', 'readers-read'))?.body['state']).toBe('cancelled');
    expect(problems(await plan(plane, 'ada', [grant('readers-read', { justification: 'again' })]))).toEqual([
      'grant/readers-read : not_changed',
    ]);
  });
});

describe('sets', () => {
  test('drift is told field by field, with who changed it when and why, and what is gone', async () => {
    const resources = [server('drift-1'), server('drift-2'), group('drift-3', ['developer'])];
    await applied(plane, 'ada', resources, { set: 'drift' });
    const show = async (who: string) => rowsOf(await plane.as(who, 'GET', '/apply/sets/drift/drift'));
    expect(await show('ada')).toMatchObject([{ status: 'same' }, { status: 'same' }, { status: 'same' }]);
    const etag = (await plane.as('omar', 'GET', '/servers/drift-1')).headers.get('etag')!;
    const { spec } = server('drift-1', { timeoutMs: 1_000 });
    expect(
      (await plane.as('omar', 'PUT', '/servers/drift-1', { reason: 'by hand', server: spec }, { 'if-match': etag }))
        .status,
    ).toBe(200);
    await plane.as('ada', 'DELETE', '/servers/drift-2', { reason: 'gone' });
    const groupTag = (await plane.as('ada', 'GET', '/groups/drift-3')).headers.get('etag')!;
    await plane.as(
      'abel',
      'PUT',
      '/groups/drift-3',
      { reason: 'more', group: { name: 'Group drift-3', roles: ['operator'] } },
      { 'if-match': groupTag },
    );
    expect(await show('ada')).toMatchObject([
      {
        id: 'drift-3',
        status: 'changed',
        changes: [{ field: 'roles', before: ['developer'], after: ['operator'] }],
        since: [{ actor: 'abel', reason: 'more' }],
      },
      {
        id: 'drift-1',
        status: 'changed',
        changes: [{ field: 'timeoutMs', before: 30_000, after: 1_000 }],
        since: [{ actor: 'omar', reason: 'by hand' }],
      },
      { id: 'drift-2', status: 'gone', changes: [], since: [{ actor: 'ada', reason: 'gone' }] },
    ]);
    // An operator may not read groups: that it differs is told, not how.
    expect((await show('omar'))[0]).toMatchObject({ id: 'drift-3', status: 'changed', changes: [], since: [] });
    // The files win again.
    expect(actions(await plan(plane, 'ada', resources, { set: 'drift' }))).toEqual([
      'change server/drift-1',
      'create server/drift-2',
      'change group/drift-3',
    ]);
    expect((await applied(plane, 'ada', resources, { set: 'drift' })).status).toBe(200);
    expect(await show('ada')).toMatchObject([{ status: 'same' }, { status: 'same' }, { status: 'same' }]);
    expect(codeOf(await plane.as('ada', 'GET', '/apply/sets/nothing/drift'))).toEqual([404, 'not_found']);
  });

  test('what leaves the files is let go, or with prune deleted or retired, and the plan says so first', async () => {
    const all = [server('p-draft'), server('p-live'), group('p-group'), policy('p.draft'), server('p-stays')];
    await applied(plane, 'ada', all, { set: 'prune' });
    await plane.as('omar', 'POST', '/servers/p-live/submit', { reason: 'x' });
    const kept = all.slice(4);
    const released = await plan(plane, 'ada', kept, { set: 'prune' });
    expect(actions(released)).toEqual([
      'unchanged server/p-stays',
      'released policy/p.draft',
      'released server/p-draft',
      'released server/p-live',
      'released group/p-group',
    ]);
    const pruned = await plan(plane, 'ada', kept, { set: 'prune', prune: true });
    expect(actions(pruned)).toEqual([
      'unchanged server/p-stays',
      'delete policy/p.draft',
      'delete server/p-draft',
      'retire server/p-live',
      'delete group/p-group',
    ]);
    // Each removal needs the role of its own row: an operator deletes no draft.
    const before = await everything(plane);
    expect(problems(await plan(plane, 'omar', kept, { set: 'prune', prune: true }))).toEqual([
      'policy/p.draft : role_missing',
      'server/p-draft : role_missing',
      'group/p-group : role_missing',
    ]);
    expect(await everything(plane)).toBe(before);
    expect((await applied(plane, 'ada', kept, { set: 'prune', prune: true })).status).toBe(200);
    expect([
      await stored('policy', 'p.draft'),
      await stored('server', 'p-draft'),
      await stored('group', 'p-group'),
    ]).toEqual([undefined, undefined, undefined]);
    expect((await stored('server', 'p-live'))?.body['state']).toBe('retired');
    expect((await stored('applied_set', 'prune'))?.body['records']).toMatchObject([{ kind: 'server', id: 'p-stays' }]);
  });

  test('a policy in force is not pruned, and then nothing is', async () => {
    await applied(plane, 'ada', [policy('in.force'), server('in-force')], { set: 'force' });
    expect(await activated(plane, 'sven', 'in.force')).toBe(200);
    const before = await everything(plane);
    const reply = await plan(plane, 'ada', [], { set: 'force', prune: true });
    expect(problems(reply)).toEqual(['policy/in.force : policy_active']);
    expect([reply.body['digest'], await everything(plane)]).toEqual([null, before]);
  });

  test('a record is in one set at most', async () => {
    await applied(plane, 'omar', [server('owned')], { set: 'first' });
    expect(problems(await plan(plane, 'omar', [server('owned')], { set: 'second' }))).toEqual([
      'server/owned : in_other_set',
    ]);
    expect(problems(await plan(plane, 'omar', [server('owned', { title: 'x' })]))).toEqual([
      'server/owned : in_other_set',
    ]);
    await applied(plane, 'omar', [], { set: 'first' });
    expect(actions(await plan(plane, 'omar', [server('owned')], { set: 'second' }))).toEqual([
      'unchanged server/owned',
    ]);
  });
});
