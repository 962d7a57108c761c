/**
 * RL-03: however a call under way ends, its server is told to stop and the log says what became of it. The oracles are the sink, which feels
 * its caller go, and the outcome of the very call.
 */
import { afterEach, expect, test } from 'vitest';
import { startRig, textTool } from '../support/rig.ts';
import type { Era, LiveCall, Rig } from '../support/rig.ts';
import { TASKS, onTask } from '../support/tasks.ts';

let rig: Rig;
afterEach(() => rig.stop());

const TOOLS = [
  textTool('write_note', 'write', 'notes:write'),
  textTool('job', 'write', 'notes:write', { execution: { taskSupport: 'optional' } }),
];

interface Ending {
  readonly what: string;
  readonly era?: Era;
  readonly tool?: string;
  readonly timeoutMs?: number;
  readonly ends: (live: LiveCall) => Promise<unknown> | void;
  readonly status: string;
  readonly detail: RegExp;
}

const ENDINGS: readonly Ending[] = [
  {
    what: 'the time is up',
    timeoutMs: 3_000,
    ends: () => undefined,
    status: 'failed',
    detail: /^upstream_timeout$/,
  },
  { what: 'a modern client leaves', ends: (live) => live.leave(), status: 'cancelled', detail: /^client_gone$/ },
  {
    what: 'a legacy client takes it back',
    era: 'legacy',
    ends: (live) => live.say({ method: 'notifications/cancelled', params: { requestId: 7 } }),
    status: 'cancelled',
    detail: /^client_cancelled$/,
  },
  {
    what: 'a task is cancelled',
    tool: 'job',
    async ends(live) {
      const { result } = await live.answer;
      const taskId = (result!['taskId'] ?? (result!['task'] as { taskId: string } | undefined)?.taskId) as string;
      const ended = await onTask(rig, 'tasks/cancel', taskId);
      expect([ended.status, ended.text]).toEqual([200, expect.any(String)]);
    },
    status: 'cancelled',
    detail: /^task_cancelled$/,
  },
  {
    what: 'a lock falls on its person',
    ends: () => rig.lock({ kind: 'user', value: 'dana' }),
    status: 'cancelled',
    detail: /^lock:/,
  },
  { what: 'the node stops', ends: () => rig.gateway.close(), status: 'cancelled', detail: /^shutdown$/ },
];

async function under(era: Era, tool: string): Promise<{ live: LiveCall; gone: () => boolean }> {
  let gone = false;
  let there = false;
  rig.sink().onCall(async (call) => {
    there = true;
    await call.gone;
    gone = true;
    return { content: [] };
  });
  const capabilities = tool === 'job' ? TASKS : {};
  const live = await rig.live('notes', 'tools/call', { name: tool, arguments: { text: 'x' } }, { era, capabilities });
  live.answer.catch(() => undefined);
  await rig.until('it is at the server', () => there);
  return { live, gone: () => gone };
}
const outcomes = async () => (await rig.entries('outcome')).map(({ outcome }) => outcome!);

test.each(ENDINGS)('RL-03: $what: its server is told to stop, and the outcome says why', async (ending) => {
  const { era = 'modern', tool = 'write_note', timeoutMs = 30_000 } = ending;
  rig = await startRig({
    limits: { callTimeoutMs: 30_000 },
    servers: { notes: { tools: TOOLS, record: { timeoutMs } } },
  });
  const { live, gone } = await under(era, tool);
  await ending.ends(live);
  await rig.until('the server feels it', gone);
  await rig.until('there is an outcome', async () => (await outcomes()).length > 0);
  const [outcome] = await outcomes();
  expect(outcome!.status).toBe(ending.status);
  expect(outcome!.detail).toMatch(ending.detail);
  // Every intent has its end.
  expect(await rig.entries('intent')).toHaveLength((await outcomes()).length);
});

test('RL-03: a legacy client that leaves has not taken it back: the call goes on to its end, and the log has it', async () => {
  rig = await startRig({ servers: { notes: { tools: TOOLS } } });
  const { promise: proceed, resolve } = Promise.withResolvers<void>();
  let there = false;
  rig.sink().onCall(async () => {
    there = true;
    await proceed;
    return { content: [{ type: 'text', text: 'done' }] };
  });
  const live = await rig.live(
    'notes',
    'tools/call',
    { name: 'write_note', arguments: { text: 'x' } },
    { era: 'legacy' },
  );
  live.answer.catch(() => undefined);
  await rig.until('it is at the server', () => there);
  live.leave();
  resolve();
  await rig.until('there is an outcome', async () => (await outcomes()).length === 1);
  expect((await outcomes())[0]).toMatchObject({ status: 'ok' });
});

test('RL-03, RL-04: a breaker that opens ends nothing that is under way: it may still be answered', async () => {
  rig = await startRig({
    limits: { callTimeoutMs: 30_000 },
    servers: { notes: { tools: TOOLS, record: { timeoutMs: 30_000 } } },
  });
  const { promise: proceed, resolve } = Promise.withResolvers<void>();
  rig.sink().onCall(async ({ arguments: given }) => {
    if (given['text'] === 'slow') await proceed;
    return { content: [{ type: 'text', text: 'done' }] };
  });
  const call = (text: string) => rig.call('notes', 'write_note', { text });
  const slow = call('slow');
  await rig.until('it is there', () => rig.sink().calls().length === 1);
  rig
    .sink()
    .intercept(({ message }) =>
      message?.['method'] === 'tools/call' && JSON.stringify(message).includes('"bad ') ? { status: 503 } : null,
    );
  for (let n = 0; n < 5; n++) await call(`bad ${n}`);
  expect(rig.pool.status()[0]?.breaker).not.toBe('closed');
  resolve();
  const answer = await slow;
  expect(answer.text).toContain('done');
  // It was an answer, so the server is well again.
  expect(rig.pool.status()[0]?.breaker).toBe('closed');
});
