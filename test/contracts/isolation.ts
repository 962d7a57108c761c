/** What every isolation backend keeps (CONTROLS EX-01, EX-03, EX-08), shown by a hostile probe inside it. */
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SandboxSpec } from '../../src/sandbox/backend.ts';
import type { Aim } from '../sandbox/probe.ts';
import type { Ran } from '../sandbox/run-inside.ts';
import { REPOSITORY, until } from '../support/upstreams/open.ts';

export interface IsolationSubject {
  /** Runs it to its end in the backend. */
  run(spec: SandboxSpec): Promise<Ran>;
  /** Host user that must own what the server may write; and that its processes have on the host. */
  readonly hostUid: number;
  /** What stands beside bubblewrap's folders in the root of a container image. */
  readonly rootFolders?: readonly string[];
  /** Its own group, where that is listed. */
  readonly groups?: string;
  /** Id of its server, where the user that runs it must be one of its own. */
  readonly server?: string;
  /** Program and arguments that run the specification on their standard input in this backend. */
  readonly gateway?: readonly string[];
}

const PROBE = '/repo/test/sandbox/probe.ts';
const LIMITS = { memoryMb: 512, processes: 40, cpuSeconds: 30, openFiles: 200, cpuPercent: 100 };
export const NODE = '/remit/node';

export function isolationContract(name: string, subject: IsolationSubject): void {
  describe(`isolation: ${name}`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'remit-isolation-'));
    const hostFile = join(folder, 'secrets', 'canary');
    let listener: Server;
    let connections = 0;
    let aim: Aim;

    beforeAll(async () => {
      chmodSync(folder, 0o755);
      for (const path of ['secrets', 'read', 'write']) mkdirSync(join(folder, path));
      writeFileSync(hostFile, 'canary', { mode: 0o666 });
      chmodSync(hostFile, 0o666);
      writeFileSync(join(folder, 'read', 'file'), 'declared');
      if (process.getuid?.() === 0) chownSync(join(folder, 'write'), subject.hostUid, subject.hostUid);
      listener = createServer((socket) => {
        connections++;
        socket.destroy();
      });
      await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
      aim = { hostFile, hostPort: (listener.address() as AddressInfo).port, hostPid: process.pid };
    });
    afterAll(() => {
      listener.close();
      rmSync(folder, { recursive: true });
    });

    const spec = (argv: readonly string[], more: Partial<SandboxSpec> = {}): SandboxSpec => ({
      name: subject.server ?? 'isolation-test',
      argv,
      env: {},
      network: 'none',
      limits: LIMITS,
      ...more,
      mounts: [{ from: REPOSITORY, to: '/repo', mode: 'read' }, ...(more.mounts ?? [])],
    });

    test('EX-01: a hostile server gets nothing of the host but what is declared', async () => {
      const ran = await subject.run(
        spec([NODE, PROBE, JSON.stringify(aim)], {
          env: { DECLARED: 'yes' },
          mounts: [
            { from: join(folder, 'read'), to: '/declared/read', mode: 'read' },
            { from: join(folder, 'write'), to: '/declared/write', mode: 'write' },
          ],
        }),
      );
      expect(ran.err).toBe('');
      const report = JSON.parse(ran.out) as Record<string, unknown> & {
        uids: string[];
        capabilities: string[];
        rootFolders: string[];
        commandLines: string[];
      };

      // Not root, no rights, none to gain.
      expect(report.uids).not.toContain('0');
      expect(report['groups']).toBe(subject.groups ?? '');
      expect(report.capabilities).toEqual(Array.from({ length: 5 }, () => '0000000000000000'));
      expect(report['noNewPrivs']).toBe('1');
      expect(report['becomeRoot']).toMatch(/^(?:EPERM|EINVAL)$/); // forbidden, or there is no user 0

      expect(report['mount']).toMatch(/^exit/);
      expect(report['setHostname']).not.toBe('ok');

      // The system is read-only and small.
      expect(report.rootFolders.filter((f) => !['bin', 'lib', 'lib32', 'lib64', 'libx32', 'sbin'].includes(f))).toEqual(
        ['declared', 'dev', 'etc', 'proc', 'remit', 'repo', 'tmp', 'usr', ...(subject.rootFolders ?? [])].sort(),
      );
      for (const outcome of report['writeSystem'] as string[]) expect(outcome).toMatch(/^(?:EROFS|EACCES)$/);
      expect(report['writeKernel']).toMatch(/^(?:EROFS|EACCES)$/);
      expect(report['readShadow']).toBe('ENOENT');
      expect(report['sockets']).toEqual([]);

      // The host's files, processes and network are not there.
      expect(report['readHostFile']).toBe('ENOENT');
      expect(report['writeHostFile']).toMatch(/^(?:ENOENT|EROFS)$/);
      expect(readFileSync(hostFile, 'utf8')).toBe('canary');
      expect(report['signalHost']).toMatch(/^(?:ESRCH|EPERM)$/);
      expect(report['processes']).toBe(2);
      expect(report['reachHost']).toBe('ECONNREFUSED');
      expect(report['interfaces']).toEqual(['lo']);
      expect(connections).toBe(0);

      // What is declared works, and only so far.
      expect(report['readDeclared']).toBe('declared');
      expect(report['writeDeclaredReadOnly']).toMatch(/^(?:EROFS|EACCES)$/);
      expect(report['writeDeclaredWritable']).toBe('ok');
      expect(existsSync(join(folder, 'write', 'x'))).toBe(true);
      expect(report['fillTmp']).toMatch(/^ENOSPC after \d+ MB$/);
      expect(report['fillShm']).toMatch(/^ENOSPC after \d+ MB$/);
      expect(report['openFiles']).toBe('200');
      expect(report['coreSize']).toEqual(['0', '0']);

      // EX-03
      expect(report['environment']).toEqual({ DECLARED: 'yes' });
    });

    test('EX-01: the same probe without the sandbox reaches all of it (vulnerable twin)', () => {
      const { stdout } = spawnSync(
        process.execPath,
        [join(REPOSITORY, 'test/sandbox/probe.ts'), JSON.stringify({ ...aim, hostPort: 1 })],
        {
          env: { ...process.env, CANARY_VARIABLE: 'leaked' },
        },
      );
      const report = JSON.parse(stdout.toString()) as Record<string, unknown>;
      expect(report['readHostFile']).toBe('ok');
      expect(report['writeHostFile']).toBe('ok');
      expect(report['signalHost']).toBe('ok');
      expect(report['environment']).toHaveProperty('CANARY_VARIABLE', 'leaked');
      expect(report['processes'] as number).toBeGreaterThan(2);
      expect(report['rootFolders']).toContain('home');
      writeFileSync(hostFile, 'canary');
    });

    test('EX-01: on the host, too, no process of the server is root', async () => {
      const marker = `3.${5_000 + (process.pid % 1_000)}`;
      const running = subject.run(spec(['/usr/bin/sleep', marker]));
      let uid = Number.NaN;
      await until('the server shows in /proc', () => {
        const pid = hostProcesses().find(([, command]) => command === `/usr/bin/sleep ${marker}`)?.[0];
        if (pid !== undefined) uid = Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
        return pid !== undefined;
      });
      expect(uid).toBe(subject.hostUid);
      expect(uid).not.toBe(0);
      await running;
    });

    test('EX-03: a secret is in the environment of the server and on no command line of the host', async () => {
      const secret = `hunter2-in-the-environment-of-${process.pid}`;
      const script = `echo "$KEY"; sleep 3; : ${process.pid}`;
      const running = subject.run(
        spec(['/usr/bin/env', 'sh', '-c', script], { env: { KEY: secret, PATH: '/usr/bin' } }),
      );
      await until('it runs', () => hostProcesses().some(([, command]) => command.includes(script)));
      const leaks = hostProcesses().filter(([, command]) => command.includes(secret));
      expect(leaks).toEqual([]);
      expect((await running).out.trim()).toBe(secret);
    });

    test('EX-02: there is no shell: metacharacters in the command arrive as they are', async () => {
      const words = [
        '$(touch /tmp/owned)',
        '; id',
        '`id`',
        '| cat',
        '&& reboot',
        '> /tmp/x',
        "'",
        '"',
        '\\',
        '*',
        '~',
        '$HOME',
        'a b',
        '',
        '-c',
        '--',
        '%s',
        'ü\n',
      ];
      const { out } = await subject.run(
        spec([NODE, '-e', 'process.stdout.write(JSON.stringify(process.argv.slice(1)))', '--', ...words]),
      );
      expect(JSON.parse(out)).toEqual(words);
    });

    test('EX-08: only the file descriptors 0 to 2 are open, also when our own parent left one open in us', async () => {
      const { out } = await subject.run(spec(['/usr/bin/ls', '/proc/self/fd']));
      // The last one is the folder that is being listed.
      expect(out.trim().split('\n')).toEqual(['0', '1', '2', '3']);
    });

    test('a fork bomb meets the limit on processes', async () => {
      const { out } = await subject.run(
        spec([
          NODE,
          '-e',
          `const {spawn}=require('child_process');let n=0,e=0;for(let i=0;i<100;i++){const c=spawn('/usr/bin/sleep',['5']);c.on('error',()=>e++);c.on('spawn',()=>n++)}setTimeout(()=>{console.log(JSON.stringify({n,e}));process.exit()},800)`,
        ]),
      );
      const { n, e } = JSON.parse(out) as { n: number; e: number };
      expect(n).toBeLessThan(40);
      expect(n + e).toBe(100);
      expect(e).toBeGreaterThan(60);
    });

    test('a server above its memory limit is killed, with the reason', async () => {
      const { exit } = await subject.run(
        spec([NODE, '-e', 'const keep=[];setInterval(()=>keep.length<60&&keep.push(Buffer.alloc(16e6,1)),5)'], {
          limits: { ...LIMITS, memoryMb: 128 },
        }),
      );
      expect(exit).toEqual({ code: null, signal: 'SIGKILL', reason: 'memory' });
    });

    test('a server above its processor time is ended, with the reason', async () => {
      const { exit } = await subject.run(spec([NODE, '-e', 'for(;;);'], { limits: { ...LIMITS, cpuSeconds: 1 } }));
      expect(exit).toMatchObject({ code: null, reason: 'cpu' });
    });

    test('descendants that left the session and ignore signals are gone when the server is', async () => {
      const marker = `60.${1_000 + (process.pid % 1_000)}`;
      const script = `const fs=require('fs');const {spawn}=require('child_process');for(let i=0;i<3;i++)spawn('/usr/bin/setsid',['-f','/usr/bin/env','sh','-c','trap "" TERM HUP INT; /usr/bin/sleep ${marker}'],{stdio:'ignore',detached:true}).unref();const there=()=>fs.readdirSync('/proc').filter((pid)=>{try{return fs.readFileSync('/proc/'+pid+'/cmdline','utf8').includes("sleep\\x00${marker}")}catch{return false}}).length===3;setInterval(()=>{if(there())setTimeout(()=>process.exit(5),1500)},50)`;
      const running = subject.run(spec([NODE, '-e', script]));
      await until(
        'they run',
        () => hostProcesses().filter(([, command]) => command === `/usr/bin/sleep ${marker}`).length === 3,
      );
      expect((await running).exit).toMatchObject({ code: 5 });
      expect(hostProcesses().filter(([, command]) => command.includes(marker))).toEqual([]);
    });

    test('reports how the server ended', async () => {
      expect((await subject.run(spec(['/usr/bin/false']))).exit).toEqual({ code: 1, signal: null });
      expect((await subject.run(spec([NODE, '-e', 'process.kill(process.pid,"SIGSEGV")']))).exit).toEqual({
        code: null,
        signal: 'SIGSEGV',
      });
    });

    test('nothing survives the gateway being killed', async () => {
      const marker = `60.${3_000 + (process.pid % 1_000)}`;
      const gateway = spawn(process.execPath, subject.gateway ?? [join(REPOSITORY, 'test/sandbox/run-inside.ts')], {
        stdio: ['pipe', 'ignore', 'ignore'],
        ...(process.getuid?.() === 0 && subject.hostUid === 65_534 && { uid: 65_534, gid: 65_534 }),
      });
      gateway.stdin.end(JSON.stringify(spec(['/usr/bin/sleep', marker])));
      const alive = (): boolean => hostProcesses().some(([, command]) => command === `/usr/bin/sleep ${marker}`);
      // A whole process starts first, and a container's end is an engine's business.
      await until('the server runs', alive, 60_000);
      gateway.kill('SIGKILL');
      await until('the server is gone', () => !alive(), 60_000);
    });
  });
}

/** Every process of the host with its command line. */
export function hostProcesses(): ReadonlyArray<readonly [pid: number, command: string]> {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [[Number(name), readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').join(' ').trim()] as const];
      } catch {
        return [];
      }
    });
}
