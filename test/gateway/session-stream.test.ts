/** The GET of a legacy session: what it is told, what can be resumed by whom and where, and what ends it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { GatewayDeps } from '../../src/gateway/gateway.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { openStream } from '../support/event-stream.ts';
import type { EventStream } from '../support/event-stream.ts';
import { JSON_HEADERS, LEGACY, startRig, tableWith } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

let rig: Rig;
let token: string;
let session: string;
let opened: EventStream[] = [];
/** Who watches which topic of the exchange. */
const watches = new Map<string, number>();
const counting = (deps: GatewayDeps): GatewayDeps => ({
  ...deps,
  exchange: {
    ...deps.exchange,
    watch(topic, listener) {
      watches.set(topic, (watches.get(topic) ?? 0) + 1);
      const unwatch = deps.exchange.watch(topic, listener);
      return () => {
        watches.set(topic, watches.get(topic)! - 1);
        unwatch();
      };
    },
  },
});
beforeAll(async () => {
  rig = await startRig({ wrap: counting });
  token = rig.token('dana');
});
afterAll(() => rig.stop());
beforeEach(async () => {
  for (const one of opened) one.cut();
  opened = [];
  await rig.until('no stream is open', () => rig.gateway.openStreams === 0);
  session = await rig.openSession('notes', token);
});

const url = (): string => `${rig.url}${rig.endpoint('notes')}`;
const headersOf = (more: Record<string, string> = {}): Record<string, string> => ({
  accept: 'text/event-stream',
  authorization: `Bearer ${token}`,
  'mcp-session-id': session,
  'mcp-protocol-version': LEGACY,
  ...more,
});
async function hear(more: Record<string, string> = {}): Promise<EventStream> {
  const stream = await openStream(url(), { method: 'GET', headers: headersOf(more) });
  opened.push(stream);
  return stream;
}
async function call(tool: string, args: JsonObject, id: string | number = 1, more = {}): Promise<EventStream> {
  const stream = await openStream(url(), {
    method: 'POST',
    headers: { ...headersOf(), ...JSON_HEADERS },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id,
      method: 'tools/call',
      params: { name: tool, arguments: args, ...more },
    }),
  });
  opened.push(stream);
  return stream;
}
const lastId = (stream: EventStream): string => stream.events.at(-1)?.id ?? '';
const methods = (stream: EventStream): readonly unknown[] => stream.messages().map(({ method }) => method);
/** Something that dana's list of tools depends on. */
const changeTools = async (): Promise<string> => rig.lock({ kind: 'tool', value: 'notes/read_note' });

describe('what it tells', () => {
  test('L7: the first event only says where to resume; a change of a list is an event with an id', async () => {
    const stream = await hear();
    expect(stream.status).toBe(200);
    expect(stream.headers['content-type']).toBe('text/event-stream');
    await rig.until('primed', () => stream.events.length === 1);
    expect(stream.events[0]).toMatchObject({ data: '', retry: '1000' });
    const lock = await changeTools();
    await stream.atLeast(1);
    expect(stream.messages()).toEqual([{ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }]);
    expect(lastId(stream)).toMatch(/^s[\w-]{16}\.\d+$/);
    await rig.unlock(lock);
    await stream.atLeast(2);
  });

  test('L7: a client before 2025-11-25 is not primed; its events have ids', async () => {
    session = await rig.openSession('notes', token, '2025-06-18');
    const stream = await hear({ 'mcp-protocol-version': '2025-06-18' });
    await rig.until('it listens', () => rig.gateway.openStreams === 1);
    const lock = await changeTools();
    await stream.atLeast(1);
    expect(stream.events).toHaveLength(1);
    expect(lastId(stream)).toMatch(/^s[\w-]{16}\.\d+$/);
    await rig.unlock(lock);
  });

  test('AZ-09: what changed for others only is not told', async () => {
    const stream = await hear();
    await rig.until('primed', () => stream.events.length === 1);
    // Only operators may delete, and only then does dana's own list change.
    const others = await rig.lock({ kind: 'tool', value: 'notes/delete_note' });
    const own = await changeTools();
    await stream.atLeast(1);
    expect(methods(stream)).toEqual(['notifications/tools/list_changed']);
    await rig.unlock(others);
    await rig.unlock(own);
  });

  test('a newer stream of the session takes the place of the older one', async () => {
    const older = await hear();
    await rig.until('primed', () => older.events.length === 1);
    const newer = await hear();
    await older.end();
    await rig.until('primed', () => newer.events.length === 1);
    const lock = await changeTools();
    await newer.atLeast(1);
    expect(older.messages()).toEqual([]);
    await rig.unlock(lock);
  });
});

describe('who may open it', () => {
  test('refuses whoever does not take events', async () => {
    const answer = await rig.send('GET', rig.endpoint('notes'), headersOf({ accept: 'application/json' }));
    expect(answer.status).toBe(406);
    expect(answer.error?.message).toContain('text/event-stream');
  });

  test('M26: without a session there is nothing to open', async () => {
    const { 'mcp-session-id': _, ...headers } = headersOf();
    const answer = await rig.send('GET', rig.endpoint('notes'), headers);
    expect(answer.status).toBe(405);
    expect(answer.headers['allow']).toBe('GET, POST, DELETE');
  });

  test.each([
    ['nobody', {}, 401],
    ['another person', { as: 'dora' }, 404],
    ['another agent of the same person', { client: 'agent-2' }, 404],
  ])('PH-04: %s opens no stream of a session', async (_who, how: { as?: string; client?: string }, status) => {
    const stolen = status === 401 ? '' : `Bearer ${rig.token(how.as ?? 'dana', { client: how.client ?? 'agent-1' })}`;
    const stream = await hear({ authorization: stolen });
    await stream.end();
    expect(stream.status).toBe(status);
    expect(rig.gateway.openStreams).toBe(0);
  });

  test('PH-04: the vulnerable twin: without the guard of sessions another person hears this one', async () => {
    const open = await startRig({
      table: tableWith({
        'session-is-theirs': (given, gathered) => ({ pass: true, learned: { session: gathered as never } }),
      }),
    });
    const theirs = await open.openSession('notes', open.token('dana'));
    const stream = await openStream(`${open.url}${open.endpoint('notes')}`, {
      method: 'GET',
      headers: headersOf({ authorization: `Bearer ${open.token('dora')}`, 'mcp-session-id': theirs }),
    });
    expect(stream.status).toBe(200);
    stream.cut();
    await open.stop();
  });
});

describe('what ends it', () => {
  test('L2: the end of the session', async () => {
    const stream = await hear();
    await rig.until('primed', () => stream.events.length === 1);
    expect((await rig.send('DELETE', rig.endpoint('notes'), headersOf())).status).toBe(202);
    await stream.end();
    expect((await hear()).status).toBe(404);
  });

  test('a lock on the person, at once', async () => {
    const stream = await hear();
    await rig.until('primed', () => stream.events.length === 1);
    const lock = await rig.lock({ kind: 'user', value: 'dana' });
    await stream.end();
    expect(rig.gateway.openStreams).toBe(0);
    expect((await hear()).status).toBe(403);
    await rig.unlock(lock);
  });
});

describe('what can be resumed', () => {
  /** A call whose stream is open: it has told its progress once, and answers when released. */
  async function running(id: string | number = 1): Promise<{ stream: EventStream; release: () => void }> {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => void (release = resolve));
    rig.sink().onCall(async ({ notify, message }) => {
      const { _meta } = message['params'] as { _meta: { progressToken: unknown } };
      notify('notifications/progress', { progressToken: _meta.progressToken, progress: 1 });
      await held;
      notify('notifications/progress', { progressToken: _meta.progressToken, progress: 2 });
      return { content: [{ type: 'text', text: `the answer to ${String(id)}` }] };
    });
    const stream = await call('read_note', { text: 'x' }, id, { _meta: { progressToken: `token-${id}` } });
    await stream.atLeast(1);
    return { stream, release };
  }
  const answers = (stream: EventStream): readonly unknown[] =>
    stream
      .messages()
      .map(({ params, result }) => (params as JsonObject)?.['progress'] ?? (result !== undefined && 'reply'));

  test('L5, L7: a call goes on without its client, and its reply is found by resuming', async () => {
    const { stream, release } = await running();
    stream.cut();
    release();
    const resumed = await hear({ 'last-event-id': lastId(stream) });
    await resumed.end();
    expect(answers(resumed)).toEqual([2, 'reply']);
    expect(resumed.messages().at(-1)).toMatchObject({ id: 1, result: { content: [{ text: 'the answer to 1' }] } });
    const whole = await hear({ 'last-event-id': stream.events[0]!.id! });
    await whole.end();
    expect(answers(whole)).toEqual([1, 2, 'reply']);
    expect(whole.messages()).toEqual([...stream.messages(), ...resumed.messages()]);
  });

  test('L7: whoever resumes before the end hears what comes, live', async () => {
    const { stream, release } = await running();
    stream.cut();
    const resumed = await hear({ 'last-event-id': stream.events[0]!.id! });
    await resumed.atLeast(1);
    expect(resumed.ended).toBe(false);
    release();
    await resumed.end();
    expect(answers(resumed)).toEqual([1, 2, 'reply']);
  });

  test('L7: only the stream of that event is replayed', async () => {
    const first = await running('a');
    const second = await running('b');
    for (const { stream, release } of [first, second]) {
      stream.cut();
      release();
    }
    const resumed = await hear({ 'last-event-id': first.stream.events[0]!.id! });
    await resumed.end();
    expect(resumed.messages().filter(({ id }) => id !== undefined)).toMatchObject([{ id: 'a' }]);
    expect(resumed.text()).not.toContain('token-b');
  });

  test('AZ-09: nobody resumes a stream of another session, not even the same person in another one', async () => {
    const { stream, release } = await running();
    stream.cut();
    release();
    const id = lastId(stream);
    session = await rig.openSession('notes', token);
    const own = await hear({ 'last-event-id': id });
    await own.end();
    expect(own.status).toBe(400);
    expect(own.text()).toContain('Last-Event-ID names no event of this session');
    const dora = rig.token('dora');
    session = await rig.openSession('notes', dora);
    const other = await hear({ 'last-event-id': id, authorization: `Bearer ${dora}` });
    await other.end();
    expect(other.status).toBe(400);
    expect(own.text() + other.text()).not.toContain('the answer');
  });

  test.each(['', 'x', 'cAAAAAAAAAAAAAAAA.1', '../../x.1', 'c.1', 'cAAAAAAAAAAAAAAAA.-1'])(
    'refuses the event id %j',
    async (id) => {
      const stream = await hear({ 'last-event-id': id });
      await stream.end();
      expect(stream.status).toBe(400);
    },
  );

  test('AZ-09: a lock on the tool ends whoever resumes its stream, and lets nobody begin', async () => {
    const { stream, release } = await running();
    stream.cut();
    const resumed = await hear({ 'last-event-id': lastId(stream) });
    await rig.until('it listens', () => rig.gateway.openStreams === 1);
    const lock = await changeTools();
    release();
    await resumed.end();
    expect(resumed.text()).not.toContain('the answer');
    const later = await hear({ 'last-event-id': lastId(stream) });
    await later.end();
    expect(later.status).toBe(403);
    await rig.unlock(lock);
  });

  test('what changed while a session did not listen is told when it listens again, once', async () => {
    const stream = await hear();
    await rig.until('primed', () => stream.events.length === 1);
    stream.cut();
    await rig.until('nobody listens', () => rig.gateway.openStreams === 0);
    const lock = await changeTools();
    const resumed = await hear({ 'last-event-id': lastId(stream) });
    await resumed.atLeast(1);
    await rig.unlock(lock);
    await resumed.atLeast(2);
    expect(methods(resumed)).toEqual(['notifications/tools/list_changed', 'notifications/tools/list_changed']);
    const id = lastId(resumed);
    resumed.cut();
    await rig.until('nobody listens', () => rig.gateway.openStreams === 0);
    const quiet = await hear({ 'last-event-id': id });
    await rig.until('primed', () => quiet.events.length === 1);
    const again = await changeTools();
    await quiet.atLeast(1);
    expect(methods(quiet)).toEqual(['notifications/tools/list_changed']);
    await rig.unlock(again);
  });
});

test('a listening session whose earlier stream is not kept any more listens anew, and is told to look at everything', async () => {
  const stream = await hear({ 'last-event-id': `s${'A'.repeat(16)}.7` });
  await stream.atLeast(3);
  expect(new Set(methods(stream))).toEqual(
    new Set(['tools', 'prompts', 'resources'].map((list) => `notifications/${list}/list_changed`)),
  );
});

test('200 streams opened and closed leave no listener behind', async () => {
  for (let round = 0; round < 4; round++) {
    const streams = await Promise.all(
      Array.from({ length: 50 }, async () => {
        const own = await rig.openSession('notes', token);
        return hear({ 'mcp-session-id': own });
      }),
    );
    await rig.until('all listen', () => streams.every((one) => one.events.length === 1));
    expect(rig.gateway.openStreams).toBe(50);
    expect([...watches.values()].filter((count) => count > 1)).toHaveLength(50);
    for (const one of streams) one.cut();
    await rig.until('none is open', () => rig.gateway.openStreams === 0);
  }
  // The node watches its own letters, and a session that it knows once; streams are not watched at all.
  const own = (topic: string): number => (/^(?:session|node)\//.test(topic) ? 1 : 0);
  expect([...watches].filter(([topic, count]) => count > own(topic))).toEqual([]);
});
