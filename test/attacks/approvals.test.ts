/**
 * Approvals (TRUST.md section 7) over the whole gateway: a held call is approved by another person through the admin API, and the
 * approval is good for exactly that call, once, for a while. The oracle is the sink's calls.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ERAS, TOOLS, startRig, tableWith } from '../support/rig.ts';
import type { Answer, CallOptions, Rig } from '../support/rig.ts';

const clock = manualClock(Date.now());
let rig: Rig;
let serial = 0;
beforeAll(async () => {
  rig = await startRig({ admin: true, clock, freshnessLimitMs: 86_400_000 });
});
afterAll(() => rig.stop());
afterEach(() => void (rig.faults.after = null));

const calls = (): number => rig.sink().calls().length;
const remove = (args: JsonObject, how: CallOptions = {}): Promise<Answer> =>
  rig.call('notes', 'delete_note', args, {
    as: 'omar',
    token: rig.token(how.as ?? 'omar', { client: how.client ?? 'agent-1' }),
    ...how,
  });
const args = (): JsonObject => ({ text: `note ${++serial}` });

/** The approval a held answer names, as the approver reads it. */
async function held(answer: Answer): Promise<{ readonly id: string; readonly approval: JsonObject }> {
  expect(answer.status).toBe(200);
  expect(answer.result?.['isError']).toBe(true);
  const id = /approval \((apr_[0-9a-z]+), until /.exec(answer.text)?.[1] ?? '';
  const read = await rig.admin('petra', 'GET', `/approvals/${id}`);
  expect(read.status, answer.text).toBe(200);
  return { id, approval: read.body };
}
const decide = (
  person: string,
  id: string,
  approval: JsonObject,
  what: 'approve' | 'deny' = 'approve',
): Promise<Answer> => rig.admin(person, 'POST', `/approvals/${id}/${what}`, { call: approval['call']! });
const passed = (answer: Answer): boolean => answer.result !== undefined && answer.result['isError'] !== true;

describe('a held call', () => {
  test.each(ERAS)('%s: is shown in full, approved by somebody else, passes once, and is held again', async (era) => {
    const given = { ...args(), count: 3 };
    const before = calls();
    const first = await remove(given, { era });
    const { id, approval } = await held(first);
    expect(calls()).toBe(before);
    expect(approval).toMatchObject({
      person: 'omar',
      agent: 'agent-1',
      server: 'notes',
      tool: 'delete_note',
      arguments: given,
      state: 'pending',
    });
    expect((await rig.about(first.reference))[0]).toMatchObject({
      kind: 'denial',
      decision: { verdict: 'hold', reason: 'approval_needed', approval: id, guard: 'person-agreed' },
    });

    expect((await held(await remove(given, { era }))).id).toBe(id);
    expect((await decide('petra', id, approval)).status).toBe(200);
    const second = await remove(given, { era });
    expect(passed(second)).toBe(true);
    expect(calls()).toBe(before + 1);
    const [intent, outcome] = await rig.about(second.reference);
    expect(intent).toMatchObject({
      kind: 'intent',
      decision: { verdict: 'allow', approval: id, rules: ['baseline.operator-approved'] },
    });
    expect(outcome?.outcome?.status).toBe('ok');

    const third = await held(await remove(given, { era }));
    expect(third.id).not.toBe(id);
    expect(calls()).toBe(before + 1);
  });

  test('of two equal calls at the same moment one passes', async () => {
    const given = args();
    const { id, approval } = await held(await remove(given));
    await decide('petra', id, approval);
    const before = calls();
    const both = await Promise.all([remove(given), remove(given), remove(given)]);
    expect(both.filter(passed)).toHaveLength(1);
    expect(calls()).toBe(before + 1);
  });

  test.each<[string, (given: JsonObject) => [JsonObject, CallOptions]]>([
    ['with another argument', (given) => [{ ...given, text: 'everything' }, {}]],
    ['with one more argument', (given) => [{ ...given, count: 1 }, {}]],
    ['by another person', (given) => [given, { as: 'otto' }]],
    ['through another agent', (given) => [given, { client: 'agent-2' }]],
  ])('approved, does not pass %s', async (_title, change) => {
    const given = args();
    const { id, approval } = await held(await remove(given));
    await decide('petra', id, approval);
    const before = calls();
    const [other, how] = change(given);
    const again = await held(await remove(other, how));
    expect(again.id).not.toBe(id);
    expect(calls()).toBe(before);
    expect(passed(await remove(given))).toBe(true);
  });

  test('the other way to write the same arguments is the same call', async () => {
    const { id, approval } = await held(await remove({ text: 'a/b', count: 2 }));
    await decide('petra', id, approval);
    expect(passed(await remove({ count: 2, text: 'a/b' }))).toBe(true);
  });

  test('who asked cannot approve, nor can who is no approver; nor with the digest of another call', async () => {
    const own = await held(await remove(args(), { as: 'otto' }));
    const before = calls();
    const self = await decide('otto', own.id, own.approval);
    expect([self.status, self.error?.code]).toEqual([403, 'approval_self']);
    for (const person of ['dana', 'ada', 'sven', 'omar', 'aiko', 'nobody'])
      expect((await decide(person, own.id, own.approval)).status).toBe(403);
    const other = await decide('petra', own.id, { call: `sha256:${'0'.repeat(64)}` });
    expect([other.status, other.error?.code]).toEqual([409, 'approval_other_call']);
    await held(await remove(own.approval['arguments'] as JsonObject, { as: 'otto' }));
    expect(calls()).toBe(before);
  });

  test('AP-06: denied, does not pass and asks nobody again for a while; then asking again is a new request', async () => {
    const given = args();
    const { id, approval } = await held(await remove(given));
    expect((await decide('petra', id, approval, 'deny')).status).toBe(200);
    const before = calls();
    const again = await remove(given);
    expect(again.text).toMatch(
      /The approval of this call was denied \(apr_\w+\)\. Nothing was sent\. The same call is refused until \d{4}/,
    );
    expect((await rig.about(again.reference))[0]?.decision).toMatchObject({
      verdict: 'deny',
      reason: 'approval_over:denied',
      approval: id,
    });
    expect((await decide('petra', id, approval)).error?.code).toBe('approval_state');
    clock.advance(60 * 60_000 + 1);
    expect((await held(await remove(given))).id).not.toBe(id);
    expect(calls()).toBe(before);
  });

  test('an approval nobody used in time is void, and a request nobody decided in time cannot be approved', async () => {
    const given = args();
    const approved = await held(await remove(given));
    const undecided = await held(await remove(args()));
    await decide('petra', approved.id, approved.approval);
    clock.advance(15 * 60_000);
    const before = calls();
    expect((await held(await remove(given))).id).not.toBe(approved.id);
    expect((await decide('petra', undecided.id, undecided.approval)).error?.code).toBe('approval_expired');
    expect(calls()).toBe(before);
  });

  test('a tool that changed after the approval voids it: unreviewed it cannot be called, reviewed it is another call', async () => {
    const given = args();
    const { id, approval } = await held(await remove(given));
    await decide('petra', id, approval);
    const before = calls();
    const definitions = TOOLS.map(({ definition }) => definition);
    rig
      .sink()
      .setTools(
        definitions.map((one) => (one['name'] === 'delete_note' ? { ...one, description: 'Deletes all notes.' } : one)),
      );
    await rig.look('notes');
    expect((await remove(given)).error?.message).toContain('Unknown tool.');
    await rig.approveTool('notes', 'delete_note', 'destructive', 'notes:delete');
    expect((await held(await remove(given))).id).not.toBe(id);
    expect(calls()).toBe(before);
    rig.sink().setTools(definitions);
    await rig.look('notes');
    await rig.approveTool('notes', 'delete_note', 'destructive', 'notes:delete');
  });

  test('a policy that forbids the call after the approval wins', async () => {
    const given = args();
    const { id, approval } = await held(await remove(given));
    await decide('petra', id, approval);
    await rig.policy(
      'freeze',
      'forbid (principal, action, resource) when { resource.risk == Remit::Risk::"destructive" };',
    );
    const before = calls();
    expect((await remove(given)).error?.message).toContain('Unknown tool.');
    await rig.policy('freeze', null);
    expect(calls()).toBe(before);
  });

  test('an approval that was spent stays spent when the call then fails', async () => {
    const given = args();
    const { id, approval } = await held(await remove(given));
    await decide('petra', id, approval);
    rig.sink().intercept(({ message }) => (message?.['method'] === 'tools/call' ? { status: 500 } : null));
    expect((await remove(given)).result?.['isError']).toBe(true);
    rig.sink().intercept(null);
    const before = calls();
    expect((await held(await remove(given))).id).not.toBe(id);
    expect(calls()).toBe(before);
  });

  test('twin: without the guard the operator deletes at once', async () => {
    const open = await startRig({ table: tableWith({ 'person-agreed': null }) });
    try {
      // The first call of an agent moves the state, and the other guards are then asked twice.
      await open.call('notes', 'read_note', { text: 'x' }, { as: 'omar' });
      const before = open.sink().calls().length;
      await open.call('notes', 'delete_note', { text: 'x' }, { as: 'omar' });
      expect(open.sink().calls()).toHaveLength(before + 1);
    } finally {
      await open.stop();
    }
  });
});
