/** Rounds, tasks, resumption and subscriptions against scripted servers: what exactly leaves, and where everything ends. */
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import type { OnAsk, ServerChange, UpstreamRequest } from '../../src/upstream/connection.ts';
import { ALL } from '../contracts/conversation.ts';
import { faultOf } from '../contracts/connection.ts';
import { httpServer, testPool, until } from '../support/upstreams/open.ts';
import { type Json, META, type Script, complete, event, scripted } from './scripted.ts';

const closers: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function openScript(
  era: 'modern' | 'legacy',
  script: Script,
  capabilities: Json = { tools: {} },
  timeoutMs = 5_000,
) {
  const server = await scripted(era, capabilities, script);
  const pool = testPool({ maxMessageBytes: 100_000 });
  closers.push(server.close, pool.closeAll);
  const lane = { key: 'ada', capabilities: ALL };
  return { server, connection: await pool.connection('s', httpServer(server.url, { era }, timeoutMs), lane) };
}
const CALL: UpstreamRequest = {
  method: 'tools/call',
  params: { name: 'echo', arguments: { a: 1 } },
  capabilities: ALL,
};
const never = new AbortController().signal;
const answer =
  (result: JsonObject): OnAsk =>
  async (asks) =>
    new Map([...asks.keys()].map((key) => [key, { kind: 'result', result }]));
const yes = answer({ action: 'accept', content: {} });
const elicit = { method: 'elicitation/create', params: { mode: 'form', message: '?', requestedSchema: {} } };
const required = (rest: Json): Json => ({ result: { resultType: 'input_required', ...rest } });
const paramsOf = ({ message }: { readonly message: Json }) => message['params'] as Json;
const openStream = (response: ServerResponse, headers: Record<string, string> = {}): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream', ...headers });
  response.flushHeaders();
};

describe('rounds of a modern server', () => {
  test('each has a new id, the original params, the answers, and the state byte by byte, but only if there was one', async () => {
    const state = ' {"not":"parsed"} \u{1F600}==';
    let round = 0;
    const { server, connection } = await openScript('modern', ({ message }) => {
      if (message['method'] !== 'tools/call') return;
      round++;
      if (round === 1) return required({ inputRequests: { q: elicit }, requestState: state });
      if (round === 2) return required({ inputRequests: { r: { method: 'roots/list' } } });
      return complete({ content: [] });
    });
    expect(await connection.request({ ...CALL, onAsk: yes }, never)).toMatchObject({ kind: 'result' });
    const calls = server.sent('tools/call');
    expect(new Set(calls.map(({ message }) => message['id'])).size).toBe(3);
    for (const call of calls) expect(paramsOf(call)).toMatchObject({ name: 'echo', arguments: { a: 1 } });
    for (const call of calls) expect(paramsOf(call)['_meta']).toMatchObject({ [`${META}clientCapabilities`]: ALL });
    expect(paramsOf(calls[1]!)).toMatchObject({
      inputResponses: { q: { action: 'accept', content: {} } },
      requestState: state,
    });
    expect(paramsOf(calls[2]!)).not.toHaveProperty('requestState');
    expect(Object.keys(paramsOf(calls[2]!)['inputResponses'] as Json)).toEqual(['r']);
    for (const call of calls) expect(call.headers).toMatchObject({ 'mcp-name': 'echo', 'mcp-method': 'tools/call' });
  });

  test('end after ten', async () => {
    const { server, connection } = await openScript('modern', () => required({ inputRequests: { q: elicit } }));
    expect(await faultOf(connection.request({ ...CALL, onAsk: yes }, never))).toMatchObject({
      code: 'upstream_protocol',
      message: 'the server asked for input more than 10 times',
      dispatched: 'unknown',
    });
    expect(server.sent('tools/call')).toHaveLength(11);
  });

  test('without a question are paced, and end with the time of the server', async () => {
    const { server, connection } = await openScript('modern', () => required({ requestState: 'x' }), {}, 1_000);
    expect(await faultOf(connection.request({ ...CALL, onAsk: yes }, never))).toMatchObject({
      code: 'upstream_timeout',
      dispatched: 'unknown',
    });
    expect(server.sent('tools/call').length).toBeLessThanOrEqual(5);
  });

  test.each<[what: string, result: Json, message: RegExp, method?: string]>([
    ['neither question nor state', {}, /does not say why/],
    ['a state that is no text', { requestState: { a: 1 } }, /`requestState` is not a string/],
    ['questions that are no object', { inputRequests: [] }, /`inputRequests` is not an object/],
    ['a question that is no object', { inputRequests: { a: 'x' } }, /a question is not an object/],
    ['a question of no kind', { inputRequests: { a: { method: 'tools/call' } } }, /asks what no server may ask/],
    [
      'a question with odd params',
      { inputRequests: { a: { method: 'roots/list', params: [] } } },
      /params of a question are not an object/,
    ],
    [
      'far too many questions',
      { inputRequests: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`q${i}`, elicit])) },
      /more than 32 things at once/,
    ],
    ['a list that asks', { inputRequests: { a: elicit } }, /asks for input to tools\/list/, 'tools/list'],
  ])('%s is a violation', async (_what, result, message, method = 'tools/call') => {
    const { connection } = await openScript('modern', () => required(result));
    const fault = await faultOf(connection.request({ ...CALL, method, onAsk: yes }, never));
    expect(fault.code).toBe('upstream_protocol');
    expect(fault.message).toMatch(message);
  });

  test('PH-08: asking for what was not offered is a violation, and nobody is asked', async () => {
    let asked = 0;
    const onAsk: OnAsk = async () => (asked++, new Map());
    const { connection } = await openScript('modern', () =>
      required({ inputRequests: { a: { method: 'sampling/createMessage', params: {} } } }),
    );
    const fault = await faultOf(connection.request({ ...CALL, capabilities: { elicitation: {} }, onAsk }, never));
    expect(fault.message).toBe('the server asks for sampling/createMessage, which was not offered');
    expect(asked).toBe(0);
  });

  test('sampling that gets no answer gives the request up', async () => {
    const { connection } = await openScript('modern', () =>
      required({ inputRequests: { a: { method: 'sampling/createMessage', params: {} } } }),
    );
    const fault = await faultOf(connection.request({ ...CALL, onAsk: async () => new Map() }, never));
    expect(fault).toMatchObject({ code: 'upstream_cancelled', dispatched: 'unknown' });
  });

  test('a later round that cannot be sent leaves the outcome unknown', async () => {
    const { connection } = await openScript('modern', () => required({ inputRequests: { q: elicit } }));
    const onAsk: OnAsk = async (asks, signal) => {
      await connection.close();
      return yes(asks, signal);
    };
    expect(await faultOf(connection.request({ ...CALL, onAsk }, never))).toMatchObject({
      code: 'upstream_closed',
      message: 'the connection is closed',
      dispatched: 'unknown',
    });
  });

  test('PH-07: a request of the server on a stream is a violation, whoever could answer', async () => {
    const { connection } = await openScript('modern', (_received, response) => {
      openStream(response);
      response.end(event({ id: 7, method: 'elicitation/create', params: {} }));
    });
    expect(await faultOf(connection.request({ ...CALL, onAsk: yes }, never))).toMatchObject({
      code: 'upstream_protocol',
      message: 'a modern server sent a request',
    });
  });

  test('-32020 is handed over, not tried again, and whoever keeps definitions is told', async () => {
    const { server, connection } = await openScript('modern', () => ({ error: { code: -32020, message: 'mismatch' } }));
    const heard: ServerChange[] = [];
    connection.onChange((change) => heard.push(change));
    expect(await connection.request(CALL, never)).toMatchObject({ kind: 'error', error: { code: -32020 } });
    expect(server.sent('tools/call')).toHaveLength(1);
    expect(heard).toEqual([{ what: 'tools' }]);
  });
});

describe('tasks of a modern server', () => {
  const TASKS = { tools: {}, extensions: { [`${META}tasks`]: {} } };
  const task = (status: string, rest: Json = {}): Json => ({
    taskId: 't 1',
    status,
    pollIntervalMs: 1,
    ttlMs: null,
    ...rest,
  });
  const created = (): Json => ({ result: { resultType: 'task', ...task('working') } });

  test('are declared, polled under their name, asked for once per key, and end as the reply', async () => {
    const states = [
      task('working'),
      task('input_required', { inputRequests: { q: elicit } }),
      task('input_required', { inputRequests: { q: elicit } }),
      task('completed', { result: { content: [{ type: 'text', text: 'done' }] } }),
    ];
    let asked = 0;
    const onAsk: OnAsk = (asks, signal) => (asked++, yes(asks, signal));
    const { server, connection } = await openScript(
      'modern',
      ({ message }) => {
        if (message['method'] === 'tools/call') return created();
        if (message['method'] === 'tasks/get') return complete(states.shift() ?? {});
        return complete({});
      },
      TASKS,
    );
    const reply = await connection.request({ ...CALL, task: 'optional', onAsk }, never);
    expect(reply).toEqual({
      kind: 'result',
      result: { resultType: 'complete', content: [{ type: 'text', text: 'done' }] },
    });
    expect(asked).toBe(1);
    const declared = (paramsOf(server.sent('tools/call')[0]!)['_meta'] as Json)[`${META}clientCapabilities`];
    expect(declared).toEqual({ ...ALL, extensions: { [`${META}tasks`]: {} } });
    for (const { headers } of [...server.sent('tasks/get'), ...server.sent('tasks/update')])
      expect(headers['mcp-name']).toBe('t 1');
    expect(paramsOf(server.sent('tasks/update')[0]!)).toMatchObject({
      taskId: 't 1',
      inputResponses: { q: { action: 'accept', content: {} } },
    });
    expect(server.sent('tasks/cancel')).toHaveLength(0);
  });

  test.each<[what: string, last: Json, expected: Json]>([
    [
      'an error of the task is the reply',
      task('failed', { error: { code: -5, message: 'broke' } }),
      { kind: 'error', error: { code: -5, message: 'broke' } },
    ],
  ])('%s', async (_what, last, expected) => {
    const { connection } = await openScript(
      'modern',
      ({ message }) => (message['method'] === 'tools/call' ? created() : complete(last)),
      TASKS,
    );
    expect(await connection.request({ ...CALL, task: 'optional' }, never)).toEqual(expected);
  });

  test.each<[what: string, last: Json, code: string]>([
    ['was cancelled by the server', complete(task('cancelled')), 'upstream_cancelled'],
    ['is lost', { error: { code: -32602, message: 'unknown' } }, 'upstream_protocol'],
    ['is complete without a result', complete(task('completed')), 'upstream_protocol'],
    ['ends in a further task', complete(task('completed', { result: { resultType: 'task' } })), 'upstream_protocol'],
    [
      'asks what nobody can answer',
      complete(task('input_required', { inputRequests: { q: elicit } })),
      'upstream_protocol',
    ],
  ])('one that %s is a fault with an unknown outcome', async (_what, last, code) => {
    const { connection } = await openScript(
      'modern',
      ({ message }) => (message['method'] === 'tools/call' ? created() : last),
      TASKS,
    );
    expect(await faultOf(connection.request({ ...CALL, task: 'optional' }, never))).toMatchObject({
      code,
      dispatched: 'unknown',
    });
  });

  test('whoever gives up cancels the task', async () => {
    const caller = new AbortController();
    const { server, connection } = await openScript(
      'modern',
      ({ message }) => {
        if (message['method'] === 'tasks/get') caller.abort('caller left');
        return message['method'] === 'tools/call' ? created() : complete(task('working'));
      },
      TASKS,
    );
    expect(await faultOf(connection.request({ ...CALL, task: 'optional' }, caller.signal))).toMatchObject({
      code: 'upstream_cancelled',
      dispatched: 'unknown',
    });
    await until('the task is cancelled', () => server.sent('tasks/cancel').length === 1);
    expect(paramsOf(server.sent('tasks/cancel')[0]!)['taskId']).toBe('t 1');
  });

  test('a task that nobody wanted is no outcome', async () => {
    const { connection } = await openScript('modern', () => created(), TASKS);
    expect(await faultOf(connection.request({ ...CALL, onAsk: yes }, never))).toMatchObject({
      code: 'upstream_protocol',
      message: 'a result names no known outcome (resultType)',
    });
  });

  test('a task outlives the time limit of one request, and the caller ends it', async () => {
    const caller = new AbortController();
    let polls = 0;
    const { connection } = await openScript(
      'modern',
      ({ message }) => {
        if (message['method'] === 'tasks/get' && ++polls === 12) caller.abort('deadline');
        return message['method'] === 'tools/call' ? created() : complete(task('working', { pollIntervalMs: 60 }));
      },
      TASKS,
      400,
    );
    const fault = await faultOf(connection.request({ ...CALL, task: 'optional' }, caller.signal));
    expect(fault).toMatchObject({ code: 'upstream_timeout', dispatched: 'unknown' });
    expect(polls).toBe(12);
  });
});

describe('a legacy stream that ends early', () => {
  const reply = (id: unknown): Json => ({ id, result: { content: [{ type: 'text', text: 'in the end' }] } });

  test('is resumed from the last event after the pause the server asked for; the call is sent once', async () => {
    let id: unknown;
    const gets: Array<string | string[] | undefined> = [];
    const { server, connection } = await openScript('legacy', ({ http, headers, message }, response) => {
      if (message['method'] === 'tools/call') {
        id = message['id'];
        openStream(response);
        response.end('id: a\ndata: \n\nretry: 40\n\n');
      } else if (http === 'GET' && headers['last-event-id'] !== undefined) {
        gets.push(headers['last-event-id']);
        openStream(response);
        if (gets.length === 1) {
          const token = (paramsOf(server.sent('tools/call')[0]!)['_meta'] as Json)['progressToken'];
          const params = { progressToken: token, progress: 1 };
          response.end(event({ method: 'notifications/progress', params }, 'b'));
        } else if (gets.length === 2) response.destroy();
        else response.end(event(reply(id), 'c'));
      }
    });
    const polled: number[] = [];
    const heard: unknown[] = [];
    const result = await connection.request(
      { ...CALL, onPolling: (ms) => polled.push(ms), onNotification: ({ params }) => heard.push(params) },
      never,
    );
    expect(JSON.stringify(result)).toContain('in the end');
    expect(gets).toEqual(['a', 'b', 'b']);
    expect(polled).toEqual([40, 40]);
    expect(heard).toEqual([{ progress: 1 }]);
    expect(server.sent('tools/call')).toHaveLength(1);
    expect(server.received.filter(({ headers }) => headers['last-event-id'] !== undefined)[0]?.headers).toMatchObject({
      'mcp-session-id': 'session-1',
      'mcp-protocol-version': '2025-11-25',
      accept: 'text/event-stream',
    });
  });

  test.each<[what: string, first: string, get: number | 'nothing', attempts: number]>([
    ['gave no ids', 'data: \n\n', 200, 0],
    ['refuses to resume', 'id: a\ndata: \n\nretry: 1\n\n', 405, 1],
    ['forgot the session', 'id: a\ndata: \n\nretry: 1\n\n', 404, 1],
    ['resumes and has nothing to say', 'id: a\ndata: \n\nretry: 1\n\n', 'nothing', 5],
    ['gave an id that no header can carry', 'id: \u00e4\ndata: \n\n', 200, 0],
  ])('and %s: the answer is lost, the call is not sent again', async (_what, first, get, attempts) => {
    const { server, connection } = await openScript('legacy', ({ http, headers, message }, response) => {
      if (message['method'] === 'tools/call') {
        openStream(response);
        response.end(first);
      } else if (http === 'GET' && headers['last-event-id'] !== undefined) {
        if (get === 'nothing') openStream(response);
        else response.writeHead(get);
        response.end();
      }
    });
    expect(await faultOf(connection.request(CALL, never))).toMatchObject({
      code: 'upstream_closed',
      dispatched: 'unknown',
    });
    expect(server.sent('tools/call')).toHaveLength(1);
    expect(server.received.filter(({ headers }) => headers['last-event-id'] !== undefined)).toHaveLength(attempts);
  });

  test('a modern one is never resumed', async () => {
    const { server, connection } = await openScript('modern', (_received, response) => {
      openStream(response);
      response.end('id: a\ndata: \n\n');
    });
    expect((await faultOf(connection.request(CALL, never))).code).toBe('upstream_closed');
    expect(server.received.filter(({ http }) => http === 'GET')).toEqual([]);
  });
});

describe('questions of a legacy server', () => {
  const asking =
    (text: string): Script =>
    ({ message }, response) => {
      if (message['method'] !== 'tools/call') return;
      openStream(response);
      response.write(text);
      response.end(event({ id: message['id'], result: { content: [] } }));
    };
  const posted = (server: Awaited<ReturnType<typeof scripted>>) =>
    server.received.filter(({ http, message }) => http === 'POST' && message['method'] === undefined);

  test.each<[what: string, question: Json, lane: JsonObject, answer: Json]>([
    ['of an unknown kind', { method: 'tools/call' }, ALL, { code: -32601, message: 'Method not found' }],
    ['PH-08: for what was not declared', elicit, {}, { code: -32601, message: 'Method not found' }],
  ])('%s is refused', async (_what, question, capabilities, error) => {
    const server = await scripted('legacy', { tools: {} }, asking(event({ id: 'q', ...question })));
    const pool = testPool();
    closers.push(server.close, pool.closeAll);
    const connection = await pool.connection('s', httpServer(server.url, { era: 'legacy' }), {
      key: 'a',
      capabilities,
    });
    await connection.request({ ...CALL, onAsk: yes }, never);
    await until('it was answered', () => posted(server).length === 1);
    expect(posted(server)[0]?.message).toEqual({ jsonrpc: '2.0', id: 'q', error });
  });

  test('several at once are all handed over, and answered each by its id', async () => {
    let open = 0;
    let most = 0;
    let release: () => void = () => {};
    const all = new Promise<void>((resolve) => (release = resolve));
    let finish: () => void = () => {};
    const { server, connection } = await openScript('legacy', ({ message }, response) => {
      if (message['method'] !== 'tools/call') return;
      openStream(response);
      for (const id of [1, 2, 'three']) response.write(event({ id, ...elicit }));
      finish = () => response.end(event({ id: message['id'], result: { content: [] } }));
    });
    const onAsk: OnAsk = async (asks, signal) => {
      most = Math.max(most, ++open);
      if (open === 3) release();
      await all;
      return yes(asks, signal);
    };
    const pending = connection.request({ ...CALL, onAsk }, never);
    await until('all are answered', () => posted(server).length === 3);
    finish();
    await pending;
    expect(most).toBe(3);
    expect(posted(server).map(({ message }) => message['id'])).toEqual(expect.arrayContaining([1, 2, 'three']));
  });

  test('one that the server takes back is ended and not answered; the request goes on', async () => {
    let finish: () => void = () => {};
    const { server, connection } = await openScript('legacy', ({ message }, response) => {
      if (message['method'] !== 'tools/call') return;
      openStream(response);
      response.write(event({ id: 'q', ...elicit }));
      response.write(event({ method: 'notifications/cancelled', params: { requestId: 'q' } }));
      finish = () => response.end(event({ id: message['id'], result: { content: [] } }));
    });
    const onAsk: OnAsk = (_asks, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(new Error('taken back'));
          setTimeout(finish, 20);
        });
      });
    expect(await connection.request({ ...CALL, onAsk }, never)).toMatchObject({ kind: 'result' });
    expect(posted(server)).toEqual([]);
  });

  test('the level of log lines is told once, and again only when somebody wants more', async () => {
    const { server, connection } = await openScript(
      'legacy',
      ({ message }) => (message['id'] === undefined ? undefined : { result: {} }),
      { tools: {}, logging: {} },
    );
    for (const logLevel of ['error', 'error', 'info', 'warning', 'info', 'debug'])
      await connection.request({ ...CALL, logLevel, onNotification: () => {} }, never);
    expect(server.sent('logging/setLevel').map((one) => paramsOf(one)['level'])).toEqual(['error', 'info', 'debug']);
  });
});

describe('subscriptions of a modern server', () => {
  const CAN = { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } };
  interface Listen {
    readonly id: unknown;
    readonly filter: Json;
    readonly response: ServerResponse;
    open: boolean;
  }
  async function listening() {
    const listens: Listen[] = [];
    const { connection } = await openScript(
      'modern',
      ({ message }, response) => {
        if (message['method'] !== 'subscriptions/listen') return;
        const one = { id: message['id'], filter: paramsOf({ message })['notifications'] as Json, response, open: true };
        response.once('close', () => (one.open = false));
        listens.push(one);
        openStream(response);
      },
      CAN,
    );
    const say = (one: Listen | undefined, method: string, params: Json = {}): void =>
      void one?.response.write(
        event({
          method: `notifications/${method}`,
          params: { ...params, _meta: { [`${META}subscriptionId`]: one.id } },
        }),
      );
    const heard: ServerChange[] = [];
    const stop = connection.onChange((change) => heard.push(change));
    await until('it listens', () => listens.length === 1);
    return { connection, listens, say, heard, stop };
  }

  test('a new one is opened before the old one ends, and what both say is heard once', async () => {
    const { connection, listens, say, heard } = await listening();
    expect(listens[0]?.filter).toEqual({ toolsListChanged: true, resourcesListChanged: true });
    say(listens[0], 'subscriptions/acknowledged', { notifications: {} });
    connection.watch(new Set(['a://1', 'a://2']));
    await until('the second is there', () => listens.length === 2);
    expect(listens[1]?.filter).toMatchObject({ resourceSubscriptions: ['a://1', 'a://2'] });
    expect(listens[0]?.open).toBe(true);
    say(listens[0], 'tools/list_changed');
    // The same change, on a subscription that is not acknowledged yet.
    say(listens[1], 'tools/list_changed');
    await until('the old one is still heard', () => heard.length === 1);
    say(listens[1], 'subscriptions/acknowledged', { notifications: {} });
    await until('the old one is closed', () => listens[0]?.open === false);
    say(listens[1], 'resources/updated', { uri: 'a://1' });
    say(listens[1], 'resources/updated', { uri: 'a://1/part' });
    say(listens[1], 'resources/updated', { uri: 'b://other' });
    say(listens[1], 'resources/list_changed');
    await until('all are heard', () => heard.length === 4);
    expect(heard).toEqual([
      { what: 'tools' },
      { what: 'resource', uri: 'a://1' },
      { what: 'resource', uri: 'a://1' },
      { what: 'resources' },
    ]);
    connection.watch(new Set(['a://2', 'a://1']));
    expect(listens).toHaveLength(2);
  });

  test('after a break everything is reported once, when the server listens again', async () => {
    const { connection, listens, say, heard } = await listening();
    connection.watch(new Set(['a://1']));
    await until('the second is there', () => listens.length === 2);
    say(listens[1], 'subscriptions/acknowledged', {});
    await until('the first is closed', () => listens[0]?.open === false);
    listens[1]?.response.destroy();
    await until('it listens again', () => listens.length === 3);
    expect(heard).toEqual([]);
    say(listens[2], 'subscriptions/acknowledged', {});
    await until('all is reported', () => heard.length >= 3);
    expect(heard).toEqual([{ what: 'tools' }, { what: 'resources' }, { what: 'resource', uri: 'a://1' }]);
  });

  test('ends when nobody wants to hear any more', async () => {
    const { listens, say, stop } = await listening();
    say(listens[0], 'subscriptions/acknowledged', {});
    stop();
    await until('it is closed', () => listens[0]?.open === false);
    expect(listens).toHaveLength(1);
  });
});
