/** HTTP+SSE for clients of 2024-11-05: the client is the official SDK v1 with its own transport, the oracle the sink. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { ElicitRequestSchema, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGateway } from '../../src/gateway/gateway.ts';
import type { GatewayDeps } from '../../src/gateway/gateway.ts';
import { openStream } from '../support/event-stream.ts';
import type { EventStream } from '../support/event-stream.ts';
import { JSON_HEADERS, initialize, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';
import { testPool } from '../support/upstreams/open.ts';

let rig: Rig;
let parts: GatewayDeps;
const opened: EventStream[] = [];
beforeAll(async () => {
  rig = await startRig({
    servers: {
      old: { era: 'legacy', record: { clientsOverSse: true, asks: ['elicitation.form'] } },
      notes: {},
    },
    wrap: (deps) => (parts = deps),
  });
});
afterAll(async () => {
  for (const one of opened) one.cut();
  await rig.stop();
});

const authorization = (who = 'dana', server = 'old'): string => `Bearer ${rig.token(who, { server })}`;

async function connect(url: string, bearer: string) {
  const client = new Client({ name: 'old', version: '1' }, { capabilities: { elicitation: {} } });
  await client.connect(
    new SSEClientTransport(new URL(`${url}/sse`), { requestInit: { headers: { authorization: bearer } } }),
  );
  return client;
}
async function hear(server: string, headers: Record<string, string>): Promise<EventStream> {
  const stream = await openStream(`${rig.resource(server)}/sse`, {
    method: 'GET',
    headers: { accept: 'text/event-stream', ...headers },
  });
  opened.push(stream);
  return stream;
}

test('L16: the SDK v1 lists, calls, is asked and is told over HTTP+SSE', async () => {
  const client = await connect(rig.resource('old'), authorization());
  const asked: string[] = [];
  client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    asked.push(params.message);
    return { action: 'accept', content: { colour: 'blue' } };
  });
  let told = 0;
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void told++);
  rig.sink('old').onCall(async ({ ask, arguments: args }) => {
    const requestedSchema = { type: 'object', properties: { colour: { type: 'string' } } };
    const answer = await ask('elicitation/create', { message: 'Which colour?', requestedSchema });
    return { content: [{ type: 'text', text: JSON.stringify([args, answer['result']]) }] };
  });

  const { tools } = await client.listTools();
  expect(tools.map(({ name }) => name)).toContain('read_note');
  const { content } = await client.callTool({ name: 'read_note', arguments: { text: 'hello' } });
  expect(content).toEqual([
    {
      type: 'text',
      text: JSON.stringify([{ text: 'hello' }, { action: 'accept', content: { colour: 'blue' } }]),
    },
  ]);
  expect(asked).toEqual(['Which colour?']);

  const lock = await rig.lock({ kind: 'tool', value: 'old/read_note' });
  await rig.until('it is told', () => told === 1);
  await rig.unlock(lock);
  await client.close();
  await rig.until('its stream is over', () => rig.gateway.openStreams === 0);
});

test('L16: a POST that lands on another node is answered on the stream of this one', async () => {
  const pool = testPool();
  const other = await startGateway({ ...parts, node: 'rig-2', pool });
  await other.refresh('old');
  rig.sink('old').onCall(() => ({ content: [{ type: 'text', text: 'from afar' }] }));
  const bearer = authorization();
  const afar = `Bearer ${rig.token('dana', { audience: other.listener.resourceUrl('old') })}`;
  const client = new Client({ name: 'old', version: '1' });
  await client.connect(
    new SSEClientTransport(new URL(`${rig.resource('old')}/sse`), {
      requestInit: { headers: { authorization: bearer } },
      fetch: (url, init) => {
        const target = new URL(url);
        if (init?.method !== 'POST') return fetch(target, init);
        target.host = new URL(other.listener.url).host;
        return fetch(target, {
          ...init,
          headers: { ...Object.fromEntries(new Headers(init.headers)), authorization: afar },
        });
      },
    }),
  );
  const { content } = await client.callTool({ name: 'read_note', arguments: { text: 'x' } });
  expect(content).toEqual([{ type: 'text', text: 'from afar' }]);
  await client.close();
  await other.close();
  await pool.closeAll();
});

test('is not there for a server whose record does not offer it, and says what is', async () => {
  const stream = await hear('notes', { authorization: authorization('dana', 'notes') });
  await stream.end();
  expect(stream.status).toBe(404);
  expect(stream.text()).toContain(`use Streamable HTTP at ${rig.resource('notes')}`);
});

test('AN-01: without a token there is no stream and no message', async () => {
  const stream = await hear('old', {});
  await stream.end();
  expect(stream.status).toBe(401);
  expect(stream.headers['www-authenticate']).toContain('resource_metadata=');
  const answer = await rig.send('POST', '/mcp/default/old/messages?session=x', JSON_HEADERS, '{}');
  expect(answer.status).toBe(401);
});

async function endpointOf(stream: EventStream): Promise<string> {
  await rig.until('the address is named', () => stream.events.length > 0);
  expect(stream.events[0]).toMatchObject({ event: 'endpoint' });
  return stream.events[0]!.data;
}

test('PH-04: the address of a stream is of no use to anybody else, in no other place and for no other message', async () => {
  const stream = await hear('old', { authorization: authorization() });
  const address = await endpointOf(stream);
  expect(address).toMatch(/^\/mcp\/default\/old\/messages\?session=[\w.-]{40,}$/);
  const body = JSON.stringify(initialize('2024-11-05'));
  const post = (path: string, bearer: string, text = body) =>
    rig.send('POST', path, { ...JSON_HEADERS, authorization: bearer }, text);
  const before = rig.sink('old').received.length;

  expect((await post(address, authorization('dora'))).status).toBe(404);
  expect((await post(`${address}x`, authorization())).status).toBe(404);
  expect((await post(`${address}&session=y`, authorization())).status).toBe(404);
  expect((await post('/mcp/default/old/messages', authorization())).status).toBe(404);
  const early = await post(address, authorization(), '{"jsonrpc":"2.0","id":1,"method":"tools/list"}');
  expect([early.status, early.error?.message]).toEqual([400, expect.stringContaining('Send initialize first')]);
  const batch = await post(address, authorization(), `[${body}]`);
  expect([batch.status, batch.error?.message]).toEqual([400, expect.stringContaining('one message per request')]);
  expect(stream.messages()).toEqual([]);
  expect(rig.sink('old').received.length).toBe(before);

  expect((await post(address, authorization())).status).toBe(202);
  await stream.atLeast(1);
  expect(stream.messages()[0]).toMatchObject({ id: 1, result: { protocolVersion: '2024-11-05' } });
  const again = await post(address, authorization());
  expect([again.status, again.error?.message]).toEqual([400, expect.stringContaining('initialized already')]);
  expect((await rig.send('GET', address, { authorization: authorization() })).status).toBe(405);

  stream.cut();
  await rig.until('it is over', () => rig.gateway.openStreams === 0);
  await rig.until('its address is dead', async () => (await post(address, authorization())).status === 404);
});

test('a lock ends the stream at once', async () => {
  const stream = await hear('old', { authorization: authorization() });
  await endpointOf(stream);
  const lock = await rig.lock({ kind: 'user', value: 'dana' });
  await stream.end();
  await rig.unlock(lock);
});
