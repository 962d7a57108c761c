/** The pool: one connection per server, no leaks, a clear word while a server is down. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';
import { serverLauncher } from '../../src/sandbox/launch.ts';
import type { PoolOptions } from '../../src/upstream/pool.ts';
import type { StdioTarget } from '../../src/upstream/target.ts';
import { resolveSecret } from '../../src/upstream/secrets.ts';
import { hostProcesses } from '../contracts/isolation.ts';
import { call, faultOf, textOf } from '../contracts/connection.ts';
import { SINK_PROGRAM, backend, httpServer, stdioServer, testPool, until } from '../support/upstreams/open.ts';
import { startSink } from '../support/upstreams/sink.ts';

const closers: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function openPool(options: Partial<PoolOptions> = {}) {
  const pool = testPool(options);
  closers.push(pool.closeAll);
  return pool;
}
async function openSink() {
  const sink = await startSink();
  closers.push(sink.close);
  return sink;
}
const MARK = String(process.pid);
/** The stdio sink, with this run's mark on its command line: other tests run at the same time. */
const sinkServer = (upstream: Partial<StdioTarget> = {}) => {
  const server = stdioServer(SINK_PROGRAM, upstream);
  return {
    ...server,
    upstream: { ...server.upstream, command: ['node', `/repo/${SINK_PROGRAM}`, MARK] } as StdioTarget,
  };
};
/** Processes of this run: bubblewrap's own, the servers, what they started. */
const ours = () =>
  hostProcesses().filter(([, command]) => command.endsWith(` ${MARK}`) || command.endsWith(`.${MARK}`));

describe('one connection per server', () => {
  test('twenty callers at once start one process', async () => {
    let starts = 0;
    const launch = serverLauncher(backend);
    const pool = openPool({ startProcess: (request) => (starts++, launch(request)) });
    const server = sinkServer({ era: 'legacy' });
    const connections = await Promise.all(Array.from({ length: 20 }, () => pool.connection('s', server)));
    expect(new Set(connections).size).toBe(1);
    expect(starts).toBe(1);
    // An equal record from a later snapshot is the same definition.
    expect(await pool.connection('s', structuredClone(server))).toBe(connections[0]);
  });

  test('the era question costs a sibling once; the verdict is remembered', async () => {
    let starts = 0;
    const launch = serverLauncher(backend);
    const clock = manualClock(1_000_000);
    const pool = openPool({ clock, startProcess: (request) => (starts++, launch(request)) });
    const server = sinkServer();
    const first = await pool.connection('s', server);
    expect(starts).toBe(2);
    clock.advance(60_000);
    await first.close();
    await until('it is down', () => pool.status()[0]?.state === 'down');
    await pool.connection('s', server);
    expect(starts).toBe(3);
    // A legacy verdict has an end: the server may have been upgraded.
    clock.advance(25 * 3_600_000);
    await (await pool.connection('s', server)).close();
    await until('it is down', () => pool.status()[0]?.state === 'down');
    await pool.connection('s', server);
    expect(starts).toBe(5);
  });

  test('a changed definition ends the old connection with what is in flight, and opens a new one', async () => {
    const pool = openPool();
    const old = await pool.connection('s', sinkServer({ era: 'legacy', env: { BEHAVIOUR: 'hang' } }));
    const pending = faultOf(call(old, 'echo'));
    const next = await pool.connection('s', sinkServer({ era: 'legacy' }));
    expect(await pending).toMatchObject({ code: 'upstream_closed', dispatched: 'unknown' });
    expect(await textOf(next, 'echo', { a: 1 })).toBe('{"a":1}');
    expect(ours().filter(([, command]) => command.startsWith('/remit/node'))).toHaveLength(1);
  });

  test('closing while it opens leaves nothing behind, and whoever waited is told', async () => {
    const pool = openPool();
    const waiting = faultOf(pool.connection('s', sinkServer({ era: 'legacy' })));
    await pool.close('s', 'locked');
    expect(await waiting).toMatchObject({ code: 'upstream_closed', message: 'locked', dispatched: 'no' });
    expect(ours()).toEqual([]);
    expect(pool.status()).toEqual([]);
  });

  test('after closeAll nothing opens any more', async () => {
    const pool = openPool();
    const sink = await openSink();
    await pool.connection('s', httpServer(sink.url));
    await pool.closeAll();
    expect(await faultOf(pool.connection('s', httpServer(sink.url)))).toMatchObject({
      code: 'upstream_closed',
      message: 'the gateway is stopping',
      dispatched: 'no',
    });
  });
});

describe('a server that is down', () => {
  test('is tried again after pauses that grow, and until then refused at once with the reason', async () => {
    const clock = manualClock(1_000_000);
    let starts = 0;
    const launch = serverLauncher(backend);
    const pool = openPool({ clock, startProcess: (request) => (starts++, launch(request)) });
    const server = sinkServer({ era: 'legacy', env: { BEHAVIOUR: 'fails-to-start' } });
    const pauses: Array<number | null> = [];
    for (let attempt = 1; attempt <= 9; attempt++) {
      expect(await faultOf(pool.connection('s', server))).toMatchObject({ code: 'upstream_closed', dispatched: 'no' });
      const retryAt = pool.status()[0]?.retryAt ?? null;
      pauses.push(retryAt === null ? null : retryAt - clock.now());
      const refused = await faultOf(pool.connection('s', server));
      expect(refused.message).toMatch(
        /^s is down: the process ended \(exit code 2\): cannot find my licence; next attempt in \d+ ms$/,
      );
      expect(starts).toBe(attempt);
      clock.set(retryAt ?? clock.now());
    }
    expect(pauses).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    expect(pool.status()[0]).toMatchObject({
      state: 'down',
      failures: 9,
      lastFault: 'the process ended (exit code 2): cannot find my licence',
    });
  });

  test('that had worked for a while is opened again at once', async () => {
    const clock = manualClock(1_000_000);
    const pool = openPool({ clock });
    const server = sinkServer({ era: 'legacy', env: { BEHAVIOUR: 'crash' } });
    const connection = await pool.connection('s', server);
    clock.advance(10_000);
    await faultOf(call(connection, 'echo'));
    await until('it is down', () => pool.status()[0]?.state === 'down');
    expect(await pool.connection('s', server)).not.toBe(connection);
  });

  test('EX-09: without the isolation backend it does not start, and says so', async () => {
    const pool = openPool({ startProcess: serverLauncher(bubblewrapBackend({ searchPath: '/nowhere' })) });
    const fault = await faultOf(pool.connection('s', sinkServer()));
    expect(fault).toMatchObject({ code: 'upstream_sandbox', dispatched: 'no' });
    expect(fault.message).toMatch(/^s is not started: the program bwrap is not on the PATH\. Install bubblewrap/);
    expect(pool.status()[0]).toMatchObject({ state: 'down', lastFault: fault.message });
    expect(ours()).toEqual([]);
  });

  test('EX-09: the same server starts where the backend is (twin)', async () => {
    const connection = await openPool().connection('s', sinkServer({ era: 'legacy' }));
    expect(await textOf(connection, 'echo', { a: 1 })).toBe('{"a":1}');
  });
});

describe('leaks', () => {
  test('after thirty crashes no process is left, and listeners do not pile up', async () => {
    const clock = manualClock(1_000_000);
    const pool = openPool({ clock });
    const server = sinkServer({ era: 'legacy', env: { BEHAVIOUR: 'crash' } });
    const before = ours().length;
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    for (let crash = 0; crash < 30; crash++) {
      const connection = await pool.connection('s', server);
      expect((await faultOf(call(connection, 'echo'))).code).toBe('upstream_closed');
      await connection.closed;
      clock.advance(60_000);
    }
    await until('all are gone', () => ours().length === before);
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
    expect(pool.status()).toHaveLength(1);
  });

  test.each(['children', 'stubborn', 'hang'])(
    'a server with behaviour %s is gone to the last descendant after close',
    async (behaviour) => {
      const pool = openPool();
      const connection = await pool.connection('s', sinkServer({ era: 'legacy', env: { BEHAVIOUR: behaviour } }));
      if (behaviour === 'hang') void call(connection, 'echo').catch(() => {});
      else await textOf(connection, 'echo');
      await until('it runs, with its children', () => ours().length >= (behaviour === 'children' ? 6 : 3));
      await pool.close('s', 'over');
      expect(ours()).toEqual([]);
    },
  );

  test('one HTTP connection serves many calls without adding listeners to the caller', async () => {
    const sink = await openSink();
    const connection = await openPool().connection('s', httpServer(sink.url));
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args));
    signal.removeEventListener = (...args: Parameters<typeof remove>) => (listeners--, remove(...args));
    for (let i = 0; i < 20; i++) await call(connection, 'echo', { text: 'x' }, signal);
    expect(listeners).toBe(0);
  });
});

describe('secrets', () => {
  const resolve = (secret: string, scope = {}) =>
    resolveSecret({ secret }, { NAME: 'from the environment', EMPTY: '' }, scope);

  test('come from variables and files', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remit-secrets-'));
    writeFileSync(join(folder, 'key'), 'from a file\n');
    expect(await resolve('env:NAME')).toBe('from the environment');
    expect(await resolve(`file:${folder}/key`)).toBe('from a file');
    writeFileSync(join(folder, 'big'), 'x'.repeat(70_000));
    await expect(resolve(`file:${folder}/big`)).rejects.toThrow('larger than 65536 bytes');
    rmSync(folder, { recursive: true });
  });

  test.each([
    ['env:MISSING', {}, 'secret_missing', 'the secret env:MISSING is not set'],
    ['env:EMPTY', {}, 'secret_missing', 'the secret env:EMPTY is not set'],
    ['env:NAME', { envPrefix: 'REMIT_SECRET_' }, 'secret_reference', 'its name must begin with REMIT_SECRET_'],
    ['file:relative', {}, 'secret_reference', 'write an absolute, normalised path'],
    ['file:/a/../etc/shadow', {}, 'secret_reference', 'write an absolute, normalised path'],
    [
      'file:/etc/hostname',
      { folders: ['/run/secrets'] },
      'secret_reference',
      'lies outside of the folders for secrets',
    ],
    ['file:/nowhere/at/all', {}, 'secret_missing', 'cannot be read'],
    ['vault:x', {}, 'secret_reference', 'write env:NAME or file:PATH'],
  ])('%s with %j is %s', async (reference, scope, code, message) => {
    const error = await resolve(reference, scope).then(
      () => null,
      (reason: Error & { code: string }) => reason,
    );
    expect(error?.code).toBe(code);
    expect(error?.message).toContain(message);
  });

  test('a missing one keeps the server down, and the fault names the reference', async () => {
    const fault = await faultOf(
      openPool().connection(
        's',
        httpServer('http://127.0.0.1:9/', { headers: [{ name: 'X-Key', value: { secret: 'env:NOT_SET_ANYWHERE' } }] }),
      ),
    );
    expect(fault).toMatchObject({
      code: 'upstream_auth',
      message: 'the secret env:NOT_SET_ANYWHERE is not set',
      dispatched: 'no',
    });
  });
});
