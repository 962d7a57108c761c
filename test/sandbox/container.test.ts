/** A container engine keeps the isolation contract, where one works; and without one nothing starts. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type IsolationBackend, SandboxFault, type SandboxSpec } from '../../src/sandbox/backend.ts';
import { type ContainerOptions, containerBackend } from '../../src/sandbox/container.ts';
import { serverUid } from '../../src/sandbox/host-user.ts';
import { hostProcesses, isolationContract } from '../contracts/isolation.ts';
import { importImage, removeImage, testEngine } from '../support/container.ts';
import { REPOSITORY, until } from '../support/upstreams/open.ts';
import { runInContainer } from './run-in-container.ts';

const ROOT = process.getuid?.() === 0;
const here = testEngine();
const folder = mkdtempSync(join(tmpdir(), 'remit-container-'));
afterAll(() => rmSync(folder, { recursive: true }));

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
const NOWHERE = `localhost/nothing@sha256:${'0'.repeat(64)}`;

async function faultOf(promise: Promise<unknown>): Promise<SandboxFault> {
  const error: unknown = await promise.then(
    () => new Error('it started'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof SandboxFault)) throw error;
  return error;
}

/** A folder with a program called podman, made of these lines of sh. */
function fake(lines: string): string {
  const path = mkdtempSync(join(folder, 'engine-'));
  writeFileSync(join(path, 'podman'), `#!/bin/sh\n${lines}\n`, { mode: 0o755 });
  return path;
}

describe('availability', () => {
  test('EX-09: without an engine the probe names the remedy, and nothing starts', async () => {
    const backend = containerBackend({
      engine: 'podman',
      image: NOWHERE,
      owner: 'none',
      searchPath: '/nowhere:relative',
    });
    expect(await backend.probe()).toMatchObject({
      available: false,
      why: 'the program podman is not on the PATH',
      remedy: expect.stringContaining('apt-get install') as string,
    });
    const fault = await faultOf(backend.start(spec()));
    expect(fault.code).toBe('sandbox_unavailable');
    expect(fault.message).toMatch(/^test is not started: the program podman is not on the PATH/);
  });

  test.runIf(process.platform === 'linux')(
    'EX-09: a program that calls itself an engine and runs things on the host is not used',
    async () => {
      const digest = 'a'.repeat(64);
      // Says of itself whatever is asked, and starts the launcher as it is.
      const searchPath = fake(`case "$1" in
--version) echo podman version 9 ;;
ps|rm) ;;
image) echo '[{"Id":"${digest}","RepoDigests":["localhost/x@sha256:${digest}"]}]' ;;
container) echo "[{\\"Id\\":\\"${digest}\\",\\"Image\\":\\"${digest}\\",\\"State\\":{\\"Pid\\":$(cat ${folder}/pid),\\"ExitCode\\":0}}]" ;;
run) while [ "$1" != -c ]; do shift; done; echo $$ >${folder}/pid; exec /bin/sh "$@" ;;
esac`);
      const backend = containerBackend({
        engine: 'podman',
        image: `localhost/x@sha256:${digest}`,
        owner: 'fake',
        searchPath,
      });
      expect(await backend.probe()).toMatchObject({
        available: false,
        why: expect.stringMatching(
          /does not isolate here: .*it shares namespaces with the host \(mnt, pid, net/,
        ) as string,
      });
      expect((await faultOf(backend.start(spec()))).code).toBe('sandbox_unavailable');
    },
  );

  test.runIf(process.platform === 'linux')('EX-09: an engine whose daemon is down is not used', async () => {
    const searchPath = fake('[ "$1" = --version ] && exit 0; echo "Cannot connect to the daemon" >&2; exit 1');
    const backend = containerBackend({ engine: 'podman', image: NOWHERE, owner: 'down', searchPath });
    expect(await backend.probe()).toMatchObject({
      available: false,
      why: 'podman is installed but does not isolate here: Cannot connect to the daemon',
    });
    expect((await faultOf(backend.start(spec()))).code).toBe('sandbox_unavailable');
  });
});

if (typeof here === 'string') {
  test.skipIf(true)(`isolation by containers: ${here}`, () => {});
} else {
  withEngine(here);
}

function withEngine({ remove, ...engine }: Exclude<typeof here, string>): void {
  const options: ContainerOptions = { ...engine, owner: `test-${process.pid}`, graceMs: 300 };
  const backend = containerBackend(options);
  const podman = (...args: string[]) =>
    spawnSync('podman', args, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' } });
  const ours = (): string =>
    podman('ps', '-a', '-q', '--filter', `label=remit.owner=${options.owner}`).stdout.toString();
  const run = (s: SandboxSpec, by: IsolationBackend = backend) => runInContainer(s, by);
  /** The real engine, with something done before. */
  const hostile = (lines: string): IsolationBackend =>
    containerBackend({ ...options, searchPath: fake(`${lines}\nexec /usr/bin/podman "$@"`) });
  afterAll(() => {
    expect(ours()).toBe('');
    remove();
  });

  const uid = ROOT ? serverUid('isolation-container') : 65_534;
  isolationContract('container', {
    run,
    // A user of its own: what another file runs at the same time is not counted with it.
    server: 'isolation-container',
    hostUid: uid,
    groups: `${uid}`,
    rootFolders: ['run', 'sys'],
    gateway: [
      join(REPOSITORY, 'test/sandbox/run-in-container.ts'),
      JSON.stringify({ ...options, owner: `${options.owner}-killed` }),
    ],
  });

  test('EX-01: says what is in force, as measured for this container', async () => {
    const process_ = await backend.start(spec());
    expect(process_.posture).toMatchObject({
      backend: 'podman',
      version: expect.stringMatching(/^podman version \d/) as string,
      hostUser: 'dropped',
      memoryLimit: 'cgroup',
      processLimit: 'cgroup',
      cpuLimit: 'cgroup',
      systemCalls: 'filtered',
    });
    expect(await process_.exited).toEqual({ code: 0, signal: null });
  });

  describe('secrets', () => {
    /** Where the engine keeps what it knows of containers; not the layers of images, which are there before any secret is. */
    const places = (): string[] => {
      const { store } = JSON.parse(podman('info', '--format', 'json').stdout.toString()) as {
        store: { graphRoot: string; runRoot: string };
      };
      const kept = readdirSync(store.graphRoot).filter((name) => !/^overlay(?:-images|-layers)?$/.test(name));
      return [
        ...kept.map((name) => join(store.graphRoot, name)),
        store.runRoot,
        '/run/libpod',
        '/run/runc',
        '/run/crun',
        '/var/run/docker',
      ];
    };
    const found = (canary: string): string =>
      spawnSync('grep', ['-rlaF', '-e', canary, '-D', 'skip', ...places()]).stdout.toString();

    test('EX-03: a secret is in no file of the engine and on no command line, while its server runs and after', async () => {
      const canary = 'canary-3f1d-of-the-container';
      const sleep = ['/usr/bin/sleep', `30.${2_000 + (process.pid % 1_000)}`];
      const process_ = await backend.start(spec({ argv: sleep, env: { KEY: canary } }));
      const its = () => hostProcesses().find(([, command]) => command === sleep.join(' '));
      await until('it runs', () => its() !== undefined);
      expect(found(canary)).toBe('');
      expect(hostProcesses().filter(([, command]) => command.includes(canary))).toEqual([]);
      // It is there, and nowhere but in the server: not in the launcher.
      const [server] = its()!;
      expect(readFileSync(`/proc/${server}/environ`, 'utf8')).toBe(`KEY=${canary}\0`);
      expect(readFileSync(`/proc/${process_.pid}/environ`, 'latin1')).not.toContain(canary);
      await process_.stop();
      expect(found(canary)).toBe('');
    });

    test('EX-03: given to the engine as an option, it is on disk (vulnerable twin)', () => {
      const canary = 'canary-77aa-of-the-twin';
      const name = `remit-twin-${process.pid}`;
      podman('create', '--name', name, '--network=none', '--env', `KEY=${canary}`, engine.image, '/usr/bin/true');
      const files = found(canary);
      podman('rm', '-f', name);
      expect(files).not.toBe('');
    });
  });

  describe('an engine that gives containers more', () => {
    test.each([
      ['a device', 'devices=["/dev/full:/dev/extra:r"]', 'it was given devices: extra'],
      ['a folder of the host', 'volumes=["/etc:/host:ro"]', 'the engine mounts /host, which nobody declared'],
      ['no system-call filter', 'seccomp_profile="unconfined"', 'no system-call filter is in force'],
    ])('EX-01: is not used: %s', async (_what, line, message) => {
      const conf = join(mkdtempSync(join(folder, 'conf-')), 'containers.conf');
      writeFileSync(conf, `[containers]\n${line}\n`);
      const other = hostile(`export CONTAINERS_CONF=${conf}`);
      expect(await other.probe()).toMatchObject({ available: false, why: expect.stringContaining(message) as string });
      expect((await faultOf(other.start(spec()))).code).toBe('sandbox_unavailable');
      expect(ours()).toBe('');
    });

    test('EX-09: a runtime that does not work is named, and nothing starts', async () => {
      const broken = containerBackend({ ...options, runtime: '/nowhere/runtime' });
      expect(await broken.probe()).toMatchObject({
        available: false,
        why: expect.stringContaining('/nowhere/runtime') as string,
        remedy: expect.stringContaining('sandbox.container.runtime') as string,
      });
    });
  });

  describe('mounts', () => {
    /** Exchanged after it was checked, before the engine opens it. */
    const swap = (place: string): string =>
      `case "$*" in *src=${place},*) mv ${place} ${place}-before; ln -s /etc ${place} ;; esac`;
    const place = join(folder, 'shared');
    const mounts = [{ from: place, to: '/data', mode: 'read' }] as const;

    test('EX-01: a folder that is exchanged between our check and the engine is found out, and nothing has run', async () => {
      mkdirSync(place);
      const fault = await faultOf(hostile(swap(place)).start(spec({ mounts })));
      expect(fault.code).toBe('sandbox_start');
      expect(fault.message).toContain('what is mounted at /data is not what was checked');
      expect(ours()).toBe('');
    });

    test('EX-01: without the measure the server reads what was never declared (vulnerable twin)', () => {
      rmSync(place);
      renameSync(`${place}-before`, place);
      const path = join(fake(`${swap(place)}\nexec /usr/bin/podman "$@"`), 'podman');
      const runtime = engine.runtime === undefined ? [] : ['--runtime', engine.runtime];
      const { stdout } = spawnSync(path, [
        ...runtime,
        'run',
        '--rm',
        '--network=none',
        '--ulimit=nofile=64:64',
        '--ulimit=nproc=64:64',
        `--mount=type=bind,src=${place},dst=/data,readonly`,
        engine.image,
        '/usr/bin/cat',
        '/data/passwd',
      ]);
      expect(stdout.toString()).toContain('root:');
      rmSync(place);
      rmSync(`${place}-before`, { recursive: true });
    });

    test.each([
      ['the whole host', '/', '/data', 'sandbox_mount', 'the whole host may not be mounted'],
      ['engine sockets', '/run', '/data', 'sandbox_mount', '/run is an interface of the host'],
      ['another option of the engine', `${folder},dst=/etc`, '/data', 'sandbox_mount', 'a path with a comma'],
      ['a target that is one', folder, '/data,suid', 'sandbox_mount', 'a path with a comma'],
      ['the data directory', join(folder, 'private'), '/data', 'sandbox_mount', 'a folder of the gateway'],
    ] as const)('refuses %s', async (_what, from, to, code, message) => {
      mkdirSync(join(folder, 'private'), { recursive: true });
      const careful = containerBackend({ ...options, forbidden: [join(folder, 'private')] });
      const fault = await faultOf(careful.start(spec({ mounts: [{ from, to, mode: 'read' }] })));
      expect(fault.code).toBe(code);
      expect(fault.message).toContain(message);
    });
  });

  describe('images', () => {
    const made: string[] = [];
    afterAll(() => made.forEach(removeImage));
    const image = (...args: Parameters<typeof importImage>): string => {
      const id = importImage(...args);
      made.push(id);
      return id;
    };

    test('the image of the record is used, by its digest', async () => {
      const other = image('/bin/sh', (root) => writeFileSync(join(root, 'etc/which'), 'of the record'));
      expect((await run(spec({ argv: ['/usr/bin/cat', '/etc/which'], image: other }))).out).toBe('of the record');
    });

    test.each([
      [
        'is not here',
        NOWHERE,
        'sandbox_identity',
        'the gateway fetches none; run: podman pull localhost/nothing@sha256:',
      ],
      ['is named by a tag', 'localhost/nothing:latest', 'sandbox_identity', 'is not one by digest; write NAME@sha256:'],
      ['has an option for a name', `--privileged@sha256:${'0'.repeat(64)}`, 'sandbox_identity', 'write NAME@sha256:'],
    ])('one that %s is refused', async (_what, reference, code, message) => {
      const fault = await faultOf(backend.start(spec({ image: reference })));
      expect(fault.code).toBe(code);
      expect(fault.message).toContain(message);
    });

    test('one without a shell is refused in words', async () => {
      const fault = await faultOf(backend.start(spec({ image: image(null) })));
      expect(fault.code).toBe('sandbox_command');
      expect(fault.message).toContain('its image has no /bin/sh');
      expect(ours()).toBe('');
    });

    test('what an image says of itself changes nothing: user, environment, entry, volumes', async () => {
      const changes = [
        'USER root',
        'ENV HOSTILE=1 LD_PRELOAD=/x.so',
        'ENTRYPOINT ["/usr/bin/false"]',
        'CMD ["x"]',
        'VOLUME /vol',
        'WORKDIR /etc',
      ];
      const base = image();
      const archive = join(folder, 'archive.tar');
      // Its content again, with another configuration.
      const name = `remit-hostile-${process.pid}`;
      podman('create', '--name', name, '--network=none', base, '/x');
      podman('export', '-o', archive, name);
      podman('rm', name);
      const { stdout } = podman('import', ...changes.flatMap((change) => ['--change', change]), archive);
      const hostileImage = `sha256:${/[0-9a-f]{64}/.exec(stdout.toString())![0]}`;
      made.push(hostileImage);
      const script =
        'const fs=require("fs");console.log(JSON.stringify([process.env,process.getuid()!==0,process.cwd(),fs.readFileSync("/proc/self/mountinfo","utf8").includes(" /vol ")]))';
      const { out, exit } = await run(
        spec({ image: hostileImage, argv: ['/remit/node', '-e', script], env: { A: 'b' } }),
      );
      expect([JSON.parse(out), exit]).toEqual([[{ A: 'b' }, true, '/tmp', false], { code: 0, signal: null }]);
    });

    test.skipIf(!readdirSync('/bin').includes('bash'))(
      'one whose shell is bash gives the server the same',
      async () => {
        const script = 'process.stdout.write(JSON.stringify([process.env,process.argv.slice(1)]));process.exitCode=3';
        const { out, err, exit } = await run(
          spec({ image: image('/bin/bash'), argv: ['/remit/node', '-e', script, '--', '*', ''], env: { A: 'b\n' } }),
        );
        expect([JSON.parse(out), err, exit]).toEqual([[{ A: 'b\n' }, ['*', '']], '', { code: 3, signal: null }]);
      },
    );
  });

  describe('commands', () => {
    test.each([
      [{ argv: [] }, 'must be an absolute path'],
      [{ argv: ['node'] }, 'must be an absolute path'],
      [{ argv: ['/a=b'] }, 'without "="'],
      [{ argv: ['/usr/bin/true', 'a\0b'] }, 'NUL'],
      [{ env: { 'A=B': 'x' } }, 'may not set "A=B"'],
      [{ env: { 'A;id': 'x' } }, 'may not set "A;id"'],
      [{ env: { PWD: '/x' } }, 'may not set "PWD"'],
    ] as const)('refuses %j', async (more, message) => {
      const fault = await faultOf(backend.start(spec(more)));
      expect(fault.code).toBe('sandbox_command');
      expect(fault.message).toContain(message);
    });

    test.runIf(ROOT)('never runs a server as user 0', async () => {
      const fault = await faultOf(containerBackend({ ...options, uidFor: () => 0 }).start(spec()));
      expect(fault).toMatchObject({ code: 'sandbox_start', message: 'a server may not run as user 0' });
    });
  });

  describe('stopping', () => {
    const started = (script: string) => backend.start(spec({ argv: ['/remit/node', '-e', script] }));

    test('a server that heeds the end of its input leaves by itself', async () => {
      const process_ = await containerBackend({ ...options, graceMs: 10_000 }).start(
        spec({ argv: ['/remit/node', '-e', 'process.stdin.resume().on("end",()=>process.exit(0))'] }),
      );
      expect(await process_.stop()).toEqual({ code: 0, signal: null, reason: 'stopped' });
    });

    test('one that does not gets SIGTERM, and may tidy up', async () => {
      const process_ = await containerBackend({ ...options, graceMs: 2_000 }).start(
        spec({
          argv: [
            '/remit/node',
            '-e',
            'setInterval(()=>{},1000);process.on("SIGTERM",()=>process.exit(9));console.log("up")',
          ],
        }),
      );
      await new Promise((resolve) => process_.stdout.once('data', resolve));
      expect(await process_.stop('lock')).toEqual({ code: 9, signal: null, reason: 'lock' });
    });

    test('one that ignores that too is killed, also when nobody reads what it prints; asking twice is one stop', async () => {
      const process_ = await started(
        'process.on("SIGTERM",()=>{});for(;;)require("fs").writeSync(1,"x".repeat(65536))',
      );
      await new Promise((resolve) => process_.stdout.once('readable', resolve));
      const [a, b] = await Promise.all([process_.stop('one'), process_.stop('two')]);
      expect(a).toEqual({ code: null, signal: 'SIGKILL', reason: 'one' });
      expect(b).toEqual(a);
      expect(await process_.stop('three')).toEqual(a);
      expect(ours()).toBe('');
    });

    test('the engine’s client is killed: the container ends with it', async () => {
      const process_ = await backend.start(spec({ argv: ['/usr/bin/sleep', '77.5'] }));
      await until('it runs', () => hostProcesses().some(([, command]) => command === '/usr/bin/sleep 77.5'));
      const [client] = hostProcesses().find(
        ([, command]) => command.includes('podman') && command.includes(' run -i ') && command.endsWith('77.5'),
      )!;
      process.kill(client, 'SIGKILL');
      expect(await process_.exited).toEqual({ code: null, signal: 'SIGKILL' });
      expect(hostProcesses().some(([, command]) => command === '/usr/bin/sleep 77.5')).toBe(false);
      expect(ours()).toBe('');
    });

    test('what a killed gateway left is removed at the next start; what a living one runs is not', async () => {
      const living = await backend.start(spec({ argv: ['/usr/bin/sleep', '60'] }));
      const gone = spawn('/bin/true');
      await new Promise((resolve) => gone.once('close', resolve));
      const left = `remit-left-${process.pid}`;
      podman(
        'create',
        '--name',
        left,
        '--network=none',
        `--label=remit.owner=${options.owner}`,
        `--label=remit.gateway=${gone.pid}.123`,
        engine.image,
        '/x',
      );
      expect(ours().trim().split('\n')).toHaveLength(2);
      expect((await containerBackend(options).probe()).available).toBe(true);
      expect(ours().trim().split('\n')).toHaveLength(1);
      await living.stop();
      expect(ours()).toBe('');
    });
  });
}
