/**
 * EX-01, EX-07: where cgroups are made, what is written, what is read. cgroup v2 is shown on a folder of plain files, since a host that
 * has v1 controllers has none for v2 (what a kernel refuses is not shown by that); whatever this host really has is shown on servers.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { SandboxSpec } from '../../src/sandbox/backend.ts';
import { bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';
import { type Place, cgroupPlaces } from '../../src/sandbox/cgroup-place.ts';
import { openCgroups } from '../../src/sandbox/cgroup.ts';
import { startOf } from '../../src/sandbox/tree.ts';
import { hostProcesses } from '../contracts/isolation.ts';
import { until } from '../support/upstreams/open.ts';
import { runInside } from './run-inside.ts';

const root = mkdtempSync(join(tmpdir(), 'remit-cgroup-'));
afterAll(() => rmSync(root, { recursive: true }));
let folders = 0;
const folder = (files: Readonly<Record<string, string>> = {}): string => {
  const path = join(root, `${++folders}`);
  mkdirSync(path);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
};
const LIMITS = { memoryMb: 96, processes: 24, cpuSeconds: 30, openFiles: 64, cpuPercent: 50 };

describe('where', () => {
  const at = (cgroup: string, mountinfo: string) => cgroupPlaces(folder({ cgroup, mountinfo }), 4_242);
  const v2 = (mount: string) => `31 23 0:28 / ${mount} rw,relatime - cgroup2 cgroup2 rw\n`;

  test('v1: the folder of our own cgroup in each mounted controller', () => {
    expect(
      at(
        '9:name=systemd:/x\n8:pids:/jobs/7\n4:memory:/jobs/7\n1:cpu,cpuacct:/\n0::/\n',
        '35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n36 31 0:33 /jobs /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n32 31 0:29 / /sys/fs/cgroup/cpu\\040x rw - cgroup cgroup rw,cpu,cpuacct\n',
      ),
    ).toEqual([
      { folder: '/sys/fs/cgroup/pids/7', version: 1, controllers: ['pids'] },
      { folder: '/sys/fs/cgroup/memory/jobs/7', version: 1, controllers: ['memory'] },
      { folder: '/sys/fs/cgroup/cpu x', version: 1, controllers: ['cpu'] },
    ]);
  });

  test.each([
    ['nothing is mounted', '8:pids:/\n0::/\n', ''],
    ['our cgroup is outside of what is mounted', '8:pids:/other\n', '36 31 0:33 /jobs /p rw - cgroup cgroup rw,pids\n'],
    ['our cgroup is above our namespace', '8:pids:/../other\n', '36 31 0:33 / /p rw - cgroup cgroup rw,pids\n'],
    ['no controller that we need is there', '8:freezer:/\n', '36 31 0:33 / /p rw - cgroup cgroup rw,freezer\n'],
    ['the files are not what they should be', 'x\n:::\n0:\n', 'x\n - - -\n1 2 3 - cgroup\n'],
  ])('nowhere when %s', (_what, cgroup, mountinfo) => {
    expect(at(cgroup, mountinfo)).toEqual([]);
  });

  test('v2: controllers that are handed down already', () => {
    const mount = folder();
    mkdirSync(join(mount, 'remit.service'));
    writeFileSync(join(mount, 'remit.service', 'cgroup.controllers'), 'cpu memory pids io\n');
    writeFileSync(join(mount, 'remit.service', 'cgroup.subtree_control'), 'cpu memory pids\n');
    const place = { folder: join(mount, 'remit.service'), version: 2, controllers: ['memory', 'pids', 'cpu'] };
    expect(at('0::/remit.service\n', v2(mount))).toEqual([place]);
    // In the leaf that is ours, the place is above it.
    expect(at('0::/remit.service/remit-gateway\n', v2(mount))).toEqual([place]);
  });

  test('v2: alone in a delegated cgroup we go to a leaf and hand the controllers down', () => {
    const mount = folder({
      'cgroup.controllers': 'memory pids\n',
      'cgroup.subtree_control': '',
      'cgroup.procs': '4242\n',
    });
    // A kernel would now say what is handed down; a plain file only says what was written, which counts as nothing.
    expect(at('0::/\n', v2(mount))).toEqual([]);
    expect(readFileSync(join(mount, 'remit-gateway', 'cgroup.procs'), 'utf8')).toBe('4242');
    expect(readFileSync(join(mount, 'cgroup.subtree_control'), 'utf8')).toBe('+memory +pids');
  });

  test('v2: who shares our cgroup is not moved, and neither are we', () => {
    const mount = folder({
      'cgroup.controllers': 'memory pids\n',
      'cgroup.subtree_control': '',
      'cgroup.procs': '4242\n17\n',
    });
    at('0::/\n', v2(mount));
    expect(existsSync(join(mount, 'remit-gateway'))).toBe(false);
  });
});

describe('plain files in place of cgroup v2', () => {
  test('EX-01: limits, events, membership', async () => {
    const place: Place = { folder: folder(), version: 2, controllers: ['memory', 'pids', 'cpu'] };
    const proc = folder();
    const group = (await openCgroups('node-1', [place], proc)).make(LIMITS)!;
    expect(group.holds).toEqual(['memory', 'pids', 'cpu']);
    const [name = ''] = readdirSync(place.folder);
    expect(name).toMatch(new RegExp(`^remit-[0-9a-f]{8}-${process.pid}-${await startOf(process.pid)}-\\d+$`));
    const file = (path: string) => join(place.folder, name, path);
    const written = Object.fromEntries(readdirSync(file('')).map((path) => [path, readFileSync(file(path), 'utf8')]));
    expect(written).toEqual({
      'memory.max': `${96 * 1_048_576}`,
      'memory.swap.max': '0',
      'memory.oom.group': '1',
      'pids.max': '26', // and bubblewrap's two
      'cpu.max': '50000 100000',
    });

    group.add(77);
    expect(readFileSync(file('cgroup.procs'), 'utf8')).toBe('77');
    mkdirSync(join(proc, '77'));
    writeFileSync(join(proc, '77', 'cgroup'), `0::/remit.service/${name}\n`);
    expect(group.binds(77)).toEqual(['memory', 'pids', 'cpu']);
    // Being elsewhere, it is not bound, whatever was written.
    writeFileSync(join(proc, '77', 'cgroup'), `0::/remit.service\n`);
    expect(group.binds(77)).toEqual([]);

    writeFileSync(file('pids.current'), '25\n');
    expect(group.events()).toEqual({ outOfMemory: 0, refusedProcesses: 0, full: false });
    writeFileSync(file('memory.events'), 'low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n');
    writeFileSync(file('pids.events'), 'max 9\n');
    writeFileSync(file('pids.current'), '26\n');
    expect(group.events()).toEqual({ outOfMemory: 2, refusedProcesses: 9, full: true });
  });

  test('a limit that was not taken is not held, and no group is made where none is', async () => {
    const place: Place = { folder: folder(), version: 1, controllers: ['memory'] };
    const made = (await openCgroups('node-1', [place])).make(LIMITS);
    expect(made?.holds).toEqual(['memory']);
    expect((await openCgroups('node-1', [{ ...place, controllers: [] }])).make(LIMITS)).toBeNull();
    expect((await openCgroups('node-1', [{ ...place, folder: join(root, 'missing') }])).make(LIMITS)).toBeNull();
    expect((await openCgroups('node-1', [])).make(LIMITS)).toBeNull();
  });

  test('what a killed gateway of this name left is removed at the next start; nobody else’s', async () => {
    const place: Place = { folder: folder(), version: 2, controllers: ['pids'] };
    const group = async (owner: string) => {
      const before = readdirSync(place.folder);
      (await openCgroups(owner, [place])).make(LIMITS);
      const name = readdirSync(place.folder).find((one) => !before.includes(one))!;
      // A plain folder is only removed when it is empty, as a cgroup only when nobody lives in it.
      for (const path of readdirSync(join(place.folder, name))) rmSync(join(place.folder, name, path));
      return name;
    };
    const running = await group('node-1');
    const [, prefix = ''] = /^(remit-[0-9a-f]{8}-)/.exec(running) ?? [];
    const dead = `${prefix}${process.pid}-1-5`; // our number, of a process that started at another time
    const other = await group('node-2');
    const others = other.replace(/-\d+-\d+-\d+$/, `-${process.pid}-1-5`);
    for (const name of [dead, others, 'remit-gateway', `${prefix}x`]) mkdirSync(join(place.folder, name));
    // It is empty for all we know, but somebody whom we cannot see lives in it.
    const beside = `${prefix}${process.pid}-1-6`;
    mkdirSync(join(place.folder, beside));
    writeFileSync(join(place.folder, beside, 'cgroup.procs'), '0\n');
    await openCgroups('node-1', [place]);
    expect(readdirSync(place.folder).sort()).toEqual(
      [running, other, others, beside, 'remit-gateway', `${prefix}x`].sort(),
    );
  });
});

describe('on this host', () => {
  const spec = (argv: readonly string[], limits: Partial<SandboxSpec['limits']> = {}): SandboxSpec => ({
    name: 'cgroup',
    argv,
    env: {},
    mounts: [],
    network: 'none',
    limits: { ...LIMITS, ...limits },
  });
  const WITHOUT = { host: { cgroups: { make: () => null } } };
  const groups = (): string[] =>
    cgroupPlaces().flatMap((place) =>
      readdirSync(place.folder).filter((name) => name.startsWith('remit-') && name.includes(`-${process.pid}-`)),
    );
  const held = (): Promise<readonly string[]> =>
    openCgroups('probe').then((all) => {
      const group = all.make(LIMITS);
      const holds = group?.holds ?? [];
      return (group?.remove() ?? Promise.resolve()).then(() => holds);
    });

  test('EX-01: the posture of a process says which of its limits a cgroup holds, and the kernel says the same', async () => {
    const holds = await held();
    const process = await bubblewrapBackend({ graceMs: 200 }).start(spec(['/usr/bin/sleep', '5']));
    expect(process.posture).toMatchObject({
      memoryLimit: holds.includes('memory') ? 'cgroup' : 'rlimit+watchdog',
      processLimit: holds.includes('pids') ? 'cgroup' : 'rlimit',
      cpuLimit: holds.includes('cpu') ? 'cgroup' : 'rlimit',
      systemCalls: 'filtered',
    });
    expect(groups().length > 0).toBe(holds.length > 0);
    const mine = readFileSync(`/proc/${process.pid}/cgroup`, 'utf8');
    for (const name of new Set(groups())) expect(mine).toContain(name);
    await process.stop();
    expect(groups()).toEqual([]);
  });

  test('without cgroups the posture of the process says so', async () => {
    const process = await bubblewrapBackend({ ...WITHOUT, graceMs: 200 }).start(spec(['/usr/bin/sleep', '5']));
    expect(process.posture).toMatchObject({
      memoryLimit: 'rlimit+watchdog',
      processLimit: 'rlimit',
      cpuLimit: 'rlimit',
    });
    expect(process.posture.notes.join('\n')).toMatch(/No cgroup for memory.*\n.*No cgroup for the processor/);
    await process.stop();
  });

  const FORKS =
    'const {spawn}=require("child_process");setInterval(()=>{for(let i=0;i<8;i++)spawn("/usr/bin/sleep",["20"],{stdio:"ignore"}).on("error",()=>{})},20)';
  const FILLS = 'const keep=[];setInterval(()=>keep.push(Buffer.alloc(8e6,1)),5)';
  const node = (script: string) => ['/remit/node', '-e', script];

  test.each([
    ['with what this host has', {}],
    ['without cgroups', WITHOUT],
  ])('EX-07: a server that stays at its limit on processes is ended (%s)', async (_what, options) => {
    const ran = await runInside(spec(node(FORKS)), { ...options, pressedMs: 500 });
    expect(ran.exit).toEqual({ code: null, signal: 'SIGKILL', reason: 'processes' });
  });

  test.each([
    ['with what this host has', {}],
    ['without cgroups', WITHOUT],
  ])('EX-07: a server that fills memory is ended (%s)', async (_what, options) => {
    expect((await runInside(spec(node(FILLS)), options)).exit).toEqual({
      code: null,
      signal: 'SIGKILL',
      reason: 'memory',
    });
  });

  test('EX-07: reaching the limit for a moment is not pressing against it', async () => {
    const burst =
      'const {spawn}=require("child_process");let left=60;for(let i=0;i<60;i++)spawn("/usr/bin/true",{stdio:"ignore"}).on("error",()=>--left||done()).on("exit",()=>--left||done());const done=()=>console.log("done")';
    const ran = await runInside(spec(node(burst)), { pressedMs: 20_000 });
    expect(ran).toMatchObject({ out: 'done\n', exit: { code: 0, signal: null } });
  });

  test('servers give way to the gateway', async () => {
    const { out } = await runInside(spec(['/usr/bin/nice']));
    const own = Number(execFileSync('/usr/bin/nice').toString());
    expect(Number(out)).toBe(Math.min(19, Math.max(5, own)));
  });

  test('EX-07: where no cgroup holds the processor, a server that takes more than its part goes behind everybody', async () => {
    const burn = 'setInterval(()=>{const end=Date.now()+100;while(Date.now()<end);},1)';
    const process = await bubblewrapBackend({ ...WITHOUT, graceMs: 100, watchMs: 100 }).start(
      spec(node(burn), { cpuPercent: 10 }),
    );
    const nice = (): number =>
      Math.max(
        ...hostProcesses()
          .filter(([, command]) => command === `/remit/node -e ${burn}`)
          .map(([pid]) => getPriority(pid)),
      );
    await until('it runs, and gives way as every server does', () => nice() >= 5);
    await until('it goes behind', () => nice() === 19, 60_000);
    await process.stop();
  });

  test('a server that ends leaves no cgroup, and neither does one that could not start', async () => {
    await runInside(spec(['/usr/bin/true']));
    await expect(
      bubblewrapBackend().start({ ...spec(['/usr/bin/true']), mounts: [{ from: '/missing', to: '/x', mode: 'read' }] }),
    ).rejects.toMatchObject({ code: 'sandbox_mount' });
    await until('nothing is left', () => groups().length === 0);
  });
});
