/** Tasks as clients of both revisions meet them, over servers of both eras. Who may see one, and faults: tasks-guarded.test.ts. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CallToolResultSchema, ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ToolRecord, toolId } from '../../src/integrity/records.ts';
import type { TaskSupport } from '../../src/integrity/records.ts';
import { ASKS } from '../../src/inventory/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { startEverything } from '../conformance/everything.ts';
import type { Everything } from '../conformance/everything.ts';
import { ERAS, ORG, startRig } from '../support/rig.ts';
import type { CallOptions, Rig } from '../support/rig.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { ALLOW_ALL, JOBS, TASKS, TASKS_AND_FORMS, begin, onTask, reaches } from '../support/tasks.ts';

const closers: Array<() => Promise<unknown>> = [];
let rig: Rig;
const OLD: CallOptions = { era: 'legacy' };
const THEIR_TASK = 'their-task';

/** A modern server that makes tasks itself. */
function withTasks(sink: Sink): void {
  const capabilities = { tools: {}, ...TASKS };
  const task = { taskId: THEIR_TASK, createdAt: new Date(0).toISOString(), ttlMs: null, pollIntervalMs: 10 };
  const result = { resultType: 'complete', content: [{ type: 'text', text: 'by a task of the server' }] };
  let polled = 0;
  sink.on('server/discover', () => ({
    supportedVersions: ['2026-07-28'],
    capabilities,
    ttlMs: 0,
    cacheScope: 'private',
  }));
  sink.onCall(() => ({ ...task, resultType: 'task', status: 'working' }));
  sink.on('tasks/get', () => ({
    ...task,
    ...(++polled < 3 ? { status: 'working' } : { status: 'completed', result }),
  }));
}

beforeAll(async () => {
  const everything: Everything[] = await Promise.all(ERAS.map((era) => startEverything(era)));
  closers.push(...everything.map((one) => () => one.close()));
  const real = ERAS.map((era, at) => [`real-${era}`, { era, url: everything[at]!.url, record: { asks: [...ASKS] } }]);
  rig = await startRig({
    servers: {
      notes: { tools: JOBS },
      old: { era: 'legacy', tools: JOBS },
      tasked: { tools: JOBS, script: withTasks },
      ...Object.fromEntries(real),
    },
  });
  closers.unshift(() => rig.stop());
  await rig.policy('all', ALLOW_ALL);
});
afterAll(async () => {
  for (const close of closers) await close();
});
beforeEach(() => {
  for (const server of ['notes', 'old'])
    rig
      .sink(server)
      .onCall((call) => ({ content: [{ type: 'text', text: `done ${String(call.arguments['text'])}` }] }));
});

const call = (server: string, name: string, how: CallOptions = {}, more: JsonObject = {}) =>
  rig.ask(server, 'tools/call', { name, arguments: { text: 'x' }, ...more }, how);

describe('which calls become tasks', () => {
  const modern: CallOptions = { capabilities: TASKS };
  test.each([
    ['a modern client with the extension', 'optional_job', modern, {}, 'task'],
    ['a modern client with the extension', 'required_job', modern, {}, 'task'],
    ['a modern client with the extension', 'forbidden_job', modern, {}, 'plain'],
    ['a modern client with the extension', 'plain_job', modern, {}, 'plain'],
    ['a modern client with the extension and an old wish', 'plain_job', modern, { task: { ttl: 1 } }, 'plain'],
    ['a modern client without it', 'optional_job', {}, {}, 'plain'],
    ['a modern client without it', 'required_job', {}, {}, -32021],
    ['a modern client without it and an old wish', 'optional_job', {}, { task: {} }, 'plain'],
    ['an old client that asks', 'optional_job', OLD, { task: {} }, 'old task'],
    ['an old client that asks', 'required_job', OLD, { task: { ttl: 90_000 } }, 'old task'],
    ['an old client that asks', 'forbidden_job', OLD, { task: {} }, -32601],
    ['an old client that asks', 'plain_job', OLD, { task: {} }, -32601],
    ['an old client that asks with nonsense', 'optional_job', OLD, { task: 7 }, -32602],
    ['an old client that does not ask', 'optional_job', OLD, {}, 'plain'],
    ['an old client that does not ask', 'required_job', OLD, {}, 'plain'],
  ] as const)('%s, %s', async (_who, tool, how, more, becomes) => {
    for (const server of ['notes', 'old']) {
      const before = rig.sink(server).calls().length;
      const { result, error } = await call(server, tool, how, more);
      if (typeof becomes === 'number') {
        expect(error?.code).toBe(becomes);
        expect(rig.sink(server).calls().length).toBe(before);
        continue;
      }
      expect(error).toBeUndefined();
      if (becomes === 'plain') expect(result?.['content']).toEqual([{ type: 'text', text: 'done x' }]);
      else expect(result?.['content']).toBeUndefined();
      if (becomes === 'task') expect(result).toMatchObject({ resultType: 'task', ttlMs: 3_600_000 });
      if (becomes === 'old task') expect(result).toMatchObject({ task: { status: 'working' } });
    }
  });

  test("a reviewer's word counts for more than the definition's, both ways, and is what clients are shown", async () => {
    const say = async (tool: string, tasks: TaskSupport | null): Promise<void> => {
      const stored = rig.view.get('tool', ORG, toolId('notes', tool))!;
      const record = ToolRecord.parse(stored.body);
      const { tasks: _before, ...approved } = record.approved!;
      const body = { ...record, approved: { ...approved, ...(tasks && { tasks }) } };
      await rig.commit([{ kind: 'tool', org: ORG, id: stored.id, body }]);
    };
    await say('plain_job', 'optional');
    await say('optional_job', 'forbidden');
    expect((await call('notes', 'plain_job', modern)).result).toMatchObject({ resultType: 'task' });
    expect((await call('notes', 'optional_job', modern)).result).toMatchObject({ resultType: 'complete' });
    const { result } = await rig.ask('notes', 'tools/list', {}, OLD);
    const shown = (result!['tools'] as JsonObject[]).map(({ name, execution }) => [name, execution]);
    expect(shown).toContainEqual(['plain_job', { taskSupport: 'optional' }]);
    expect(shown).toContainEqual(['optional_job', { taskSupport: 'forbidden' }]);
    await say('plain_job', null);
    await say('optional_job', null);
    expect((await call('notes', 'plain_job', modern)).result).toMatchObject({ resultType: 'complete' });
  });

  test('the refusal names the extension that is missing', async () => {
    const { status, error } = await call('notes', 'required_job');
    expect(status).toBe(400);
    expect(error?.message).toBe('Missing required client capability');
    expect(error?.data).toMatchObject({ requiredCapabilities: TASKS });
  });

  test('a session older than tasks calls as ever, and has no methods for them', async () => {
    const token = rig.token('dana');
    const session = await rig.openSession('notes', token, '2025-06-18');
    const how = { ...OLD, token, session, headers: { 'mcp-protocol-version': '2025-06-18' } };
    expect((await call('notes', 'optional_job', how, { task: {} })).result?.['content']).toBeDefined();
    expect((await rig.ask('notes', 'tasks/list', {}, how)).error?.code).toBe(-32601);
  });
});

describe('a task of the extension', () => {
  test('is working, then completed with the result as the call itself would have had it', async () => {
    const { promise, resolve } = Promise.withResolvers<JsonObject>();
    rig.sink().onCall(() => promise);
    const id = await begin(rig, 'optional_job');
    expect(id).toMatch(/^task_[A-Za-z0-9_-]{32}$/);
    expect((await onTask(rig, 'tasks/get', id)).result).toMatchObject({ status: 'working', resultType: 'complete' });
    resolve({ content: [{ type: 'text', text: 'at last' }] });
    const { result, lastUpdatedAt, createdAt } = await reaches(rig, id, 'completed');
    expect(result).toMatchObject({ resultType: 'complete', content: [{ type: 'text', text: 'at last' }] });
    expect(Date.parse(lastUpdatedAt as string)).toBeGreaterThanOrEqual(Date.parse(createdAt as string));
  });

  test("a tool's own failure completes it, an error of the server fails it", async () => {
    rig.sink().onCall(() => ({ content: [{ type: 'text', text: 'no luck' }], isError: true }));
    const failed = await reaches(rig, await begin(rig, 'required_job'), 'completed');
    expect(failed['result']).toMatchObject({ isError: true });
    rig.sink().onCall(() => ({ error: { code: -32603, message: 'broken' } }));
    const broken = await reaches(rig, await begin(rig, 'optional_job'), 'failed');
    expect(broken['error']).toMatchObject({ code: -32603 });
    expect(broken).not.toHaveProperty('result');
  });

  test('is cancelled at once, and so is what the server does; a second time changes nothing', async () => {
    const gone = Promise.withResolvers<void>();
    rig.sink().onCall(async (one) => {
      await one.gone;
      gone.resolve();
      return {};
    });
    const id = await begin(rig, 'optional_job');
    await rig.until('the call is there', () => rig.sink().calls().length > 0);
    expect((await onTask(rig, 'tasks/cancel', id)).result).not.toHaveProperty('status');
    expect((await onTask(rig, 'tasks/get', id)).result?.['status']).toBe('cancelled');
    await gone.promise;
    expect((await onTask(rig, 'tasks/cancel', id)).result?.['resultType']).toBe('complete');
    expect((await onTask(rig, 'tasks/get', id)).result).not.toHaveProperty('result');
  });

  test('goes on when its client goes away', async () => {
    const { promise, resolve } = Promise.withResolvers<JsonObject>();
    rig.sink().onCall(() => promise);
    const live = await rig.live(
      'notes',
      'tools/call',
      { name: 'optional_job', arguments: { text: 'x' } },
      { capabilities: TASKS },
    );
    const id = (await live.answer).result?.['taskId'] as string;
    live.leave();
    resolve({ content: [{ type: 'text', text: 'still' }] });
    await reaches(rig, id, 'completed');
  });

  test('a client that does not declare the extension has none of its methods', async () => {
    const id = await begin(rig, 'optional_job');
    for (const method of ['tasks/get', 'tasks/cancel', 'tasks/update']) {
      const more = method === 'tasks/update' ? { inputResponses: {} } : {};
      const { error, status } = await onTask(rig, method, id, { capabilities: {}, more });
      expect([status, error?.code, error?.data]).toMatchObject([400, -32021, { requiredCapabilities: TASKS }]);
    }
    for (const method of ['tasks/result', 'tasks/list'])
      expect((await onTask(rig, method, id)).error?.code).toBe(-32601);
  });
});

const idsOf = (list: JsonObject | undefined) =>
  ((list?.['tasks'] ?? []) as JsonObject[]).map(({ taskId }) => taskId as string);

describe('a task of 2025-11-25', () => {
  test('is announced with its capability, in that revision alone', async () => {
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } };
    const { result } = await rig.ask('notes', 'initialize', params, OLD);
    expect(result?.['capabilities']).toMatchObject({
      tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
    });
    const older = await rig.ask('notes', 'initialize', { ...params, protocolVersion: '2025-06-18' }, OLD);
    expect(older.result?.['capabilities']).not.toHaveProperty('tasks');
  });

  test('keeps the time its client asks for, and blocks for its result', async () => {
    const { promise, resolve } = Promise.withResolvers<JsonObject>();
    rig.sink().onCall(() => promise);
    const id = await begin(rig, 'required_job', { ...OLD, task: { ttl: 90_000 } });
    expect((await onTask(rig, 'tasks/get', id, OLD)).result).toMatchObject({
      taskId: id,
      status: 'working',
      ttl: 90_000,
    });
    const waiting = onTask(rig, 'tasks/result', id, OLD);
    resolve({ content: [{ type: 'text', text: 'at last' }] });
    const { result } = await waiting;
    expect(result?.['content']).toEqual([{ type: 'text', text: 'at last' }]);
    expect(result?.['_meta']).toMatchObject({ 'io.modelcontextprotocol/related-task': { taskId: id } });
    expect((await onTask(rig, 'tasks/result', id, OLD)).result?.['content']).toEqual(result?.['content']);
  });

  test("a tool's own failure is `failed`, and the result is the failure", async () => {
    rig.sink().onCall(() => ({ content: [], isError: true }));
    const id = await begin(rig, 'optional_job', { ...OLD, task: {} });
    expect((await onTask(rig, 'tasks/result', id, OLD)).result?.['isError']).toBe(true);
    expect((await onTask(rig, 'tasks/get', id, OLD)).result?.['status']).toBe('failed');
  });

  test('an error of the server is the answer to tasks/result', async () => {
    rig.sink().onCall(() => ({ error: { code: -32603, message: 'broken' } }));
    const id = await begin(rig, 'optional_job', { ...OLD, task: {} });
    expect((await onTask(rig, 'tasks/result', id, OLD)).error).toMatchObject({ code: -32603 });
  });

  test('is cancelled before the answer to that, once; its result is an error then', async () => {
    rig.sink().onCall((one) => one.gone.then(() => ({})));
    const id = await begin(rig, 'optional_job', { ...OLD, task: {} });
    const waiting = onTask(rig, 'tasks/result', id, OLD);
    expect((await onTask(rig, 'tasks/cancel', id, OLD)).result).toMatchObject({ taskId: id, status: 'cancelled' });
    expect((await waiting).error?.message).toContain('cancelled');
    expect((await onTask(rig, 'tasks/cancel', id, OLD)).error).toMatchObject({ code: -32602 });
  });

  test('is listed to its owner, page by page, and to nobody else', async () => {
    const mine = { ...OLD, as: 'dora' };
    const begun: string[] = [];
    for (let at = 0; at < 53; at++) begun.push(await begin(rig, 'optional_job', { ...mine, task: {} }));
    const pages: string[][] = [];
    for (let cursor: string | undefined; pages.length < 3;) {
      const { result } = await rig.ask('notes', 'tasks/list', cursor === undefined ? {} : { cursor }, mine);
      pages.push(idsOf(result));
      cursor = result?.['nextCursor'] as string | undefined;
      if (cursor === undefined) break;
      const stolen = await rig.ask('notes', 'tasks/list', { cursor }, OLD);
      expect(stolen.error?.message).toContain('cursor is not one of this list');
    }
    expect(pages.map((page) => page.length)).toEqual([50, 3]);
    expect(pages.flat()).toEqual(begun);
    const others = await rig.ask('notes', 'tasks/list', {}, OLD);
    expect(idsOf(others.result)).not.toContain(begun[0]);
  });
});

describe.each(ERAS)('questions of a real %s server inside a task', (era) => {
  const server = `real-${era}`;
  const how = { server, capabilities: TASKS_AND_FORMS };
  const yes: JsonObject = { action: 'accept', content: { confirm: true } };
  const update = (id: string, inputResponses: JsonObject) =>
    onTask(rig, 'tasks/update', id, { ...how, more: { inputResponses } });

  test('are shown, answered one by one, and never shown again', async () => {
    const id = await begin(rig, 'multi_input', { ...how, args: {} });
    await rig.until('both questions', async () => {
      const { result } = await onTask(rig, 'tasks/get', id, how);
      return Object.keys((result?.['inputRequests'] as JsonObject | undefined) ?? {}).length === 2;
    });
    const seen = new Set<string>();
    for (let asked = 0; asked < 2; asked++) {
      const shown = await reaches(rig, id, 'input_required', how);
      const [key] = Object.keys(shown['inputRequests'] as JsonObject);
      expect(seen.has(key!)).toBe(false);
      seen.add(key!);
      expect((await update(id, { [key!]: yes, other: yes })).result?.['resultType']).toBe('complete');
      const after = (await onTask(rig, 'tasks/get', id, how)).result;
      expect(Object.keys((after?.['inputRequests'] as JsonObject | undefined) ?? {})).not.toContain(key);
    }
    const { result } = await reaches(rig, id, 'completed', how);
    expect(JSON.stringify(result)).toContain('Both answers are there.');
  });

  test('an answer that does not fit leaves the question open', async () => {
    const id = await begin(rig, 'confirm_delete', { ...how, args: { filename: 'a' } });
    const shown = await reaches(rig, id, 'input_required', how);
    const [key] = Object.keys(shown['inputRequests'] as JsonObject);
    await update(id, { [key!]: { action: 'accept', content: { confirm: 'perhaps' } } });
    expect((await onTask(rig, 'tasks/get', id, how)).result?.['status']).toBe('input_required');
    await update(id, { [key!]: yes });
    expect(JSON.stringify(await reaches(rig, id, 'completed', how))).toContain('Deleted a.');
  });

  test('a required tool asks before there is a task, and the task begins with the answer', async () => {
    const params = { name: 'test_tool_with_task', arguments: {} };
    const first = await rig.ask(server, 'tools/call', params, how);
    expect(first.result).toMatchObject({ resultType: 'input_required' });
    expect(first.result).not.toHaveProperty('taskId');
    const [key] = Object.keys(first.result?.['inputRequests'] as JsonObject);
    const again = await rig.ask(
      server,
      'tools/call',
      {
        ...params,
        requestState: first.result!['requestState']!,
        inputResponses: { [key!]: { action: 'accept', content: { name: 'Alice' } } },
      },
      how,
    );
    expect(again.result).toMatchObject({ resultType: 'task' });
    const { result } = await reaches(rig, again.result!['taskId'] as string, 'completed', how);
    expect(JSON.stringify(result)).toContain('Alice');
  });

  /** A session of its own, so that what is posted is posted in it. */
  async function oldSession() {
    const token = rig.token('dana', { server });
    const session = await rig.openSession(server, token, '2025-11-25', { elicitation: {} });
    const headers = {
      authorization: `Bearer ${token}`,
      'mcp-protocol-version': '2025-11-25',
      'mcp-session-id': session,
    };
    const post = (id: unknown, outcome: JsonObject) =>
      rig.post(server, { jsonrpc: '2.0', id: id as string, ...outcome }, headers);
    return { how: { era: 'legacy' as const, server, token, session }, post };
  }

  test('reach a client of 2025-11-25 on the stream of tasks/result, and its answer reaches the server', async () => {
    const [asked, other] = await Promise.all([oldSession(), oldSession()]);
    const id = await begin(rig, 'confirm_delete', { ...asked.how, args: { filename: 'b' }, task: {} });
    await reaches(rig, id, 'input_required', asked.how);
    const live = await rig.live(server, 'tasks/result', { taskId: id }, asked.how);
    const question = await live.event('elicitation/create');
    expect(question['params']).toMatchObject({
      message: 'Delete b?',
      _meta: { 'io.modelcontextprotocol/related-task': { taskId: id } },
    });
    // The session that was asked answers; another one of the same person is as unknown as anybody.
    expect((await other.post(question['id'], { result: yes })).status).toBe(400);
    expect((await asked.post(question['id'], { result: yes })).status).toBe(202);
    await live.answer;
    expect(JSON.stringify(live.events.at(-1))).toContain('Deleted b.');
  });

  test('refused on that stream, the server hears that nobody agreed', async () => {
    const { how: old, post } = await oldSession();
    const id = await begin(rig, 'confirm_delete', { ...old, args: { filename: 'c' }, task: {} });
    const live = await rig.live(server, 'tasks/result', { taskId: id }, old);
    const question = await live.event('elicitation/create');
    expect((await post(question['id'], { error: { code: -1, message: 'no' } })).status).toBe(202);
    // This server does not take no for an answer: it asks anew, under another id, and nothing was deleted.
    const questions = () => live.events.filter(({ method }) => method === 'elicitation/create');
    if (era === 'modern') {
      await rig.until('it asks again', () => questions().length === 2);
      expect(questions()[1]?.['id']).not.toBe(question['id']);
      expect((await onTask(rig, 'tasks/cancel', id, old)).result?.['status']).toBe('cancelled');
    }
    await live.answer;
    expect(JSON.stringify(live.events.at(-1))).not.toContain('Deleted c.');
  });
});

describe.each(ERAS)('an unmodified SDK v1 client, a %s server', (era) => {
  const server = `real-${era}`;

  async function connect() {
    const client = new Client({ name: 'v1', version: '1' }, { capabilities: { elicitation: { form: {} }, tasks: {} } });
    const authorization = `Bearer ${rig.token('dana', { server })}`;
    const url = new URL(`${rig.url}${rig.endpoint(server)}`);
    await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers: { authorization } } }));
    await client.listTools();
    return client;
  }

  test('streams a task to its result, and answers what it is asked on the way', async () => {
    const client = await connect();
    const asked: string[] = [];
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
      asked.push(params.message);
      return { action: 'accept', content: { confirm: true } };
    });
    const kinds: string[] = [];
    const stream = client.experimental.tasks.callToolStream(
      { name: 'confirm_delete', arguments: { filename: 'sdk' } },
      CallToolResultSchema,
      { task: { ttl: 60_000 } },
    );
    let text = '';
    for await (const message of stream) {
      kinds.push(message.type);
      if (message.type === 'result') text = JSON.stringify(message.result);
    }
    expect(kinds[0]).toBe('taskCreated');
    expect(kinds.at(-1)).toBe('result');
    expect(asked).toEqual(['Delete sdk?']);
    expect(text).toContain('Deleted sdk.');
    await client.close();
  });

  test('gets, lists and cancels its tasks', async () => {
    const client = await connect();
    const stream = client.experimental.tasks.callToolStream(
      { name: 'slow_compute', arguments: { seconds: 60 } },
      CallToolResultSchema,
      { task: { ttl: 60_000 } },
    );
    const { value } = await stream.next();
    if (value?.type !== 'taskCreated') throw new Error(`no task: ${JSON.stringify(value)}`);
    const { taskId } = value.task;
    expect((await client.experimental.tasks.getTask(taskId)).status).toBe('working');
    expect((await client.experimental.tasks.listTasks()).tasks.map((task) => task.taskId)).toContain(taskId);
    expect((await client.experimental.tasks.cancelTask(taskId)).status).toBe('cancelled');
    await expect(client.experimental.tasks.getTaskResult(taskId, CallToolResultSchema)).rejects.toThrow('cancelled');
    await stream.return?.(undefined);
    await client.close();
  });
});

test('a server with tasks of its own is followed by the gateway: its task id reaches nobody', async () => {
  const sink = rig.sink('tasked');
  const id = await begin(rig, 'required_job', { server: 'tasked' });
  const { result } = await reaches(rig, id, 'completed', { server: 'tasked' });
  expect(JSON.stringify(result)).toContain('by a task of the server');
  expect(id).not.toBe(THEIR_TASK);
  expect(sink.requests('tasks/get').map(({ headers }) => headers['mcp-name'])).toContain(THEIR_TASK);
  expect(sink.calls().at(-1)?.body).toContain('io.modelcontextprotocol/tasks');
});
