/** The HTTP wire against the sink: what leaves, and what becomes of every kind of answer. */
import { afterEach, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import type { HttpTarget } from '../../src/upstream/target.ts';
import { listItems } from '../../src/upstream/lists.ts';
import { call, faultOf, textOf } from '../contracts/connection.ts';
import { startLegacy } from '../support/upstreams/legacy-server.ts';
import { httpServer, testPool, until } from '../support/upstreams/open.ts';
import { ECHO_TOOL, type Intercepted, type SinkOptions, startSink } from '../support/upstreams/sink.ts';

const closers: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function openSink(options: SinkOptions = {}, upstream: Partial<HttpTarget> = {}, timeoutMs = 5_000) {
  const sink = await startSink(options);
  const pool = testPool({ maxMessageBytes: 100_000 });
  closers.push(sink.close, pool.closeAll);
  return {
    sink,
    pool,
    connection: await pool.connection(
      'sink',
      httpServer(sink.url, { era: options.era ?? 'modern', ...upstream }, timeoutMs),
    ),
  };
}

const names = (raw: readonly string[]): string[] =>
  raw
    .filter((_, i) => i % 2 === 0)
    .map((name) => name.toLowerCase())
    .sort();

describe('what leaves', () => {
  test('AN-04: a modern call carries these headers and no other; nothing of the caller is among them', async () => {
    process.env['REMIT_TEST_UPSTREAM_KEY'] = 'upstream-key-1';
    const { sink, connection } = await openSink(
      { era: 'modern' },
      { headers: [{ name: 'Authorization', value: { secret: 'env:REMIT_TEST_UPSTREAM_KEY' } }] },
    );
    const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl';
    // Whatever a caller's request could look like by mistake: a connection takes method, params and schema only.
    const request = {
      method: 'tools/call',
      params: { name: 'echo', arguments: { text: 'hi' } },
      headers: { authorization: `Bearer ${token}`, cookie: 'sid=1' },
      authorization: `Bearer ${token}`,
    };
    await connection.request(request, AbortSignal.timeout(30_000));
    const [sent] = sink.calls();
    expect(names(sent?.rawHeaders ?? [])).toEqual([
      'accept',
      'authorization',
      'connection',
      'content-length',
      'content-type',
      'host',
      'mcp-method',
      'mcp-name',
      'mcp-protocol-version',
    ]);
    expect(sent?.headers).toMatchObject({
      authorization: 'upstream-key-1',
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'echo',
    });
    for (const part of [token, ...token.split('.')]) expect(sink.wire()).not.toContain(part);
  });

  test('AN-04: the sink would have shown it: a proxy that passes headers on delivers the token (vulnerable twin)', async () => {
    const { sink } = await openSink();
    const callers = {
      authorization: 'Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl',
      'content-type': 'application/json',
    };
    await fetch(sink.url, { method: 'POST', headers: callers, body: '{}' });
    expect(sink.wire()).toContain('eyJzdWIiOiJhZGEifQ');
  });

  test('AN-04: a legacy call carries the session and its version, and nothing of the caller', async () => {
    const { sink, connection } = await openSink({ era: 'legacy' });
    await textOf(connection, 'echo', { text: 'hi' });
    const [sent] = sink.calls();
    expect(names(sent?.rawHeaders ?? [])).toEqual([
      'accept',
      'connection',
      'content-length',
      'content-type',
      'host',
      'mcp-protocol-version',
      'mcp-session-id',
    ]);
    expect(sent?.headers['mcp-protocol-version']).toBe('2025-11-25');
    expect(sink.sessions.has(String(sent?.headers['mcp-session-id']))).toBe(true);
  });

  test('NH-02: no argument, name or metadata changes where the call goes', async () => {
    const { sink, connection } = await openSink();
    const { host, pathname } = new URL(sink.url);
    const names = [
      'http://169.254.169.254/',
      '../../admin',
      '/other',
      'x\r\nHost: evil.example',
      '//evil.example/',
      '@evil.example',
      '%2e%2e%2f',
    ];
    for (const name of names) {
      const params = {
        name,
        arguments: { url: 'http://evil.example/', host: 'evil.example' },
        _meta: { host: 'evil.example' },
      };
      await connection.request({ method: 'tools/call', params }, AbortSignal.timeout(30_000));
    }
    expect(sink.calls()).toHaveLength(names.length);
    for (const { headers, path } of sink.calls())
      expect({ host: headers['host'], path }).toEqual({ host, path: pathname });
  });

  test('mirrors name and declared arguments into headers, encoded', async () => {
    const { sink, connection } = await openSink();
    const inputSchema = {
      type: 'object',
      properties: {
        region: { type: 'string', 'x-mcp-header': 'Region' },
        count: { type: 'integer', 'x-mcp-header': 'Count' },
        none: { type: 'string', 'x-mcp-header': 'None' },
      },
    };
    const params = { name: 'grüße', arguments: { region: 'eu\r\nX-Evil: 1', count: 7 } };
    await connection.request({ method: 'tools/call', params, inputSchema }, AbortSignal.timeout(30_000));
    const headers = sink.calls()[0]?.headers ?? {};
    expect(headers['mcp-name']).toBe(`=?base64?${Buffer.from('grüße').toString('base64')}?=`);
    expect(headers['mcp-param-region']).toBe(`=?base64?${Buffer.from('eu\r\nX-Evil: 1').toString('base64')}?=`);
    expect(headers['mcp-param-count']).toBe('7');
    expect(Object.keys(headers)).not.toContain('mcp-param-none');
    expect(Object.keys(headers)).not.toContain('x-evil');
  });

  test('does not send a call whose schema has an impossible header', async () => {
    const { sink, connection } = await openSink();
    const inputSchema: JsonObject = {
      type: 'object',
      properties: { a: { type: 'string', 'x-mcp-header': 'bad name' } },
    };
    const fault = await faultOf(
      connection.request(
        { method: 'tools/call', params: { name: 'echo', arguments: { a: 'x' } }, inputSchema },
        AbortSignal.timeout(30_000),
      ),
    );
    expect(fault).toMatchObject({ code: 'upstream_protocol', dispatched: 'no' });
    expect(fault.message).toContain('#/properties/a');
    expect(sink.calls()).toHaveLength(0);
  });

  test.each([
    ['Mcp-Session-Id', 'x', 'belongs to the transport'],
    ['Host', 'evil.example', 'belongs to the transport'],
    ['Content-Length', '0', 'belongs to the transport'],
    ['Bad Name', 'x', 'is not a token'],
    ['X-Key', 'a\r\nHost: evil', 'characters a header cannot carry'],
  ])('refuses the configured header %s: %j', async (name, value, message) => {
    process.env['REMIT_TEST_HEADER'] = value;
    const pool = testPool();
    closers.push(pool.closeAll);
    const fault = await faultOf(
      pool.connection(
        's',
        httpServer('http://127.0.0.1:9/mcp', { headers: [{ name, value: { secret: 'env:REMIT_TEST_HEADER' } }] }),
      ),
    );
    expect(fault).toMatchObject({ code: 'upstream_auth', dispatched: 'no' });
    expect(fault.message).toContain(message);
    expect(fault.message).not.toContain(value === 'x' || value === '0' ? '\0' : value);
  });

  test('asks for a session to be deleted when it closes', async () => {
    const { sink, connection } = await openSink({ era: 'legacy' });
    expect(sink.sessions.size).toBe(1);
    await connection.close();
    expect(sink.sessions.size).toBe(0);
  });
});

const JSON_TYPE = { 'content-type': 'application/json' };
const SSE_TYPE = { 'content-type': 'text/event-stream' };
const big = 'x'.repeat(200_000);
const id =
  (delta = 0) =>
  (message: { id?: unknown }) =>
    Number(message.id) + delta;

describe('what comes back', () => {
  test.each<[what: string, answer: (call: { id?: unknown }) => Intercepted, code: string, message: RegExp]>([
    ['401', () => ({ status: 401 }), 'upstream_auth', /HTTP status 401/],
    ['403', () => ({ status: 403 }), 'upstream_auth', /HTTP status 403/],
    [
      'a redirect',
      () => ({ status: 307, headers: { location: 'http://127.0.0.1:1/' } }),
      'upstream_protocol',
      /a redirect, which is not followed/,
    ],
    ['429', () => ({ status: 429 }), 'upstream_unreachable', /HTTP status 429/],
    [
      '500 with a JSON-RPC body',
      (m) => ({ status: 500, headers: JSON_TYPE, body: JSON.stringify({ jsonrpc: '2.0', id: m.id, result: {} }) }),
      'upstream_unreachable',
      /HTTP status 500/,
    ],
    ['404 without a body', () => ({ status: 404 }), 'upstream_protocol', /HTTP status 404/],
    ['202 for a request', () => ({ status: 202 }), 'upstream_protocol', /neither JSON nor an event stream/],
    [
      'HTML',
      () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>' }),
      'upstream_protocol',
      /neither JSON nor an event stream/,
    ],
    [
      'no JSON',
      () => ({ status: 200, headers: JSON_TYPE, body: '{"jsonrpc":' }),
      'upstream_protocol',
      /not strict JSON \(syntax\)/,
    ],
    [
      'duplicate keys',
      (m) => ({
        status: 200,
        headers: JSON_TYPE,
        body: `{"jsonrpc":"2.0","id":${Number(m.id)},"result":{},"result":{"a":1}}`,
      }),
      'upstream_protocol',
      /not strict JSON \(duplicate_key\)/,
    ],
    [
      'invalid UTF-8',
      () => ({ status: 200, headers: JSON_TYPE, body: Buffer.from([0x22, 0xff, 0x22]) }),
      'upstream_protocol',
      /not strict JSON \(not_utf8\)/,
    ],
    [
      'a batch',
      (m) => ({ status: 200, headers: JSON_TYPE, body: JSON.stringify([{ jsonrpc: '2.0', id: m.id, result: {} }]) }),
      'upstream_protocol',
      /not a JSON-RPC 2.0 object/,
    ],
    [
      'the answer to another request',
      (m) => ({ status: 200, headers: JSON_TYPE, body: JSON.stringify({ jsonrpc: '2.0', id: id(1)(m), result: {} }) }),
      'upstream_protocol',
      /belongs to another request/,
    ],
    [
      'an id as text',
      (m) => ({
        status: 200,
        headers: JSON_TYPE,
        body: JSON.stringify({ jsonrpc: '2.0', id: String(m.id), result: {} }),
      }),
      'upstream_protocol',
      /belongs to another request/,
    ],
    [
      'result and error',
      (m) => ({
        status: 200,
        headers: JSON_TYPE,
        body: JSON.stringify({ jsonrpc: '2.0', id: m.id, result: {}, error: { code: 1, message: '' } }),
      }),
      'upstream_protocol',
      /a result is not an object, or comes with an error/,
    ],
    [
      'a compressed body',
      () => ({ status: 200, headers: { ...JSON_TYPE, 'content-encoding': 'gzip' }, body: 'x' }),
      'upstream_protocol',
      /compressed/,
    ],
    [
      'too much JSON',
      () => ({ status: 200, headers: JSON_TYPE, body: JSON.stringify(big) }),
      'upstream_too_large',
      /exceeds 100000 bytes/,
    ],
    [
      'a too large event',
      () => ({ status: 200, headers: SSE_TYPE, body: `data: ${big}\n\n` }),
      'upstream_too_large',
      /exceeds 100000 bytes/,
    ],
    [
      'an event line without end',
      () => ({ status: 200, headers: SSE_TYPE, body: `data: ${big}` }),
      'upstream_too_large',
      /exceeds 100000 bytes/,
    ],
    [
      'comments without end',
      () => ({ status: 200, headers: SSE_TYPE, body: ': x\n'.repeat(150_000) }),
      'upstream_too_large',
      /exceeds 100000 bytes/,
    ],
    [
      'a stream that ends early',
      () => ({ status: 200, headers: SSE_TYPE, body: ': nothing\n\n' }),
      'upstream_closed',
      /ended before the answer/,
    ],
    [
      'a request in a modern stream',
      () => ({
        status: 200,
        headers: SSE_TYPE,
        body: 'data: {"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}\n\n',
      }),
      'upstream_protocol',
      /sent a request/,
    ],
    [
      'another answer in the stream',
      () => ({ status: 200, headers: SSE_TYPE, body: 'data: {"jsonrpc":"2.0","id":99999,"result":{}}\n\n' }),
      'upstream_protocol',
      /belongs to another request/,
    ],
    [
      'an unknown outcome',
      (m) => ({
        status: 200,
        headers: JSON_TYPE,
        body: JSON.stringify({ jsonrpc: '2.0', id: m.id, result: { resultType: 'task' } }),
      }),
      'upstream_protocol',
      /names no known outcome/,
    ],
    [
      'no outcome',
      (m) => ({
        status: 200,
        headers: JSON_TYPE,
        body: JSON.stringify({ jsonrpc: '2.0', id: m.id, result: { content: [] } }),
      }),
      'upstream_protocol',
      /names no known outcome/,
    ],
    ['a cut connection', () => 'drop', 'upstream_closed', /broke before the answer/],
    ['silence', () => 'hang', 'upstream_timeout', /did not answer in time/],
  ])('%s is a fault of its kind, and is not sent again', async (_what, answer, code, message) => {
    const { sink, connection } = await openSink({}, {}, 1_000);
    sink.intercept(({ message }) => (message?.['method'] === 'tools/call' ? answer(message) : null));
    const fault = await faultOf(call(connection, 'echo', { text: 'x' }));
    expect({ code: fault.code, dispatched: fault.dispatched }).toEqual({ code, dispatched: 'unknown' });
    expect(fault.message).toMatch(message);
    expect(sink.calls()).toHaveLength(1);
    sink.intercept(null);
    expect(await textOf(connection, 'echo', { text: 'still here' })).toContain('still here');
  });

  test('an error that a 4xx status carries is the answer', async () => {
    const { sink, connection } = await openSink();
    sink.intercept(({ message }) =>
      message?.['method'] === 'tools/call'
        ? {
            status: 400,
            headers: JSON_TYPE,
            body: JSON.stringify({
              jsonrpc: '2.0',
              id: message['id'],
              error: { code: -32602, message: 'no', data: { a: 1 } },
            }),
          }
        : null,
    );
    expect(await call(connection, 'echo')).toEqual({
      kind: 'error',
      error: { code: -32602, message: 'no', data: { a: 1 } },
    });
  });

  test('an event may be cut anywhere, and what comes before and after the answer does not matter', async () => {
    const { sink, connection } = await openSink();
    sink.intercept(({ message }) =>
      message?.['method'] === 'tools/call'
        ? {
            status: 200,
            headers: SSE_TYPE,
            body: `: hi\n\nid: 1\ndata:\n\nevent: other\ndata: garbage\n\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\ndata: {"jsonrpc":"2.0",\ndata: "id":${Number(message['id'])},"result":{"resultType":"complete","content":[]}}\n\ndata: garbage after\n\n`,
          }
        : null,
    );
    expect(await call(connection, 'echo')).toMatchObject({ kind: 'result', result: { content: [] } });
  });
});

describe('reaching it', () => {
  test.each([
    ['nobody listens', 'http://127.0.0.1:9/mcp', ['127.0.0.1/32'], 'upstream_unreachable'],
    ['the address is not allowed', 'http://127.0.0.1:9/mcp', [], 'upstream_refused_address'],
    [
      'the address is that of cloud metadata',
      'http://169.254.169.254/latest',
      ['127.0.0.1/32'],
      'upstream_refused_address',
    ],
    ['the URL carries a password', 'http://user:pw@127.0.0.1:9/', ['127.0.0.1/32'], 'upstream_refused_address'],
  ])('%s: nothing was dispatched', async (_what, url, allowedNetworks, code) => {
    const pool = testPool();
    closers.push(pool.closeAll);
    expect(await faultOf(pool.connection('s', httpServer(url, { allowedNetworks })))).toMatchObject({
      code,
      dispatched: 'no',
    });
  });

  test.each([401, 403, 429, 500, 503])('%i to the first question is no evidence of an era', async (status) => {
    const sink = await startSink({ era: 'legacy' });
    const pool = testPool();
    closers.push(sink.close, pool.closeAll);
    sink.intercept(() => ({ status }));
    await faultOf(pool.connection('s', httpServer(sink.url)));
    expect(sink.received.map(({ message }) => message?.['method'])).toEqual(['server/discover']);
  });

  test.each([
    ['404 without a body', { status: 404 }],
    ['400 and HTML', { status: 400, headers: { 'content-type': 'text/html' }, body: 'Bad Request' }],
    [
      '-32601',
      { status: 200, headers: JSON_TYPE, body: '{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"x"}}' },
    ],
    [
      'an error without id',
      { status: 400, headers: JSON_TYPE, body: '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"x"}}' },
    ],
  ])('%s to the modern question leads to the legacy one', async (_what, answer) => {
    const sink = await startSink({ era: 'legacy' });
    const pool = testPool();
    closers.push(sink.close, pool.closeAll);
    sink.intercept(({ message }) => (message?.['method'] === 'server/discover' ? answer : null));
    const { identity } = await pool.connection('s', httpServer(sink.url));
    expect(identity).toMatchObject({
      era: 'legacy',
      protocolVersion: '2025-11-25',
      instructions: 'Everything sent here is kept.',
    });
  });

  test('a modern server without our revision is refused, not taken for legacy', async () => {
    const sink = await startSink();
    const pool = testPool();
    closers.push(sink.close, pool.closeAll);
    sink.intercept(({ message }) => ({
      status: 400,
      headers: JSON_TYPE,
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: message?.['id'],
        error: { code: -32022, message: 'x', data: { supported: ['2099-01-01'] } },
      }),
    }));
    expect(await faultOf(pool.connection('s', httpServer(sink.url)))).toMatchObject({
      code: 'upstream_protocol',
      message: 'server/discover was answered with error -32022',
    });
    expect(sink.received).toHaveLength(1);
  });
});

describe('a legacy session that is gone', () => {
  test('is made anew once for many callers, and their calls are sent again because 404 says they were not processed', async () => {
    const { sink, connection } = await openSink({ era: 'legacy' });
    let executed = 0;
    sink.onCall(() => {
      executed++;
      return { content: [{ type: 'text', text: 'done' }] };
    });
    sink.dropSessions();
    const answers = await Promise.all(Array.from({ length: 40 }, () => textOf(connection, 'echo')));
    expect(answers).toEqual(Array.from({ length: 40 }, () => 'done'));
    expect(executed).toBe(40);
    expect(sink.received.filter(({ message }) => message?.['method'] === 'initialize')).toHaveLength(2);
  });

  test('a real SDK server that restarted is met again', async () => {
    const server = await startLegacy();
    const pool = testPool();
    closers.push(server.close, pool.closeAll);
    const connection = await pool.connection('s', httpServer(server.url, { era: 'legacy' }));
    server.dropSessions();
    expect(await textOf(connection, 'echo', { text: 'again' })).toBe('again');
  });

  test('is not made anew for ever: a server that forgets at once is a fault', async () => {
    const { sink, connection } = await openSink({ era: 'legacy' });
    sink.intercept(({ message }) => (message?.['method'] === 'tools/call' ? { status: 404 } : null));
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({
      code: 'upstream_protocol',
      message: 'the server answered with HTTP status 404',
    });
    expect(sink.calls()).toHaveLength(2);
  });

  test('a 404 that answers the call by its id is an answer', async () => {
    const { sink, connection } = await openSink({ era: 'legacy' });
    sink.intercept(({ message }) =>
      message?.['method'] === 'tools/call'
        ? {
            status: 404,
            headers: JSON_TYPE,
            body: JSON.stringify({ jsonrpc: '2.0', id: message['id'], error: { code: -32601, message: 'x' } }),
          }
        : null,
    );
    expect(await call(connection, 'echo')).toMatchObject({ kind: 'error', error: { code: -32601 } });
    expect(sink.calls()).toHaveLength(1);
  });
});

describe('listItems', () => {
  const pages = (sink: Awaited<ReturnType<typeof startSink>>, page: (cursor: unknown) => JsonObject): void =>
    sink.intercept(({ message }) =>
      message?.['method'] === 'tools/list'
        ? {
            status: 200,
            headers: JSON_TYPE,
            body: JSON.stringify({
              jsonrpc: '2.0',
              id: message['id'],
              result: { resultType: 'complete', ...page((message['params'] as JsonObject)['cursor']) },
            }),
          }
        : null,
    );
  const tool = (name: string): JsonObject => ({ name, inputSchema: { type: 'object' } });

  test('reads every page in order; the empty cursor is one', async () => {
    const { sink, connection } = await openSink();
    pages(sink, (cursor) =>
      cursor === undefined
        ? { tools: [tool('a')], nextCursor: '' }
        : cursor === ''
          ? { tools: [tool('b')], nextCursor: 'z' }
          : { tools: [tool('c')] },
    );
    expect((await listItems(connection, 'tool', AbortSignal.timeout(30_000))).items.map(({ name }) => name)).toEqual([
      'a',
      'b',
      'c',
    ]);
  });

  test.each<[what: string, page: (cursor: unknown) => JsonObject, code: string, message: string]>([
    [
      'two tools of one name',
      () => ({ tools: [tool('a'), tool('a')] }),
      'upstream_protocol',
      'two tools have the name "a"',
    ],
    [
      'one name on two pages',
      (c) => ({ tools: [tool('a')], ...(c === undefined && { nextCursor: 'x' }) }),
      'upstream_protocol',
      'two tools have the name "a"',
    ],
    [
      'a circle',
      (c) => ({ tools: [], nextCursor: c === 'x' ? 'y' : 'x' }),
      'upstream_protocol',
      'the cursors of tools/list go round in a circle',
    ],
    ['no array', () => ({ tools: {} }), 'upstream_protocol', 'the result of tools/list has no array `tools`'],
    ['no object', () => ({ tools: ['a'] }), 'upstream_protocol', 'an element of `tools` is not an object'],
    ['no name', () => ({ tools: [{ inputSchema: {} }] }), 'upstream_protocol', 'a tool has no name'],
    [
      'a cursor that is no text',
      () => ({ tools: [], nextCursor: 1 }),
      'upstream_protocol',
      '`nextCursor` is not a string',
    ],
    [
      'too many tools',
      () => ({ tools: [1, 2, 3, 4, 5, 6].map((n) => tool(`t${n}`)) }),
      'upstream_too_large',
      'the server offers more than 5 tools',
    ],
    [
      'too many pages',
      (c) => ({ tools: [], nextCursor: `${String(c)}x` }),
      'upstream_too_large',
      'the tool list has more than 4 pages',
    ],
    [
      'too many bytes',
      () => ({ tools: [{ ...tool('a'), description: 'x'.repeat(2_000) }] }),
      'upstream_too_large',
      'the tool definitions exceed 1000 bytes',
    ],
  ])('refuses %s', async (_what, page, code, message) => {
    const { sink, connection } = await openSink();
    pages(sink, page);
    const fault = await faultOf(
      listItems(connection, 'tool', AbortSignal.timeout(30_000), { maxPages: 4, maxItems: 5, maxBytes: 1_000 }),
    );
    expect({ code: fault.code, message: fault.message }).toEqual({ code, message });
  });

  test('a change is heard, and heard again after the stream broke', async () => {
    const { sink, connection } = await openSink({ era: 'legacy' });
    let heard = 0;
    connection.onChange(() => heard++);
    await until('the stream is open', () => sink.received.some(({ httpMethod }) => httpMethod === 'GET'));
    sink.setTools([ECHO_TOOL]);
    await until('heard', () => heard === 1);
    sink.dropSessions();
    await textOf(connection, 'echo');
    await until('the new session may have new tools', () => heard >= 2);
  });
});
