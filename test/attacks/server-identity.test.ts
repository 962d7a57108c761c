/**
 * TD-07, TD-08: a server that is not the one that was reviewed: another key behind the same name, another package under the same command.
 * The oracle is the sink, or a file that the swapped program would write.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server as TlsServer } from 'node:https';
import { request } from 'node:http';
import { createHash, createPublicKey } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { artifactIdentity } from '../../src/sandbox/artifact-digest.ts';
import { guardedDispatcher, type DialRule } from '../../src/upstream/dial.ts';
import { selfSigned } from '../support/certificate.ts';
import { startRig, textTool, type Rig } from '../support/rig.ts';
import { SINK_PROGRAM, REPOSITORY, stdioServer, testPool, type TestPool } from '../support/upstreams/open.ts';
import { startSink, type Sink } from '../support/upstreams/sink.ts';

const closers: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const reviewed = selfSigned('127.0.0.1');
/** As valid as the first, for everybody who trusts the same authorities. */
const other = selfSigned('127.0.0.1', 'ec', 'another');
const pinOf = (pem: string): string =>
  `sha256:${createHash('sha256')
    .update(createPublicKey(pem).export({ type: 'spki', format: 'der' }))
    .digest('hex')}`;
const trusting = (rule: DialRule) => guardedDispatcher({ ...rule, extraCa: [reviewed.cert, other.cert] });

/** TLS in front of a sink. */
async function tlsBefore(sink: Sink): Promise<{ readonly url: string; readonly server: TlsServer }> {
  const target = new URL(sink.url);
  const server = createServer(reviewed, (incoming, response) => {
    const outgoing = request(
      {
        host: target.hostname,
        port: target.port,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      },
    );
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `https://127.0.0.1:${(server.address() as { port: number }).port}/`, server };
}

async function rigBehindTls(dispatcherFor: (rule: DialRule) => ReturnType<typeof guardedDispatcher>) {
  const sink = await startSink({ era: 'modern', answer: 'json' });
  closers.push(() => sink.close());
  sink.setTools([
    textTool('write_note', 'write', 'notes:write').definition,
    textTool('read_note', 'read', 'notes:read').definition,
  ]);
  const { url, server } = await tlsBefore(sink);
  let pool: TestPool | null = null;
  const rig = await startRig({
    servers: {},
    wrap: (deps) => ({ ...deps, pool: (pool = testPool({ clock: deps.clock, dispatcherFor })) }),
  });
  closers.push(
    () => rig.stop(),
    () => pool?.closeAll(),
  );
  await rig.addServer('notes', { url: new URL('/mcp', url).href, upstream: { pins: [pinOf(reviewed.publicKey)] } });
  const swap = async (): Promise<void> => {
    server.setSecureContext(other);
    server.closeAllConnections();
  };
  const call = (tool = 'read_note') => rig.call('notes', tool, { text: 'x' });
  return { rig, sink, swap, call };
}
const stateOf = (rig: Rig) => rig.gateway.snapshot().servers.get('notes')?.record.state;

describe('TD-07: the key of a server', () => {
  test('TD-07: another key with a valid certificate gets no request, and the server is suspended with the reason', async () => {
    const { rig, sink, swap, call } = await rigBehindTls(trusting);
    expect((await call()).result?.['isError'] ?? false).toBe(false);
    const before = sink.received.length;
    await swap();
    const answer = await call();
    expect(answer.result?.['isError'] ?? answer.error).toBeTruthy();
    expect(sink.received.length).toBe(before);
    expect(sink.calls()).toHaveLength(1);
    await rig.caughtUp();
    expect(stateOf(rig)).toBe('suspended');
    const change = (await rig.state.history('server', 'default', 'notes')).at(-1)!;
    expect([change.actor, change.reason]).toEqual([
      'remit:catalogue',
      `not the server that was reviewed: 127.0.0.1 shows the key ${pinOf(other.publicKey)}, and another one is pinned`,
    ]);
    const entries = await rig.entries('admin');
    expect(entries.map(({ event }) => event?.['what'])).toContain('server.suspended');
    // The old key coming back does not bring it back: somebody has to look.
    expect((await call()).status).not.toBe(500);
    expect(sink.calls()).toHaveLength(1);
  });

  test('TD-07: a look in the background finds it, too, without anybody calling', async () => {
    const { rig, sink, swap } = await rigBehindTls(trusting);
    const before = sink.received.length;
    await swap();
    // The first look may still meet the connection that was just closed.
    for (let looks = 0; looks < 3 && stateOf(rig) === 'enabled'; looks++) {
      await rig.look('notes').catch(() => undefined);
      await rig.caughtUp();
    }
    expect([stateOf(rig), sink.received.length]).toEqual(['suspended', before]);
  });

  test('TD-07: twin: a dialler that looks at the certificate alone sends the call to the other key', async () => {
    const { sink, swap, call } = await rigBehindTls(({ allowedNetworks, requireHttps }) =>
      trusting({ allowedNetworks, requireHttps }),
    );
    await call();
    await swap();
    expect((await call()).result?.['isError'] ?? false).toBe(false);
    expect(sink.calls()).toHaveLength(2);
  });
});

describe('TD-08: the package of a server', () => {
  const root = mkdtempSync(join(tmpdir(), 'remit-package-'));
  chmodSync(root, 0o755);
  const mounted = join(root, 'app');
  mkdirSync(mounted);
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const out = join(root, 'out');
  mkdirSync(out);
  chmodSync(out, 0o777);
  const install = (marker: string): void =>
    writeFileSync(
      join(mounted, 'server.mjs'),
      `import { writeFileSync } from 'node:fs';\nwriteFileSync('/out/${marker}', 'ran');\nawait import('/repo/${SINK_PROGRAM}');\n`,
    );
  const target = (digest?: string) => {
    const server = stdioServer(['node', '/app/server.mjs'], {
      mounts: [
        { from: mounted, to: '/app', mode: 'read' },
        { from: out, to: '/out', mode: 'write' },
        { from: REPOSITORY, to: '/repo', mode: 'read' },
      ],
    });
    return { ...server, ...(digest !== undefined && { source: { digest } }) };
  };
  const runs = () => {
    const { upstream } = target();
    if (upstream.transport !== 'stdio') throw new Error('not stdio');
    return upstream;
  };

  test('TD-08: a file that is not what was reviewed is not run; as reviewed it is', async () => {
    install('one');
    const { digest } = await artifactIdentity(runs());
    const pool = testPool();
    closers.push(() => pool.closeAll());
    await pool.connection('good', target(digest));
    expect(existsSync(join(out, 'one'))).toBe(true);

    install('two');
    await expect(pool.connection('bad', target(digest))).rejects.toMatchObject({
      code: 'upstream_identity',
      dispatched: 'no',
      message: expect.stringContaining(`${digest} was reviewed`),
    });
    expect(existsSync(join(out, 'two'))).toBe(false);
  });

  test('TD-08: twin: without the comparison the new version runs', async () => {
    install('three');
    const pool = testPool();
    closers.push(() => pool.closeAll());
    await pool.connection('open', target());
    expect(existsSync(join(out, 'three'))).toBe(true);
  });

  test('TD-08: the gateway suspends such a server and says what is installed', async () => {
    install('four');
    const { digest } = await artifactIdentity(runs());
    const rig = await startRig({ servers: {} });
    closers.push(() => rig.stop());
    install('five');
    const { upstream } = target();
    const { Server } = await import('../../src/inventory/records.ts');
    const record = Server.parse({
      title: 'Local',
      owner: 'omar',
      purpose: 'x',
      environment: 'development',
      dataClasses: ['internal'],
      state: 'enabled',
      source: { vendor: 'v', version: '1.0.0', digest },
      upstream,
    });
    await rig.commit([{ kind: 'server', org: 'default', id: 'local', body: record }]);
    await rig.look('local').catch(() => undefined);
    await rig.caughtUp();
    expect(rig.gateway.snapshot().servers.get('local')?.record.state).toBe('suspended');
    expect((await rig.state.history('server', 'default', 'local')).at(-1)?.reason).toContain(
      'what is installed is sha256:',
    );
    expect(existsSync(join(out, 'five'))).toBe(false);
  });
});
