/** What a connection keeps while a request is under way: progress, log lines, questions, tasks, changes. Run with real SDK servers. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import type {
  Ask,
  Connection,
  Era,
  OnAsk,
  ServerChange,
  ServerNotification,
  UpstreamReply,
  UpstreamRequest,
} from '../../src/upstream/connection.ts';
import { until } from '../support/upstreams/open.ts';
import { faultOf, textOf } from './connection.ts';

export interface Talking {
  readonly connection: Connection;
  changeTools(): void | Promise<void>;
  changeResource(): void | Promise<void>;
  close(): Promise<void>;
}

export interface TalkingServer {
  readonly era: Era;
  /** Whether what a server says besides its reply comes on a stream of the request's own. */
  readonly ownStreams: boolean;
  /** A connection that declared all capabilities. */
  readonly open: (timeoutMs: number) => Promise<Talking>;
}

export const ALL: JsonObject = { elicitation: {}, sampling: {}, roots: {} };
const never = new AbortController().signal;
const ANSWERS: Record<string, JsonObject> = {
  'elicitation/create': { action: 'accept', content: { colour: 'blue' } },
  'sampling/createMessage': { role: 'assistant', model: 'm', content: { type: 'text', text: 'frog' } },
  'roots/list': { roots: [{ uri: 'file:///w', name: 'w' }] },
};
const say =
  (answer: (ask: Ask) => UpstreamReply): OnAsk =>
  async (asks) =>
    new Map([...asks].map(([key, ask]) => [key, answer(ask)]));
const answering = say(({ method }) => ({ kind: 'result', result: ANSWERS[method] ?? {} }));

const tool = (connection: Connection, name: string, args: JsonObject, more: Partial<UpstreamRequest>, signal = never) =>
  connection.request({ method: 'tools/call', params: { name, arguments: args }, capabilities: ALL, ...more }, signal);
const textIn = (reply: UpstreamReply): string => {
  if (reply.kind === 'error') throw new Error(`${reply.error.code} ${reply.error.message}`);
  return (reply.result['content'] as ReadonlyArray<{ text: string }>).map(({ text }) => text).join();
};

export function conversationContract(name: string, { era, ownStreams, open }: TalkingServer): void {
  describe(`conversation: ${name}`, () => {
    let opened: Talking;
    beforeAll(async () => {
      opened = await open(20_000);
    });
    afterAll(() => opened?.close());

    test('progress comes in order, without its token, and only to who asked for it', async () => {
      const heard: ServerNotification[] = [];
      const other: ServerNotification[] = [];
      const [token] = await Promise.all([
        tool(opened.connection, 'progress', {}, { onNotification: (one) => heard.push(one) }),
        tool(opened.connection, 'progress', {}, { onNotification: (one) => other.push(one) }),
      ]);
      const expected = [1, 2, 3].map((progress) => ({
        method: 'notifications/progress',
        params: expect.objectContaining({ progress, total: 3 }) as unknown,
      }));
      expect(heard).toEqual(expected);
      expect(other).toEqual(expected);
      for (const { params } of heard) expect(params).not.toHaveProperty('progressToken');
      expect(textIn(token)).toMatch(/^\d+$/);
      expect(await textOf(opened.connection, 'progress')).toBe('undefined');
    });

    test('log lines come from the level that was asked for, or not at all where they cannot be told apart', async () => {
      const heard: ServerNotification[] = [];
      const onNotification = (one: ServerNotification): void => void heard.push(one);
      await tool(opened.connection, 'log', {}, { onNotification, logLevel: 'warning' });
      const worry = {
        method: 'notifications/message',
        params: expect.objectContaining({ data: 'a worry' }) as unknown,
      };
      expect(heard).toEqual(ownStreams || era === 'modern' ? [worry] : []);
      heard.length = 0;
      await tool(opened.connection, 'log', {}, { onNotification, logLevel: 'debug' });
      expect(heard).toHaveLength(ownStreams || era === 'modern' ? 2 : 0);
      heard.length = 0;
      await tool(opened.connection, 'log', {}, { onNotification });
      expect(heard).toEqual([]);
    });

    test.each(['elicitation', 'sampling', 'roots'])(
      'a question (%s) is asked once and its answer arrives',
      async (what) => {
        const asked: Ask[] = [];
        const onAsk: OnAsk = async (asks, signal) => {
          asked.push(...asks.values());
          return answering(asks, signal);
        };
        const text = textIn(await tool(opened.connection, 'ask', { what }, { onAsk }));
        expect(asked).toHaveLength(1);
        for (const word of { elicitation: ['blue'], sampling: ['frog'], roots: ['file:///w'] }[what] ?? [])
          expect(text).toContain(word);
        // Byte by byte what the server gave, and only there.
        if (era === 'modern') expect(JSON.parse(text)).toMatchObject({ state: `state of ${what}` });
      },
    );

    test('an answer that is an error declines: the server hears it', async () => {
      const refusing = say(() => ({ kind: 'error', error: { code: -32099, message: 'not today' } }));
      const reply = await tool(opened.connection, 'ask', { what: 'elicitation' }, { onAsk: refusing });
      expect(JSON.stringify(reply)).toContain(era === 'modern' ? 'cancel' : 'not today');
    });

    test('a rejected question gives the whole request up', async () => {
      const onAsk: OnAsk = () => Promise.reject(new Error('nobody is there'));
      const fault = await faultOf(tool(opened.connection, 'ask', { what: 'elicitation' }, { onAsk }));
      expect(fault).toMatchObject({ code: 'upstream_cancelled', dispatched: 'unknown' });
    });

    test('without anybody to answer, nothing is asked', async () => {
      const request = tool(opened.connection, 'ask', { what: 'elicitation' }, {});
      if (era === 'modern') {
        expect(await faultOf(request)).toMatchObject({
          code: 'upstream_protocol',
          message: 'the server asks although nobody can answer',
        });
      } else expect(JSON.stringify(await request)).toContain('-32601');
    });

    test('each of several callers is asked only what its own request wants, or nobody is', async () => {
      const callers = ['red', 'green', 'white'].map((colour) => {
        const onAsk = say(() => ({ kind: 'result', result: { action: 'accept', content: { colour } } }));
        return tool(opened.connection, 'ask', { what: 'elicitation' }, { onAsk }).then((reply) => ({ reply, colour }));
      });
      for (const { reply, colour } of await Promise.all(callers)) {
        if (era === 'modern' || ownStreams) expect(textIn(reply)).toContain(colour);
        else expect(JSON.stringify(reply)).toContain('-32601');
      }
    });

    test('the time of the server does not run while it waits for an answer, and runs again afterwards', async () => {
      const impatient = await open(1_000);
      const onAsk: OnAsk = async (asks, signal) => {
        await new Promise((resolve) => setTimeout(resolve, 1_600));
        return answering(asks, signal);
      };
      expect(textIn(await tool(impatient.connection, 'ask', { what: 'elicitation' }, { onAsk }))).toContain('blue');
      expect(await faultOf(tool(impatient.connection, 'slow', {}, { onAsk }))).toMatchObject({
        code: 'upstream_timeout',
        dispatched: 'unknown',
      });
      await impatient.close();
    });

    test('a caller who leaves while a question is open ends both', async () => {
      const caller = new AbortController();
      let told = false;
      const onAsk: OnAsk = (_asks, signal) => {
        signal.addEventListener('abort', () => (told = true));
        queueMicrotask(() => caller.abort('caller left'));
        return new Promise(() => {});
      };
      const fault = await faultOf(tool(opened.connection, 'ask', { what: 'elicitation' }, { onAsk }, caller.signal));
      expect(fault).toMatchObject({ code: 'upstream_cancelled', dispatched: 'unknown' });
      expect(told).toBe(true);
    });

    test('a modern server whose question goes to somebody else gets no answer from here', async ({ skip }) => {
      if (era === 'legacy') return skip('legacy servers have no input_required');
      const reply = await tool(opened.connection, 'ask', { what: 'roots' }, { inputRequired: 'return' });
      expect(reply).toMatchObject({ result: { resultType: 'input_required', requestState: 'state of roots' } });
    });

    test('a legacy server that asks on the stream of the session is answered by the only one who can be meant', async ({
      skip,
    }) => {
      if (era === 'modern') return skip('modern servers send no requests');
      const args = { what: 'elicitation', loose: true };
      expect(textIn(await tool(opened.connection, 'ask', args, { onAsk: answering }))).toContain('blue');
    });

    test('a task of the server is polled to its end', async ({ skip }) => {
      if (era === 'modern')
        return skip('the modern SDK serves no tasks; scripted servers do in upstream/conversation.test.ts');
      const { connection } = opened;
      expect(textIn(await tool(connection, 'long', {}, { task: 'required' }))).toBe('"done"');
      const failed = await tool(connection, 'long', { fail: true }, { task: 'required' });
      expect(failed).toMatchObject({ kind: 'result', result: { isError: true } });
      const asked = await tool(connection, 'long', { ask: true }, { task: 'required', onAsk: answering });
      expect(textIn(asked)).toContain('blue');
    });

    test('changes of the lists and of watched resources are heard, of others not', async () => {
      const heard: ServerChange[] = [];
      const stop = opened.connection.onChange((change) => heard.push(change));
      opened.connection.watch(new Set(['note://one', 'note://never']));
      await until('the resource changed', async () => {
        await opened.changeResource();
        return heard.some((change) => change.what === 'resource');
      });
      await until('the tools changed', async () => {
        await opened.changeTools();
        return heard.some(({ what }) => what === 'tools');
      });
      expect(heard).toContainEqual({ what: 'resource', uri: 'note://one' });
      expect(heard).not.toContainEqual({ what: 'resource', uri: 'note://never' });
      opened.connection.watch(new Set());
      await until('nothing is watched', async () => {
        heard.length = 0;
        await opened.changeResource();
        await opened.changeTools();
        await until('a later change is heard', () => heard.some(({ what }) => what === 'tools'));
        return heard.every(({ what }) => what !== 'resource');
      });
      stop();
    });
  });
}
