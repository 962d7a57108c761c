/** The stdio wire against a real, isolated program that misbehaves on demand; what it received is read from the file it kept. */
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { serverUid } from '../../src/sandbox/host-user.ts';
import { lineSplitter } from '../../src/upstream/lines.ts';
import { listItems } from '../../src/upstream/lists.ts';
import type { StdioTarget } from '../../src/upstream/target.ts';
import { call, faultOf, textOf } from '../contracts/connection.ts';
import { LIMITS, SINK_PROGRAM, type TestPool, stdioServer, testPool, until } from '../support/upstreams/open.ts';

const pools: TestPool[] = [];
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.closeAll()));
});

async function openSink(behaviour: string, upstream: Partial<StdioTarget> = {}, timeoutMs = 5_000) {
  const pool = testPool({ probeTimeoutMs: behaviour === 'mute' ? 600 : 10_000 });
  pools.push(pool);
  const server = stdioServer(
    SINK_PROGRAM,
    { era: 'legacy', ...upstream, env: { BEHAVIOUR: behaviour, ...upstream.env } },
    timeoutMs,
  );
  return { pool, server, connection: await pool.connection('sink', server) };
}

describe('framing', () => {
  test.each(['crlf', 'drip', 'banner', 'twice', 'someone-else', 'not-utf8'])(
    'reads an answer in spite of: %s',
    async (behaviour) => {
      const { connection } = await openSink(behaviour);
      expect(await textOf(connection, 'echo')).not.toBe('');
      // The next answer is not mistaken for a leftover.
      expect(await textOf(connection, 'echo')).not.toBe('');
    },
  );

  test('counts what is not a message, names it without quoting it, and logs it', async () => {
    const { connection, pool } = await openSink('banner');
    await textOf(connection, 'echo');
    expect(pool.events.filter(({ event }) => event === 'violation').map(({ message }) => message)).toEqual([
      'a message is not strict JSON (syntax)',
    ]);
  });

  test('ends a server that goes on writing what is not MCP', async () => {
    const { connection } = await openSink('chatter');
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({
      code: 'upstream_protocol',
      message: 'the server does not speak MCP on its output: a message is not strict JSON (syntax)',
      dispatched: 'unknown',
    });
    await connection.closed;
  });

  test('ends a server whose message has no end', async () => {
    const { connection } = await openSink('endless-line', { limits: { ...LIMITS, outputBytes: 100_000 } });
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({
      code: 'upstream_too_large',
      message: 'the server wrote a message of more than 100000 bytes',
    });
    await connection.closed;
  });

  test('does not read an answer that two parsers would read differently', async () => {
    const { connection } = await openSink('duplicate-key', {}, 700);
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({ code: 'upstream_timeout' });
  });

  test('refuses a result without a known outcome from a modern server', async () => {
    const { connection } = await openSink('wrong-outcome', { era: 'modern', env: { ERA: 'modern' } });
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({
      code: 'upstream_protocol',
      message: 'a result names no known outcome (resultType)',
    });
  });

  test('lines come out the same however the bytes are cut, and never longer than the limit', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }),
        fc.array(fc.nat({ max: 50 }), { maxLength: 40 }),
        (parts, cuts) => {
          const bytes = Buffer.concat(
            parts.map((part) => Buffer.concat([Buffer.from(part.map((b) => (b === 10 ? 11 : b))), Buffer.from('\n')])),
          );
          const lines: string[] = [];
          const feed = lineSplitter(40, (line) => lines.push(line.toString('hex')));
          let at = 0;
          for (const cut of cuts) {
            expect(feed(bytes.subarray(at, at + cut))).toBe(true);
            at += cut;
          }
          feed(bytes.subarray(at));
          expect(lines).toEqual(parts.map((part) => Buffer.from(part.map((b) => (b === 10 ? 11 : b))).toString('hex')));
        },
      ),
      { seed: 7, numRuns: 300 },
    );
    const feed = lineSplitter(10, () => {});
    expect(feed(Buffer.from('0123456789\n0123456789'))).toBe(true);
    expect(feed(Buffer.from('0'))).toBe(false);
    expect(feed(Buffer.from('\nok\n'))).toBe(false);
  });
});

describe('what the server receives', () => {
  const folder = mkdtempSync(join(tmpdir(), 'remit-record-'));
  chmodSync(folder, 0o755);
  if (process.getuid?.() === 0) chownSync(folder, serverUid('sink'), serverUid('sink'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const recorded = (file: string) =>
    readFileSync(join(folder, file), 'utf8')
      .trim()
      .split('\n')
      .map(
        (line) =>
          JSON.parse(line) as {
            id?: number;
            method?: string;
            params?: Record<string, unknown>;
            result?: unknown;
            error?: unknown;
          },
      );
  const recording = (file: string, env: Record<string, string> = {}): Partial<StdioTarget> => ({
    mounts: [{ from: folder, to: '/record', mode: 'write' }],
    env: { RECORD: `/record/${file}`, ...env },
  });

  test('ids are ours, the reserved `_meta` of the caller stays behind, trace context goes on', async () => {
    const { connection } = await openSink('', { era: 'modern', ...recording('meta', { ERA: 'modern' }) });
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const _meta = {
      traceparent,
      'example.com/own': 1,
      progressToken: 'theirs',
      'io.modelcontextprotocol/clientInfo': { name: 'their-client', version: '9' },
      'io.modelcontextprotocol/clientCapabilities': { sampling: {} },
    };
    await connection.request(
      { method: 'tools/call', params: { name: 'echo', arguments: {}, _meta } },
      AbortSignal.timeout(30_000),
    );
    const sent = recorded('meta').find(({ method }) => method === 'tools/call');
    expect(sent?.id).toEqual(expect.any(Number));
    expect(sent?.params?.['_meta']).toEqual({
      traceparent,
      'example.com/own': 1,
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientCapabilities': {},
      'io.modelcontextprotocol/clientInfo': { name: 'remit', title: 'Remit gateway', version: '0.1.0' },
    });
  });

  test('a cancelled call is cancelled by its id on the wire, once', async () => {
    const { connection } = await openSink('hang', recording('cancel'));
    const caller = new AbortController();
    const pending = faultOf(call(connection, 'echo', {}, caller.signal));
    caller.abort('the caller left');
    expect((await pending).code).toBe('upstream_cancelled');
    await listItems(connection, 'tool', AbortSignal.timeout(30_000));
    const sent = recorded('cancel');
    const id = sent.find(({ method }) => method === 'tools/call')?.id;
    expect(sent.filter(({ method }) => method === 'notifications/cancelled').map(({ params }) => params)).toEqual([
      { requestId: id, reason: 'cancelled' },
    ]);
  });

  test('a server that asks for sampling is told that nobody does that here; ping is answered', async () => {
    const { connection } = await openSink('ask', recording('ask'));
    await textOf(connection, 'echo');
    await until(
      'both answers arrived',
      () => recorded('ask').filter(({ method }) => method === undefined).length === 2,
    );
    expect(recorded('ask').filter(({ method }) => method === undefined)).toEqual([
      { jsonrpc: '2.0', id: 'q1', error: { code: -32601, message: 'Method not found' } },
      { jsonrpc: '2.0', id: 'q2', result: {} },
    ]);
  });
});

describe('era', () => {
  test.each([
    ['modern', '', 'modern', '2026-07-28'],
    ['legacy', '', 'legacy', '2025-11-25'],
    ['legacy', 'dies-when-asked', 'legacy', '2025-11-25'],
    ['legacy', 'mute', 'legacy', '2025-11-25'],
  ])('a %s server %s is found to be %s', async (ERA, behaviour, era, version) => {
    const { connection } = await openSink(behaviour, { era: 'auto', env: { ERA } });
    expect(connection.identity).toMatchObject({ era, protocolVersion: version });
    expect(await textOf(connection, 'echo', { a: 1 })).toBe('{"a":1}');
  });

  test('a server of the other era than declared is refused with the reason', async () => {
    const pool = testPool();
    pools.push(pool);
    const fault = await faultOf(
      pool.connection('sink', stdioServer(SINK_PROGRAM, { era: 'modern', env: { ERA: 'legacy' } })),
    );
    expect(fault).toMatchObject({
      code: 'upstream_protocol',
      message: 'server/discover was answered with error -32601',
      dispatched: 'no',
    });
  });
});

describe('the process', () => {
  test('its death fails what is in flight, with what it said last', async () => {
    const { connection } = await openSink('crash');
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({
      code: 'upstream_closed',
      message: 'the process ended (exit code 7)',
      dispatched: 'unknown',
    });
    await expect(connection.closed).resolves.toEqual({ reason: 'the process ended (exit code 7)' });
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({ code: 'upstream_closed', dispatched: 'no' });
  });

  test('one that does not come up is reported with its last words', async () => {
    const pool = testPool();
    pools.push(pool);
    const fault = await faultOf(
      pool.connection('sink', stdioServer(SINK_PROGRAM, { era: 'legacy', env: { BEHAVIOUR: 'fails-to-start' } })),
    );
    expect(fault).toMatchObject({
      code: 'upstream_closed',
      message: 'the process ended (exit code 2): cannot find my licence',
      dispatched: 'no',
    });
  });

  test('one that closes its output is ended, for it can never answer', async () => {
    const { connection } = await openSink('close-output');
    expect(await faultOf(call(connection, 'echo'))).toMatchObject({ code: 'upstream_closed' });
  });

  test('EX-03: a secret reaches its environment; stderr is logged without it, without control characters, and not without end', async () => {
    process.env['REMIT_TEST_TOKEN'] = 'swordfish-9000';
    const { connection, pool } = await openSink('stderr', {
      env: { TOKEN: { secret: 'env:REMIT_TEST_TOKEN' } },
      limits: { ...LIMITS, outputBytes: 50_000 },
    });
    await textOf(connection, 'echo');
    await until('the rest is dropped', () =>
      pool.events.some(({ message }) => message.includes('the rest is dropped')),
    );
    const said = pool.events.filter(({ event }) => event === 'stderr').map(({ message }) => message);
    expect(said[0]).toBe('token is [secret]  [31mred');
    expect(JSON.stringify(pool.events)).not.toContain('swordfish-9000');
    expect(said.join('').length).toBeLessThan(10_000);
  });

  test('EX-03: it sees the declared environment and nothing else', async () => {
    process.env['REMIT_TEST_CANARY'] = 'gateway-only';
    const { connection } = await openSink('env', { env: { PLAIN: 'value' } });
    expect(JSON.parse(await textOf(connection, 'echo'))).toEqual({ BEHAVIOUR: 'env', PLAIN: 'value' });
  });

  test('EX-02: its command is an argument vector: metacharacters arrive as they are', async () => {
    const words = ['$(id)', '; touch /tmp/owned', '`id`', '*', "'", '"', '', '--flag=a b', '\\n'];
    const pool = testPool();
    pools.push(pool);
    const server = stdioServer(SINK_PROGRAM, { era: 'legacy', env: { BEHAVIOUR: 'argv' } });
    const upstream = { ...server.upstream, command: ['node', `/repo/${SINK_PROGRAM}`, ...words] } as StdioTarget;
    const connection = await pool.connection('sink', { ...server, upstream });
    expect(JSON.parse(await textOf(connection, 'echo'))).toEqual(words);
  });

  test('EX-02: options of node, names of programs and unknown packages are refused before anything starts', async () => {
    for (const [command, message] of [
      [['node', '-e', 'process.exit()'], 'options of node are not accepted'],
      [['bash', '-c', 'id'], '"bash" is neither "node" nor an absolute path'],
      [['node'], 'after "node" comes an npm package'],
      [['node', 'not-installed-anywhere'], 'is not installed with Remit'],
      [['node', '../../etc/passwd'], 'is not the name of an npm package'],
      [['node', '@modelcontextprotocol/server-filesystem/bin/nope'], 'has the programs mcp-server-filesystem'],
    ] as const) {
      const pool = testPool();
      pools.push(pool);
      const fault = await faultOf(pool.connection('sink', stdioServer(command)));
      expect(fault).toMatchObject({ code: 'upstream_sandbox', dispatched: 'no' });
      expect(fault.message).toContain(message);
    }
  });
});

describe('the published filesystem server', () => {
  test('EX-01: reads its declared folder inside the sandbox, and nothing else of the host', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remit-files-'));
    chmodSync(folder, 0o755);
    const pool = testPool();
    pools.push(pool);
    const connection = await pool.connection(
      'filesystem',
      stdioServer(['node', '@modelcontextprotocol/server-filesystem', '/data', '/etc', '/'], {
        mounts: [{ from: folder, to: '/data', mode: 'read' }],
      }),
    );
    expect(connection.identity).toMatchObject({ era: 'legacy', serverInfo: { name: 'secure-filesystem-server' } });
    expect((await listItems(connection, 'tool', AbortSignal.timeout(30_000))).items.length).toBeGreaterThan(10);
    const attempt = async (name: string, args: Record<string, string>) =>
      (await call(connection, name, args)) as unknown as {
        result: { isError?: boolean; content: Array<{ text: string }> };
      };
    expect((await attempt('list_directory', { path: '/data' })).result.isError).toBeFalsy();
    const shadow = await attempt('read_text_file', { path: '/etc/shadow' });
    expect(shadow.result.isError).toBe(true);
    expect(shadow.result.content[0]?.text).toMatch(/ENOENT/);
    const write = await attempt('write_file', { path: '/data/x', content: 'x' });
    expect(write.result.content[0]?.text).toMatch(/EROFS|EACCES/);
    rmSync(folder, { recursive: true });
  });
});
