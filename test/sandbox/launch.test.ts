/** What the launcher asks of a backend: the way out of a server is mounts, arguments and room for the bridge, and ends with the process. */
import { expect, test } from 'vitest';
import type {
  IsolationBackend,
  Posture,
  SandboxExit,
  SandboxSpec,
  SandboxedProcess,
} from '../../src/sandbox/backend.ts';
import { type LaunchOptions, serverLauncher } from '../../src/sandbox/launch.ts';

const limits = { memoryMb: 100, processes: 10, cpuSeconds: 10, openFiles: 64, cpuPercent: 100 };
const target = { command: ['/usr/bin/server', '--flag'], mounts: [], network: 'none', limits } as const;
const egress = [{ scheme: 'https', host: 'a.example' }] as const;

function rig(options: LaunchOptions = {}, fails = false) {
  const specs: SandboxSpec[] = [];
  const doors: string[] = [];
  let end: (exit: SandboxExit) => void = () => {};
  const backend: IsolationBackend = {
    name: 'recorded',
    probe: () => Promise.reject(new Error('not asked')),
    start(spec) {
      specs.push(spec);
      if (fails) return Promise.reject(new Error('it does not start'));
      const posture = { notes: ['measured'] } as unknown as Posture;
      return Promise.resolve({ posture, exited: new Promise((resolve) => (end = resolve)) } as SandboxedProcess);
    },
  };
  const openEgress: LaunchOptions['openEgress'] = async ({ serverId }) => {
    doors.push(`open ${serverId}`);
    return { folder: '/tmp/door', authority: true, close: async () => void doors.push(`close ${serverId}`) };
  };
  const launch = serverLauncher(backend, { openEgress, ...options });
  return { specs, doors, launch, end: () => end({ code: 0, signal: null }) };
}

test('a server without rules is started as its record says', async () => {
  const { launch, specs, doors } = rig();
  await launch({
    serverId: 's',
    target: { ...target, egress: [], image: `x@sha256:${'a'.repeat(64)}` },
    env: { A: 'b' },
  });
  expect(specs).toEqual([
    {
      name: 's',
      argv: target.command,
      env: { A: 'b' },
      mounts: [],
      network: 'none',
      image: `x@sha256:${'a'.repeat(64)}`,
      limits,
    },
  ]);
  expect(doors).toEqual([]);
});

test('a server with rules is started by the bridge, with room for it, and its way out closes with it', async () => {
  const { launch, specs, doors, end } = rig();
  const process = await launch({ serverId: 's', target: { ...target, egress }, env: { A: 'b' } });
  expect(process.posture.notes).toEqual(['measured', expect.stringContaining('only to what its record names')]);
  const [spec] = specs;
  expect(spec?.argv.slice(-5)).toEqual([
    '/remit/egress-bridge.mts',
    '/remit/egress',
    'ca',
    '/usr/bin/server',
    '--flag',
  ]);
  expect(spec?.argv[0]).toBe('/remit/node');
  expect(spec?.env).toEqual({ A: 'b' });
  expect(spec?.mounts).toEqual([
    {
      from: expect.stringMatching(/sandbox\/egress-bridge\.ts$/) as string,
      to: '/remit/egress-bridge.mts',
      mode: 'read',
    },
    { from: '/tmp/door', to: '/remit/egress', mode: 'read' },
  ]);
  expect(spec?.limits).toEqual({ ...limits, memoryMb: 164, processes: 18 });
  expect(doors).toEqual(['open s']);
  end();
  await expect.poll(() => doors).toEqual(['open s', 'close s']);
});

test('a way out of a server that does not start is closed', async () => {
  const { launch, doors } = rig({}, true);
  await expect(launch({ serverId: 's', target: { ...target, egress }, env: {} })).rejects.toThrow('it does not start');
  expect(doors).toEqual(['open s', 'close s']);
});

test.each([
  ['the network of the host', {}, { network: 'host' }, 'set sandbox.unsafeHostNetwork to true'],
  [
    'the network of the host and rules',
    { hostNetwork: true },
    { network: 'host', egress },
    'set network to none, or remove the rules',
  ],
  ['rules where nothing holds them', { openEgress: undefined }, { egress }, 'nothing here can hold its egress rules'],
] as const)('EX-04: %s does not start, and says why', async (_what, options, more, remedy) => {
  const { launch, specs, doors } = rig(options as LaunchOptions);
  await expect(launch({ serverId: 's', target: { ...target, ...more }, env: {} })).rejects.toMatchObject({
    code: 'sandbox_network',
    message: expect.stringContaining(remedy) as string,
  });
  expect([specs, doors]).toEqual([[], []]);
});

test('the network of the host is started where the configuration says so', async () => {
  const { launch, specs } = rig({ hostNetwork: true });
  const process = await launch({ serverId: 's', target: { ...target, network: 'host' }, env: {} });
  expect(process.posture.notes).toEqual(['measured', expect.stringContaining('the network of the host')]);
  expect(specs[0]?.network).toBe('host');
});

test('EX-04: a folder with the ways out of others is not mounted', async () => {
  const { launch, specs } = rig({ holdsEgress: (folder) => folder === '/tmp' });
  const mount = (from: string) => [{ from, to: '/data', mode: 'read' }] as const;
  await expect(launch({ serverId: 's', target: { ...target, mounts: mount('/tmp') }, env: {} })).rejects.toMatchObject({
    code: 'sandbox_mount',
    message: expect.stringContaining('choose a folder of its own') as string,
  });
  expect(specs).toEqual([]);
  await launch({ serverId: 's', target: { ...target, mounts: mount('/tmp/x') }, env: {} });
  expect(specs).toHaveLength(1);
});
