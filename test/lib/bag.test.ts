import { array, assert, boolean, nat, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bag } from '../../src/lib/bag.ts';

interface Item {
  at: number;
  readonly name: number;
}

describe('a bag', () => {
  it('holds exactly what was put in and not taken out, whatever the order', () => {
    assert(
      property(array(record({ take: boolean(), which: nat(20) }), { maxLength: 200 }), (steps) => {
        const things = bag<Item>();
        const items = Array.from({ length: 21 }, (_, name): Item => ({ at: -1, name }));
        const model = new Set<number>();
        for (const { take, which } of steps) {
          if (take) {
            things.remove(items[which]!);
            model.delete(which);
          } else if (!model.has(which)) {
            things.add(items[which]!);
            model.add(which);
          }
          expect(things.size).toBe(model.size);
        }
        expect([...things].map(({ name }) => name).toSorted((a, b) => a - b)).toEqual(
          [...model].toSorted((a, b) => a - b),
        );
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  it('may be emptied while it is walked through', () => {
    const things = bag<Item>();
    for (let name = 0; name < 5; name++) things.add({ at: -1, name });
    const seen: number[] = [];
    for (const item of things) {
      seen.push(item.name);
      things.remove(item);
    }
    expect(seen).toEqual([0, 1, 2, 3, 4]);
    expect(things.size).toBe(0);
  });
});
