/** What `explain` shows of identity: groups, roles by source, the agent, the sign-in, and what would help. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { ORG, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
const put = (kind: string, id: string, body: JsonObject, key?: string) =>
  rig.commit([{ kind, org: ORG, id, body, ...(key !== undefined && { key }) }]);
const explain = async (body: JsonObject): Promise<JsonObject> =>
  (await rig.admin('sven', 'POST', '/access/explain', { server: 'notes', tool: 'write_note', ...body })).body;

beforeAll(async () => {
  rig = await startRig({ admin: true });
  const { issuer } = rig.issuer;
  await put('group', 'group_ops', { name: 'Operations', roles: ['operator'] });
  await put('mapping', 'main', {
    issuer,
    newcomers: 'refuse',
    rules: [{ claim: 'groups', value: 'devs', roles: ['developer'] }],
  });
  await put(
    'agent',
    'agent_reader',
    {
      issuer,
      clientId: 'reader',
      title: 'Reader',
      kind: 'delegate',
      state: 'active',
      roles: [],
      ceiling: { risks: ['read'] },
    },
    `${issuer} reader`,
  );
  await put(
    'agent',
    'agent_job',
    {
      issuer,
      clientId: 'job',
      title: 'Night job',
      kind: 'autonomous',
      state: 'active',
      owner: 'omar',
      roles: ['developer'],
      ceiling: {},
    },
    `${issuer} job`,
  );
  await rig.setPerson('mona', ['auditor'], { groups: ['group_ops', 'group_gone'] });
});
afterAll(() => rig.stop());

describe('explain', () => {
  test('says where each role comes from, and names the groups that exist', async () => {
    expect(await explain({ person: 'mona', claims: { groups: ['devs'] } })).toMatchObject({
      verdict: 'allow',
      roles: ['auditor', 'operator', 'developer'],
      rolesBySource: [
        { role: 'auditor', from: 'own' },
        { role: 'operator', from: 'group', group: 'group_ops', name: 'Operations' },
        { role: 'developer', from: 'claim', claim: 'groups', value: 'devs' },
      ],
      groups: [{ id: 'group_ops', name: 'Operations' }],
      agent: { client: 'remit-explain', ceiling: null, owner: null },
    });
  });

  test('says that it depends on the arguments, where a grant has conditions and none were given', async () => {
    await rig.setPerson('mira', ['member']);
    await put('grant', 'grant_mira', {
      who: { kind: 'person', id: 'mira' },
      what: { server: 'notes', items: ['write_note'] },
      conditions: [{ argument: '/text', is: 'one_of', values: ['hello'] }],
      approval: 'by_risk',
      justification: 'test',
      expiresAt: null,
      state: 'active',
      requestedBy: 'omar',
      requestedAt: 1,
      decidedBy: 'sven',
      decidedAt: 2,
      note: null,
    });
    expect(await explain({ person: 'mira' })).toMatchObject({ verdict: 'deny', dependsOnArguments: true });
    const [fits, not] = [{ text: 'hello' }, { text: 'other' }];
    expect(await explain({ person: 'mira', arguments: fits })).toMatchObject({
      verdict: 'allow',
      dependsOnArguments: false,
    });
    expect(await explain({ person: 'mira', arguments: not })).toMatchObject({
      verdict: 'deny',
      dependsOnArguments: false,
    });
    expect(await explain({ person: 'nora' })).not.toMatchObject({ dependsOnArguments: true });
  });

  test("shows the agent's ceiling, and that it stops before policy", async () => {
    expect(await explain({ person: 'omar', agent: 'reader' })).toMatchObject({
      verdict: 'deny',
      reason: 'above_ceiling',
      stoppedBefore: 'policy',
      agent: { title: 'Reader', ceiling: { risks: ['read'] } },
    });
    expect(await explain({ person: 'omar', agent: 'reader', tool: 'read_note' })).toMatchObject({ verdict: 'allow' });
    expect(await explain({ person: 'omar', agent: 'stranger' })).toMatchObject({
      reason: 'agent_unknown',
      agent: null,
    });
    expect(await explain({ person: 'omar', actors: ['reader'] })).toMatchObject({ reason: 'above_ceiling' });
  });

  test('takes a sign-in as a supposition, and names the one that would do', async () => {
    await rig.policy(
      'team.fresh',
      `forbid (principal, action, resource) when { resource.risk == Remit::Risk::"write" } unless { context.signIn.age <= 900 && context.signIn.secondFactor };`,
    );
    const old = { age: 3_600, amr: ['pwd'] };
    const answer = await explain({ person: 'omar', signIn: old });
    expect(answer).toMatchObject({
      verdict: 'step_up',
      stepUp: { maxAgeSeconds: 900, after: 'allow' },
      rules: ['team.fresh'],
      signIn: { age: 3_600, factors: ['pwd'], secondFactor: false, acr: '' },
    });
    expect((answer['nearest'] as JsonObject[])[0]).toMatchObject({ change: 'sign_in', verdict: 'allow' });
    const good = await explain({ person: 'omar', signIn: { age: 60, amr: ['pwd', 'otp'] } });
    expect(good).toMatchObject({ verdict: 'allow', nearest: [] });
    expect(await explain({ person: 'omar', signIn: { age: null, amr: ['mfa'] } })).toMatchObject({
      verdict: 'step_up',
    });
    // The same answer as the call.
    const claims = { auth_time: Math.floor(rig.clock.now() / 1_000) - 3_600, amr: ['pwd'] };
    const call = await rig.call('notes', 'write_note', { text: 'x' }, { token: rig.token('omar', { claims }) });
    expect(call.headers['www-authenticate']).toContain('max_age="900"');

    expect(await explain({ person: 'agent/agent_job' })).toMatchObject({
      verdict: 'deny',
      reason: 'forbidden',
      signIn: null,
      rolesBySource: [{ role: 'developer', from: 'agent' }],
      agent: { title: 'Night job', owner: 'omar' },
    });
    await rig.policy('team.fresh', null);
    expect(await explain({ person: 'agent/agent_job' })).toMatchObject({ verdict: 'allow' });
  });

  test('an agent that acts for people is not asked about as if it acted alone; nobody is not found', async () => {
    expect(await explain({ person: 'agent/agent_reader' })).toMatchObject({ reason: 'agent_not_active' });
    expect(await explain({ person: 'agent/nothing' })).toMatchObject({ error: { code: 'not_found' } });
    const bad = await rig.admin('sven', 'POST', '/access/explain', {
      person: 'omar',
      server: 'notes',
      tool: 'write_note',
      signIn: { age: -1 },
    });
    expect([bad.status, JSON.stringify(bad.body)]).toEqual([422, expect.stringContaining('signIn.age')]);
  });

  test('a draft that names a group nobody knows is stored with a warning', async () => {
    const policy = (group: string): JsonObject => ({
      reason: 'x',
      policy: {
        description: 'x',
        text: `permit (principal in Remit::Group::"${group}", action, resource in Remit::Server::"notes") when { context.scopeHeld };`,
        replaces: [],
      },
    });
    const unknown = await rig.admin('sven', 'PUT', '/policies/team.unknown', policy('Operations'));
    expect(unknown.body).toMatchObject({ state: 'draft' });
    expect(unknown.body['warnings']).toEqual([
      expect.stringContaining('group_unknown: there is no group "Operations"'),
    ]);
    const known = await rig.admin('sven', 'PUT', '/policies/team.known', policy('group_ops'));
    expect(known.body['warnings']).toEqual([]);
  });
});
