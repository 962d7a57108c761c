/**
 * The ladder of PROTOCOL.md C1 with clients that other people wrote, unmodified: the SDK v2 in both eras and the SDK v1, each with what it
 * may declare, and the tasks extension's own requester in both generations. Whatever a client can do, the call is made exactly once after
 * somebody's yes, never after a no or after its time, and the client is told which. The oracle is the sink.
 */
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { connectSdk } from '../support/clients.ts';
import type { Answers, Sdk } from '../support/clients.ts';
import { connectTasks } from '../support/task-client.ts';
import { startRig, textTool } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';
import { FORM, STATE, asksOnce } from './asks-support.ts';
import { approverOf } from './held-support.ts';
import type { Approver } from './held-support.ts';

// Clients poll a waiting task every five seconds; the machine may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const TOOL = 'erase_all';
const tools = [textTool(TOOL, 'destructive', 'notes:delete', { execution: { taskSupport: 'optional' } })];
const record = { asks: ['elicitation.form' as const] };
const servers = { notes: { tools }, old: { era: 'legacy' as const, tools, record }, new: { tools, record } };

interface Ended {
  readonly text: string;
  readonly isError: boolean;
}
/** One client of one person; `call` goes on as its host would until there is an end. */
interface Way {
  call(text: string): Promise<Ended>;
  /** Pages its person was sent to. */
  readonly visited: readonly string[];
  close(): Promise<unknown>;
}
type Open = (rig: Rig, server?: string, form?: Answers['form']) => Promise<Way>;

const sdkWay =
  (sdk: Sdk, visits: boolean): Open =>
  async (rig, server = 'notes', form) => {
    const visited: string[] = [];
    const url = ({ url: page }: Record<string, unknown>) => (visited.push(page as string), { action: 'accept' });
    const client = await connectSdk(rig, sdk, server, {
      as: 'omar',
      answers: { ...(visits && { url }), ...(form && { form }) },
    });
    return {
      visited,
      close: () => client.close(),
      async call(text) {
        try {
          return await client.call(TOOL, { text });
        } catch (error) {
          const { code, data } = error as { code?: number; data?: { elicitations: Array<Record<string, string>> } };
          if (code !== -32042) throw error;
          const [visit] = data!.elicitations;
          visited.push(visit!['url']!);
          const over = (): boolean =>
            client.heard.some(
              ({ method, params }) =>
                method === 'notifications/elicitation/complete' && params['elicitationId'] === visit!['elicitationId'],
            );
          await rig.until('the client hears that it is over', over);
          return client.call(TOOL, { text });
        }
      },
    };
  };

const textOf = (result: unknown): Ended => {
  const { content = [], isError } = result as { content?: Array<{ text?: string }>; isError?: boolean };
  return { text: content.map(({ text }) => text ?? '').join('\n'), isError: isError === true };
};

const tasksWay =
  (era: 'modern' | 'legacy'): Open =>
  async (rig, server = 'notes', form) => {
    const client = await connectTasks({
      url: rig.resource(server),
      bearer: rig.token('omar', { server }),
      era,
      tools: [TOOL],
      ...(form && { form: await form({}) }),
    });
    return {
      visited: [],
      close: () => client.close(),
      async call(text) {
        const execution = await client.session.callTool(TOOL, { text }, { task: { preference: 'require' } });
        expect(execution.kind).toBe('task');
        const { outcome } = await execution.settle();
        // The older generation: a result that is an error makes its task `failed`, and the package hands on its words.
        if (outcome.status === 'failed' && era === 'legacy') return { isError: true, text: outcome.error.message };
        if (outcome.status !== 'completed') throw new Error(`the task is ${outcome.status}`);
        return textOf(outcome.result);
      },
    };
  };

const tasksOfV1: Open = async (rig, server = 'notes') => {
  const client = new ClientV1({ name: 'sdk-v1', version: '1' }, { capabilities: { tasks: {} } });
  const authorization = `Bearer ${rig.token('omar', { server })}`;
  await client.connect(new TransportV1(new URL(rig.resource(server)), { requestInit: { headers: { authorization } } }));
  await client.listTools();
  return {
    visited: [],
    close: () => client.close(),
    async call(text) {
      const stream = client.experimental.tasks.callToolStream(
        { name: TOOL, arguments: { text } },
        CallToolResultSchema,
        { task: { ttl: 60_000 } },
      );
      const kinds: string[] = [];
      let taskId = '';
      for await (const message of stream) {
        kinds.push(message.type);
        if (message.type === 'taskCreated') ({ taskId } = message.task);
        if (message.type === 'result') {
          expect(kinds[0]).toBe('taskCreated');
          return textOf(message.result);
        }
        // In 2025-11-25 a result that is an error makes its task `failed`; the words stand in its result.
        if (message.type === 'error')
          return textOf(await client.experimental.tasks.getTaskResult(taskId, CallToolResultSchema));
      }
      throw new Error(`no end: ${kinds.join()}`);
    },
  };
};

const WAYS: Readonly<Record<string, Open>> = {
  'SDK v2, modern, with nothing': sdkWay('v2-modern', false),
  'SDK v2, modern, with elicitation.url': sdkWay('v2-modern', true),
  'SDK v2, legacy, with nothing': sdkWay('v2-legacy', false),
  'SDK v2, legacy, with elicitation.url': sdkWay('v2-legacy', true),
  'SDK v1 with nothing': sdkWay('v1', false),
  'SDK v1 with elicitation.url': sdkWay('v1', true),
  'SDK v1 with its tasks': tasksOfV1,
  'ext-tasks, modern': tasksWay('modern'),
  'ext-tasks, legacy': tasksWay('legacy'),
};
const NAMES = Object.keys(WAYS);

let rig: Rig;
let hasty: Rig;
let petra: Approver;
let sweeping: NodeJS.Timeout;
beforeAll(async () => {
  [rig, hasty] = await Promise.all([
    // A round ends before anybody decides, so that clients also come back.
    startRig({ admin: true, servers, approvals: { holdMs: 400, blockMs: 10_000 } }),
    startRig({ admin: true, servers, approvals: { pendingMs: 1_500, holdMs: 5_000, blockMs: 5_000 } }),
  ]);
  petra = approverOf(rig);
  // The node does so once a minute.
  sweeping = setInterval(() => void hasty.gateway.sweep(), 500);
});
afterAll(async () => {
  clearInterval(sweeping);
  await Promise.all([rig.stop(), hasty.stop()]);
});

let serial = 0;
const fresh = (): string => `held for ${++serial}.`;
const reached = (text: string, on = rig, server = 'notes'): number =>
  on
    .sink(server)
    .calls()
    .filter(({ body }) => body.includes(text)).length;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.concurrent('a destructive call of an unmodified client', () => {
  test.each(NAMES)('AP-09: %s: waits, and is made exactly once after a yes', async (name) => {
    const way = await WAYS[name]!(rig);
    const text = fresh();
    const ending = way.call(text);
    const { id } = await petra.asked(text);
    // Long enough for every client that comes back to have done so.
    await pause(1_000);
    expect(reached(text)).toBe(0);
    await petra.decide(text, 'approve');
    const ended = await ending;
    expect([ended.isError, reached(text)], ended.text).toEqual([false, 1]);
    expect(ended.text).toContain(text);
    const page = `${rig.adminUrl}/requests/${id}`;
    expect(new Set(way.visited)).toEqual(new Set(name.includes('elicitation.url') ? [page] : []));
    await way.close();
  });

  test.each(NAMES)('AP-09: %s: is told of a no, and nothing was sent', async (name) => {
    const way = await WAYS[name]!(rig);
    const text = fresh();
    const ending = way.call(text);
    await petra.decide(text, 'deny');
    const ended = await ending;
    expect([ended.isError, reached(text)]).toEqual([true, 0]);
    expect(ended.text).toContain('The approval of this call was denied');
    await way.close();
  });

  test.each(NAMES)('AP-05: %s: is told that nobody decided in time, and a late yes sends nothing', async (name) => {
    const way = await WAYS[name]!(hasty);
    const text = fresh();
    const late = approverOf(hasty);
    const ending = way.call(text).catch((error: unknown) => error as { code?: number });
    const { id, call } = await late.asked(text);
    const ended = await ending;
    // Who was sent away and called again opened a request anew; everybody else learns that the time is over.
    if ('code' in ended) expect(ended.code).toBe(-32042);
    else expect([(ended as Ended).isError, (ended as Ended).text]).toEqual([true, expect.stringContaining('in time')]);
    const yes = await hasty.admin('petra', 'POST', `/approvals/${id}/approve`, { call });
    expect([yes.status, reached(text, hasty)], yes.text).toEqual([409, 0]);
    await way.close();
  });
});

describe.concurrent('a server that asks once the call was approved', () => {
  const CASES = (['old', 'new'] as const).flatMap((server) =>
    [
      'SDK v2, modern, with nothing',
      'SDK v2, modern, with elicitation.url',
      'SDK v2, legacy, with nothing',
      'SDK v1 with nothing',
      'ext-tasks, modern',
    ].map((name) => [server, name] as const),
  );
  beforeAll(() => {
    for (const server of ['old', 'new']) asksOnce(rig.sink(server));
  });

  test.each(CASES)(
    'AP-09: the %s server, %s: is answered by the person, and hears nothing of the gateway',
    async (server, name) => {
      const forms: unknown[] = [];
      const form = (params: Record<string, unknown>) => {
        forms.push(params['message']);
        return { action: 'accept', content: { colour: 'red' } };
      };
      const way = await WAYS[name]!(rig, server, form);
      const text = fresh();
      const ending = way.call(text);
      const id = await petra.decide(text, 'approve');
      const ended = await ending;
      expect([ended.isError, ended.text]).toEqual([false, expect.stringContaining('"colour":"red"')]);
      if (!name.startsWith('ext-tasks')) expect(forms).toEqual([FORM.message]);
      const heard = rig.sink(server).wire();
      for (const ours of ['gw.', id, '/requests/']) expect(heard).not.toContain(ours);
      // One call, and of a modern server the same once more with the answer and the server's own state.
      const legs = rig
        .sink(server)
        .calls()
        .map(({ body }) => body)
        .filter((body) => body.includes(text));
      expect(legs).toHaveLength(server === 'new' ? 2 : 1);
      if (server === 'new') {
        const { params } = JSON.parse(legs[1]!) as { params: Record<string, unknown> };
        expect(params).toMatchObject({ requestState: STATE, inputResponses: { q: { action: 'accept' } } });
        expect(Object.keys(params['inputResponses'] as object)).toEqual(['q']);
      }
      await way.close();
    },
  );
});
