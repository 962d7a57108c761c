/** Groups and step-up through a whole gateway. The oracle is what the server behind it received. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { learn } from '../../src/gateway/guard.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { SECOND_FACTOR_ACR } from '../../src/lib/second-factor.ts';
import { ERAS, ORG, startRig, tableWith } from '../support/rig.ts';
import type { Rig, RigOptions } from '../support/rig.ts';

const ARGS = { text: 'x' };
const put = (rig: Rig, kind: string, id: string, body: JsonObject | null) => rig.commit([{ kind, org: ORG, id, body }]);
const sent = (rig: Rig): number => rig.sink().calls().length;

const GUIDE = readFileSync(new URL('../../docs/guides/policy.md', import.meta.url), 'utf8');
const FRESH_WRITES = /```cedar\n(@description\("Writes in production[^`]+)```/.exec(GUIDE)?.[1] ?? '';
const BY_GROUP = `permit (principal in Remit::Group::"group_pay", action == Remit::Action::"callTool", resource == Remit::Tool::"notes/pay_bill") when { context.scopeHeld };`;

/** auditors have no tools by their role: what they may, they may by the group. */
async function withGroup(options: RigOptions = {}): Promise<Rig> {
  const rig = await startRig(options);
  await put(rig, 'group', 'group_pay', { name: 'Payments', roles: [] });
  await rig.policy('team.pay', BY_GROUP);
  return rig;
}

describe.each(ERAS)('groups, %s', (era) => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await withGroup({ admin: true });
  });
  afterAll(() => rig.stop());

  test('ID-08: in the group the tool is there; out of it the same token is refused with the next call, and shown nothing', async () => {
    const how = { as: 'aiko', token: rig.token('aiko'), era };
    await rig.setPerson('aiko', ['auditor']);
    expect(await rig.names('notes', how)).toEqual([]);
    await rig.setPerson('aiko', ['auditor'], { groups: ['group_pay'] });
    expect(await rig.names('notes', how)).toEqual(['pay_bill']);
    const before = sent(rig);
    expect((await rig.call('notes', 'pay_bill', ARGS, how)).result).toBeDefined();
    expect(sent(rig)).toBe(before + 1);

    await rig.setPerson('aiko', ['auditor'], { groups: [] });
    const refused = await rig.call('notes', 'pay_bill', ARGS, how);
    expect(refused.error?.message).toContain('Unknown tool.');
    expect(await rig.names('notes', how)).toEqual([]);
    expect(sent(rig)).toBe(before + 1);
    const [entry] = await rig.about(refused.reference);
    expect(entry?.decision).toMatchObject({ verdict: 'deny', reason: 'policy_denied:not_visible' });
  });

  test('ID-08: a group that is deleted has no members, though their records still name it', async () => {
    const how = { as: 'aiko', token: rig.token('aiko'), era };
    await rig.setPerson('aiko', ['auditor'], { groups: ['group_pay'] });
    expect(await rig.names('notes', how)).toEqual(['pay_bill']);
    await put(rig, 'group', 'group_pay', null);
    const before = sent(rig);
    await rig.call('notes', 'pay_bill', ARGS, how);
    expect([await rig.names('notes', how), sent(rig)]).toEqual([[], before]);
    await put(rig, 'group', 'group_pay', { name: 'Payments', roles: [] });
  });

  test('a group whose record cannot be read keeps its members for a forbid, and gives no roles', async () => {
    const how = { as: 'omar', era };
    await put(rig, 'group', 'group_out', { name: 'Out', roles: ['administrator'] });
    await rig.policy('team.out', `forbid (principal in Remit::Group::"group_out", action, resource);`);
    await rig.setPerson('omar', ['operator'], { groups: ['group_out'] });
    expect(await rig.names('notes', how)).toEqual([]);
    await put(rig, 'group', 'group_out', { name: 'Out', roles: ['root'] });
    expect(await rig.names('notes', how)).toEqual([]);
    await rig.policy('team.out', null);
    await rig.setPerson('omar', ['operator']);
  });
});

test('twin: a gateway that keeps who somebody was when it first saw them lets the next call through', async () => {
  const first = new Map<string, object>();
  const table = tableWith({
    'caller-stands': ({ facts: { caller } }, found) => {
      const { value } = found as { value: object };
      const known = first.get(caller!.subject) ?? value;
      first.set(caller!.subject, known);
      return learn(known);
    },
  });
  const rig = await withGroup({ table });
  try {
    await rig.setPerson('aiko', ['auditor'], { groups: ['group_pay'] });
    await rig.call('notes', 'pay_bill', ARGS, { as: 'aiko' });
    await rig.setPerson('aiko', ['auditor'], { groups: [] });
    await rig.call('notes', 'pay_bill', ARGS, { as: 'aiko' });
    expect(sent(rig)).toBe(2);
  } finally {
    await rig.stop();
  }
});

describe.each(ERAS)('step-up, %s', (era) => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await startRig();
    await rig.policy('team.fresh-writes', FRESH_WRITES);
  });
  afterAll(() => rig.stop());
  const signedIn = (age: number, claims: JsonObject, as = 'dana'): string =>
    rig.token(as, { claims: { auth_time: Math.floor(rig.clock.now() / 1_000) - age, ...claims } });

  test('a sign-in too old and too weak is challenged for exactly what is missing, and the next one does', async () => {
    const before = sent(rig);
    const write = (token: string) => rig.call('notes', 'write_note', ARGS, { token, era });
    const challenged = async (token: string): Promise<string> => {
      const answer = await write(token);
      expect(answer.status).toBe(401);
      expect(answer.error?.message).toContain('This needs a fresh sign-in or a second factor.');
      const [entry] = await rig.about(answer.reference);
      expect(entry?.decision).toMatchObject({ verdict: 'challenge', reason: 'step_up' });
      return String(answer.headers['www-authenticate']);
    };
    const INSUFFICIENT = 'Bearer error="insufficient_user_authentication"';
    const old = await challenged(signedIn(3_600, { amr: ['pwd', 'otp'] }));
    expect(old).toContain(INSUFFICIENT);
    expect(old).toContain('max_age="900"');
    expect(old).not.toContain('acr_values');
    const weak = await challenged(signedIn(5, { amr: ['pwd'] }));
    expect(weak).toContain(`acr_values="${SECOND_FACTOR_ACR}"`);
    expect(weak).not.toContain('max_age');
    const both = await challenged(rig.token('dana'));
    expect(both).toContain(`max_age="900", acr_values="${SECOND_FACTOR_ACR}"`);
    expect(sent(rig)).toBe(before);

    expect((await write(signedIn(5, { amr: ['pwd', 'otp'] }))).result).toBeDefined();
    expect((await write(signedIn(5, { acr: SECOND_FACTOR_ACR }))).result).toBeDefined();
    expect(sent(rig)).toBe(before + 2);
  });

  test('reading needs none of it; the tool is shown to whom a better sign-in would let use it, and to nobody else', async () => {
    const token = rig.token('dana');
    expect(await rig.names('notes', { token, era })).toEqual(['read_note', 'write_note']);
    expect((await rig.call('notes', 'read_note', ARGS, { token, era })).result).toBeDefined();
    const hidden = await rig.call('notes', 'write_note', ARGS, { as: 'sven', era });
    expect([hidden.status === 401, hidden.text.includes('Unknown tool.')]).toEqual([false, true]);
  });

  test('the scope is asked for before the sign-in, the sign-in before the approval', async () => {
    const claims = { auth_time: Math.floor(rig.clock.now() / 1_000) - 3_600 };
    const without = rig.token('omar', { scopes: ['notes:read'], claims });
    const scope = await rig.call('notes', 'delete_note', ARGS, { token: without, era });
    expect(scope.headers['www-authenticate']).toContain('error="insufficient_scope"');
    const stale = await rig.call('notes', 'delete_note', ARGS, { token: rig.token('omar', { claims }), era });
    expect(stale.headers['www-authenticate']).toContain('insufficient_user_authentication');
    expect([...rig.gateway.snapshot().approvals.values()].flat()).toEqual([]);
    const fresh = await rig.call('notes', 'delete_note', ARGS, { token: signedIn(5, { amr: ['mfa'] }, 'omar'), era });
    expect(fresh.text).toContain("waits for a person's approval");
    expect([...rig.gateway.snapshot().approvals.values()].flat()).toHaveLength(1);
    for (const { id } of [...rig.gateway.snapshot().approvals.values()].flat()) await put(rig, 'approval', id, null);
  });

  test('an agent that acts alone is refused and not sent to sign in', async () => {
    const { issuer } = rig.issuer;
    const body = { issuer, clientId: 'job', title: 'Job', kind: 'autonomous', state: 'active', owner: 'ada' };
    const record = { ...body, roles: ['developer'], ceiling: {} };
    await rig.commit([{ kind: 'agent', org: ORG, id: 'agent_job', key: `${issuer} job`, body: record }]);
    const token = rig.token('', { claims: { sub: 'job', client_id: 'job' } });
    const before = sent(rig);
    const answer = await rig.call('notes', 'write_note', ARGS, { token, era });
    expect([answer.status === 401, answer.headers['www-authenticate']]).toEqual([false, undefined]);
    expect(answer.text).toContain('Policy does not allow this call');
    expect((await rig.call('notes', 'read_note', ARGS, { token, era })).result).toBeDefined();
    expect(sent(rig)).toBe(before + 1);
  });
});

test('twin: without the question to policy a sign-in of any age writes', async () => {
  const decision = { verdict: 'allow', reason: null, rules: [], errors: [] } as const;
  const rig = await startRig({ table: tableWith({ 'caller-may': () => learn({ decision }) }) });
  try {
    await rig.policy('team.fresh-writes', FRESH_WRITES);
    await rig.call('notes', 'write_note', ARGS);
    expect(sent(rig)).toBe(1);
  } finally {
    await rig.stop();
  }
});
