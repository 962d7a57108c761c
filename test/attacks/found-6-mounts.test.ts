/**
 * Records whose mounts are folders of the gateway or of other servers: the files of secrets, the configuration, the packages of others, and
 * the data directory by its other path. Nothing starts; a folder beside them is mounted (twin: the same folders, named by nobody, are read).
 */
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/cli/config.ts';
import { isolationOf } from '../../src/cli/isolation.ts';
import { bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';
import type { IsolationBackend, SandboxSpec } from '../../src/sandbox/backend.ts';
import { serverLauncher } from '../../src/sandbox/launch.ts';

const folder = mkdtempSync(join(realpathSync(tmpdir()), 'remit-found-mounts-'));
afterAll(() => rmSync(folder, { recursive: true }));
chmodSync(folder, 0o755);
for (const name of ['disk', 'disk/data', 'secrets', 'packages', 'packages/x', 'published', 'own', 'etc'])
  mkdirSync(join(folder, name));
symlinkSync(join(folder, 'disk'), join(folder, 'var'));
for (const name of ['secrets/other', 'disk/data/key', 'own/file']) writeFileSync(join(folder, name), name);
writeFileSync(
  join(folder, 'etc', 'remit.yaml'),
  JSON.stringify({
    dataDir: join(folder, 'var', 'data'),
    secrets: { folders: [join(folder, 'secrets')] },
    artifacts: { folder: join(folder, 'packages') },
    audit: { publishDir: join(folder, 'published') },
  }),
);
const limits = { memoryMb: 64, processes: 20, cpuSeconds: 10, openFiles: 64, cpuPercent: 100 };
const target = (from: string, mode: 'read' | 'write') => ({
  command: ['/usr/bin/find', '/data', '-type', 'f'],
  mounts: [{ from: join(folder, from), to: '/data', mode }] as SandboxSpec['mounts'],
  network: 'none' as const,
  limits,
});
function launcher(of?: IsolationBackend): ReturnType<typeof serverLauncher> {
  const config = loadConfig(join(folder, 'etc', 'remit.yaml'), {});
  if (!config.ok) throw new Error(JSON.stringify(config.error));
  return serverLauncher(of ?? isolationOf(config.value), of ? {} : { artifacts: config.value.artifacts.folder });
}
async function filesSeen(launch: ReturnType<typeof serverLauncher>, from: string): Promise<string> {
  const process = await launch({ serverId: 'nosy', target: target(from, 'read'), env: {} });
  let out = '';
  process.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  process.stderr.resume();
  await Promise.all([process.exited, new Promise((resolve) => process.stdout.once('close', resolve))]);
  return out;
}

test.each([
  ['secrets', 'read', 'a folder of the gateway'],
  ['disk', 'read', 'a folder of the gateway'],
  ['disk/data', 'read', 'a folder of the gateway'],
  ['etc', 'read', 'a folder of the gateway'],
  ['etc/remit.yaml', 'read', 'a folder of the gateway'],
  ['published', 'write', 'a folder of the gateway'],
  ['packages', 'write', 'the packages of other servers lie there'],
  ['packages/x', 'write', 'the packages of other servers lie there'],
] as const)('EX-03: %s (%s) is mounted into no server', async (from, mode, why) => {
  await expect(launcher()({ serverId: 'nosy', target: target(from, mode), env: {} })).rejects.toMatchObject({
    code: 'sandbox_mount',
    message: expect.stringContaining(why) as string,
  });
});

test('a folder beside them is', async () => {
  expect(await filesSeen(launcher(), 'own')).toBe('/data/file\n');
});

test('EX-03: twin: where nobody names them, their files are there', async () => {
  const plain = launcher(bubblewrapBackend());
  expect(await filesSeen(plain, 'secrets')).toBe('/data/other\n');
  expect(await filesSeen(plain, 'disk/data')).toBe('/data/key\n');
});
