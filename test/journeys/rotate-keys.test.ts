/** SIGHUP to a running authorization server: a new signing key at once, the old one still published, nobody disconnected. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { stringify } from 'yaml';
import { endAll, freePorts, startRemit, temporaryFolder } from '../support/processes.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });
afterEach(endAll);

test('SIGHUP rotates the keys of a running authorization server', async () => {
  const folder = temporaryFolder();
  const port = await freePorts(1);
  const issuer = `http://127.0.0.1:${port}`;
  const file = join(folder, 'remit.yaml');
  writeFileSync(file, stringify({ authserver: { issuer, listen: { port }, dataDir: './authserver' } }));
  const server = startRemit(['authserver', '--config', file, '--json']);
  expect(await server.ready()).toEqual({ issuer });

  const published = async (): Promise<string[]> => {
    const { keys } = (await (await fetch(`${issuer}/jwks`)).json()) as { keys: Array<{ kid: string }> };
    return keys.map(({ kid }) => kid);
  };
  const before = await published();
  server.signal('SIGHUP');
  await expect.poll(published, { timeout: 30_000, interval: 50 }).toHaveLength(before.length + 1);
  expect(await published()).toEqual(expect.arrayContaining(before));
});
