/**
 * Two gateways of one deployment in this process, over one state, one log and one exchange: what began on one goes on on the other.
 * The same over two connections to a real PostgreSQL at the end. The oracle is the sink.
 */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { askDesk } from '../../src/gateway/ask-desk.ts';
import { startGateway } from '../../src/gateway/gateway.ts';
import type { Gateway, GatewayDeps } from '../../src/gateway/gateway.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { sessionSealer } from '../../src/protocol/session.ts';
import { openPostgresExchange } from '../../src/store/postgres/exchange.ts';
import { openStream } from '../support/event-stream.ts';
import type { EventStream } from '../support/event-stream.ts';
import { startPostgres } from '../support/postgres.ts';
import { JSON_HEADERS, LEGACY, modernHeaders, startRig, tableWith } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';
import { testPool } from '../support/upstreams/open.ts';

const FORM = { type: 'object', properties: { colour: { type: 'string' } }, required: ['colour'] } as const;
const CAPABILITIES = { elicitation: {} };
const ENVELOPE = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': CAPABILITIES,
};

interface Deployment {
  readonly rig: Rig;
  /** The two nodes. */
  readonly nodes: readonly [Gateway, Gateway];
  readonly keys: GatewayDeps['sessionKeys'];
  stop(): Promise<void>;
}

async function deploy(
  exchanges: ((which: number) => Promise<GatewayDeps['exchange']>) | null = null,
  second: Partial<{ table: ReturnType<typeof tableWith> }> = {},
): Promise<Deployment> {
  let parts: GatewayDeps | null = null;
  const first = await exchanges?.(0);
  const rig = await startRig({
    servers: { old: { era: 'legacy', record: { asks: ['elicitation.form'] } } },
    wrap: (deps) => (parts = { ...deps, ...(first && { exchange: first }) }),
  });
  const pool = testPool();
  const other = await exchanges?.(1);
  const node = await startGateway({ ...parts!, node: 'rig-2', pool, ...(other && { exchange: other }) }, second.table);
  await node.refresh('old');
  return {
    rig,
    nodes: [rig.gateway, node],
    keys: parts!.sessionKeys,
    async stop() {
      await node.close();
      await pool.closeAll();
      await rig.stop();
      await first?.close();
      await other?.close();
    },
  };
}

/** One client of dana's that talks to whichever node it likes. */
function clientOf({ rig, nodes }: Deployment, who = 'dana') {
  const tokens = nodes.map((node) => rig.token(who, { audience: node.listener.resourceUrl('old') }));
  const send = (at: number, method: string, headers: Record<string, string>, body?: JsonObject): Promise<EventStream> =>
    openStream(nodes[at]!.listener.resourceUrl('old'), {
      method,
      headers: { ...JSON_HEADERS, authorization: `Bearer ${tokens[at]}`, ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
  let session: Record<string, string> = {};
  return {
    async initialize(at: number): Promise<void> {
      const params = { protocolVersion: LEGACY, capabilities: CAPABILITIES, clientInfo: { name: 't', version: '1' } };
      const answer = await send(at, 'POST', {}, { jsonrpc: '2.0', id: 0, method: 'initialize', params });
      session = { 'mcp-session-id': String(answer.headers['mcp-session-id']), 'mcp-protocol-version': LEGACY };
      await answer.end();
    },
    session: () => String(session['mcp-session-id']),
    legacy: (at: number, body: JsonObject) => send(at, 'POST', session, { jsonrpc: '2.0', ...body }),
    hear: (at: number, more: Record<string, string> = {}) =>
      send(at, 'GET', { ...session, accept: 'text/event-stream', ...more }),
    end: (at: number) => send(at, 'DELETE', session),
    async modern(at: number, params: JsonObject): Promise<JsonObject> {
      const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { ...params, _meta: ENVELOPE } };
      const answer = await send(
        at,
        'POST',
        { ...modernHeaders('tools/call', params), accept: 'application/json' },
        message,
      );
      await answer.end(20_000);
      return JSON.parse(answer.text()) as JsonObject;
    },
  };
}

/** The server asks for a colour in the middle of the call, and answers with what it was told. */
function asksForColour(rig: Rig): { readonly told: unknown[] } {
  const told: unknown[] = [];
  rig.sink('old').onCall(async ({ ask }) => {
    const answer = await ask('elicitation/create', { message: 'Which colour?', requestedSchema: FORM });
    told.push(answer['result'] ?? answer['error']);
    return { content: [{ type: 'text', text: JSON.stringify(answer['result'] ?? answer['error']) }] };
  });
  return { told };
}
const READ = { name: 'read_note', arguments: { text: 'x' } };
const BLUE = { action: 'accept', content: { colour: 'blue' } };

async function answeredElsewhere(deployment: Deployment): Promise<void> {
  const { told } = asksForColour(deployment.rig);
  const client = clientOf(deployment);
  await client.initialize(0);
  const call = await client.legacy(0, { id: 1, method: 'tools/call', params: READ });
  await call.atLeast(1);
  const question = call.messages()[0]!;
  expect(question['method']).toBe('elicitation/create');
  const posted = await client.legacy(1, { id: question['id']!, result: BLUE });
  await posted.end();
  expect(posted.status).toBe(202);
  await call.end();
  expect(told).toEqual([BLUE]);
  expect(call.messages().at(-1)).toMatchObject({ id: 1, result: { content: [{ type: 'text' }] } });
}

async function retriedElsewhere(deployment: Deployment): Promise<void> {
  const { told } = asksForColour(deployment.rig);
  const client = clientOf(deployment);
  const before = deployment.rig.sink('old').calls().length;
  const { result } = (await client.modern(0, READ)) as { result: JsonObject };
  expect(result['resultType']).toBe('input_required');
  const [key] = Object.keys(result['inputRequests'] as JsonObject);
  const retry = { ...READ, requestState: result['requestState']!, inputResponses: { [key!]: BLUE } };
  const done = await client.modern(1, retry);
  expect(done).toMatchObject({ result: { resultType: 'complete', content: [{ text: JSON.stringify(BLUE) }] } });
  expect(told).toEqual([BLUE]);
  expect(deployment.rig.sink('old').calls().length - before).toBe(1);
}

async function resumedElsewhere(deployment: Deployment): Promise<void> {
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => void (release = resolve));
  deployment.rig.sink('old').onCall(async ({ notify, message }) => {
    const { _meta } = message['params'] as { _meta: { progressToken: unknown } };
    for (const progress of [1, 2]) notify('notifications/progress', { ..._meta, progress });
    await held;
    return { content: [{ type: 'text', text: 'at last' }] };
  });
  const client = clientOf(deployment);
  await client.initialize(0);
  const call = await client.legacy(0, {
    id: 1,
    method: 'tools/call',
    params: { ...READ, _meta: { progressToken: 'p' } },
  });
  await call.atLeast(2);
  call.cut();
  const resumed = await client.hear(1, { 'last-event-id': call.events[1]!.id! });
  await resumed.atLeast(1);
  release();
  await resumed.end();
  expect(resumed.messages()[0]).toMatchObject({ params: { progress: 2, progressToken: 'p' } });
  expect(resumed.messages().at(-1)).toMatchObject({ id: 1, result: { content: [{ text: 'at last' }] } });
}

async function cancelledElsewhere(deployment: Deployment): Promise<void> {
  let gone = false;
  deployment.rig.sink('old').onCall(async (call) => {
    const cancelled = deployment.rig.until(
      'the server is told to stop',
      () => deployment.rig.sink('old').requests('notifications/cancelled').length > 0,
      60_000,
    );
    await Promise.race([call.gone, cancelled]);
    gone = true;
    return { content: [] };
  });
  const client = clientOf(deployment);
  await client.initialize(0);
  const call = client.legacy(0, { id: 'long', method: 'tools/call', params: READ });
  await deployment.rig.until('it runs', () => deployment.rig.sink('old').calls().length > 0);
  const note = await client.legacy(1, { method: 'notifications/cancelled', params: { requestId: 'long' } });
  expect(note.status).toBe(202);
  await deployment.rig.until('the server is told', () => gone, 60_000);
  const ended = await call;
  await ended.end();
  expect(ended.text()).toContain('stopped before it ended');
}

describe('two nodes over one exchange', () => {
  let two: Deployment;
  beforeAll(async () => {
    two = await deploy();
  });
  afterAll(() => two.stop());

  test('an answer that lands on another node reaches the server that asked', () => answeredElsewhere(two));
  test('a retry that lands on another node takes up the parked call there; it is made once', () =>
    retriedElsewhere(two));
  test('L7: a dropped stream is resumed on another node, live to its end', () => resumedElsewhere(two));
  test('a cancellation that lands on another node ends the call', () => cancelledElsewhere(two));

  test('AZ-09: an answer from another session, or to what nobody asked, is refused on every node', async () => {
    const { told } = asksForColour(two.rig);
    const client = clientOf(two);
    await client.initialize(0);
    const call = await client.legacy(0, { id: 1, method: 'tools/call', params: READ });
    await call.atLeast(1);
    const id = call.messages()[0]!['id']!;
    const thief = clientOf(two, 'dora');
    const again = clientOf(two);
    await Promise.all([thief.initialize(1), again.initialize(1)]);
    for (const [other, what] of [
      [thief, id],
      [again, id],
      [client, `ask.${Buffer.from('rig-1').toString('base64url')}.${'A'.repeat(22)}`],
    ] as const) {
      const posted = await other.legacy(1, { id: what, result: { action: 'accept', content: { colour: 'red' } } });
      await posted.end();
      expect(posted.status).toBe(400);
      expect(posted.text()).toContain('answers no question');
    }
    expect(told).toEqual([]);
    await (await client.legacy(1, { id, result: BLUE })).end();
    await call.end();
    expect(told).toEqual([BLUE]);
  });

  test('L2, L6: a session that ends or listens elsewhere stops listening here', async () => {
    const client = clientOf(two);
    await client.initialize(0);
    const here = await client.hear(0);
    await two.rig.until('primed', () => here.events.length === 1);
    const there = await client.hear(1);
    await here.end();
    await two.rig.until('primed', () => there.events.length === 1);
    await (await client.end(0)).end();
    await there.end();
    const after = await client.hear(1);
    await after.end();
    expect(after.status).toBe(404);
  });

  test('a node that is gone is not waited for long, and nobody is told that nothing happened', async () => {
    const client = clientOf(two);
    await client.initialize(0);
    const opened = sessionSealer(two.keys, two.rig.clock).open(client.session());
    if (!opened.ok) throw new Error('its own session opens');
    const { id } = askDesk('rig-9', two.keys).put(opened.value.nonce);
    const posted = await client.legacy(0, { id, result: BLUE });
    await posted.end(8_000);
    expect(posted.status).toBe(400);
  }, 120_000);
});

test('AZ-02: the node where a call is parked decides itself: a node that lets everybody in cannot take it up for somebody locked out', async () => {
  const two = await deploy(null, { table: tableWith({ 'caller-stands': trusting }) });
  const { told } = asksForColour(two.rig);
  const client = clientOf(two);
  const { result } = (await client.modern(0, READ)) as { result: JsonObject };
  const [key] = Object.keys(result['inputRequests'] as JsonObject);
  const retry = { ...READ, requestState: result['requestState']!, inputResponses: { [key!]: BLUE } };
  const lock = await two.rig.lock({ kind: 'agent', value: 'agent-1' });
  const refused = await client.modern(1, retry);
  const { reference } = (refused['error'] as { data: { reference: string } }).data;
  // Its own table has no such decision: only the other node can have made it.
  expect((await two.rig.about(reference)).map(({ decision }) => [decision?.guard, decision?.reason])).toEqual([
    ['caller-stands', `locked:agent:${lock}`],
  ]);
  expect(told).not.toContainEqual(BLUE);
  await two.stop();
});

/** The guard with its decision taken out: whoever the token names is somebody. */
const trusting: NonNullable<Parameters<typeof tableWith>[0][string]> = (call) => {
  const person = call.snapshot.people.byId('dana');
  return { pass: true, learned: { person: person!, ceiling: null } };
};

/** A fetch that cuts an answer off after its first event that is a message, and sends every GET to the other node. */
function brokenWay({ rig, nodes }: Deployment): { readonly fetch: typeof fetch; readonly resumed: string[] } {
  const resumed: string[] = [];
  const bearer = `Bearer ${rig.token('dana', { audience: nodes[1].listener.resourceUrl('old') })}`;
  let cut = false;
  return {
    resumed,
    async fetch(url, init) {
      const headers = new Headers(init?.headers);
      if (init?.method !== 'POST') {
        const last = headers.get('last-event-id');
        if (last !== null) resumed.push(last);
        headers.set('authorization', bearer);
        return fetch(nodes[1].listener.resourceUrl('old'), { ...init, headers });
      }
      const answer = await fetch(url, init);
      if (cut || !answer.headers.get('content-type')?.includes('event-stream') || answer.body === null) return answer;
      cut = true;
      const reader = answer.body.getReader();
      let read = '';
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { value, done } = await reader.read();
          if (done) return controller.close();
          read += Buffer.from(value).toString();
          controller.enqueue(value);
          if (!read.includes('notifications/progress')) return;
          await reader.cancel();
          controller.error(new TypeError('the network is gone'));
        },
      });
      return new Response(body, answer);
    },
  };
}

test('L7: an SDK v1 client whose connection breaks in the middle of a call gets its result from another node', async () => {
  const two = await deploy();
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => void (release = resolve));
  two.rig.sink('old').onCall(async ({ notify, message }) => {
    const { _meta } = message['params'] as { _meta: { progressToken: unknown } };
    notify('notifications/progress', { ..._meta, progress: 1 });
    await held;
    notify('notifications/progress', { ..._meta, progress: 2 });
    return { content: [{ type: 'text', text: 'at last' }] };
  });
  const way = brokenWay(two);
  const client = new Client({ name: 'v1', version: '1' });
  const authorization = `Bearer ${two.rig.token('dana', { server: 'old' })}`;
  await client.connect(
    new StreamableHTTPClientTransport(new URL(two.rig.resource('old')), {
      requestInit: { headers: { authorization } },
      fetch: way.fetch,
    }),
  );
  const progressed: number[] = [];
  const calling = client.callTool(READ, undefined, { onprogress: ({ progress }) => void progressed.push(progress) });
  await two.rig.until('it resumes on the other node', () => way.resumed.length > 0, 60_000);
  release();
  expect((await calling).content).toEqual([{ type: 'text', text: 'at last' }]);
  expect(progressed).toEqual([1, 2]);
  expect(two.rig.sink('old').calls()).toHaveLength(1);
  await client.close();
  await two.stop();
});

test('the same over two connections to a real PostgreSQL', async () => {
  const postgres = await startPostgres();
  const two = await deploy(() => openPostgresExchange(postgres.url));
  await answeredElsewhere(two);
  await retriedElsewhere(two);
  await resumedElsewhere(two);
  await cancelledElsewhere(two);
  await two.stop();
  await postgres.stop();
}, 120_000);
