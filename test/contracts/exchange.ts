/** What every Exchange must do. Run by test/store for each engine; `open` gives an exchange on a place, and the same place again. */
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../../src/lib/clock.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { Exchange } from '../../src/store/exchange.ts';
import { EXCHANGE_TEXT_BYTES, ExchangeFault } from '../../src/store/exchange.ts';

export interface ExchangePlace {
  /** Opens the exchange that lives at this place; the data survives `close`. */
  open(options: { clock: Clock; sweepMs?: number; maxBytes?: number }): Promise<Exchange>;
  /** What really stands in the tables. Only while nothing of ours is open: the embedded file has one owner. */
  rows(): Promise<{ topics: number; items: number }>;
  remove(): Promise<void>;
}

const START = 1_795_300_000_000;
const HOUR = 3_600_000;
const LATER = { expiresAt: START + HOUR };

export function exchangeContract(name: string, newPlace: () => Promise<ExchangePlace>): void {
  describe(`exchange contract: ${name}`, () => {
    let place: ExchangePlace;
    let exchange: Exchange;
    const clock = manualClock(START);

    beforeEach(async () => {
      clock.set(START);
      place = await newPlace();
      exchange = await place.open({ clock });
    });
    afterEach(async () => {
      await exchange.close();
      await place.remove();
    });

    const expectFault = (work: Promise<unknown>, code: string, message: RegExp) =>
      expect(work).rejects.toSatisfy((fault: unknown) => {
        expect(fault).toBeInstanceOf(ExchangeFault);
        expect(fault).toMatchObject({ code, message: expect.stringMatching(message) });
        return true;
      });
    const texts = async (topic: string, from: Exchange = exchange) => {
      const found: string[] = [];
      for (;;) {
        const page = await from.read(topic, found.length, 1000);
        if (page.length === 0) return found;
        expect(page.map((item) => item.seq)).toEqual(page.map((_, i) => found.length + i + 1));
        found.push(...page.map((item) => item.text));
      }
    };

    test('a topic nobody wrote to has no items and no latest', async () => {
      expect(await exchange.read('t', 0, 10)).toEqual([]);
      expect(await exchange.latest('t')).toBeNull();
    });

    test('items are numbered from 1 without gaps, in the order of their appends, within one turn and over many', async () => {
      expect(await exchange.append('t', ['a', 'b'], LATER)).toBe(2);
      const landed = await Promise.all(Array.from({ length: 300 }, (_, i) => exchange.append('t', [`${i}`], LATER)));
      expect(landed).toEqual(Array.from({ length: 300 }, (_, i) => i + 3));
      expect(await texts('t')).toEqual(['a', 'b', ...Array.from({ length: 300 }, (_, i) => `${i}`)]);
      expect(await exchange.latest('t')).toEqual({ seq: 302, text: '299' });
      expect(await exchange.read('t', 300, 1)).toEqual([{ seq: 301, text: '298' }]);
      expect(await exchange.read('t', 302, 9)).toEqual([]);
    });

    test('an append of many texts is one: none of another append stands between them', async () => {
      await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          exchange.append(
            't',
            Array.from({ length: 100 }, (_one, n) => `${i}.${n}`),
            LATER,
          ),
        ),
      );
      const all = await texts('t');
      for (let start = 0; start < all.length; start += 100) {
        const [first = ''] = (all[start] as string).split('.');
        expect(all.slice(start, start + 100)).toEqual(Array.from({ length: 100 }, (_, n) => `${first}.${n}`));
      }
    });

    test('topics are apart, also within one turn and when they differ only in case', async () => {
      const landed = await Promise.all(
        ['b', 'a', 'b', 'B', 'b'].map((topic, i) => exchange.append(topic, [`${i}`], LATER)),
      );
      expect(landed).toEqual([1, 1, 2, 1, 3]);
      expect([await texts('a'), await texts('b'), await texts('B')]).toEqual([['1'], ['0', '2', '4'], ['3']]);
    });

    test('replaces: what stood there goes, in the turn and before it; numbers go on, and a refused one takes nothing away', async () => {
      await exchange.append('t', ['a', 'b'], LATER);
      expect(await exchange.append('t', ['c'], { ...LATER, replaces: true, expect: 9 })).toBeNull();
      expect(await texts('t')).toEqual(['a', 'b']);
      const landed = await Promise.all(
        ['c', 'd'].map((text) => exchange.append('t', [text], { ...LATER, replaces: true })),
      );
      expect(landed).toEqual([3, 4]);
      expect(await exchange.latest('t')).toEqual({ seq: 4, text: 'd' });
      expect(await exchange.read('t', 0, 1000)).toEqual([{ seq: 4, text: 'd' }]);
      expect(await exchange.append('t', [], { ...LATER, replaces: true })).toBe(4);
      expect(await exchange.append('t', ['e'], LATER)).toBe(5);
      expect(await exchange.read('t', 0, 1000)).toEqual([
        { seq: 4, text: 'd' },
        { seq: 5, text: 'e' },
      ]);
    });

    test('more topics than one statement takes are written in one turn', async () => {
      const names = Array.from({ length: 200 }, (_, i) => `topic/${i}`);
      await Promise.all(names.map((topic, i) => exchange.append(topic, [`${i}`], LATER)));
      for (const i of [0, 63, 64, 199]) expect(await texts(`topic/${i}`)).toEqual([`${i}`]);
    });

    test('the text is kept byte for byte, up to the limit', async () => {
      const kept = ['', 'e\u0301 é 🙂 \u2028 \\u0000', ' {"space" : 1}\r\n', 'x'.repeat(EXCHANGE_TEXT_BYTES)];
      await exchange.append('t 🙂', kept, LATER);
      const read = await texts('t 🙂');
      expect(read.map((text) => text.length)).toEqual(kept.map((text) => text.length));
      expect(read.every((text, i) => text === kept[i])).toBe(true);
    });

    test('expect: of many who expect the same, one gets a number and the others null, within one turn', async () => {
      const race = (expected: number) =>
        Promise.all(['x', 'y', 'z'].map((text) => exchange.append('t', [text], { ...LATER, expect: expected })));
      expect(await race(0)).toEqual([1, null, null]);
      expect(await race(1)).toEqual([2, null, null]);
      expect(await race(1)).toEqual([null, null, null]);
      expect(await race(7)).toEqual([null, null, null]);
      expect(await texts('t')).toEqual(['x', 'x']);
    });

    test('expect sees what was appended before it in the same turn', async () => {
      const landed = await Promise.all([
        exchange.append('t', ['a'], LATER),
        exchange.append('t', ['b'], { ...LATER, expect: 1 }),
        exchange.append('t', ['c'], { ...LATER, expect: 1 }),
        exchange.append('other', ['d'], { ...LATER, expect: 1 }),
        exchange.append('t', ['e'], LATER),
      ]);
      expect(landed).toEqual([1, 2, null, null, 3]);
      expect([await texts('t'), await texts('other')]).toEqual([['a', 'b', 'e'], []]);
    });

    test('a page of large texts ends early, and reading on finds the rest', async () => {
      const large = Array.from({ length: 5 }, (_, i) => `${i}`.repeat(1_800_000));
      await exchange.append('t', large, LATER);
      const page = await exchange.read('t', 0, 1000);
      expect(page.map((item) => item.seq)).toEqual([1, 2, 3]);
      expect((await exchange.read('t', 3, 1000)).map((item) => item.seq)).toEqual([4, 5]);
    });

    describe('expiry', () => {
      test('an expired topic is not read, from the very millisecond on', async () => {
        await exchange.append('t', ['a'], { expiresAt: START + 1000 });
        clock.set(START + 999);
        expect([await texts('t'), await exchange.latest('t')]).toEqual([['a'], { seq: 1, text: 'a' }]);
        clock.set(START + 1000);
        expect([await texts('t'), await exchange.latest('t')]).toEqual([[], null]);
      });

      test('an append moves the end of the whole topic, never to an earlier time', async () => {
        await exchange.append('t', ['a'], { expiresAt: START + 1000 });
        await exchange.append('t', ['b'], { expiresAt: START + 5000 });
        await exchange.append('t', ['c'], { expiresAt: START + 10 });
        clock.set(START + 4999);
        expect(await texts('t')).toEqual(['a', 'b', 'c']);
        clock.set(START + 5000);
        expect(await texts('t')).toEqual([]);
      });

      test('an append without texts moves the end of a topic that is there, and makes none', async () => {
        expect(await exchange.append('t', [], LATER)).toBe(0);
        await exchange.append('t', ['a'], { expiresAt: START + 1000 });
        expect(await exchange.append('t', [], { expiresAt: START + 5000 })).toBe(1);
        expect(await exchange.append('t', [], { ...LATER, expect: 2 })).toBeNull();
        clock.set(START + 4999);
        expect(await texts('t')).toEqual(['a']);
        clock.set(START + 5000);
        expect(await exchange.append('t', [], LATER)).toBe(0);
        expect(await texts('t')).toEqual([]);
      });

      test('a topic that expired begins anew at 1, whether or not it was deleted before', async () => {
        await exchange.append('t', ['old', 'old', 'old'], { expiresAt: START + 1000 });
        clock.set(START + 1000);
        expect(await exchange.append('t', ['x'], { ...LATER, expect: 3 })).toBeNull();
        expect(await exchange.append('t', ['new'], { ...LATER, expect: 0 })).toBe(1);
        expect(await texts('t')).toEqual(['new']);
        await exchange.close();
        expect(await place.rows()).toEqual({ topics: 1, items: 1 });
      });

      test('what is appended already expired is never read, and hinders nobody', async () => {
        const landed = await Promise.all([
          exchange.append('t', ['a', 'b'], { expiresAt: START - 1 }),
          exchange.append('t', ['c'], { expiresAt: START }),
          exchange.append('t', ['d'], LATER),
        ]);
        expect(landed).toEqual([2, 1, 1]);
        expect(await texts('t')).toEqual(['d']);
      });

      test('a sweep deletes expired topics with their items, many of them, and nothing else', async () => {
        await exchange.close();
        exchange = await place.open({ clock, sweepMs: 10 });
        await Promise.all(
          Array.from({ length: 150 }, (_, i) => exchange.append(`gone/${i}`, ['a', 'b'], { expiresAt: START + 1000 })),
        );
        await exchange.append('stays', ['a'], LATER);
        clock.set(START + 1000);
        // Whoever is not swept would begin anew at 1 all the same: the tables are the oracle.
        await expect
          .poll(
            async () => {
              await exchange.close();
              const rows = await place.rows();
              exchange = await place.open({ clock, sweepMs: 10 });
              return rows;
            },
            { timeout: 10_000, interval: 100 },
          )
          .toEqual({ topics: 1, items: 1 });
        expect(await texts('stays')).toEqual(['a']);
      });
    });

    describe('watch', () => {
      test('a watcher is called after an append to its topic, and not for another topic', async () => {
        const called = Promise.withResolvers<void>();
        let others = 0;
        exchange.watch('t', () => called.resolve());
        exchange.watch('u', () => others++);
        await exchange.append('t', ['a'], LATER);
        await called.promise;
        expect(await texts('t')).toEqual(['a']);
        // PostgreSQL may call for nothing; the embedded engine has no reason to.
        expect(others).toBeLessThanOrEqual(1);
      });

      test('who reads whenever called has every item, in order, once', async () => {
        const seen: string[] = [];
        let reading: Promise<void> = Promise.resolve();
        exchange.watch('t', () => {
          reading = reading.then(async () => {
            for (const { seq, text } of await exchange.read('t', seen.length, 1000)) {
              expect(seq).toBe(seen.length + 1);
              seen.push(text);
            }
          });
        });
        for (let i = 0; i < 50; i++) await exchange.append('t', [`${i}`], LATER);
        await expect.poll(() => seen.length, { timeout: 30_000 }).toBe(50);
        expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
        await reading;
      });

      test('the same function may watch twice, and each ending ends one', async () => {
        let calls = 0;
        const listener = () => void calls++;
        const first = exchange.watch('t', listener);
        const second = exchange.watch('t', listener);
        first();
        first();
        await exchange.append('t', ['a'], LATER);
        await expect.poll(() => calls, { timeout: 30_000 }).toBeGreaterThan(0);
        second();
        const before = calls;
        const another = Promise.withResolvers<void>();
        exchange.watch('t', () => another.resolve());
        await exchange.append('t', ['b'], LATER);
        await another.promise;
        expect(calls).toBe(before);
      });

      test('an append that did not hold wakes nobody', async () => {
        await exchange.append('t', ['a'], LATER);
        const woken: string[] = [];
        exchange.watch('u', () => woken.push('u'));
        expect(await exchange.append('t', ['b'], { ...LATER, expect: 0 })).toBeNull();
        expect(woken).toEqual([]);
      });
    });

    test('remove takes a topic with its items away, and it begins anew', async () => {
      await exchange.append('t', ['a', 'b'], LATER);
      await exchange.append('u', ['c'], LATER);
      await exchange.remove('t');
      await exchange.remove('never there');
      expect([await texts('t'), await texts('u')]).toEqual([[], ['c']]);
      expect(await exchange.append('t', ['d'], { ...LATER, expect: 0 })).toBe(1);
      expect(await texts('t')).toEqual(['d']);
      await exchange.close();
      expect(await place.rows()).toEqual({ topics: 2, items: 2 });
    });

    describe('bad input is refused and names what is wrong', () => {
      const topicMessage = /^the name of a topic has 1 to 512 bytes of well-formed Unicode without U\+0000$/;
      test.each([
        ['empty', ''],
        ['too long', 'x'.repeat(513)],
        ['too long in bytes', 'é'.repeat(257)],
        ['with U+0000', 'a\0b'],
        ['with half a surrogate pair', 'a\ud800'],
      ])('a topic name that is %s', async (_, topic) => {
        await expectFault(exchange.append(topic, ['a'], LATER), 'exchange_invalid', topicMessage);
        await expectFault(exchange.read(topic, 0, 1), 'exchange_invalid', topicMessage);
        await expectFault(exchange.latest(topic), 'exchange_invalid', topicMessage);
        await expectFault(exchange.remove(topic), 'exchange_invalid', topicMessage);
        expect(() => exchange.watch(topic, () => undefined)).toThrow(topicMessage);
      });

      test('a topic name of 512 bytes is taken', async () => {
        await exchange.append('é'.repeat(256), ['a'], LATER);
        expect(await texts('é'.repeat(256))).toEqual(['a']);
      });

      test.each<[string, readonly string[], RegExp]>([
        ['a text with U+0000', ['fine', 'a\0'], /^a text is well-formed Unicode without U\+0000$/],
        ['a text with half a surrogate pair', ['\udfff'], /^a text is well-formed/],
        ['a text one byte too long', ['x'.repeat(EXCHANGE_TEXT_BYTES + 1)], /^a text has at most 16777216 bytes$/],
        ['a text too long in bytes', ['é'.repeat(EXCHANGE_TEXT_BYTES / 2 + 1)], /^a text has at most 16777216 bytes$/],
        ['too many texts', Array.from({ length: 1001 }, () => ''), /^one append has at most 1000 texts$/],
        [
          'texts that are too much together',
          Array.from({ length: 3 }, () => 'x'.repeat(EXCHANGE_TEXT_BYTES)),
          /^the texts of one append have together at most 33554432 bytes$/,
        ],
      ])('%s', async (_, given, message) => {
        await expectFault(exchange.append('t', given, LATER), 'exchange_invalid', message);
        expect(await texts('t')).toEqual([]);
      });

      test.each<[string, (on: Exchange) => Promise<unknown>, RegExp]>([
        ['an end that is no number', (on) => on.append('t', ['a'], { expiresAt: NaN }), /^expiresAt is a whole number/],
        ['an end that is no whole number', (on) => on.append('t', ['a'], { expiresAt: 1.5 }), /^expiresAt is a whole/],
        [
          'an expect below 0',
          (on) => on.append('t', ['a'], { ...LATER, expect: -1 }),
          /^expect is a whole number from 0/,
        ],
        ['an after below 0', (on) => on.read('t', -1, 1), /^after is a whole number from 0/],
        ['a limit of 0', (on) => on.read('t', 0, 0), /^limit is a whole number from 1/],
      ])('%s', (_, call, message) => expectFault(call(exchange), 'exchange_invalid', message));
    });

    test('close keeps what was accepted, refuses what comes after, and may be called again', async () => {
      const accepted = Array.from({ length: 100 }, (_, i) => exchange.append('t', [`${i}`], LATER));
      let calls = 0;
      exchange.watch('t', () => calls++);
      const closing = exchange.close();
      await expectFault(exchange.append('t', ['late'], LATER), 'exchange_closed', /^the exchange is closed$/);
      expect(await Promise.all(accepted)).toHaveLength(100);
      await Promise.all([closing, exchange.close()]);
      for (const late of [() => exchange.read('t', 0, 1), () => exchange.latest('t'), () => exchange.remove('t')])
        await expectFault(late(), 'exchange_closed', /^the exchange is closed$/);
      expect(() => exchange.watch('t', () => undefined)).toThrow('the exchange is closed');
      const before = calls;
      exchange = await place.open({ clock });
      expect((await texts('t')).length).toBe(100);
      expect(calls).toBe(before);
    });

    describe('full', () => {
      const MAX_BYTES = 1024 * 1024;
      // As sealed texts are: nothing an engine could compress.
      const LARGE = createHash('shake256', { outputLength: 75_000 }).update('large').digest('base64');
      const full =
        /^the exchange is full: about \d+ of 1048576 bytes\. It takes new items again when enough has expired /;
      const reopen = async (sweepMs: number): Promise<void> => {
        await exchange.close();
        exchange = await place.open({ clock, sweepMs, maxBytes: MAX_BYTES });
      };
      /** Fills it until it refuses. @returns how many texts it took. */
      const fill = async (expiresAt: number): Promise<number> => {
        for (let i = 0; i < 50; i++) {
          try {
            await exchange.append(`large/${i}`, [LARGE], { expiresAt });
          } catch (fault) {
            await expectFault(Promise.reject(fault), 'exchange_unavailable', full);
            return i;
          }
        }
        return 50;
      };
      const opensAgain = () =>
        expect
          .poll(() => exchange.append('new', ['a'], LATER).catch(() => null), { timeout: 30_000, interval: 20 })
          .not.toBeNull();

      test('it refuses new items before it is measured again, and says what helps', async () => {
        await reopen(3_600_000);
        const took = await fill(LATER.expiresAt);
        expect(took).toBeGreaterThanOrEqual(6);
        expect(took).toBeLessThanOrEqual(11);
        await expectFault(exchange.append('large/0', ['a'], LATER), 'exchange_unavailable', full);
        expect(await exchange.latest('large/0')).toEqual({ seq: 1, text: LARGE });
      });

      test('what replaces, moves an end or removes goes on', async () => {
        await reopen(3_600_000);
        await fill(LATER.expiresAt);
        expect(await exchange.append('large/0', [LARGE], { ...LATER, replaces: true, expect: 1 })).toBe(2);
        expect(await exchange.append('large/1', [], { expiresAt: START + 2 * HOUR })).toBe(1);
        await exchange.remove('large/2');
        expect(await exchange.latest('large/2')).toBeNull();
        await expectFault(exchange.append('new', ['a'], LATER), 'exchange_unavailable', full);
      });

      test('it is full from the first look on after a restart, and opens once enough was removed', async () => {
        const took = 15;
        for (let i = 0; i < took; i++) await exchange.append(`large/${i}`, [LARGE], LATER);
        await reopen(10);
        await expect
          .poll(() => exchange.append('probe', ['a'], LATER).catch((fault: Error) => fault.message), {
            timeout: 10_000,
            interval: 20,
          })
          .toMatch(full);
        for (let i = 0; i < took / 2; i++) await exchange.remove(`large/${i}`);
        await opensAgain();
        expect(await exchange.latest(`large/${took - 1}`)).toEqual({ seq: 1, text: LARGE });
      });

      test('it opens once the sweep has deleted what expired', async () => {
        await reopen(10);
        await fill(START + 1000);
        clock.set(START + 1000);
        await opensAgain();
      });
    });

    test('what was appended is there after a restart, and numbers go on', async () => {
      await exchange.append('t', ['a', 'b'], LATER);
      await exchange.close();
      exchange = await place.open({ clock });
      expect(await texts('t')).toEqual(['a', 'b']);
      expect(await exchange.append('t', ['c'], { ...LATER, expect: 2 })).toBe(3);
    });

    test('agrees with a simple model under any order of appends, removals and time', async () => {
      let run = 0;
      const step = fc.oneof(
        fc.record({
          kind: fc.constant('append' as const),
          topic: fc.nat(2),
          texts: fc.array(
            fc.string({ maxLength: 3 }).filter((text) => text.isWellFormed() && !text.includes('\0')),
            {
              maxLength: 3,
            },
          ),
          ttl: fc.integer({ min: 0, max: 30 }),
          expect: fc.option(fc.nat(4), { nil: undefined }),
        }),
        fc.record({ kind: fc.constant('remove' as const), topic: fc.nat(2) }),
        fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: 1, max: 20 }) }),
      );
      const property = fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
        run++;
        const model = new Map<string, { texts: string[]; end: number }>();
        const live = (topic: string) => {
          const found = model.get(topic);
          return found !== undefined && found.end > clock.now() ? found : undefined;
        };
        for (const one of steps) {
          if (one.kind === 'time') {
            clock.advance(one.ms);
            continue;
          }
          const topic = `${run}/${one.topic}`;
          if (one.kind === 'remove') {
            await exchange.remove(topic);
            model.delete(topic);
            continue;
          }
          const expiresAt = clock.now() + one.ttl;
          const before = live(topic);
          const last = before?.texts.length ?? 0;
          const holds = one.expect === undefined || one.expect === last;
          const number = await exchange.append(topic, one.texts, {
            expiresAt,
            ...(one.expect !== undefined && { expect: one.expect }),
          });
          expect(number).toBe(holds ? last + one.texts.length : null);
          if (holds && (before !== undefined || one.texts.length > 0))
            model.set(topic, {
              texts: [...(before?.texts ?? []), ...one.texts],
              end: Math.max(before?.end ?? 0, expiresAt),
            });
          expect(await texts(topic)).toEqual(live(topic)?.texts ?? []);
        }
      });
      await fc.assert(property, { numRuns: 40, seed: 20_261_122 });
    });
  });
}
