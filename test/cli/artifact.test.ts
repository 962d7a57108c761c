/** `remit artifact`: an operator installs, looks, and is told when something is not as it was. Real npm, a registry on this machine. */
import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startRegistry, type Registry } from '../support/registry.ts';
import { remit } from './remit.ts';

const folder = mkdtempSync(join(tmpdir(), 'remit-artifact-cli-'));
const artifacts = join(folder, 'remit-artifacts');
let registry: Registry;
beforeAll(async () => {
  registry = await startRegistry();
  registry.publish({ name: 'mail', version: '1.0.0', manifest: { bin: 'run.js' }, files: { 'run.js': '' } });
  // The folder comes from the configuration here, beside the data.
  writeFileSync(join(folder, 'remit.yaml'), 'dataDir: ./data\n');
});
afterAll(async () => {
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
});
const artifact = (...words: string[]) => remit(['artifact', ...words], { cwd: folder });

test('install says what belongs into the record, list and show repeat it, verify finds a changed file', async () => {
  const empty = await artifact('list');
  expect([empty.code, empty.out]).toEqual([0, `Nothing is installed in ${artifacts}.\n`]);

  const installed = await artifact('install', 'mail@1.0.0', '--registry', registry.url, '--json');
  expect([installed.code, installed.err]).toEqual([0, '']);
  const record = installed.json();
  expect(record).toMatchObject({ name: 'mail', version: '1.0.0', folder: artifacts, scriptsNotRun: [] });

  expect((await artifact('list', '--json')).json()['artifacts']).toMatchObject([{ digest: record['digest'] }]);
  const shown = await artifact('show', 'mail@1.0.0');
  expect(shown.out).toMatch(new RegExp(`^digest: +${record['digest'] as string}$`, 'm'));
  expect((await artifact('verify', '--dir', artifacts)).out).toBe('ok    mail@1.0.0\n');

  const again = await artifact('install', 'mail@1.0.0', '--registry', registry.url);
  expect(again).toMatchObject({
    code: 1,
    err: expect.stringContaining('is installed already and is left as it is') as string,
  });

  appendFileSync(join(artifacts, 'mail/1.0.0/node_modules/mail/run.js'), 'evil');
  const broken = await artifact('verify', 'mail@1.0.0');
  expect([broken.code, broken.out]).toEqual([
    1,
    expect.stringMatching(/^FAIL {2}mail@1\.0\.0\n +its files are sha256:/),
  ]);
});

test.each([
  [['install', 'mail@latest'], 2, 'does not name one exact version; write mail@1.2.3'],
  [['install', 'https://x.example/mail.tgz'], 2, 'write NAME@1.2.3'],
  [['install', 'mail@2.0.0', '--registry', 'http://registry.example'], 2, 'must be an https address'],
  [['install', 'mail@2.0.0', '--npmrc', '/nowhere/npmrc'], 2, 'The file /nowhere/npmrc does not exist.'],
  [['install', 'mail@2.0.0', '--integrity', 'sha512-x'], 2, '--integrity is not sha512-'],
  [['show', 'mail@3.0.0'], 1, 'mail@3.0.0 is not installed in'],
  [['show', 'mail'], 2, 'does not name one exact version'],
])('%j ends with %i', async (words, code, message) => {
  const ran = await artifact(...words);
  expect([ran.code, ran.out]).toEqual([code, '']);
  expect(ran.err).toContain(message);
  expect(ran.err).not.toMatch(/^\s+at /m);
  expect(existsSync(join(artifacts, 'mail/2.0.0'))).toBe(false);
});
