/** EX-01: the sample folder belongs to the sandboxed server. What it leaves there must not steer a gateway that runs as root. */
import { chownSync, existsSync, lstatSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { sampleFiles } from '../../src/cli/samples.ts';

let dir: string;
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'remit-samples-'))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('EX-01: a link that the server put in place of the sample file is not followed by the next start', () => {
  const folder = sampleFiles(join(dir, 'files'));
  const welcome = join(folder, 'welcome.txt');
  const canary = join(dir, 'canary');
  writeFileSync(canary, 'secret', { mode: 0o600 });
  const owner = process.getuid?.() ?? 0;
  chownSync(canary, owner, owner);
  rmSync(welcome);
  symlinkSync(canary, welcome);
  sampleFiles(folder);
  expect(statSync(canary).uid).toBe(owner);
  expect(lstatSync(welcome).isSymbolicLink()).toBe(true);
});

test('EX-01: a link to nothing is not written through', () => {
  const folder = sampleFiles(join(dir, 'files'));
  rmSync(join(folder, 'welcome.txt'));
  symlinkSync(join(dir, 'planted'), join(folder, 'welcome.txt'));
  sampleFiles(folder);
  expect(existsSync(join(dir, 'planted'))).toBe(false);
});
