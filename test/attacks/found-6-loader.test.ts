/**
 * Variables that the dynamic loader obeys are obeyed by the programs that drop rights and set limits, too: a library that a record's
 * environment named ran as root, with every capability. The twin starts the same chain by hand: there the host gets a file of root's.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';
import { runInside } from '../sandbox/run-inside.ts';

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'remit-loader-'));
chmodSync(folder, 0o777);
afterAll(() => rmSync(folder, { recursive: true }));
/** On the PATH, as the backend finds it. */
const BUBBLEWRAP = 'bwrap';
const LIMITS = { memoryMb: 128, processes: 20, cpuSeconds: 10, openFiles: 64, cpuPercent: 100 };
const server = (env: Record<string, string>, argv = ['/usr/bin/true']) => ({
  name: 'loader',
  argv,
  env,
  mounts: [{ from: folder, to: '/data', mode: 'write' as const }],
  network: 'none' as const,
  limits: LIMITS,
});
const TRACE = { LD_DEBUG: 'libs', LD_DEBUG_OUTPUT: '/data/trace' };

test('EX-01: a server whose environment steers the loader is not started, and nothing of it has run', async () => {
  await expect(bubblewrapBackend().start(server(TRACE))).rejects.toMatchObject({
    code: 'sandbox_command',
    message: expect.stringContaining('the environment may not set "LD_DEBUG"') as string,
  });
  expect(readdirSync(folder)).toEqual([]);
});

test.each(['LD_PRELOAD', 'LD_LIBRARY_PATH', 'LD_AUDIT', 'GLIBC_TUNABLES', 'GCONV_PATH', 'LOCPATH'])(
  'EX-01: %s is refused, with another way to say it',
  async (name) => {
    await expect(bubblewrapBackend().start(server({ [name]: '/data/x.so' }))).rejects.toMatchObject({
      code: 'sandbox_command',
      message: expect.stringContaining(`/usr/bin/env ${name}=`) as string,
    });
  },
);

test('EX-01: the way that is left reaches the server alone', async () => {
  const argv = ['/usr/bin/env', 'LD_LIBRARY_PATH=/data', '/usr/bin/printenv', 'LD_LIBRARY_PATH'];
  expect(await runInside(server({}, argv))).toMatchObject({ out: '/data\n' });
});

test('EX-02: a program whose path would be read as a variable is not started', async () => {
  await expect(bubblewrapBackend().start(server({}, ['/data/a=b', '/usr/bin/true']))).rejects.toMatchObject({
    code: 'sandbox_command',
    message: expect.stringContaining('without "="') as string,
  });
});

test.runIf(process.getuid?.() === 0)('EX-01: twin: given to the same chain, the file on the host is of root', () => {
  const options = `--unshare-pid --unshare-net --die-with-parent --ro-bind / / --bind ${folder} /srv --clearenv --setenv LD_DEBUG libs`;
  const chain = '/usr/bin/setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all -- /usr/bin/true';
  const words = `${options} --setenv LD_DEBUG_OUTPUT /srv/trace -- ${chain}`.split(' ');
  expect(spawnSync(BUBBLEWRAP, words, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
  const owners = readdirSync(folder).map((name) => statSync(join(folder, name)).uid);
  expect(owners).toContain(0);
});
