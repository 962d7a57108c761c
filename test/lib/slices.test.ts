import { expect, test } from 'vitest';
import { slices } from '../../src/lib/slices.ts';

test('others have their turn whenever a slice is over; what they take is not counted', async () => {
  let now = 0;
  const due = slices(4, () => now);
  now = 3;
  expect(due()).toBeNull();
  now = 4;
  const seen: string[] = [];
  setImmediate(() => {
    seen.push('others');
    now = 104;
  });
  await due();
  expect(seen).toEqual(['others']);
  now = 107;
  expect(due()).toBeNull();
  now = 108;
  expect(due()).toBeInstanceOf(Promise);
});
