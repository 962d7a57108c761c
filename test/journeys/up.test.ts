/**
 * `remit up` as a person lives with it: starting, stopping in every way, starting again, and everything that can be wrong with the machine.
 * What is under the process is read from /proc, before and after; what is kept is read from the folder and through sign-in.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import {
  endAll,
  freePorts,
  namespaceOf,
  rootOf,
  runRemit,
  startRemit,
  statusOf,
  temporaryFolder,
  until,
} from '../support/processes.ts';
import type { Seen, Started } from '../support/processes.ts';
import { adminToken, passwordOf } from './people.ts';
import type { UpReady } from './people.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

afterEach(endAll);

/** Which process of the tree is what. */
const isAuthServer = (one: Seen): boolean => one.command.includes('up-authserver.ts');
const isInside = (name: string) => (one: Seen) => one.command.startsWith('/remit/node') && one.command.includes(name);

async function up(dir: string, options: { ownGroup?: boolean } = {}): Promise<{ started: Started; ready: UpReady }> {
  const started = startRemit(['up', '--dir', dir, '--port', '0', '--json'], options);
  return { started, ready: await started.ready<UpReady>() };
}

async function expectNothingLeft(started: Started, withinMs = 5_000): Promise<void> {
  await until(
    'every descendant to end',
    () => started.left().length === 0,
    withinMs,
    () =>
      started
        .left()
        .map(({ pid, command }) => `${pid} ${command}`)
        .join('\n'),
  );
}

test('EX-01: two processes of ours, two servers in sandboxes as users of their own that see only what was mounted; ^C ends all of it', async () => {
  const dir = join(temporaryFolder(), 'data');
  const begunAt = performance.now();
  const { started, ready } = await up(dir, { ownGroup: true });
  expect(performance.now() - begunAt).toBeLessThan(30_000);
  expect(ready.servers.map(({ id, tools, problem }) => [id, tools > 0, problem])).toEqual([
    ['files', true, null],
    ['everything', true, null],
  ]);

  const tree = started.descendants();
  const direct = tree.filter(({ parent }) => parent === started.pid);
  expect(direct.filter(isAuthServer)).toHaveLength(1);
  expect(direct.filter((one) => !isAuthServer(one)).every(({ command }) => /\/bwrap /.test(command))).toBe(true);
  for (const name of ['server-filesystem', 'server-everything']) {
    const [inside, ...more] = tree.filter(isInside(name));
    if (inside === undefined || more.length > 0) throw new Error(`${name}: ${tree.map((t) => t.command).join('\n')}`);
    expect(inside.uid).not.toBe(0);
    expect(statusOf(inside.pid, 'CapEff')).toMatch(/^0+$/);
    expect(statusOf(inside.pid, 'NoNewPrivs')).toBe('1');
    expect(namespaceOf(inside.pid, 'mnt')).not.toBe(namespaceOf('self', 'mnt'));
    expect(namespaceOf(inside.pid, 'pid')).not.toBe(namespaceOf('self', 'pid'));
  }
  const files = tree.find(isInside('server-filesystem'))!;
  expect(namespaceOf(files.pid, 'net')).not.toBe(namespaceOf('self', 'net'));
  expect(rootOf(files.pid, '/files')).toEqual(['welcome.txt']);
  const visible = rootOf(files.pid);
  expect(visible).toContain('remit');
  expect(visible.filter((name) => ['root', 'home', 'work', 'srv', 'var', 'mnt', 'opt'].includes(name))).toEqual([]);
  expect(rootOf(files.pid, '/remit').sort()).toEqual(['node', 'node_modules']);
  expect(existsSync(`/proc/${files.pid}/root${dir}`)).toBe(false);

  // As a terminal: every process of the group gets the signal, in whatever order.
  started.signalGroup('SIGINT');
  expect(await started.ended).toEqual({ code: 0, signal: null });
  await expectNothingLeft(started);
});

test('the authorization server dies: `up` says so, ends with code 1 and leaves nothing', async () => {
  const { started } = await up(join(temporaryFolder(), 'data'));
  const [authServer] = started.descendants().filter(isAuthServer);
  process.kill(authServer!.pid, 'SIGKILL');
  expect(await started.ended).toEqual({ code: 1, signal: null });
  expect(JSON.parse(started.err())).toMatchObject({
    error: {
      code: 'authserver_ended',
      message: expect.stringMatching(/authorization server ended; see .*authserver\.log/),
    },
  });
  await expectNothingLeft(started);
});

test('after kill -9 its children end by themselves; the next start keeps users, state and approvals and shows no password again; a second `up` beside it is refused', async () => {
  const dir = join(temporaryFolder(), 'data');
  const first = await up(dir);
  const password = passwordOf(first.ready, 'ada');
  expect(first.ready.users.every((user) => (user.password?.length ?? 0) >= 16)).toBe(true);
  const before = await governance(first.ready, password);
  expect(first.started.descendants().some(isAuthServer)).toBe(true);
  first.started.signal('SIGKILL');
  expect(await first.started.ended).toEqual({ code: null, signal: 'SIGKILL' });
  await expectNothingLeft(first.started, 8_000);

  const second = await up(dir);
  expect(second.ready.users.map((user) => user.password)).toEqual(first.ready.users.map(() => null));
  expect({ ...second.ready, users: first.ready.users }).toEqual(first.ready);
  // The old password still opens the door, and nothing was written a second time.
  expect(await governance(second.ready, password)).toEqual(before);
  await expect(adminToken(second.ready, 'ada', 'wrong-wrong-wrong')).rejects.toThrow(/stopped at: 4\d\d/);

  const beside = await runRemit(['up', '--dir', dir]);
  expect([beside.code, beside.err]).toEqual([
    1,
    `starting the authorization server\nremit: Remit is already running on ${dir}.\n` +
      'Use that one, or stop it first, or start in another folder with other ports: remit up --dir ./remit-other --port 9000.\n',
  ]);
  const otherPorts = await runRemit(['up', '--dir', dir, '--port', '1']);
  expect([otherPorts.code, otherPorts.err]).toEqual([
    2,
    expect.stringContaining('--port counts on the first start only'),
  ]);
  expect((await governance(second.ready, password)).changes).toEqual(before.changes);
  expect(await second.started.stop('SIGTERM')).toEqual({ code: 0, signal: null });
  await expectNothingLeft(second.started);
});

/** Every change ever made to the governance state, as an administrator reads it. */
async function governance(ready: UpReady, password: string): Promise<{ changes: unknown; revision: unknown }> {
  const headers = { authorization: `Bearer ${await adminToken(ready, 'ada', password)}` };
  const get = async (path: string): Promise<Record<string, unknown>> => {
    const response = await fetch(`${ready.adminUrl}/api/v1${path}`, { headers });
    expect([path, response.status]).toEqual([path, 200]);
    return (await response.json()) as Record<string, unknown>;
  };
  const changes = await get('/changes?after=0');
  expect((changes['changes'] as unknown[]).length).toBeGreaterThan(30);
  return { changes, revision: (await get('/status'))['revision'] };
}

test('the human output says who may sign in, how each client connects, how to administer and where things are; a folder is private', async () => {
  const dir = join(temporaryFolder(), 'data');
  const started = startRemit(['up', '--dir', dir, '--port', '0']);
  await until('the description', () => started.out().includes('log key:'), 60_000, started.err);
  const said = started.out();
  const mcp = /http:\/\/127\.0\.0\.1:\d+\/mcp\/default\/files/.exec(said)?.[0] ?? '';
  for (const line of [
    'Remit is running. Ctrl-C stops everything.',
    /^dana +[a-z0-9-]{16,} +Dana Developer +developer$/m,
    `claude mcp add --transport http --client-id claude-code files ${mcp}`,
    `.cursor/mcp.json: {"mcpServers":{"files":{"url":"${mcp}","auth":{"CLIENT_ID":"cursor"}}}}`,
    `.vscode/mcp.json: {"servers":{"files":{"type":"http","url":"${mcp}","oauth":{"clientId":"vscode"}}}}`,
    `npx @modelcontextprotocol/inspector --cli --transport http --server-url ${mcp} --client-id mcp-inspector --method tools/list`,
    `new StreamableHTTPClientTransport(new URL('${mcp}'), { authProvider })`,
    /remit login --url http:\/\/127\.0\.0\.1:\d+$/m,
    `data:          ${dir}`,
    `configuration: ${join(dir, 'remit.yaml')}`,
    join(dir, 'authserver.log'),
  ])
    expect(said).toMatch(line);
  // Progress is not part of the result.
  expect(started.err().split('\n')[0]).toBe('starting the authorization server');
  expect(statSync(dir).mode & 0o077).toBe(0);
  const open = readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(db|key|log|yaml)$|keys\//.test(name) && statSync(join(dir, name)).isFile())
    .filter((name) => (statSync(join(dir, name)).mode & 0o077) !== 0 && !/\.(vkey|vkeys|origin)$/.test(name));
  expect(open).toEqual([]);
  // The passwords were shown, and are nowhere in the folder.
  const password = /^ada +(\S+)/m.exec(said)?.[1] ?? '';
  for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' }))
    if (statSync(join(dir, name)).isFile()) expect(readFileSync(join(dir, name)).includes(password)).toBe(false);
  expect(await started.stop('SIGINT')).toEqual({ code: 0, signal: null });
  expect(started.err().split('\n').at(-2)).toBe('stopping; once more ends it at once');
  await expectNothingLeft(started);
});

describe('what can be wrong with the machine', () => {
  test('ports that are taken: each is named with what it is for and what to do; nothing is written, nothing left', async () => {
    const dir = join(temporaryFolder(), 'data');
    const base = await freePorts(4);
    const blockers = [base + 1, base + 3].map((port) => createServer().listen(port, '127.0.0.1'));
    const refused = await runRemit(['up', '--dir', dir, '--port', String(base)]);
    expect([refused.code, refused.err]).toEqual([
      1,
      `remit: port ${base + 1}, for the admin API, is taken; port ${base + 3}, for the sample server "everything", is taken.\n` +
        'Stop what listens there, or name others: remit up --port 9000 (0 takes free ones).\n',
    ]);
    expect(existsSync(join(dir, 'remit.yaml'))).toBe(false);
    for (const blocker of blockers) blocker.close();

    // On a folder that was set up before, the remedy is another one: the ports are part of every URL and token.
    const at = (offset: number): string => `http://127.0.0.1:${base + offset}`;
    mkdirSync(dir, { recursive: true });
    writeFileSync(
      join(dir, 'remit.yaml'),
      JSON.stringify({
        dataDir: './gateway',
        public: { port: base, publicUrl: at(0) },
        admin: { port: base + 1, publicUrl: at(1) },
        issuers: [{ issuer: at(2), allowedNetworks: ['127.0.0.1/32'] }],
        authserver: {
          issuer: at(2),
          listen: { host: '127.0.0.1', port: base + 2 },
          dataDir: './authserver',
          trustedGateways: [{ origin: at(0) }],
          evaluationUsers: true,
        },
      }),
    );
    const mcp = createServer().listen(base, '127.0.0.1');
    const again = startRemit(['up', '--dir', dir]);
    await until(
      'its authorization server',
      () => again.descendants().some(isAuthServer) || again.child.exitCode !== null,
    );
    expect((await again.ended).code).toBe(1);
    expect(again.err()).toContain(
      `port ${base}, for MCP, is taken.\nStop what listens there, or start in another folder`,
    );
    await expectNothingLeft(again);
    mcp.close();
    const auth = createServer().listen(base + 2, '127.0.0.1');
    const third = await runRemit(['up', '--dir', dir, '--json']);
    expect([third.code, JSON.parse(third.err)]).toEqual([
      1,
      {
        error: {
          code: 'failed',
          message: `cannot listen on 127.0.0.1 port ${base + 2}, for the authorization server.`,
          remedy: expect.stringContaining('Stop what listens there'),
        },
      },
    ]);
    auth.close();
  });

  test('`remit gateway` on a taken port names the key to change, for both listeners', async () => {
    const dir = temporaryFolder();
    const base = await freePorts(1);
    const blocker = createServer().listen(base, '127.0.0.1');
    for (const [taken, free] of [
      ['public', 'admin'],
      ['admin', 'public'],
    ] as const) {
      writeFileSync(
        join(dir, 'c.yaml'),
        JSON.stringify({ dataDir: './d', [taken]: { port: base }, [free]: { port: 0 } }),
      );
      const refused = await runRemit(['gateway', '--config', join(dir, 'c.yaml')]);
      expect([refused.code, refused.err.split('\n').at(-2)]).toEqual([
        1,
        `remit: port ${base} on 127.0.0.1 is taken. Stop what listens there, or change ${taken}.port in the configuration`,
      ]);
    }
    blocker.close();
  });

  test('EX-09: without bubblewrap no server starts, everything else does, and both are told apart with how to install it', async () => {
    const folder = temporaryFolder();
    // The PATH of this machine, without the one program.
    const bin = join(folder, 'bin');
    mkdirSync(bin);
    for (const part of (process.env['PATH'] ?? '').split(delimiter).toReversed())
      for (const name of existsSync(part) ? readdirSync(part) : [])
        if (name !== 'bwrap' && !existsSync(join(bin, name))) symlinkSync(join(part, name), join(bin, name));
    const started = startRemit(['up', '--dir', join(folder, 'data'), '--port', '0', '--json'], { env: { PATH: bin } });
    const ready = await started.ready<UpReady>();
    expect(ready.servers.map(({ id, tools, problem }) => [id, tools, problem])).toEqual(
      ['files', 'everything'].map((id) => [
        id,
        0,
        expect.stringMatching(
          new RegExp(
            `^(upstream_sandbox|sandbox_unavailable): ${id} is not started: the program bwrap is not on the PATH\\. Install bubblewrap`,
          ),
        ),
      ]),
    );
    // No fallback: nothing runs but the authorization server.
    expect(started.descendants().map(isAuthServer)).toEqual([true]);
    const ada = await adminToken(ready, 'ada', passwordOf(ready, 'ada'));
    const status = await (
      await fetch(`${ready.adminUrl}/api/v1/status`, { headers: { authorization: `Bearer ${ada}` } })
    ).json();
    expect(status).toMatchObject({
      posture: { sandbox: { backend: 'none', remedy: expect.stringContaining('apt-get install bubblewrap') } },
    });
    await started.stop();
  });
});
