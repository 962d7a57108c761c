/** `subscriptions/listen`: what a modern client is told, and what it is not. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { openStream } from '../support/event-stream.ts';
import type { EventStream } from '../support/event-stream.ts';
import { JSON_HEADERS, TOOLS, modernHeaders, modernMessage, startRig, textTool } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';

let rig: Rig;
let opened: EventStream[] = [];
beforeAll(async () => {
  rig = await startRig({ servers: { notes: {}, other: {} } });
});
afterAll(() => rig.stop());

/** Every stream of a test is cut and gone before the next one. */
async function cutAll(): Promise<void> {
  for (const one of opened) one.cut();
  opened = [];
  await rig.until('no stream is open', () => rig.gateway.openStreams === 0);
}

async function listen(
  notifications: JsonObject,
  how: { as?: string; server?: string; id?: string | number; client?: string; claims?: object; token?: string } = {},
): Promise<EventStream> {
  const { as = 'dana', server = 'notes', id = 'listen-1', client = 'agent-1' } = how;
  const stream = await openStream(`${rig.url}${rig.endpoint(server)}`, {
    method: 'POST',
    headers: {
      ...JSON_HEADERS,
      ...modernHeaders('subscriptions/listen'),
      authorization: `Bearer ${how.token ?? rig.token(as, { server, client })}`,
    },
    body: JSON.stringify(modernMessage('subscriptions/listen', { notifications }, id)),
  });
  opened.push(stream);
  return stream;
}

const LISTS = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
const methods = (stream: EventStream): readonly unknown[] => stream.messages().map(({ method }) => method);

test('M16: the first message acknowledges what is honoured, with the id of the request in its own type', async () => {
  for (const id of ['one', 1]) {
    const stream = await listen({ toolsListChanged: true, ofNobody: true }, { id });
    const [first] = await stream.atLeast(1);
    expect(stream.status).toBe(200);
    expect(stream.headers['content-type']).toBe('text/event-stream');
    expect(stream.headers['x-accel-buffering']).toBe('no');
    expect(first).toEqual({
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { toolsListChanged: true }, _meta: { [SUBSCRIPTION]: id } },
    });
  }
  await cutAll();
});

test('M16: a change of a list is told once, and only to whoever asked for that list', async () => {
  const tools = await listen({ toolsListChanged: true }, { id: 5 });
  const prompts = await listen({ promptsListChanged: true });
  await Promise.all([tools.atLeast(1), prompts.atLeast(1)]);
  await rig.setPerson('dana', ['developer', 'operator']);
  await tools.atLeast(2);
  expect(tools.messages()[1]).toEqual({
    jsonrpc: '2.0',
    method: 'notifications/tools/list_changed',
    params: { _meta: { [SUBSCRIPTION]: 5 } },
  });
  await rig.setPerson('dana', ['developer']);
  await tools.atLeast(3);
  expect(methods(prompts)).toEqual(['notifications/subscriptions/acknowledged']);
  await cutAll();
});

test('AZ-09: two people listen; a tool that only one of them may use changes, and only that one is told', async () => {
  const operator = await listen(LISTS, { as: 'omar' });
  const developer = await listen(LISTS, { as: 'dana' });
  await Promise.all([operator.atLeast(1), developer.atLeast(1)]);
  expect(await rig.names('notes', { as: 'omar' })).toContain('delete_note');
  expect(await rig.names('notes', { as: 'dana' })).not.toContain('delete_note');

  const lock = await rig.lock({ kind: 'tool', value: 'notes/delete_note' });
  await operator.atLeast(2);
  expect(methods(operator)[1]).toBe('notifications/tools/list_changed');
  // What both may use changes: the developer hears of that, and so had nothing to hear before.
  const second = await rig.lock({ kind: 'tool', value: 'notes/read_note' });
  await Promise.all([operator.atLeast(3), developer.atLeast(2)]);
  expect(methods(developer)).toEqual(['notifications/subscriptions/acknowledged', 'notifications/tools/list_changed']);
  await rig.unlock(lock);
  await rig.unlock(second);
  await cutAll();
});

test('a server that offers something nobody has reviewed changes nothing for a listener; its approval does', async () => {
  const stream = await listen(LISTS, { server: 'other' });
  await stream.atLeast(1);
  const added = textTool('new_note', 'read', 'notes:read');
  rig.sink('other').setTools([...TOOLS, added].map(({ definition }) => definition));
  await rig.look('other');
  const unseen = stream.messages().length;
  await rig.approveTool('other', 'new_note', 'read', 'notes:read');
  await stream.atLeast(2);
  expect(unseen).toBe(1);
  expect(methods(stream)).toEqual(['notifications/subscriptions/acknowledged', 'notifications/tools/list_changed']);
  await cutAll();
});

test('at the aggregate a change of any server that the caller may use is told', async () => {
  const stream = await listen(LISTS, { server: '' });
  await stream.atLeast(1);
  for (const [count, server] of ['notes', 'other'].entries()) {
    const lock = await rig.lock({ kind: 'tool', value: `${server}/read_note` });
    await stream.atLeast(2 + 2 * count);
    await rig.unlock(lock);
    await stream.atLeast(3 + 2 * count);
  }
  expect(new Set(methods(stream).slice(1))).toEqual(new Set(['notifications/tools/list_changed']));
  await cutAll();
});

test.each([
  ['user', 'dana'],
  ['agent', 'agent-1'],
  ['server', 'notes'],
] as const)('RV: a lock on the %s ends the stream at once, with its result', async (kind, value) => {
  const stream = await listen(LISTS, { id: 9 });
  const bystander = await listen(LISTS, { as: 'dora', client: 'agent-2', server: 'other' });
  await Promise.all([stream.atLeast(1), bystander.atLeast(1)]);
  const lock = await rig.lock({ kind, value });
  await stream.end();
  const last = stream.messages().at(-1);
  expect(last).toMatchObject({ id: 9, result: { resultType: 'complete', _meta: { [SUBSCRIPTION]: 9 } } });
  expect(bystander.ended).toBe(false);
  await rig.unlock(lock);
  await cutAll();
  const outcomes = (await rig.entries('outcome')).map(({ outcome }) => [outcome?.status, outcome?.detail]);
  expect(outcomes).toContainEqual(['cancelled', `lock:${lock}`]);
});

test('a stream does not outlive the token it was opened with', async () => {
  const now = Math.floor(Date.now() / 1000);
  const stream = await listen(LISTS, { token: rig.token('dana', { claims: { iat: now - 100, exp: now + 2 } }) });
  await stream.atLeast(1);
  await stream.end(8_000);
  expect(stream.messages().at(-1)).toMatchObject({ result: { resultType: 'complete' } });
  await cutAll();
});

test('its intent is durable before the acknowledgement leaves, its outcome says how many messages left and why it ended', async () => {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => void (release = resolve));
  let recorded = '';
  rig.faults.before = async (entry) => {
    if (entry.call?.method !== 'subscriptions/listen' || entry.kind !== 'intent') return;
    recorded = entry.ref ?? '';
    await held;
  };
  const opening = listen({ toolsListChanged: true });
  await rig.until('the intent is being written', () => recorded !== '');
  let head = false;
  void opening.then(() => void (head = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect(head).toBe(false);
  release();
  rig.faults.before = null;
  const stream = await opening;
  await stream.atLeast(1);
  await cutAll();
  await rig.until('both entries', async () => (await rig.about(recorded)).length === 2);
  const [outcome, intent] = (await rig.about(recorded)).toSorted((a, b) => (a.kind < b.kind ? 1 : -1));
  expect(intent?.kind).toBe('intent');
  expect(outcome?.outcome).toMatchObject({ status: 'ok', detail: 'client_gone', sent: { count: 1 } });
});

test('a log that cannot be written opens no stream', async () => {
  rig.faults.before = (entry) => {
    if (entry.call?.method === 'subscriptions/listen') throw new Error('no');
  };
  const stream = await listen(LISTS);
  await stream.end();
  rig.faults.before = null;
  expect(stream.status).toBe(503);
  expect(stream.text()).toContain('cannot record');
  await cutAll();
});

test.each([
  [{ toolsListChanged: 'yes' }, 'notifications.toolsListChanged must be a boolean'],
  [{ resourceSubscriptions: 'a' }, 'notifications.resourceSubscriptions must be an array of strings'],
])('refuses the filter %j by the name of its member', async (notifications, text) => {
  const { status, error } = await rig.ask('notes', 'subscriptions/listen', { notifications });
  expect(status).toBe(400);
  expect(error).toMatchObject({ code: -32602 });
  expect(error?.message).toContain(text);
});

test('refuses a client that takes no events', async () => {
  const answer = await rig.ask(
    'notes',
    'subscriptions/listen',
    { notifications: LISTS },
    { headers: { accept: 'application/json' } },
  );
  expect(answer.status).toBe(406);
  expect(answer.error?.message).toContain('text/event-stream');
});

test('RL-01: one person has 50 streams and not one more; others are not affected, and a closed one makes room', async () => {
  const theirs = await Promise.all(Array.from({ length: 50 }, () => listen(LISTS, { as: 'dora' })));
  await Promise.all(theirs.map((one) => one.atLeast(1)));
  const more = await listen(LISTS, { as: 'dora' });
  await more.end();
  expect(more.status).toBe(429);
  expect(more.text()).toContain('You have 50 streams open here');
  expect((await listen(LISTS, { as: 'dana' })).status).toBe(200);
  theirs[0]!.cut();
  await rig.until('a place is free', () => rig.gateway.openStreams === 50);
  expect((await listen(LISTS, { as: 'dora' })).status).toBe(200);
  await cutAll();
});

test('the end of this node ends its streams with their result', async () => {
  const own = await startRig();
  const stream = await openStream(`${own.url}${own.endpoint('notes')}`, {
    method: 'POST',
    headers: {
      ...JSON_HEADERS,
      ...modernHeaders('subscriptions/listen'),
      authorization: `Bearer ${own.token('dana')}`,
    },
    body: JSON.stringify(modernMessage('subscriptions/listen', { notifications: LISTS }, 3)),
  });
  await stream.atLeast(1);
  await own.stop();
  await stream.end();
  expect(stream.messages().at(-1)).toMatchObject({ id: 3, result: { resultType: 'complete' } });
});
