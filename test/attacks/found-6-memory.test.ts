/**
 * Memory that belongs to no process (a nameless file, a shared segment that nobody has attached, messages in a queue): where no cgroup counts
 * it the watchdog does not see it, so there it cannot be had. The twin runs with the filter of a host that counts: there it is, unnoticed.
 */
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { BubblewrapOptions } from '../../src/sandbox/bubblewrap.ts';
import { filterHere } from '../../src/sandbox/seccomp.ts';
import { type Ran, runInside } from '../sandbox/run-inside.ts';

const PYTHON = '/usr/bin/python3';
const LIMIT_MB = 64;
/** Of each kind twice the limit; what came of it, in MB or as the number of the error. */
const SCRIPT = `
import os, time, ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
MB = 1048576
try:
  f = os.memfd_create('x')
  for i in range(${2 * LIMIT_MB}): os.write(f, b'x' * MB)
  print('nameless', os.fstat(f).st_blocks * 512 // MB)
except OSError as e: print('nameless errno', e.errno)
n = 0
ids = []
for i in range(${2 * LIMIT_MB}):
  s = libc.shmget(0, MB, 0o1600)
  if s < 0: print('segments errno', ctypes.get_errno()); break
  ids.append(s)
  a = libc.shmat(s, None, 0)
  ctypes.memset(a, 1, MB)
  libc.shmdt(ctypes.c_void_p(a))
else: print('segments', len(ids))
q = libc.msgget(0, 0o1600)
print('queue' if q >= 0 else 'queue errno %d' % ctypes.get_errno())
time.sleep(1)
print('alive')
`;
const uncounted = (more: BubblewrapOptions['host'] = {}): Promise<Ran> =>
  runInside(
    {
      name: 'memory',
      argv: [PYTHON, '-c', SCRIPT],
      env: {},
      mounts: [],
      network: 'none',
      limits: { memoryMb: LIMIT_MB, processes: 20, cpuSeconds: 10, openFiles: 64, cpuPercent: 100 },
    },
    { host: { cgroups: { make: () => null }, ...more } },
  );

describe.runIf(existsSync(PYTHON) && filterHere(true) !== null)('where no cgroup counts memory', () => {
  test('EX-07: what no process has cannot be had', async () => {
    const { out } = await uncounted();
    expect(out.trim().split('\n')).toEqual(['nameless errno 1', 'segments errno 1', 'queue errno 1', 'alive']);
  });

  test('EX-07: twin: with the other filter a server has four times its limit, and nobody notices', async () => {
    const { out, exit } = await uncounted({ filter: filterHere(true) });
    expect(out.trim().split('\n')).toEqual([`nameless ${2 * LIMIT_MB}`, `segments ${2 * LIMIT_MB}`, 'queue', 'alive']);
    expect(exit).toEqual({ code: 0, signal: null });
  });
});
