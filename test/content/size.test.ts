import { expect, test } from 'vitest';
import { isLarge } from '../../src/content/size.ts';
import type { Json } from '../../src/lib/json.ts';

test.each<[value: Json, size: number]>([
  [null, 1],
  ['abc', 4],
  [[], 1],
  [[1, true, 'ab'], 6],
  [{}, 1],
  [{ ab: 'cde' }, 7],
  [{ a: [{ b: [''] }] }, 7],
  [[[[[]]]], 4],
])('%j is as large as its texts, names and values', (value, size) => {
  expect([isLarge(value, size), isLarge(value, size + 1)]).toEqual([true, false]);
});

test('pictures count only where somebody reads them', () => {
  const picture = { type: 'image', mimeType: 'image/png', data: 'AAAA'.repeat(100) };
  expect([isLarge([picture], 200), isLarge([picture], 200, false)]).toEqual([true, false]);
  const text = { ...picture, data: 'not base64 at all'.repeat(100) };
  expect(isLarge([text], 200, false)).toBe(true);
});

test('no more of it is read than it takes', () => {
  let read = 0;
  const counted = new Proxy(
    Array.from({ length: 1_000 }, () => 'abc'),
    {
      get: (list, name) => (name === 'length' ? list.length : (read++, Reflect.get(list, name) as unknown)),
    },
  );
  expect(isLarge(counted as Json, 40)).toBe(true);
  expect(read).toBeLessThan(20);
});
