import { expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';

test('an id is its prefix and 26 characters of lower-case Crockford base32', () => {
  expect(newId('call', manualClock(1_790_000_000_000))).toMatch(/^call_[0-9abcdefghjkmnpqrstvwxyz]{26}$/);
});

test('the head is the time in ms: ids of one kind sort by when they were made', () => {
  const clock = manualClock(0);
  expect(newId('ref', clock).slice(0, 14)).toBe('ref_0000000000');
  const made: string[] = [];
  for (const step of [1, 31, 1, 1_000_000, 1_800_000_000_000]) {
    clock.advance(step);
    made.push(newId('ref', clock));
  }
  expect([...made].sort()).toEqual(made);
});

test('two ids of one millisecond differ', () => {
  const clock = manualClock(5);
  expect(new Set(Array.from({ length: 1000 }, () => newId('sess', clock))).size).toBe(1000);
});
