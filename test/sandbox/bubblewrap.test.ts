/** Bubblewrap keeps the isolation contract, as root and as an ordinary user; and without it nothing starts. */
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { SandboxFault, type SandboxSpec } from '../../src/sandbox/backend.ts';
import { bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';
import { serverUid } from '../../src/sandbox/host-user.ts';
import { isolationContract } from '../contracts/isolation.ts';
import { REPOSITORY } from '../support/upstreams/open.ts';
import { type Ran, runInside } from './run-inside.ts';

const ROOT = process.getuid?.() === 0;
const NOBODY = 65_534;
const LIMITS = { memoryMb: 256, processes: 20, cpuSeconds: 10, openFiles: 64, cpuPercent: 100 };
const spec = (more: Partial<SandboxSpec> = {}): SandboxSpec => ({
  name: 'test',
  argv: ['/usr/bin/true'],
  env: {},
  mounts: [],
  network: 'none',
  limits: LIMITS,
  ...more,
});

isolationContract(ROOT ? 'bubblewrap as root' : 'bubblewrap as an ordinary user', {
  run: (s) => runInside(s),
  hostUid: ROOT ? serverUid('isolation-test') : (process.getuid?.() ?? 0),
});

/** The same backend seen from a gateway that is nobody in particular. */
function runAsNobody(s: SandboxSpec): Promise<Ran> {
  const child = spawn(process.execPath, [join(REPOSITORY, 'test/sandbox/run-inside.ts')], {
    uid: NOBODY,
    gid: NOBODY,
    stdio: 'pipe',
    env: { PATH: process.env['PATH'] },
  });
  child.stdin.end(JSON.stringify(s));
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')));
  return new Promise((resolve, reject) => {
    child.once('close', () => (out === '' ? reject(new Error(err)) : resolve(JSON.parse(out) as Ran)));
  });
}
if (ROOT) isolationContract('bubblewrap as an ordinary user', { run: runAsNobody, hostUid: NOBODY });

async function faultOf(promise: Promise<unknown>): Promise<SandboxFault> {
  const error: unknown = await promise.then(
    () => new Error('it started'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof SandboxFault)) throw error;
  return error;
}

describe('availability', () => {
  test('EX-09: without bwrap the probe names the remedy, and nothing starts', async () => {
    const backend = bubblewrapBackend({ searchPath: '/nowhere:relative' });
    expect(await backend.probe()).toMatchObject({
      available: false,
      why: 'the program bwrap is not on the PATH',
      remedy: expect.stringContaining('apt-get install bubblewrap') as string,
    });
    const fault = await faultOf(backend.start(spec()));
    expect(fault.code).toBe('sandbox_unavailable');
    expect(fault.message).toMatch(/^test is not started: .*Install bubblewrap/);
  });

  test('EX-09: a bwrap that is installed but does not isolate is not used', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remit-bwrap-'));
    // Runs the command as it is: what a broken or hostile replacement would do.
    writeFileSync(
      join(folder, 'bwrap'),
      '#!/bin/sh\nwhile [ "$1" != "--" ] && [ "$1" != "--version" ]; do shift; done\n[ "$1" = "--version" ] && { echo fake 9; exit 0; }\nshift\nexec "$@"\n',
      { mode: 0o755 },
    );
    const backend = bubblewrapBackend({ searchPath: folder });
    const probe = await backend.probe();
    expect(probe).toMatchObject({ available: false, why: expect.stringContaining('does not work here') as string });
    expect((await faultOf(backend.start(spec()))).code).toBe('sandbox_unavailable');
    rmSync(folder, { recursive: true });
  });

  test('says what is in force, as measured inside', async () => {
    const probe = await bubblewrapBackend().probe();
    expect(probe).toMatchObject({
      available: true,
      posture: {
        backend: 'bubblewrap',
        version: expect.stringMatching(/^bubblewrap \d/) as string,
        hostUser: ROOT ? 'dropped' : 'same',
        systemCalls: 'filtered',
      },
    });
  });

  test.runIf(ROOT)('never runs a server as user 0', async () => {
    const fault = await faultOf(bubblewrapBackend({ uidFor: () => 0 }).start(spec()));
    expect(fault).toMatchObject({ code: 'sandbox_start', message: 'a server may not run as user 0' });
  });
});

describe('commands', () => {
  test.each([
    [{ argv: [] }, 'must be an absolute path'],
    [{ argv: ['node'] }, 'must be an absolute path'],
    [{ argv: ['./x'] }, 'must be an absolute path'],
    [{ argv: ['/usr/bin/true', 'a\0b'] }, 'NUL'],
    [{ env: { A: 'x\0--bind\0/\0/host' } }, 'NUL'],
    [{ env: { 'A=B': 'x' } }, 'may not set "A=B"'],
    [{ env: { PWD: '/x' } }, 'may not set "PWD"'],
  ] as const)('refuses %j', async (more, message) => {
    const fault = await faultOf(bubblewrapBackend().start(spec(more)));
    expect(fault.code).toBe('sandbox_command');
    expect(fault.message).toContain(message);
  });
});

describe('mounts', () => {
  const folder = mkdtempSync(join(tmpdir(), 'remit-mounts-'));
  const dataDir = join(folder, 'data');
  mkdirSync(join(dataDir, 'keys'), { recursive: true });
  mkdirSync(join(folder, 'open'));
  mkdirSync(join(folder, 'closed'), { mode: 0o755 });
  symlinkSync('/etc', join(folder, 'link'));
  symlinkSync(dataDir, join(folder, 'sneaky'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const backend = bubblewrapBackend({ forbidden: [dataDir] });
  const mount = (from: string, to = '/data', mode: 'read' | 'write' = 'read') => ({ from, to, mode });

  test.each([
    ['the whole host', [mount('/')], 'the whole host may not be mounted'],
    ['/proc', [mount('/proc')], '/proc is an interface of the host'],
    ['a part of /sys', [mount('/sys/fs/cgroup')], '/sys is an interface of the host'],
    ['/dev', [mount('/dev')], '/dev is an interface of the host'],
    ['engine sockets in /run', [mount('/run')], '/run is an interface of the host'],
    ['the data directory', [mount(dataDir)], 'a folder of the gateway'],
    ['a part of the data directory', [mount(join(dataDir, 'keys'))], 'a folder of the gateway'],
    ['a parent of the data directory', [mount(folder)], 'a folder of the gateway'],
    ['a symbolic link', [mount(join(folder, 'link'))], 'is a symbolic link; declare the folder it leads to'],
    ['a symbolic link to the data directory', [mount(join(folder, 'sneaky'))], 'is a symbolic link'],
    [
      'a path through a symbolic link',
      [mount(join(folder, 'link', 'ssl'))],
      'passes through a symbolic link; declare /etc/ssl',
    ],
    ['a relative source', [mount('data')], 'write an absolute, normalised path'],
    ['a source with dots', [mount(`${folder}/open/../data`)], 'write an absolute, normalised path'],
    ['what is not there', [mount(join(folder, 'missing'))], 'cannot be opened; create it or correct the path'],
    ['a target over the system', [mount(join(folder, 'open'), '/usr/bin')], '/usr belongs to the sandbox'],
    ['a target over everything', [mount(join(folder, 'open'), '/')], 'other than /'],
    ['a target over node', [mount(join(folder, 'open'), '/remit/node')], '/remit/node belongs to the sandbox'],
    ['a target above node', [mount(join(folder, 'open'), '/remit')], '/remit/node belongs to the sandbox'],
    ['a target with dots', [mount(join(folder, 'open'), '/data/../etc')], 'write an absolute, normalised path'],
    [
      'two targets in one another',
      [mount(join(folder, 'open')), mount(join(folder, 'closed'), '/data/inner')],
      'lies over or under /data',
    ],
  ])('refuses %s', async (_what, mounts, message) => {
    const fault = await faultOf(backend.start(spec({ mounts })));
    expect(fault.code).toBe('sandbox_mount');
    expect(fault.message).toMatch(new RegExp(message));
  });

  test.runIf(ROOT)('says how to make a writable mount writable', async () => {
    const fault = await faultOf(backend.start(spec({ mounts: [mount(join(folder, 'closed'), '/data', 'write')] })));
    expect(fault.message).toContain(`run: chown -R ${serverUid('test')} ${join(folder, 'closed')}`);
  });

  test('the refusals do not lie: an ordinary folder is mounted', async () => {
    const { out } = await runInside(
      spec({ argv: ['/usr/bin/ls', '-d', '/data'], mounts: [mount(join(folder, 'open'))] }),
    );
    expect(out.trim()).toBe('/data');
  });
});

describe('stopping', () => {
  test('a server that ends at once is reported, however early, and stopping it is no error', async () => {
    const backend = bubblewrapBackend();
    const exits = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const process = await backend.start(spec());
        const exit = await process.exited;
        expect(await process.stop()).toEqual(exit);
        return exit;
      }),
    );
    expect(exits).toEqual(Array.from({ length: 20 }, () => ({ code: 0, signal: null })));
  });

  const started = (script: string, graceMs = 250) =>
    bubblewrapBackend({ graceMs }).start(spec({ argv: ['/remit/node', '-e', script] }));

  test('a server that heeds the end of its input leaves by itself', async () => {
    const process = await started('process.stdin.resume().on("end",()=>process.exit(0))', 20_000);
    expect(await process.stop()).toEqual({ code: 0, signal: null, reason: 'stopped' });
  });

  test('one that does not gets SIGTERM, and may tidy up', async () => {
    const process = await started(
      'setInterval(()=>{},1000);process.on("SIGTERM",()=>process.exit(9));console.log("up")',
      2_000,
    );
    await new Promise((resolve) => process.stdout.once('data', resolve));
    expect(await process.stop('lock')).toEqual({ code: 9, signal: null, reason: 'lock' });
  });

  test('one that ignores that too is killed; asking twice is one stop', async () => {
    const process = await started('setInterval(()=>{},1000);process.on("SIGTERM",()=>{});console.log("up")');
    await new Promise((resolve) => process.stdout.once('data', resolve));
    const [a, b] = await Promise.all([process.stop('one'), process.stop('two')]);
    expect(a).toEqual({ code: null, signal: 'SIGKILL', reason: 'one' });
    expect(b).toEqual(a);
    expect(await process.stop('three')).toEqual(a);
  });
});
