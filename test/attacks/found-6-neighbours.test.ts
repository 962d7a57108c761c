/**
 * Processes that one connection of a server has are not taken from another one's: both run as the same user of the host. Without a cgroup
 * (the twin) the kernel counts them together, and the neighbour is refused its first process.
 */
import { afterEach, expect, test } from 'vitest';
import type { SandboxedProcess } from '../../src/sandbox/backend.ts';
import { bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';
import { commandArguments } from '../../src/sandbox/arguments.ts';
import type { Cgroups } from '../../src/sandbox/cgroup.ts';

const LIMITS = { memoryMb: 64, processes: 20, cpuSeconds: 30, openFiles: 64, cpuPercent: 100 };
const spec = (argv: readonly string[]) => ({
  name: 'neighbours',
  argv,
  env: {},
  mounts: [],
  network: 'none' as const,
  limits: LIMITS,
});
const SLEEPERS = 'i=0; while [ $i -lt 15 ]; do sleep 600 & i=$((i+1)); done; echo full; wait';
const NONE: Cgroups = { make: () => null };
const running: SandboxedProcess[] = [];
afterEach(async () => void (await Promise.all(running.splice(0).map((one) => one.stop('the test is over')))));

/** How many of three connections could start what they may start. */
async function full(host: { cgroups?: Cgroups }): Promise<number> {
  const backend = bubblewrapBackend({ graceMs: 200, pressedMs: 60_000, host });
  const said: string[] = [];
  for (let i = 0; i < 3; i++) {
    const one = await backend.start(spec(['/bin/sh', '-c', SLEEPERS]));
    running.push(one);
    one.stderr.resume();
    said.push(
      await new Promise<string>((resolve) => {
        one.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString('utf8')));
        void one.exited.then(() => resolve('ended'));
      }),
    );
  }
  return said.filter((text) => text === 'full\n').length;
}

test('EX-07: where a cgroup counts processes, the limit per user is not the limit of one server', () => {
  const setting = { dropTo: 2_000_000_000, mounts: [], tmpMb: 1 };
  const limit = (counted: boolean) =>
    commandArguments(spec(['/bin/true']), { ...setting, counted }).find((word) => word.startsWith('--nproc='));
  expect([limit(true), limit(false)]).toEqual(['--nproc=4096:4096', '--nproc=20:20']);
});

const root = process.getuid?.() === 0;
const counts =
  root &&
  (await bubblewrapBackend()
    .probe()
    .then((probe) => probe.available && probe.posture.processLimit === 'cgroup'));

test.runIf(counts)('EX-07: connections of one server do not take processes from each other', async () => {
  expect(await full({})).toBe(3);
});

test.runIf(root)('EX-07: twin: counted by the user alone, the next connection is refused its processes', async () => {
  expect(await full({ cgroups: NONE })).toBeLessThan(3);
});
