/**
 * TD-08 where a program of the system runs what is mounted for it: `/bin/sh /app/run.sh` is not the shell. The oracle is a file that the
 * swapped script would write.
 */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, test } from 'vitest';
import { artifactIdentity } from '../../src/sandbox/artifact-digest.ts';
import type { Target } from '../../src/upstream/target.ts';
import { stdioServer, testPool, until } from '../support/upstreams/open.ts';

const root = mkdtempSync(join(tmpdir(), 'remit-interpreted-'));
chmodSync(root, 0o755);
const [app, out, own] = ['app', 'out', 'own'].map((name) => join(root, name)) as [string, string, string];
for (const folder of [app, out, own]) mkdirSync(folder);
for (const folder of [out, own]) chmodSync(folder, 0o777);
const closers: Array<() => unknown> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const install = (marker: string): void => writeFileSync(join(app, 'run.sh'), `echo ran > /out/${marker}\n`);
const server = (command: readonly string[], digest?: string) => ({
  ...stdioServer([...command], {
    mounts: [
      { from: app, to: '/app', mode: 'read' },
      { from: out, to: '/out', mode: 'write' },
      { from: own, to: '/own', mode: 'write' },
    ],
  }),
  ...(digest !== undefined && { source: { digest } }),
});
const runs = (command: readonly string[]): Extract<Target, { transport: 'stdio' }> => {
  const { upstream } = server(command);
  if (upstream.transport !== 'stdio') throw new Error('not stdio');
  return upstream;
};

const ways = [
  ['a shell with the script as its argument', ['/bin/sh', '/app/run.sh']],
  ['a shell with options', ['/bin/sh', '-e', '/app/run.sh']],
  ['a shell with a line that names it', ['/bin/sh', '-c', 'cd / && . /app/run.sh']],
  ['a shell whose line hides it', ['/bin/sh', '-c', 'cd /ap* && . ./run.sh']],
  ['env', ['/usr/bin/env', '/bin/sh', '/app/run.sh']],
] as const;

test.each(ways)('TD-08: by %s, another script than the reviewed one does not run', async (name, command) => {
  install('reviewed');
  const { digest } = await artifactIdentity(runs(command));
  const marker = name.replaceAll(' ', '-');
  install(marker);
  expect((await artifactIdentity(runs(command))).digest).not.toBe(digest);
  const pool = testPool();
  closers.push(() => pool.closeAll());
  await expect(pool.connection('swapped', server(command, digest))).rejects.toMatchObject({
    code: 'upstream_identity',
    dispatched: 'no',
  });
  expect(existsSync(join(out, marker))).toBe(false);
});

test('TD-08: a script in a folder that the server itself may write has no identity', async () => {
  writeFileSync(join(own, 'run.sh'), 'true\n');
  await expect(artifactIdentity(runs(['/bin/sh', '/own/run.sh']))).rejects.toThrow('may write');
});

test('TD-08: twin: with the digest of the shell alone the swapped script runs', async () => {
  install('twin');
  const { digest } = await artifactIdentity({ command: ['/bin/sh'], mounts: [] });
  const pool = testPool();
  closers.push(() => pool.closeAll());
  // As it was judged before: the program is the whole of it.
  const { source: _, ...judged } = server(['/bin/sh', '/app/run.sh'], digest);
  await pool.connection('twin', judged).catch(() => undefined);
  await until('it ran', () => existsSync(join(out, 'twin')));
});

test('TD-08: what a program of the system only reads is no part of it', async () => {
  const command = ['/bin/cat', '/app/run.sh'];
  install('one');
  const { digest } = await artifactIdentity(runs(command));
  install('two');
  expect((await artifactIdentity(runs(command))).digest).toBe(digest);
});
