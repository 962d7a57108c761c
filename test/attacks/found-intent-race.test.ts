/**
 * A server that asks and in the same breath answers, or dies: the question makes the call write its intent, the answer ends it. However the
 * two fall, the log has one story of the call: an intent has its outcome, and nothing that was begun reads as unfinished for ever (AE-01).
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ASKING_SERVERS, CAN_FILL, FORM } from '../gateway/asks-support.ts';
import { ERAS, startRig, textTool } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';
import { TASKS } from '../support/tasks.ts';

let rig: Rig;
beforeAll(async () => {
  const tools = [textTool('run_job', 'execute', 'notes:run', { execution: { taskSupport: 'optional' } })];
  rig = await startRig({ admin: true, servers: { old: ASKING_SERVERS['old']!, jobs: { tools } } });
});
afterAll(() => rig.stop());

test.each(ERAS)(
  'AE-01: %s client: a call that ends while its intent is being written has an outcome behind it',
  async (era) => {
    const sink = rig.sink('old');
    sink.onCall(async ({ ask }) => {
      void ask('elicitation/create', FORM);
      return { content: [{ type: 'text', text: 'at once' }] };
    });
    const slow = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    rig.faults.before = async ({ kind }) => {
      if (kind !== 'intent') return;
      begun.resolve();
      await slow.promise;
    };
    const calling = rig.call('old', 'read_note', { text: 'x' }, { era, ...CAN_FILL });
    await begun.promise;
    // The whole answer of the server is here long before the disk is.
    setTimeout(() => slow.resolve(), 300);
    const answer = await calling;
    rig.faults.before = null;
    expect(answer.text).toContain('at once');
    await rig.until('nothing is under way', () => rig.gateway.inflight() === 0);
    const story = await rig.entries('intent', 'outcome', 'call');
    const intent = story.findLast(({ kind }) => kind === 'intent');
    expect(intent).toBeDefined();
    expect(story.filter(({ call }) => call?.id === intent?.call?.id).map(({ kind }) => kind)).toEqual([
      'intent',
      'outcome',
    ]);
  },
);

test('AE-01: of tasks that come at once with one approval, one is carried out, and each has an outcome', async () => {
  const begin = (): Promise<Answer> =>
    rig.call('jobs', 'run_job', { text: 'once' }, { as: 'omar', capabilities: TASKS });
  const id = /\((apr_[0-9a-z]+)/.exec((await begin()).text)?.[1];
  const { call } = (await rig.admin('petra', 'GET', `/approvals/${id}`)).body;
  expect((await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: call! })).status).toBe(200);
  await rig.caughtUp();
  // All have passed the guards before the first of them spends the approval.
  const written = new Set<string>();
  const all = Promise.withResolvers<void>();
  rig.faults.before = async (entry) => {
    if (entry.kind !== 'intent') return;
    written.add(entry.call!.id);
    if (written.size === 3) all.resolve();
    await all.promise;
  };
  const before = rig.sink('jobs').calls().length;
  await Promise.all([begin(), begin(), begin()]);
  rig.faults.before = null;
  await rig.until('nothing is under way', () => rig.gateway.inflight() === 0);
  expect(rig.sink('jobs').calls()).toHaveLength(before + 1);
  const story = await rig.entries('intent', 'outcome');
  for (const one of written)
    expect(story.filter((entry) => entry.call?.id === one).map(({ kind }) => kind)).toEqual(['intent', 'outcome']);
});
