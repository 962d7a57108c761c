/** Room for everybody, and what is counted of strangers. */
import * as fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { memoryLimits } from '../../src/gateway/limits.ts';
import { noiseCounter } from '../../src/gateway/noise.ts';
import { manualClock } from '../../src/lib/clock.ts';

const ROOM = { refusalsPerMinutePerCaller: 9 };

afterEach(() => void vi.useRealTimers());

describe('calls per minute', () => {
  test('every person has their own; past it they hear how long to wait, and the next minute they may again', async () => {
    vi.useFakeTimers();
    const limits = memoryLimits({ ...ROOM, callsPerMinutePerPerson: 3, concurrentPerPerson: 9, concurrentCalls: 9 });
    for (let i = 0; i < 3; i++) expect(await limits.take('dana')).toEqual({ ok: true });
    vi.advanceTimersByTime(20_000);
    expect(await limits.take('dana')).toEqual({ ok: false, on: 'person', retryAfterSeconds: 40 });
    expect(await limits.take('dora')).toEqual({ ok: true });
    vi.advanceTimersByTime(40_001);
    expect(await limits.take('dana')).toEqual({ ok: true });
  });

  test('a wait is never told as zero', async () => {
    vi.useFakeTimers();
    const limits = memoryLimits({ ...ROOM, callsPerMinutePerPerson: 1, concurrentPerPerson: 9, concurrentCalls: 9 });
    await limits.take('dana');
    vi.advanceTimersByTime(59_999);
    expect(await limits.take('dana')).toEqual({ ok: false, on: 'person', retryAfterSeconds: 1 });
  });
});

describe('refusals of one caller', () => {
  test('are logged up to a number a minute; one says that more may follow, the rest are counted', async () => {
    vi.useFakeTimers();
    const limits = memoryLimits({
      callsPerMinutePerPerson: 9,
      refusalsPerMinutePerCaller: 2,
      concurrentPerPerson: 9,
      concurrentCalls: 9,
    });
    const told = [];
    for (let i = 0; i < 5; i++) told.push(await limits.refusal('issuer mallory'));
    expect(told).toEqual(['log', 'log', 'last', 'count', 'count']);
    expect(await limits.refusal('issuer dana')).toBe('log');
    vi.advanceTimersByTime(60_001);
    expect(await limits.refusal('issuer mallory')).toBe('log');
  });
});

describe('calls at the same time', () => {
  test('are bounded per person and in all, and a place that is left is free again', () => {
    const limits = memoryLimits({ ...ROOM, callsPerMinutePerPerson: 9, concurrentPerPerson: 2, concurrentCalls: 3 });
    expect([limits.enter('dana'), limits.enter('dana'), limits.enter('dana')]).toEqual([true, true, false]);
    expect(limits.full()).toBe(false);
    expect([limits.enter('dora'), limits.full(), limits.enter('omar')]).toEqual([true, true, false]);
    limits.leave('dana');
    expect([limits.full(), limits.enter('omar'), limits.enter('dana')]).toEqual([false, true, false]);
  });

  test('are never more than the bounds and never less than zero, in any order of coming and going', () => {
    const step = fc.record({ person: fc.constantFrom('a' as const, 'b', 'c'), come: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const limits = memoryLimits({
          ...ROOM,
          callsPerMinutePerPerson: 9,
          concurrentPerPerson: 2,
          concurrentCalls: 4,
        });
        const inside = { a: 0, b: 0, c: 0 };
        const total = (): number => inside.a + inside.b + inside.c;
        for (const { person, come } of steps) {
          if (come) {
            const expected = total() < 4 && inside[person] < 2;
            expect(limits.enter(person)).toBe(expected);
            if (expected) inside[person]++;
          } else if (inside[person] > 0) {
            limits.leave(person);
            inside[person]--;
          }
          expect(limits.full()).toBe(total() === 4);
        }
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});

describe('noise', () => {
  test('is handed over once, with the time it was counted in, and then begins anew', () => {
    const clock = manualClock(1_000);
    const noise = noiseCounter(clock);
    expect(noise.drain()).toBeNull();
    noise.count('token_missing');
    noise.count('token_missing');
    noise.count('token_invalid:expired');
    clock.advance(500);
    expect(noise.drain()).toEqual({
      since: 1_000,
      until: 1_500,
      counts: { token_missing: 2, 'token_invalid:expired': 1 },
    });
    expect(noise.drain()).toBeNull();
    clock.advance(100);
    noise.count('token_missing');
    expect(noise.drain()).toEqual({ since: 1_500, until: 1_600, counts: { token_missing: 1 } });
  });
});
