/** The backend of the configuration is the one that is used, and a configuration that names none is refused. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadConfig } from '../../src/cli/config.ts';
import { isolationOf } from '../../src/cli/isolation.ts';
import { runRemit } from '../support/processes.ts';

const folder = mkdtempSync(join(tmpdir(), 'remit-isolation-of-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (sandbox: object): string => {
  const path = join(folder, 'remit.yaml');
  writeFileSync(path, JSON.stringify({ dataDir: join(folder, 'data'), sandbox }));
  return path;
};
const image = `docker.io/library/debian@sha256:${'0'.repeat(64)}`;

test.each([
  [{}, 'bubblewrap'],
  [{ backend: 'bubblewrap', container: { image } }, 'bubblewrap'],
  [{ backend: 'container', container: { image } }, 'podman'],
  [{ backend: 'container', container: { engine: 'docker', image, runtime: 'runc' } }, 'docker'],
] as const)('%j is isolation by %s', (sandbox, name) => {
  const config = loadConfig(file(sandbox), {});
  if (!config.ok) throw new Error(JSON.stringify(config.error));
  expect(isolationOf(config.value).name).toBe(name);
});

test.each([
  [{ backend: 'container' }, 'sandbox.container', /it is missing, and sandbox.backend is container/],
  [{ backend: 'container', container: {} }, 'sandbox.container.image', /missing/],
  [{ backend: 'container', container: { image: 'debian:12' } }, 'sandbox.container.image', /NAME@sha256/],
  [
    { backend: 'container', container: { image: `--x@sha256:${'0'.repeat(64)}` } },
    'sandbox.container.image',
    /NAME@sha256/,
  ],
  [{ backend: 'container', container: { image, runtime: '--privileged' } }, 'sandbox.container.runtime', /OCI runtime/],
  [{ backend: 'none' }, 'sandbox.backend', /./],
] as const)('%j is refused', (sandbox, key, reason) => {
  const config = loadConfig(file(sandbox), {});
  if (config.ok) throw new Error('it was accepted');
  expect(config.error.map((problem) => problem.key)).toEqual([key]);
  expect(config.error.map((problem) => `${problem.reason} ${problem.remedy}`).join('\n')).toMatch(reason);
});

test('EX-09: remit doctor says that the engine is missing, and does not fall back to bubblewrap', async () => {
  const { out } = await runRemit(
    ['doctor', '--json', '--config', file({ backend: 'container', container: { image } })],
    {
      env: { PATH: '/nowhere' },
    },
  );
  const { checks } = JSON.parse(out) as { checks: ReadonlyArray<Record<string, string>> };
  expect(checks.find(({ check }) => check === 'isolation')).toMatchObject({
    status: 'warn',
    says: 'local (stdio) servers cannot start: the program podman is not on the PATH',
  });
});
