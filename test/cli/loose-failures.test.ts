/** A promise that fails with nobody waiting, in a process of its own: with and without what the long-running commands do about it. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const MODULE = join(import.meta.dirname, '..', '..', 'src', 'cli', 'loose-failures.ts');
const LOOSE = `Promise.reject(Object.assign(new Error('loose'))); setTimeout(() => console.log('still here'), 50);`;
const run = (before: string) =>
  spawnSync(process.execPath, ['--input-type=module', '-e', `${before}${LOOSE}`], {
    encoding: 'utf8',
    timeout: 20_000,
  });

test('a failure that nobody waited for is told and ends nothing', () => {
  const { status, stdout, stderr } = run(
    `import { outliveLooseFailures } from ${JSON.stringify(MODULE)}; outliveLooseFailures((code, stack) => console.error(code, stack));`,
  );
  expect([status, stdout]).toEqual([0, 'still here\n']);
  expect(stderr).toMatch(/^unexpected Error: loose\n/);
});

test('vulnerable twin: without it the process ends', () => {
  const { status, stdout } = run('');
  expect([status, stdout]).toEqual([1, '']);
});
