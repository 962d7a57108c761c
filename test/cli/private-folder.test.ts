/** Folders that others can look into: ours are closed, everything else is refused and left as it is. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openPrivateFolder } from '../../src/cli/private-folder.ts';
import { remit } from './remit.ts';

let above: string;
let dir: string;
beforeEach(() => {
  above = mkdtempSync(join(tmpdir(), 'remit-folder-'));
  dir = join(above, 'data');
});
afterEach(() => rmSync(above, { recursive: true, force: true }));

const modeOf = (path: string): number => statSync(path).mode & 0o7777;
/** Whatever the umask of whoever runs the tests. */
function folder(mode: number): void {
  mkdirSync(dir);
  chmodSync(dir, mode);
}
const REFUSED = (path: string): object =>
  expect.objectContaining({
    code: 'failed',
    message: `Others on this machine can look into ${path}, and it is not a folder of Remit that belongs to you.`,
    remedy: 'Name another folder with --dir, one that is empty or does not exist yet.',
  });

test('makes a missing folder for its owner only', () => {
  openPrivateFolder(dir, 'remit.yaml');
  expect(modeOf(dir)).toBe(0o700);
});

test.each([0o755, 0o775, 0o777, 0o710, 0o701])('closes a folder of ours with mode %o, empty or begun', (mode) => {
  folder(mode);
  openPrivateFolder(dir, 'remit.yaml');
  expect(modeOf(dir)).toBe(0o700);
  writeFileSync(join(dir, 'remit.yaml'), '');
  chmodSync(dir, mode);
  openPrivateFolder(dir, 'remit.yaml');
  expect(modeOf(dir)).toBe(0o700);
});

test('leaves a private folder as it is, whatever it holds', () => {
  folder(0o500);
  openPrivateFolder(dir, 'remit.yaml');
  expect(modeOf(dir)).toBe(0o500);
  chmodSync(dir, 0o700);
  writeFileSync(join(dir, 'notes.txt'), '');
  openPrivateFolder(dir, 'remit.yaml');
  expect(modeOf(dir)).toBe(0o700);
});

test('refuses an open folder that holds other things, and one that is everybody’s', () => {
  folder(0o755);
  writeFileSync(join(dir, 'notes.txt'), '');
  expect(() => openPrivateFolder(dir, 'remit.yaml')).toThrow(REFUSED(dir));
  expect(modeOf(dir)).toBe(0o755);
  rmSync(join(dir, 'notes.txt'));
  chmodSync(dir, 0o1777);
  expect(() => openPrivateFolder(dir, 'remit.yaml')).toThrow(REFUSED(dir));
  expect(modeOf(dir)).toBe(0o1777);
});

test('refuses an open folder of somebody else', () => {
  const root = process.getuid?.() === 0;
  const theirs = root ? dir : '/usr';
  if (root) {
    folder(0o755);
    chownSync(dir, 12_345, 12_345);
  }
  const before = modeOf(theirs);
  expect(() => openPrivateFolder(theirs, 'remit.yaml')).toThrow(REFUSED(theirs));
  expect(modeOf(theirs)).toBe(before);
});

test.runIf(process.getuid?.() === 0)('refuses an open folder whose configuration somebody else put there', () => {
  folder(0o777);
  writeFileSync(join(dir, 'remit.yaml'), 'planted: true\n');
  chownSync(join(dir, 'remit.yaml'), 12_345, 12_345);
  expect(() => openPrivateFolder(dir, 'remit.yaml')).toThrow(REFUSED(dir));
});

test('remit up starts nothing in such a folder, and says why', async () => {
  folder(0o755);
  writeFileSync(join(dir, 'notes.txt'), '');
  const ran = await remit(['up', '--dir', dir, '--port', '0']);
  expect([ran.code, ran.out, ran.err]).toEqual([
    1,
    '',
    `remit: Others on this machine can look into ${dir}, and it is not a folder of Remit that belongs to you.\n` +
      'Name another folder with --dir, one that is empty or does not exist yet.\n',
  ]);
  expect(statSync(join(dir, 'remit.yaml'), { throwIfNoEntry: false })).toBe(undefined);
});
