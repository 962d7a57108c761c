/**
 * A server that asks and in the same breath answers, or dies: the question makes the call write its intent, the answer ends it. However the
 * two fall, the log has one story of the call: an intent has its outcome, and nothing that was begun reads as unfinished for ever (AE-01).
 */
import type { JsonObject } from '../../src/lib/json.ts';
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
  const before = rig.sink('jobs').calls().length;
  // All three wait for the same agreement, and hear of it in the same moment.
  await Promise.all([begin(), begin(), begin()]);
  const { approvals } = (await rig.admin('petra', 'GET', '/approvals')).body as { approvals: JsonObject[] };
  const [{ id, call } = {}] = approvals as Array<{ id?: string; call?: string }>;
  const { length: since } = await rig.entries();
  expect((await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: call! })).status).toBe(200);
  await rig.until('nothing is under way', () => rig.gateway.inflight() === 0);
  expect(rig.sink('jobs').calls()).toHaveLength(before + 1);
  const story = (await rig.entries()).slice(since).filter(
    // That a task lost the approval to another is told as a denial, too.
    ({ kind, call: one }) => kind !== 'denial' && one?.tool === 'run_job',
  );
  const began = story.filter(({ kind }) => kind === 'intent').map(({ call: one }) => one?.id);
  expect(began.length).toBeGreaterThan(0);
  for (const one of began)
    expect(story.filter((entry) => entry.call?.id === one).map(({ kind }) => kind)).toEqual(['intent', 'outcome']);
});
