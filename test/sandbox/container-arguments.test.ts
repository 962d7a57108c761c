/** What an engine is told and what it is not; and the launcher, run by this host's own shells: it needs no engine to be tried. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { assert, property, sample, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SandboxSpec } from '../../src/sandbox/backend.ts';
import {
  type ContainerSetting,
  handover,
  OF_ANY_SHELL,
  isGivable,
  runArguments,
} from '../../src/sandbox/container-arguments.ts';

const SPEC: SandboxSpec = {
  name: 'demo',
  argv: ['/usr/bin/true', 'a b', ''],
  env: { KEY: 'canary-value' },
  mounts: [],
  network: 'none',
  limits: { memoryMb: 256, processes: 20, cpuSeconds: 10, openFiles: 64, cpuPercent: 50 },
};
const SETTING: ContainerSetting = {
  kind: 'podman',
  name: 'remit-1',
  imageId: `sha256:${'0'.repeat(64)}`,
  uid: 1_900_000_001,
  labels: { 'remit.owner': 'o', 'remit.server': 'demo' },
  mounts: [{ from: '/srv/data', to: '/data', mode: 'read' }],
  node: '/usr/bin/node',
  tmpMb: 64,
  processors: 2,
};
const launcher = (): string => {
  const argv = runArguments(SPEC, SETTING);
  return argv[argv.indexOf('-c') + 1]!;
};

describe('the options of run', () => {
  test.each(['podman', 'docker'] as const)(
    'EX-01: %s is told to isolate, and runs the launcher by the id of the image',
    (kind) => {
      const argv = runArguments(SPEC, { ...SETTING, kind });
      expect(argv.slice(0, argv.indexOf(SETTING.imageId))).toEqual(
        expect.arrayContaining([
          '--pull=never',
          '--network=none',
          '--read-only',
          '--cap-drop=all',
          '--security-opt=no-new-privileges',
          '--user=1900000001:1900000001',
          '--memory=256m',
          '--memory-swap=256m',
          '--pids-limit=21',
          '--cpus=0.5',
          '--ulimit=cpu=10:11',
          '--ulimit=nofile=64:64',
          '--ulimit=core=0:0',
          '--ipc=private',
          '--log-driver=none',
          '--no-healthcheck',
          '--entrypoint=/bin/sh',
          '--mount=type=bind,src=/srv/data,dst=/data,readonly,bind-nonrecursive,bind-propagation=private',
        ]),
      );
      expect(argv.filter((word) => /privileged|seccomp|--device|--volume|host$/.test(word))).toEqual([]);
      expect(argv.slice(-4)).toEqual(['remit', '/usr/bin/true', 'a b', '']);
    },
  );

  test('EX-03: nothing of the environment is among them, whatever it is', () => {
    assert(
      property(string({ minLength: 8 }), (value) => {
        const secret = `canary${value}`;
        const told = runArguments({ ...SPEC, env: { SOME_NAME_OF_MINE: secret } }, SETTING);
        expect(told.some((word) => word.includes(secret) || word.includes('SOME_NAME_OF_MINE'))).toBe(false);
      }),
      { numRuns: 100, seed: 6 },
    );
  });

  test('no more processors are asked for than there are', () => {
    const limits = { ...SPEC.limits, cpuPercent: 6_400 };
    expect(runArguments({ ...SPEC, limits }, SETTING)).toContain('--cpus=2');
  });
});

interface Ended {
  readonly out: string;
  readonly err: string;
  readonly code: number | null;
}

/** The launcher as the first process of a container would be, on this host. */
function launch(
  shell: string,
  input: string,
  argv: readonly string[],
  env: Record<string, string> = {},
): Promise<Ended> {
  const child = spawn(shell, ['-c', launcher(), 'remit', ...argv], { env, argv0: '/bin/sh', stdio: 'pipe' });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')));
  child.stdin.on('error', () => {}).end(input);
  return new Promise((resolve) => child.once('close', (code) => resolve({ out, err, code })));
}

// Each of them is /bin/sh somewhere.
const SHELLS = ['/bin/dash', '/bin/bash', '/bin/busybox'].filter((path) => existsSync(path));
const PRINT = [
  process.execPath,
  '-e',
  'process.stdout.write(JSON.stringify([process.env,process.argv.slice(1)]))',
  '--',
];

describe.each(SHELLS)('the launcher under %s', (shell) => {
  test('EX-03: the environment is exactly what was handed over, byte for byte', async () => {
    const env = {
      EMPTY: '',
      LINES: 'a\nb\n\n',
      QUOTES: `'"\`$HOME $(id) \\n \\0101 %s %b * ~`,
      UNICODE: 'ü€😀\u0001\u007f',
      BLANKS: '  a\t ',
      EQUALS: 'a=b==',
      LONG: 'x'.repeat(20_000),
      IFS: '0123456789',
      l: '1',
      n: '2',
      v: '3',
      PATH: '/nowhere',
    };
    const forget = ['INHERITED', ...OF_ANY_SHELL];
    const { out, err } = await launch(shell, handover(env, forget), [...PRINT, 'a b', '', '$X'], { INHERITED: 'x' });
    expect(err).toBe('');
    expect(out.startsWith('remit\n')).toBe(true);
    expect(JSON.parse(out.slice('remit\n'.length))).toEqual([env, ['a b', '', '$X']]);
  });

  test('any value arrives, and cannot become a second line', async () => {
    const values = sample(string({ unit: 'binary', maxLength: 40 }), { numRuns: 60, seed: 11 });
    const env = Object.fromEntries(values.map((value, i) => [`V${i}`, value.replaceAll('\0', '').toWellFormed()]));
    const { out } = await launch(shell, handover(env, OF_ANY_SHELL), PRINT);
    expect((JSON.parse(out.slice('remit\n'.length)) as unknown[])[0]).toEqual(env);
  });

  test('an input that ends too early starts nothing', async () => {
    for (const input of ['', 'KEY=a', 'KEY=a\n'])
      expect(await launch(shell, input, ['/bin/echo', 'started'])).toEqual({ out: 'remit\n', err: '', code: 125 });
  });

  test('what follows the environment is the input of the server', async () => {
    const { out } = await launch(shell, `${handover({ A: 'b' }, [])}first line\nsecond`, ['/bin/cat']);
    expect(out).toBe('remit\nfirst line\nsecond');
  });

  test('it ends as the server ends; the one code that it keeps for itself becomes 1', async () => {
    const end = async (script: string): Promise<number | null> =>
      (await launch(shell, handover({}, []), [process.execPath, '-e', script])).code;
    expect(await end('process.exit(7)')).toBe(7);
    expect(await end('process.exit(253)')).toBe(1);
    expect(await end('process.kill(process.pid,"SIGSEGV")')).toBe(139);
    expect((await launch(shell, handover({}, []), ['/nowhere'])).code).toBe(127);
  });
});

test.each([
  ['KEY', true],
  ['_x', true],
  ['a1', true],
  ['PATH', true],
  ['', false],
  ['1A', false],
  ['A-B', false],
  ['A=B', false],
  ['A\nB', false],
  ['PWD', false],
  ['UID', false],
  ['OPTIND', false],
  ['SHELLOPTS', false],
  ['BASH_ENV', false],
  ['__remit_l', false],
] as const)('a server may be given a variable named %j: %s', (name, may) => {
  expect(isGivable(name)).toBe(may);
});
