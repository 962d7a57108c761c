/** TD-08: the digest of what a server is made of: the same for the same files, another one for any other. */
import { mkdirSync, mkdtempSync, realpathSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { artifactIdentity, mustBe } from '../../src/sandbox/artifact-digest.ts';

const root = realpathSync(mkdtempSync(join(tmpdir(), 'remit-digest-')));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
let modules: string;
let from: string;

function pack(folder: string, name: string, more: object, files: Readonly<Record<string, string>>): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.16', ...more }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}
function install(at: string): void {
  pack(
    join(at, 'mail'),
    'mail',
    { bin: 'run.js', dependencies: { inner: '^1', absent: '1' } },
    { 'run.js': 'run', 'lib/a.js': 'a' },
  );
  pack(join(at, 'inner'), 'inner', { dependencies: { '@deep/one': '*', mail: '*' } }, { 'index.js': 'inner' });
  pack(join(at, '@deep', 'one'), '@deep/one', {}, { 'index.js': 'deep' });
  pack(join(at, 'unrelated'), 'unrelated', {}, { 'index.js': 'x' });
}
const runs = { command: ['node', 'mail'], mounts: [] };
const digest = async (): Promise<string> => (await artifactIdentity(runs, from)).digest;

beforeEach(() => {
  from = join(root, String(++count));
  modules = join(from, 'node_modules');
  install(modules);
});

test('names package and version, and is the same for the same files elsewhere', async () => {
  const first = await artifactIdentity(runs, from);
  expect(first).toMatchObject({ package: 'mail', version: '1.0.16', files: 7 });
  const elsewhere = join(root, 'elsewhere');
  install(join(elsewhere, 'node_modules'));
  expect((await artifactIdentity(runs, elsewhere)).digest).toBe(first.digest);
  await expect(mustBe(runs, first.digest, from)).resolves.toBeUndefined();
});

test.each<readonly [string, () => void]>([
  ['one byte of the program', () => writeFileSync(join(modules, 'mail/run.js'), 'rum')],
  ['a file more', () => writeFileSync(join(modules, 'mail/lib/b.js'), '')],
  ['a file less', () => rmSync(join(modules, 'mail/lib/a.js'))],
  ['a file under another name', () => renameSync(join(modules, 'mail/lib/a.js'), join(modules, 'mail/lib/c.js'))],
  ['a link in place of nothing', () => symlinkSync('run.js', join(modules, 'mail/lib/link.js'))],
  ['a dependency of a dependency', () => writeFileSync(join(modules, '@deep/one/index.js'), 'evil')],
  ['the version of a dependency', () => pack(join(modules, 'inner'), 'inner', { version: '1.0.17' }, {})],
  ['a dependency that was not there', () => pack(join(modules, 'absent'), 'absent', {}, {})],
  [
    'a dependency that now comes first',
    () => pack(join(modules, 'mail/node_modules/inner'), 'inner', {}, { 'index.js': 'other' }),
  ],
])('TD-08: %s makes it another one', async (_title, change) => {
  const before = await digest();
  change();
  expect(await digest()).not.toBe(before);
  await expect(mustBe(runs, before, from)).rejects.toMatchObject({ code: 'sandbox_identity' });
});

test('what the package does not ask for does not count', async () => {
  const before = await digest();
  writeFileSync(join(modules, 'unrelated/index.js'), 'y');
  expect(await digest()).toBe(before);
});

describe('a program by path', () => {
  const at = (mode: 'read' | 'write') => ({
    command: ['node', '/app/run.js'],
    mounts: [{ from: join(modules, 'mail'), to: '/app', mode }],
  });
  test('counts with all that is mounted around it', async () => {
    const { digest: before } = await artifactIdentity(at('read'));
    writeFileSync(join(modules, 'mail/lib/a.js'), 'other');
    expect((await artifactIdentity(at('read'))).digest).not.toBe(before);
  });
  test('is refused where the server itself may write', async () => {
    await expect(artifactIdentity(at('write'))).rejects.toThrow(
      'the program lies in a folder that the server itself may write',
    );
  });
  test('and where it is not there', async () => {
    await expect(artifactIdentity({ command: ['/opt/nothing/here'], mounts: [] })).rejects.toMatchObject({
      code: 'sandbox_identity',
    });
  });
});
