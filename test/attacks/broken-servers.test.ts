/**
 * Servers that break the protocol in the middle of a call, through the whole gateway: they never answer, answer twice or under another id,
 * die half-way, or write what is no MCP. Whatever they do, the caller gets one honest answer, the log says how the call ended, nothing is
 * sent again (RL-05), and a call of somebody else that waits at the same server at that moment gets its own answer.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { Server } from '../../src/inventory/records.ts';
import { ERAS, ORG, startRig, textTool } from '../support/rig.ts';
import type { Answer, Rig } from '../support/rig.ts';
import { LIMITS, REPOSITORY, SINK_PROGRAM } from '../support/upstreams/open.ts';
import type { Intercepted, SinkRequest } from '../support/upstreams/sink.ts';

const TOOL = textTool('put', 'write', 'notes:write');
const TIMEOUT_MS = 1_500;

let rig: Rig;
beforeAll(async () => {
  const record = { timeoutMs: TIMEOUT_MS };
  rig = await startRig({
    limits: { maxResultBytes: 100_000 },
    servers: {
      modern: { tools: [TOOL], record },
      legacy: { tools: [TOOL], record, era: 'legacy' },
    },
  });
});
afterAll(() => rig.stop());

const UNUSABLE = /^The server did not give a usable answer\. Whether the call had an effect is unknown: check/;
const wordsOf = (answer: Answer): string =>
  (answer.result?.['content'] as JsonObject[] | undefined)?.map((block) => block['text'] as string).join('\n') ?? '';
const json = (body: string | Buffer): Intercepted => ({
  status: 200,
  headers: { 'content-type': 'application/json' },
  body,
});
const events = (...messages: readonly JsonObject[]): Intercepted => ({
  status: 200,
  headers: { 'content-type': 'text/event-stream' },
  body: messages.map((message) => `data: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`).join(''),
});
const said = (text: string): JsonObject => ({ resultType: 'complete', content: [{ type: 'text', text }] });
const reply = (id: unknown, text = 'wrong'): JsonObject => ({ id: id as number, result: said(text) });
const text = (message: JsonObject): string => JSON.stringify({ jsonrpc: '2.0', ...message });

/** `detail`: of the outcome in the log; null where the call went well in spite of it. */
// prettier-ignore
const BROKEN: ReadonlyArray<readonly [title: string, detail: string | null, answer: (id: number) => Intercepted]> = [
  ['never answers', 'upstream_timeout', () => 'hang'],
  ['cuts the connection', 'upstream_closed', () => 'drop'],
  ['answers another id', 'upstream_protocol', (id) => json(text(reply(id + 1)))],
  ['answers the id as a text', 'upstream_protocol', (id) => json(text(reply(String(id))))],
  ['answers without an id', 'upstream_protocol', () => json(text({ id: null, result: said('wrong') }))],
  ['answers another id on a stream', 'upstream_protocol', (id) => events(reply(id + 1))],
  ['dies in the middle of an event', 'upstream_closed', (id) => ({ ...(events(reply(id)) as object), body: `data: ${text(reply(id)).slice(0, 40)}` }) as Intercepted],
  ['ends its stream without an answer', 'upstream_closed', () => events({ method: 'notifications/progress', params: { progressToken: 'nobody', progress: 1 } })],
  ['answers what is not JSON', 'upstream_protocol', () => json('Internal error: see http://10.0.0.7/trace')],
  ['answers half a message', 'upstream_protocol', (id) => json(text(reply(id)).slice(0, 40))],
  ['answers nothing', 'upstream_protocol', () => json('')],
  ['answers a page', 'upstream_protocol', () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' })],
  ['answers bytes that are no UTF-8', 'upstream_protocol', (id) => json(Buffer.from(text(reply(id, 'wr\u00f6ng')), 'latin1'))],
  ['answers a key twice', 'upstream_protocol', (id) => json(text(reply(id)).replace('"result"', '"result":{"content":[]},"result"'))],
  ['answers with result and error', 'upstream_protocol', (id) => json(text({ ...reply(id), error: { code: -1, message: 'x' } }))],
  ['answers a result that is a text', 'upstream_protocol', (id) => json(text({ id, result: 'wrong' }))],
  ['answers a list of messages', 'upstream_protocol', (id) => json(`[${text(reply(id))}]`)],
  ['nests beyond the limit', 'upstream_protocol', (id) => json(text(reply(id)).replace('"wrong"', `${'['.repeat(200)}${']'.repeat(200)}`))],
  ['answers too much', 'inspection', (id) => json(text(reply(id, 'x'.repeat(150_000))))],
  ['answers twice', null, (id) => events(reply(id, 'first'), reply(id, 'second'))],
  ['goes on talking after its answer', null, (id) => events(reply(id, 'first'), { method: 'notifications/message', params: { level: 'info', data: 'x' } })],
];

const isPut = ({ message }: SinkRequest, wanted: string): boolean =>
  message?.['method'] === 'tools/call' &&
  (message['params'] as { arguments: { text: string } }).arguments.text === wanted;

describe.each(ERAS.flatMap((server) => ERAS.map((era) => [server, era] as const)))(
  'a %s server over HTTP and a %s client',
  (server, era) => {
    test.each(BROKEN)(
      'that %s: outcome %s, and whoever waits beside it is answered',
      async (_title, detail, answer) => {
        const sink = rig.sink(server);
        const heard = (wanted: string): number => sink.received.filter((request) => isPut(request, wanted)).length;
        const gate = Promise.withResolvers<void>();
        sink.onCall(async (call) => {
          await gate.promise;
          return { content: [{ type: 'text', text: `echo ${String(call.arguments['text'])}` }] };
        });
        sink.intercept((request) => (isPut(request, 'bad') ? answer(request.message!['id'] as number) : null));
        const before = { bad: heard('bad'), beside: heard('beside') };
        const beside = rig.call(server, 'put', { text: 'beside' }, { as: 'dora', era });
        await rig.until('the neighbour is under way', () => heard('beside') > before.beside);
        const bad = rig.call(server, 'put', { text: 'bad' }, { as: 'dana', era });
        await rig.until('the bad one is under way', () => heard('bad') > before.bad);
        gate.resolve();
        expect(wordsOf(await beside)).toBe('echo beside');

        const got = await bad;
        expect(got.status).toBe(200);
        const [intent, outcome] = await rig.about(got.reference);
        expect(intent).toMatchObject({ kind: 'intent', actor: { subject: 'dana@corp' } });
        expect(outcome?.kind).toBe('outcome');
        if (detail === null) {
          expect(wordsOf(got)).toBe('first');
          expect(outcome?.outcome).toMatchObject({ status: 'ok' });
        } else {
          expect(got.result?.['isError']).toBe(true);
          expect(got.text).not.toMatch(/wrong|10\.0\.0\.7/);
          expect(outcome?.outcome?.detail).toContain(detail);
          if (detail !== 'inspection') expect(wordsOf(got)).toMatch(UNUSABLE);
        }
        expect(heard('bad')).toBe(before.bad + 1);
        sink.intercept(null);
        expect(wordsOf(await rig.call(server, 'put', { text: 'after' }, { era }))).toBe('echo after');
      },
    );
  },
);

test.each(ERAS)(
  'RL-03: a %s server that takes too long is told that nobody waits any more, and the log says how it ended',
  async (server) => {
    const sink = rig.sink(server);
    let gone = false;
    let asked: unknown;
    sink.onCall(async (call) => {
      asked = call.message['id'];
      await call.gone;
      gone = true;
      return { content: [] };
    });
    const answer = await rig.call(server, 'put', { text: 'slow' });
    expect(wordsOf(answer)).toMatch(UNUSABLE);
    expect((await rig.about(answer.reference))[1]?.outcome).toMatchObject({
      status: 'failed',
      detail: 'upstream_timeout',
    });
    await rig.until('its stream is closed', () => gone);
    const cancelled = (): readonly unknown[] =>
      sink.received
        .filter(({ message }) => message?.['method'] === 'notifications/cancelled')
        .map(({ message }) => (message!['params'] as JsonObject)['requestId']);
    // Over HTTP a modern server learns it from its stream alone; a legacy one must be told (C10).
    if (server === 'legacy') await rig.until('it is told', () => cancelled().includes(asked));
    else expect(cancelled()).toEqual([]);
    expect(rig.gateway.inflight()).toBe(0);
  },
);

describe('a server on a pipe', () => {
  beforeAll(async () => {
    const body = Server.parse({
      title: 'piped',
      owner: 'omar',
      purpose: 'breaks',
      environment: 'evaluation',
      dataClasses: ['public'],
      state: 'enabled',
      timeoutMs: TIMEOUT_MS,
      upstream: {
        transport: 'stdio',
        command: ['node', `/repo/${SINK_PROGRAM}`],
        era: 'legacy',
        env: { BEHAVIOUR: 'told' },
        mounts: [{ from: REPOSITORY, to: '/repo', mode: 'read' }],
        limits: LIMITS,
      },
    });
    await rig.commit([{ kind: 'server', org: ORG, id: 'piped', body }]);
    await rig.look('piped');
    await rig.approveTool('piped', 'echo', 'write', 'notes:write');
  });

  const call = (mood: string, as: string): Promise<Answer> => rig.call('piped', 'echo', { mood }, { as });

  // prettier-ignore
  test.each<[title: string, mood: string, detail: string | null, words: string | RegExp, besideEnds: boolean]>([
    ['never answers', 'hang', 'upstream_timeout', UNUSABLE, false],
    ['answers twice', 'twice', null, 'once', false],
    ['answers somebody else', 'someone-else', null, 'mine', false],
    ['writes a line that is no message', 'banner', null, 'after a banner', false],
    ['writes bytes that are no text', 'not-utf8', null, 'after bytes that are no text', false],
    ['says one key twice', 'duplicate-key', 'upstream_timeout', UNUSABLE, false],
    ['goes on writing what is no message', 'chatter', 'upstream_protocol', UNUSABLE, true],
    ['writes a line without end', 'endless-line', 'upstream_too_large', UNUSABLE, true],
    ['dies', 'crash', 'upstream_closed', UNUSABLE, true],
  ])('that %s: the outcome is told, the neighbour gets its own answer, and the next call is served', async (_title, mood, detail, words, besideEnds) => {
    const intents = (await rig.entries('intent')).length;
    const beside = call('held', 'dora');
    await rig.until('the neighbour is under way', async () => (await rig.entries('intent')).length > intents);
    const bad = await call(mood, 'dana');
    const neighbour = await beside;
    expect(bad.status).toBe(200);
    if (typeof words === 'string') expect(wordsOf(bad)).toBe(words);
    else expect(wordsOf(bad)).toMatch(words);
    expect((await rig.about(bad.reference))[1]?.outcome?.detail ?? null).toBe(detail);
    // Those who share a process share its death, and are told so; nobody is told that nothing happened.
    if (besideEnds) expect(wordsOf(neighbour)).toMatch(UNUSABLE);
    else expect(wordsOf(neighbour)).toBe('held');
    await rig.until('it is up again', async () => wordsOf(await call('', 'dora')) === '{"mood":""}');
  });
});
