/**
 * What held calls do beside the plain case: tasks of 2025-11-25, signs of life while an old client is kept waiting, prompts and resources,
 * and a server that asks something itself once it was called. The oracle is the sink.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { SDKS, connectSdk } from '../support/clients.ts';
import { ERAS, startRig, textTool } from '../support/rig.ts';
import type { Answer, CallOptions, Era, Rig, ServerSpec } from '../support/rig.ts';
import { TASKS, begin, onTask, reaches } from '../support/tasks.ts';
import { FORM, GOOD, STATE, askedIn, asksOnce, retry } from './asks-support.ts';
import { approverOf } from './held-support.ts';
import type { Approver } from './held-support.ts';

vi.setConfig({ testTimeout: 120_000 });

const tools = [
  textTool('erase_all', 'destructive', 'notes:delete', { execution: { taskSupport: 'optional' } }),
  textTool('erase_one', 'destructive', 'notes:delete'),
];
const PROMPT = 'purge';
const URI = 'res://vault';
const offers: Pick<ServerSpec, 'script' | 'risk'> = {
  script: (sink) => sink.offer({ prompts: [{ name: PROMPT }], resources: [{ uri: URI, name: 'vault' }] }),
  risk: 'destructive',
};
const record = { asks: ['elicitation.form' as const] };

let rig: Rig;
let petra: Approver;
beforeAll(async () => {
  rig = await startRig({
    admin: true,
    servers: {
      notes: { tools, ...offers },
      old: { era: 'legacy', tools, ...offers },
      asks: { tools, record },
    },
    approvals: { holdMs: 3_000, blockMs: 12_000 },
  });
  petra = approverOf(rig);
});
afterAll(() => rig.stop());

let serial = 0;
const fresh = (): string => `way ${++serial}.`;
const reached = (text: string, server = 'notes'): number =>
  rig
    .sink(server)
    .calls()
    .filter(({ body }) => body.includes(text)).length;
const OMAR: CallOptions = { as: 'omar' };
const OLD: CallOptions = { as: 'omar', era: 'legacy' };
const erase = (text: string, how: CallOptions, more: JsonObject = {}, server = 'notes'): Promise<Answer> =>
  rig.ask(server, 'tools/call', { name: 'erase_all', arguments: { text }, ...more }, how);
const open = (id: string): unknown => rig.view.get('approval', 'default', id)?.body['state'];

describe('a task of 2025-11-25', () => {
  const started = (text: string): Promise<string> => begin(rig, 'erase_all', { ...OLD, args: { text }, task: {} });

  test('AP-09: says that it waits, runs once after the yes, and keeps the result', async () => {
    const text = fresh();
    const task = await started(text);
    const { id } = await petra.asked(text);
    const { result } = await onTask(rig, 'tasks/get', task, OLD);
    expect(result).toMatchObject({
      status: 'working',
      pollInterval: 5_000,
      statusMessage: `Waiting for approval by an approver; open ${rig.adminUrl}/requests/${id}`,
    });
    const waiting = onTask(rig, 'tasks/result', task, OLD);
    expect(reached(text)).toBe(0);
    await petra.decide(text, 'approve');
    expect((await waiting).text).toContain(text);
    expect((await reaches(rig, task, 'completed', OLD))['statusMessage']).toBeUndefined();
    expect([reached(text), open(id)]).toEqual([1, 'used']);
  });

  test('a no makes it failed, as that revision has it, with the words in its status and its result', async () => {
    const text = fresh();
    const task = await started(text);
    await petra.decide(text, 'deny');
    const denied = expect.stringContaining('The approval of this call was denied') as string;
    expect(await reaches(rig, task, 'failed', OLD)).toMatchObject({ statusMessage: denied });
    const { result } = await onTask(rig, 'tasks/result', task, OLD);
    expect(result).toMatchObject({ isError: true, content: [{ text: denied }] });
    expect(reached(text)).toBe(0);
  });

  test('cancelling it takes the request back, and tells who waits for its result', async () => {
    const text = fresh();
    const task = await started(text);
    const { id, call } = await petra.asked(text);
    const waiting = onTask(rig, 'tasks/result', task, OLD);
    await onTask(rig, 'tasks/cancel', task, OLD);
    expect((await waiting).error?.message).toBe('The task was cancelled by request.');
    await rig.until('the request is over', () => open(id) === 'cancelled');
    expect((await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call })).error?.code).toBe('approval_state');
    expect(reached(text)).toBe(0);
  });

  test('asked for where the tool has none, it is refused, and nobody is left with a request that cannot run', async () => {
    const text = fresh();
    const answer = await rig.ask('notes', 'tools/call', { name: 'erase_one', arguments: { text }, task: {} }, OLD);
    expect(answer.error?.code).toBe(-32601);
    const waiting = [...rig.view.records('approval', 'default')].filter(
      ({ body }) => body['tool'] === 'erase_one' && body['state'] === 'pending',
    );
    expect([waiting, reached(text)]).toEqual([[], 0]);
  });
});

describe('an old client that is kept waiting', () => {
  test.each(['v1', 'v2-legacy'] as const)(
    'AP-09: SDK %s hears at once that it waits, and then of its server, always more',
    async (sdk) => {
      const text = fresh();
      rig.sink().onCall(({ message, notify }) => {
        const { _meta } = message['params'] as { _meta?: { progressToken?: unknown } };
        for (const progress of [0.5, 1])
          notify('notifications/progress', { progressToken: _meta?.progressToken, progress, message: 'erasing' });
        return { content: [{ type: 'text', text: 'erased' }] };
      });
      const client = await connectSdk(rig, sdk, 'notes', OMAR);
      const heard: Array<Record<string, unknown>> = [];
      const calling = client.call('erase_one', { text }, { onprogress: (progress) => void heard.push(progress) });
      await rig.until('it hears', () => heard.length > 0);
      expect([heard[0]?.['message'], reached(text)]).toEqual(['Waiting for approval', 0]);
      await petra.decide(text, 'approve');
      expect(await calling).toMatchObject({ isError: false, text: 'erased' });
      expect(heard.map(({ message }) => message)).toEqual(['Waiting for approval', 'erasing', 'erasing']);
      const counted = heard.map(({ progress }) => progress as number);
      expect(counted).toEqual([...new Set(counted)].toSorted((a, b) => a - b));
      expect(reached(text)).toBe(1);
      await client.close();
    },
  );

  test('AP-09: without a token it gets signs of life, then the answer of the same request', async () => {
    const text = fresh();
    rig.sink().onCall(() => ({ content: [{ type: 'text', text: 'erased' }] }));
    const live = await rig.live('notes', 'tools/call', { name: 'erase_one', arguments: { text } }, OLD);
    await petra.asked(text);
    // A sign comes after five to ten seconds of silence.
    await rig.until('a sign of life', () => /^:/m.test(live.text()), 30_000);
    await petra.decide(text, 'approve');
    const { text: stream } = await live.answer;
    expect(stream.split('\n').filter((line) => line.startsWith(':')).length).toBeGreaterThan(0);
    expect(stream.indexOf('\n:') < stream.indexOf('erased') || stream.startsWith(':')).toBe(true);
    expect(reached(text)).toBe(1);
  });

  test('AP-09: that cancels its request ends its waiting; a yes after that sends nothing until somebody calls again', async () => {
    const text = fresh();
    const live = await rig.live(
      'notes',
      'tools/call',
      { name: 'erase_one', arguments: { text } },
      { ...OLD, id: text },
    );
    const { id } = await petra.asked(text);
    const cancelled = await live.say({ method: 'notifications/cancelled', params: { requestId: text } });
    expect(cancelled.status).toBe(202);
    await rig.until('nothing waits', () => rig.gateway.inflight() === 0);
    await petra.decide(text, 'approve');
    expect([reached(text), open(id)]).toEqual([0, 'approved']);
    expect((await rig.call('notes', 'erase_one', { text }, OLD)).result?.['isError']).not.toBe(true);
    expect([reached(text), open(id)]).toEqual([1, 'used']);
    live.leave();
  });
});

const KINDS = {
  'prompts/get': { params: { name: PROMPT }, item: PROMPT },
  'resources/read': { params: { uri: URI }, item: URI },
} as const;
const CASES = (['prompts/get', 'resources/read'] as const).flatMap((method) =>
  ERAS.flatMap((era) => (['notes', 'old'] as const).map((server) => [method, era, server] as const)),
);

describe.each(CASES)('%s, a %s client, server %s', (method, era: Era, server) => {
  const { params } = KINDS[method];
  // An agent of each era: what was denied to one is refused without asking.
  const how: CallOptions = { as: 'omar', era, client: `agent-${era}`, capabilities: era === 'modern' ? TASKS : {} };
  const use = (more: JsonObject = {}): Promise<Answer> => rig.ask(server, method, { ...params, ...more }, how);
  /** The newest request about this item of this server. */
  const pending = async (): Promise<{ id: string; call: string }> => {
    let found: { id: string; body: JsonObject } | undefined;
    const key = (tool: unknown): boolean => String(tool).includes(KINDS[method].item);
    await rig.until('somebody is asked', () => {
      found = [...rig.view.records('approval', 'default')].find(
        ({ body }) => body['state'] === 'pending' && body['server'] === server && key(body['tool']),
      );
      return found !== undefined;
    });
    return { id: found!.id, call: found!.body['call'] as string };
  };
  const decide = async (what: 'approve' | 'deny'): Promise<void> => {
    const { id, call } = await pending();
    const decided = await rig.admin('petra', 'POST', `/approvals/${id}/${what}`, { call });
    expect(decided.status, decided.text).toBe(200);
  };
  let before = 0;
  const sent = (): number => rig.sink(server).requests(method).length - before;
  beforeEach(() => void (before = rig.sink(server).requests(method).length));

  test('AP-09: waits without a task, and is used exactly once after a yes', async () => {
    const waiting = use();
    await pending();
    expect(sent()).toBe(0);
    await decide('approve');
    const answer = await waiting;
    expect([answer.error, answer.result?.['taskId'], sent()], answer.text).toEqual([undefined, undefined, 1]);
    expect(answer.result?.[method === 'prompts/get' ? 'messages' : 'contents']).toBeDefined();
    // One yes, one use: the same again is held again.
    const again = use();
    await decide('deny');
    const denied = await again;
    expect([denied.error?.message, sent()]).toEqual([
      expect.stringContaining('The approval of this call was denied'),
      1,
    ]);
  });
});

describe('unmodified SDKs and held prompts and resources', () => {
  test.each(SDKS)('AP-09: SDK %s waits for both', async (sdk) => {
    // Another agent than above, whose last request was denied.
    const client = await connectSdk(rig, sdk, 'notes', { as: 'omar', client: `agent of ${sdk}` });
    const uses = { 'prompts/get': () => client.prompt(PROMPT), 'resources/read': () => client.read(URI) };
    for (const method of ['prompts/get', 'resources/read'] as const) {
      const before = rig.sink().requests(method).length;
      const using = uses[method]();
      let request: { readonly id: string; readonly body: JsonObject } | undefined;
      await rig.until('somebody is asked', () => {
        request = [...rig.view.records('approval', 'default')].find(({ body }) => body['state'] === 'pending') as never;
        return request !== undefined;
      });
      const { id, body } = request!;
      await rig.admin('petra', 'POST', `/approvals/${id}/approve`, { call: body['call']! });
      await using;
      expect([method, rig.sink().requests(method).length - before]).toEqual([method, 1]);
    }
    await client.close();
  });
});

describe('a server that asks once it was called with an approval', () => {
  const how: CallOptions = { as: 'omar', capabilities: { elicitation: { form: {}, url: {} } } };
  const sentTo = (text: string): readonly JsonObject[] =>
    rig
      .sink('asks')
      .calls()
      .filter(({ body }) => body.includes(text))
      .map(({ message }) => message!['params'] as JsonObject);
  /** The first answer (our page), and the retry that waits for the yes. */
  async function approved(text: string): Promise<{ readonly state: string; readonly answer: Answer }> {
    const first = await erase(text, how, {}, 'asks');
    const state = first.result!['requestState'] as string;
    const more = {
      requestState: state,
      inputResponses: { 'gw.approval': { action: 'accept' }, q: GOOD['elicitation.form'] },
    };
    const waiting = erase(text, how, more, 'asks');
    await petra.decide(text, 'approve');
    return { state, answer: await waiting };
  }
  const params = (text: string) => ({ name: 'erase_all', arguments: { text } });

  test('AP-09: is told nothing of the waiting, and gets its own state and the answer to its own question', async () => {
    asksOnce(rig.sink('asks'));
    const text = fresh();
    const { state, answer } = await approved(text);
    const asked = askedIn(answer);
    expect([asked.key, JSON.stringify(answer.result)]).toEqual(['q', expect.not.stringContaining('gw.')]);
    // An answer that came before the question is no answer.
    expect(Object.keys(sentTo(text)[0]!)).not.toContain('inputResponses');
    expect(Object.keys(sentTo(text)[0]!)).not.toContain('requestState');
    const done = await retry(rig, 'asks', asked, GOOD['elicitation.form'], how, params(text));
    expect(done.text).toContain('told');
    expect(sentTo(text)[1]).toMatchObject({ requestState: STATE, inputResponses: { q: GOOD['elicitation.form'] } });
    expect(sentTo(text)).toHaveLength(2);
    // The state of the waiting is spent with its approval.
    const replay = await erase(text, how, { requestState: state }, 'asks');
    expect(replay.text).toContain('was used for the same call already');
    expect(sentTo(text)).toHaveLength(2);
    expect(rig.sink('asks').wire()).not.toContain('gw.');
  });

  test('AP-04: that names its question like one of ours is not passed on: nobody takes it for the gateway', async () => {
    rig.sink('asks').onCall(() => ({
      resultType: 'input_required',
      inputRequests: { 'gw.approval': { method: 'elicitation/create', params: FORM } },
    }));
    const text = fresh();
    const { answer } = await approved(text);
    expect([answer.result?.['resultType'], answer.text]).not.toContain('input_required');
    expect(answer.text).not.toContain(FORM.message);
    expect(sentTo(text)).toHaveLength(1);
  });
});
