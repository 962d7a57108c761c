import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { layeredMap } from '../../src/lib/layered-map.ts';

test('is the plain map that the same changes make, at every step, and every earlier step stays what it was', () => {
  const change = fc.tuple(fc.integer({ min: 0, max: 900 }).map(String), fc.option(fc.integer(), { nil: undefined }));
  fc.assert(
    fc.property(fc.array(fc.array(change, { maxLength: 300 }), { maxLength: 8 }), (steps) => {
      let map = layeredMap<number>([['1', 1]]);
      const plain = new Map([['1', 1]]);
      const seen: Array<readonly [typeof map, Map<string, number>]> = [];
      for (const step of steps) {
        map = map.with(step);
        for (const [key, value] of step) {
          if (value === undefined) plain.delete(key);
          else plain.set(key, value);
        }
        seen.push([map, new Map(plain)]);
      }
      for (const [one, expected] of seen) {
        expect(new Map(one.entries())).toEqual(expected);
        expect(one.size).toBe(expected.size);
        for (let key = 0; key <= 900; key += 7) expect(one.get(String(key))).toBe(expected.get(String(key)));
      }
    }),
    { seed: 4, numRuns: 60 },
  );
});
