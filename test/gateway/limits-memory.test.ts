import { expect, test } from 'vitest';
import { memoryCounters } from '../../src/gateway/limits-memory.ts';
import { countersContract } from '../contracts/limits.ts';

countersContract('memory', () => {
  let now = 0;
  return { counters: memoryCounters(() => now), advance: (ms) => void (now += ms) };
});

test('windows that are over are forgotten: a hundred thousand people one after the other leave few behind', async () => {
  let now = 0;
  const counters = memoryCounters(() => now);
  const quotas = [{ on: 'person', max: 1, windowMs: 1_000 }];
  for (let i = 0; i < 100_000; i++) {
    now += 10;
    await counters.take(quotas, [`p${i}`]);
  }
  expect(counters.size).toBeLessThanOrEqual(1_024);
});
