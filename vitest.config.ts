import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { bundleWorkers, workersFromBundles } from './test/support/worker-bundles.ts';

// What was compiled once is not compiled again by the next worker, or by the next process that a test starts: half of what a command takes.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules', '.cache', 'remit-tests');

if (process.argv.includes('run')) await bundleWorkers(import.meta.dirname);

export default defineConfig({
  plugins: [workersFromBundles],
  test: {
    include: ['test/**/*.test.ts'],
    // Real processes and databases run inside these tests: two workers match the smallest machine they must pass on.
    pool: 'forks',
    maxWorkers: 2,
    // A bound for what hangs, not a measure of speed: tests that start processes take three times as long on a machine that does other things.
    testTimeout: 90_000,
    hookTimeout: 120_000,
    teardownTimeout: 10_000,
    restoreMocks: true,
    expect: { poll: { timeout: 20_000, interval: 20 } },
  },
});
