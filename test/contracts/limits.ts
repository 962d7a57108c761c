/**
 * What every `Counters` must do: the memory of a node, and any store that several nodes share. `open` gives an empty one whose time the
 * test moves by `advance`; what it loses or throws when its store is away is for the tests of that store.
 */
import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Counters, Quota } from '../../src/gateway/limits.ts';

export interface CountersPlace {
  readonly counters: Counters;
  advance(ms: number): void | Promise<void>;
}

const MINUTE = 60_000;
const quota = (on: string, max: number, windowMs = MINUTE): Quota => ({ on, max, windowMs });

export function countersContract(name: string, open: () => CountersPlace | Promise<CountersPlace>): void {
  describe(`counters contract: ${name}`, () => {
    let place: CountersPlace;
    beforeEach(async () => {
      place = await open();
    });

    test('so many in a window that begins with the first, then the next one is told how long; after it all are there again', async () => {
      const { counters } = place;
      const three = [quota('a', 3)];
      for (let i = 0; i < 3; i++) expect(await counters.take(three, ['x'])).toBeNull();
      await place.advance(20_000);
      expect(await counters.take(three, ['x'])).toEqual({ at: 0, againMs: 40_000 });
      await place.advance(40_000);
      expect(await counters.take(three, ['x'])).toBeNull();
    });

    test('keys and kinds know nothing of each other', async () => {
      const { counters } = place;
      expect(await counters.take([quota('a', 1)], ['x'])).toBeNull();
      expect(await counters.take([quota('a', 1)], ['y'])).toBeNull();
      expect(await counters.take([quota('b', 1)], ['x'])).toBeNull();
      expect(await counters.take([quota('a', 1)], ['x'])).toMatchObject({ at: 0 });
    });

    test('takes of all or of none: what is refused has cost nothing anywhere, and the first without room is named', async () => {
      const { counters } = place;
      const both = [quota('wide', 10), quota('narrow', 2)];
      for (let i = 0; i < 2; i++) expect(await counters.take(both, ['w', 'n'])).toBeNull();
      for (let i = 0; i < 20; i++) expect(await counters.take(both, ['w', 'n'])).toMatchObject({ at: 1 });
      for (let i = 0; i < 8; i++) expect(await counters.take([both[0]!], ['w'])).toBeNull();
      expect(await counters.take(both, ['w', 'n'])).toMatchObject({ at: 0 });
    });

    test('fewer keys than quotas: the rest is not asked', async () => {
      expect(await place.counters.take([quota('a', 1), quota('b', 0)], ['x'])).toBeNull();
    });

    test('amounts are taken as they are; one that does not fit leaves the room for a smaller one', async () => {
      const { counters } = place;
      const spend = [quota('a', 100)];
      expect(await counters.take(spend, ['x'], [60])).toBeNull();
      expect(await counters.take(spend, ['x'], [41])).toMatchObject({ at: 0 });
      expect(await counters.take(spend, ['x'], [40])).toBeNull();
      expect(await counters.take(spend, ['x'], [1])).toMatchObject({ at: 0 });
      expect(await counters.take(spend, ['x'], [0])).toBeNull();
    });

    test('an amount that never fits is refused in an empty window, too', async () => {
      expect(await place.counters.take([quota('a', 5)], ['x'], [6])).toEqual({ at: 0, againMs: MINUTE });
    });

    test('RL-02: fifty at once get exactly what there is', async () => {
      const { counters } = place;
      const quotas = [quota('a', 7), quota('b', 1_000)];
      const taken = await Promise.all(Array.from({ length: 50 }, () => counters.take(quotas, ['x', 'y'])));
      expect(taken.filter((one) => one === null)).toHaveLength(7);
    });

    test('what is given back can be taken again, and more than was taken never', async () => {
      const { counters } = place;
      const two = [quota('a', 2)];
      await counters.take(two, ['x']);
      await counters.take(two, ['x']);
      await counters.giveBack(two, ['x'], undefined, 0);
      expect(await counters.take(two, ['x'])).toBeNull();
      for (let i = 0; i < 5; i++) await counters.giveBack(two, ['x'], undefined, 0);
      await counters.giveBack(two, ['never'], undefined, 0);
      for (const key of ['x', 'never']) {
        expect([await counters.take(two, [key]), await counters.take(two, [key])]).toEqual([null, null]);
        expect(await counters.take(two, [key])).toMatchObject({ at: 0 });
      }
    });

    test('what was taken in a window that is over is not given to the next one', async () => {
      const { counters } = place;
      const one = [quota('a', 1)];
      await counters.take(one, ['x']);
      await place.advance(MINUTE);
      expect(await counters.take(one, ['x'])).toBeNull();
      await place.advance(1_000);
      await counters.giveBack(one, ['x'], undefined, MINUTE + 1_000);
      expect(await counters.take(one, ['x'])).toMatchObject({ at: 0 });
    });

    test('in any order of taking, giving back and waiting, a window never holds more than its quota', async () => {
      const step = fc.oneof(
        fc.record({ do: fc.constant('take' as const), key: fc.constantFrom('x', 'y'), amount: fc.nat(4) }),
        fc.record({ do: fc.constant('back' as const) }),
        fc.record({ do: fc.constant('wait' as const), ms: fc.nat(40_000) }),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const { counters, advance } = await open();
          let now = 0;
          const held: Array<{ key: string; amount: number; at: number }> = [];
          for (const one of steps) {
            if (one.do === 'wait') {
              now += one.ms;
              await advance(one.ms);
            } else if (one.do === 'back') {
              const last = held.pop();
              if (last) await counters.giveBack([quota('a', 6)], [last.key], [last.amount], now - last.at);
            } else if ((await counters.take([quota('a', 6)], [one.key], [one.amount])) === null) {
              held.push({ key: one.key, amount: one.amount, at: now });
              const inside = (key: string): number =>
                held.filter((each) => each.key === key && each.at === now).reduce((sum, each) => sum + each.amount, 0);
              expect(inside(one.key)).toBeLessThanOrEqual(6);
            }
          }
        }),
        { seed: 2, numRuns: 200 },
      );
    });
  });
}
