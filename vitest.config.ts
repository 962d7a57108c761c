import { defineConfig } from 'vitest/config';

export default defineConfig({
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
  },
});
