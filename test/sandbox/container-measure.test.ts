/** What is refused of a container that an engine made: each row is a container as a careless or hostile engine would make it. */
import { describe, expect, test } from 'vitest';
import { type Expected, measure, problemsOf, type Seen } from '../../src/sandbox/container-measure.ts';

const STATUS = `Name:	sh
Uid:	1900000001	1900000001	1900000001	1900000001
Gid:	1900000001	1900000001	1900000001	1900000001
Groups:	1900000001 
CapInh:	0000000000000000
CapPrm:	0000000000000000
CapEff:	0000000000000000
CapBnd:	0000000000000000
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
`;
const RO = ['ro', 'relatime'];
const RW = ['rw', 'nosuid'];
const SEEN: Seen = {
  status: STATUS,
  mounts: [
    { at: '/', type: 'overlay', options: RO },
    { at: '/proc', type: 'proc', options: RW },
    { at: '/proc/sys', type: 'proc', options: RO },
    { at: '/dev', type: 'tmpfs', options: RW },
    { at: '/dev/null', type: 'devtmpfs', options: RW },
    { at: '/dev/shm', type: 'tmpfs', options: RW },
    { at: '/tmp', type: 'tmpfs', options: RW },
    { at: '/sys', type: 'sysfs', options: RO },
    { at: '/etc/hostname', type: 'ext4', options: RO },
    { at: '/data', type: 'ext4', options: RO },
    { at: '/out', type: 'ext4', options: RW },
  ],
  identities: { '/data': '1:2', '/out': '1:3' },
  shared: [],
  openTmp: true,
  devices: ['null', 'zero', 'random', 'pts'],
  environment: ['PATH', 'HOSTNAME'],
  memoryBytes: 256 * 1_048_576,
  processes: 21,
  cpuPercent: 50,
};
const EXPECTED: Expected = {
  network: 'none',
  limits: { memoryMb: 256, processes: 20, cpuSeconds: 10, openFiles: 64, cpuPercent: 50 },
  mounts: [
    { to: '/data', mode: 'read', identity: '1:2' },
    { to: '/out', mode: 'write', identity: '1:3' },
  ],
};
const status = (from: RegExp, to: string): Partial<Seen> => ({ status: STATUS.replace(from, to) });
const mounted = (at: string, type: string, options: readonly string[]): Partial<Seen> => ({
  mounts: [...SEEN.mounts, { at, type, options }],
});

test('EX-01: a container as it should be has no problem', () => {
  expect(problemsOf(SEEN, EXPECTED)).toEqual([]);
});

describe('EX-01: a container is refused that', () => {
  test.each<readonly [string, Partial<Seen>, RegExp]>([
    ['is root', status(/^Uid:.*$/m, 'Uid:\t0\t0\t0\t0'), /it runs as root/],
    ['may become root', status(/^Uid:.*$/m, 'Uid:\t1\t1\t0\t1'), /it runs as root/],
    ['has the group of root', status(/^Gid:.*$/m, 'Gid:\t0\t0\t0\t0'), /it runs as root/],
    ['says nothing of itself', { status: '' }, /it runs as root/],
    ['is in the group of the engine', status(/^Groups:.*$/m, 'Groups:\t1900000001 998'), /groups beside its own/],
    ['keeps a capability', status(/^CapEff:.*$/m, 'CapEff:\t0000000000000400'), /capabilities \(CapEff\)/],
    ['may get one back', status(/^CapBnd:.*$/m, 'CapBnd:\t00000000a80425fb'), /capabilities \(CapBnd\)/],
    ['may gain privileges', status(/^NoNewPrivs:.*$/m, 'NoNewPrivs:\t0'), /gain privileges/],
    ['has no filter', status(/^Seccomp:.*$/m, 'Seccomp:\t0'), /no system-call filter/],
    ['shares the process tree', { shared: ['pid'] }, /shares namespaces with the host \(pid\)/],
    ['shares the network', { shared: ['net'] }, /shares namespaces with the host \(net\)/],
    ['has no limit of memory', { memoryBytes: null }, /no cgroup holds its memory/],
    ['has a higher limit of memory', { memoryBytes: 257 * 1_048_576 }, /no cgroup holds its memory/],
    ['has no limit of processes', { processes: null }, /number of processes/],
    ['has no share of the processors', { cpuPercent: 200 }, /share of the processors/],
    ['has a device', { devices: ['null', 'kvm'] }, /devices: kvm/],
    [
      'has a writable root',
      { mounts: SEEN.mounts.map((m) => (m.at === '/' ? { ...m, options: RW } : m)) },
      /\/ can be written/,
    ],
    ['has a mount of the engine', mounted('/run/secrets', 'tmpfs', RW), /mounts \/run\/secrets, which nobody declared/],
    ['has the socket of the engine', mounted('/var/run/docker.sock', 'tmpfs', RW), /nobody declared/],
    ['has a device mounted', mounted('/dev/sda', 'devtmpfs', RW), /nobody declared/],
    ['can write what is for reading', mounted('/data', 'ext4', RW), /\/data can be written/],
    ['has something below a declared folder', mounted('/data/inner', 'ext4', RW), /nobody declared/],
    [
      'has a /tmp on disk',
      { mounts: SEEN.mounts.map((m) => (m.at === '/tmp' ? { ...m, type: 'ext4' } : m)) },
      /nobody declared.*not private/,
    ],
    ['has no /tmp', { mounts: SEEN.mounts.filter(({ at }) => at !== '/tmp') }, /\/tmp is not private/],
    ['has a closed /tmp', { openTmp: false }, /without mode 1777/],
    [
      'has another folder mounted',
      { identities: { '/data': '1:9', '/out': '1:3' } },
      /at \/data is not what was checked/,
    ],
    ['has nothing mounted', { identities: { '/data': null, '/out': '1:3' } }, /\/data is not mounted/],
    ['has a variable that stays', { environment: ['A-B'] }, /cannot unset/],
  ])('%s', (_what, wrong, message) => {
    expect(problemsOf({ ...SEEN, ...wrong }, EXPECTED).join('; ')).toMatch(message);
  });
});

test('the network of the host is shared only where it was asked for', () => {
  expect(problemsOf({ ...SEEN, shared: ['net'] }, { ...EXPECTED, network: 'host' })).toEqual([]);
});

test('EX-01: a process of this host, measured in the same way, is refused for all of it (vulnerable twin)', () => {
  const said = problemsOf(measure(process.pid, ['/data', '/out']), EXPECTED).join('; ');
  for (const part of ['shares namespaces with the host (mnt, pid, net, ipc, uts, cgroup)', '/data is not mounted'])
    expect(said).toContain(part);
});
