/** HTTP+SSE of 2024-11-05 against a scripted server: whom our messages go to, and what a lost stream means. */
import { type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { call, faultOf, textOf } from '../contracts/connection.ts';
import { startSseServer } from '../support/upstreams/legacy-server.ts';
import { httpServer, sseServer, testPool, until } from '../support/upstreams/open.ts';
import { type Json, event } from './scripted.ts';

const closers: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Behaviour {
  /** What the stream says first. Default: the endpoint. */
  readonly first?: string;
  readonly status?: number;
  /** Status of POSTs. */
  readonly post?: number;
  readonly onCall?: (message: Json, stream: ServerResponse) => void;
}

async function start({
  first = 'event: endpoint\ndata: /messages?s=1\n\n',
  status = 200,
  post = 202,
  onCall,
}: Behaviour) {
  const received: Array<{ http: string; path: string; headers: Json; message: Json | null }> = [];
  let stream: ServerResponse | null = null;
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      const message = body === '' ? null : (JSON.parse(body) as Json);
      received.push({ http: request.method ?? '', path: request.url ?? '', headers: request.headers, message });
      if (request.method === 'GET') {
        response.writeHead(status, { 'content-type': 'text/event-stream' });
        if (status !== 200) return void response.end();
        response.write(first);
        stream = response;
        return;
      }
      if (request.url !== '/messages?s=1') return void response.writeHead(405).end();
      if (message?.['method'] === 'tools/call') {
        response.writeHead(post).end();
        if (post < 300 && stream !== null) onCall?.(message, stream);
        return;
      }
      response.writeHead(202).end('Accepted');
      const result = { protocolVersion: '2024-11-05', capabilities: { tools: {} }, serverInfo: {} };
      if (message?.['method'] === 'initialize') stream?.write(event({ id: message['id'], result }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const clock = manualClock(1_000_000);
  const pool = testPool({ clock, maxMessageBytes: 50_000, openTimeoutMs: 1_500 });
  closers.push(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }, pool.closeAll);
  return { pool, clock, received, url: `http://127.0.0.1:${port}/sse`, port };
}
const text = (message: Json, said: string): string =>
  event({ id: message['id'], result: { content: [{ type: 'text', text: said }] } });

describe('opening', () => {
  test.each([
    ['http://evil.example/messages'],
    ['//evil.example/messages'],
    ['https://127.0.0.1/messages'],
    ['http://127.0.0.1:1/messages'],
    ['http://user:pw@127.0.0.1/messages'],
    ['file:///etc/passwd'],
    ['http://'],
  ])('NH-02: an endpoint that is not of its own origin (%s) gets nothing', async (endpoint) => {
    const { pool, url, received } = await start({ first: `event: endpoint\ndata: ${endpoint}\n\n` });
    expect(await faultOf(pool.connection('s', sseServer(url)))).toMatchObject({
      code: 'upstream_protocol',
      message: 'the stream names an address for messages that is not of its own origin',
      dispatched: 'no',
    });
    expect(received).toHaveLength(1);
  });

  test('only the first endpoint counts', async () => {
    const first = 'event: endpoint\ndata: /messages?s=1\n\nevent: endpoint\ndata: /other\n\n';
    const { pool, url, received } = await start({ first, onCall: (m, stream) => stream.write(text(m, 'hi')) });
    expect(await textOf(await pool.connection('s', sseServer(url)), 'echo')).toBe('hi');
    expect(received.filter(({ http }) => http === 'POST').every(({ path }) => path === '/messages?s=1')).toBe(true);
  });

  test.each<[what: string, behaviour: Behaviour, code: string]>([
    ['no endpoint', { first: ': hello\n\n' }, 'upstream_timeout'],
    ['401', { status: 401 }, 'upstream_auth'],
    ['503', { status: 503 }, 'upstream_unreachable'],
    ['405', { status: 405 }, 'upstream_protocol'],
  ])('%s is a fault of its kind', async (_what, behaviour, code) => {
    const { pool, url } = await start(behaviour);
    expect((await faultOf(pool.connection('s', sseServer(url, {}, 1_000)))).code).toBe(code);
  });

  test('C5: a server that takes no POST at its address is found to speak it, and that is remembered', async () => {
    const { pool, clock, url, received } = await start({
      onCall: (message, stream) => stream.write(text(message, 'hi')),
    });
    const connection = await pool.connection('s', httpServer(url));
    expect(connection.identity).toMatchObject({ era: 'legacy', protocolVersion: '2024-11-05' });
    expect(await textOf(connection, 'echo')).toBe('hi');
    const asked = received.map(({ http, path }) => `${http} ${path}`);
    expect(asked.slice(0, 4)).toEqual(['POST /sse', 'POST /sse', 'GET /sse', 'POST /messages?s=1']);
    received.length = 0;
    await connection.close();
    await until('it is down', () => pool.status()[0]?.state === 'down');
    clock.advance(60_000);
    await pool.connection('s', httpServer(url));
    expect(received.map(({ http, path }) => `${http} ${path}`)[0]).toBe('GET /sse');
  });

  test('C5: a real SDK server of that kind is found by asking', async () => {
    const server = await startSseServer();
    const pool = testPool();
    closers.push(server.close, pool.closeAll);
    const connection = await pool.connection('s', httpServer(server.url));
    expect(await textOf(connection, 'echo', { text: 'found' })).toBe('found');
  });
});

describe('messages', () => {
  test('AN-04: carry the headers of the record and no other of ours; a version only from 2025-06-18', async () => {
    process.env['REMIT_TEST_SSE_KEY'] = 'upstream-key-2';
    const { pool, url, received } = await start({ onCall: (m, stream) => stream.write(text(m, 'hi')) });
    const headers = [{ name: 'Authorization', value: { secret: 'env:REMIT_TEST_SSE_KEY' } }];
    await textOf(await pool.connection('s', sseServer(url, { headers })), 'echo');
    for (const one of received) expect(one.headers['authorization']).toBe('upstream-key-2');
    expect(Object.keys(received.at(-1)?.headers ?? {}).sort()).toEqual([
      'accept',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
    ]);
  });

  test.each<[what: string, behaviour: Behaviour, code: string]>([
    ['a stream that ends', { onCall: (_m, stream) => stream.end() }, 'upstream_closed'],
    ['a stream that breaks', { onCall: (_m, stream) => stream.destroy() }, 'upstream_closed'],
    ['what is no JSON', { onCall: (_m, stream) => stream.write('data: {"jsonrpc"\n\n') }, 'upstream_protocol'],
    ['invalid UTF-8', { onCall: (_m, stream) => stream.write(Buffer.from([0x64, 0xff, 0x0a])) }, 'upstream_protocol'],
    ['too much', { onCall: (_m, stream) => stream.write(`data: ${'x'.repeat(60_000)}\n\n`) }, 'upstream_too_large'],
    ['our own credential', { onCall: (m, stream) => stream.write(text(m, 'upstream-key-3')) }, 'upstream_protocol'],
    ['silence', {}, 'upstream_timeout'],
    ['a POST that is refused', { post: 400 }, 'upstream_protocol'],
    ['a POST that fails', { post: 500 }, 'upstream_unreachable'],
    ['a forgotten stream', { post: 404 }, 'upstream_protocol'],
    [
      'a stranger’s answer eleven times',
      {
        onCall: (_m, stream) => {
          for (let i = 0; i < 11; i++) stream.write(event({ id: 4_000_000 + i, result: {} }));
        },
      },
      'upstream_protocol',
    ],
  ])('%s is a fault of its kind, once, and nothing is sent again', async (_what, behaviour, code) => {
    process.env['REMIT_TEST_SSE_KEY'] = 'upstream-key-3';
    const headers = [{ name: 'X-Key', value: { secret: 'env:REMIT_TEST_SSE_KEY' } }];
    const { pool, url, received } = await start(behaviour);
    const connection = await pool.connection('s', sseServer(url, { headers }, 700));
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({ code, dispatched: 'unknown' });
    expect(received.filter(({ message }) => message?.['method'] === 'tools/call')).toHaveLength(1);
  });

  test('an answer that comes twice, or belongs to nobody, disturbs nobody', async () => {
    const { pool, url } = await start({
      onCall: (message, stream) => {
        stream.write(event({ id: 4_000_000, result: {} }));
        stream.write(text(message, 'first'));
        stream.write(text(message, 'second'));
      },
    });
    const connection = await pool.connection('s', sseServer(url));
    for (let i = 0; i < 3; i++) expect(await textOf(connection, 'echo')).toBe('first');
  });

  test('the end of the stream is the end of the connection, and the next one opens another', async () => {
    const { pool, url } = await start({ onCall: (_message, stream) => stream.end() });
    const connection = await pool.connection('s', sseServer(url));
    await faultOf(call(connection, 'echo'));
    expect(await connection.closed).toEqual({ reason: 'the server ended the stream' });
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({ code: 'upstream_closed', dispatched: 'no' });
  });
});
