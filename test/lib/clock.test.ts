import { expect, test } from 'vitest';
import { manualClock, systemClock } from '../../src/lib/clock.ts';

test('a manual clock moves only when told', () => {
  const clock = manualClock(1000);
  expect(clock.now()).toBe(1000);
  clock.advance(250);
  expect(clock.now()).toBe(1250);
  clock.set(10);
  expect(clock.now()).toBe(10);
});

test('the system clock counts milliseconds since 1970', () => {
  expect(systemClock.now()).toBeGreaterThan(Date.UTC(2025, 0));
  expect(Number.isInteger(systemClock.now())).toBe(true);
});
