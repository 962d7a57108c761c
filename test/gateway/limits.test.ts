/** Room for everybody, and what is counted of strangers. */
import * as fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { nodeLimits } from '../../src/gateway/limits.ts';
import type { LimitSettings } from '../../src/gateway/limits.ts';
import { noiseCounter } from '../../src/gateway/noise.ts';
import { manualClock } from '../../src/lib/clock.ts';

const ROOM: LimitSettings = {
  callsPerMinutePerPerson: 9,
  refusalsPerMinutePerCaller: 9,
  concurrentPerPerson: 9,
  concurrentCalls: 9,
};
/** As `keysOf` makes them. */
const keys = (person: string, { agent = 'cli', server = 'notes', tool = 'notes/read' } = {}): string[] => [
  person,
  agent,
  'default',
  server,
  tool,
];

afterEach(() => void vi.useRealTimers());

describe('calls per minute', () => {
  test('every person has their own; past it they hear how long to wait, and the next minute they may again', async () => {
    vi.useFakeTimers();
    const limits = nodeLimits({ ...ROOM, callsPerMinutePerPerson: 3 });
    for (let i = 0; i < 3; i++) expect(await limits.take(keys('dana'))).toEqual({ ok: true });
    vi.advanceTimersByTime(20_000);
    expect(await limits.take(keys('dana'))).toEqual({ ok: false, on: 'person', retryAfterSeconds: 40 });
    expect(await limits.take(keys('dora'))).toEqual({ ok: true });
    vi.advanceTimersByTime(40_001);
    expect(await limits.take(keys('dana'))).toEqual({ ok: true });
  });

  test('a wait is never told as zero', async () => {
    vi.useFakeTimers();
    const limits = nodeLimits({ ...ROOM, callsPerMinutePerPerson: 1 });
    await limits.take(keys('dana'));
    vi.advanceTimersByTime(59_999);
    expect(await limits.take(keys('dana'))).toEqual({ ok: false, on: 'person', retryAfterSeconds: 1 });
  });

  test.each([
    [
      'person',
      { callsPerMinutePerPerson: 3 },
      (n: number) => keys('dana', { agent: `a${n}`, server: `s${n}`, tool: `t${n}` }),
    ],
    ['agent', { callsPerMinutePerAgent: 3 }, (n: number) => keys(`p${n}`, { server: `s${n}`, tool: `t${n}` })],
    [
      'organisation',
      { callsPerMinutePerOrganisation: 3 },
      (n: number) => keys(`p${n}`, { agent: `a${n}`, server: `s${n}`, tool: `t${n}` }),
    ],
    ['server', { callsPerMinutePerServer: 3 }, (n: number) => keys(`p${n}`, { agent: `a${n}`, tool: `t${n}` })],
    ['tool', { callsPerMinutePerTool: 3 }, (n: number) => keys(`p${n}`, { agent: `a${n}` })],
  ] as const)(
    'RL-01: %s: the fourth is refused whatever else differs, and named; one of another is not',
    async (on, settings, nth) => {
      const limits = nodeLimits({ ...ROOM, callsPerMinutePerPerson: 1_000, ...settings });
      for (let n = 0; n < 3; n++) expect(await limits.take(nth(n))).toEqual({ ok: true });
      expect(await limits.take(nth(4))).toMatchObject({ ok: false, on });
      const others = keys('omar', { agent: 'other', server: 'else', tool: 'else/t' });
      others[2] = 'another';
      expect(await limits.take(others)).toEqual({ ok: true });
    },
  );

  test('RL-01: what a record says of its server is instead of the configuration, in both directions', async () => {
    const limits = nodeLimits({ ...ROOM, callsPerMinutePerServer: 2 });
    for (let i = 0; i < 4; i++) expect(await limits.take(keys('dana'), { callsPerMinute: 4 })).toEqual({ ok: true });
    expect(await limits.take(keys('dana'), { callsPerMinute: 4 })).toMatchObject({ on: 'server' });
    expect(await limits.take(keys('dana', { server: 'b' }), { callsPerMinute: 1 })).toEqual({ ok: true });
    expect(await limits.take(keys('dana', { server: 'b' }), { callsPerMinute: 1 })).toMatchObject({ on: 'server' });
  });

  test('a refusal by one level costs the others nothing', async () => {
    const limits = nodeLimits({ ...ROOM, callsPerMinutePerPerson: 100, callsPerMinutePerTool: 1 });
    await limits.take(keys('dana'));
    for (let i = 0; i < 500; i++) await limits.take(keys('dana'));
    expect(await limits.take(keys('dana', { tool: 'other' }))).toEqual({ ok: true });
  });
});

test('RL-01: a store that is away admits nobody: the guard fails, and a guard that fails refuses', async () => {
  const away = { take: () => Promise.reject(new Error('gone')), giveBack: () => Promise.resolve() };
  await expect(nodeLimits(ROOM, { counters: away }).take(keys('dana'))).rejects.toThrow('gone');
});

describe('refusals of one caller', () => {
  test('are logged up to a number a minute; one says that more may follow, the rest are counted', async () => {
    vi.useFakeTimers();
    const limits = nodeLimits({ ...ROOM, refusalsPerMinutePerCaller: 2 });
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
    const limits = nodeLimits({ ...ROOM, concurrentPerPerson: 2, concurrentCalls: 3 });
    const [dana, dora, omar] = [keys('dana'), keys('dora'), keys('omar')];
    expect([limits.enter(dana), limits.enter(dana), limits.enter(dana)]).toEqual([null, null, 'person']);
    expect(limits.full()).toBe(false);
    expect([limits.enter(dora), limits.full(), limits.enter(omar)]).toEqual([null, true, 'node']);
    limits.leave(dana);
    expect([limits.full(), limits.enter(omar), limits.enter(dana)]).toEqual([false, null, 'node']);
  });

  test.each([
    ['agent', { concurrentPerAgent: 2 }],
    ['organisation', { concurrentPerOrganisation: 2 }],
    ['server', { concurrentPerServer: 2 }],
  ] as const)('RL-01: are bounded per %s, and a refusal takes no place of anybody', (on, settings) => {
    const limits = nodeLimits({ ...ROOM, ...settings });
    expect([limits.enter(keys('a')), limits.enter(keys('b'))]).toEqual([null, null]);
    for (let i = 0; i < 20; i++) expect(limits.enter(keys('c'))).toBe(on);
    limits.leave(keys('a'));
    expect(limits.enter(keys('c'))).toBeNull();
    const others = ['c', 'other', 'elsewhere', 'else', 'else/t'];
    expect(limits.enter(others)).toBeNull();
  });

  test('RL-04: a server has 64 places unless somebody says otherwise, its record before the configuration', () => {
    const wide = { ...ROOM, concurrentPerPerson: 500, concurrentCalls: 500 };
    const takes = (limits: ReturnType<typeof nodeLimits>, own?: { concurrent?: number }): number => {
      let n = 0;
      while (limits.enter(keys('dana'), own) === null) n++;
      return n;
    };
    expect(takes(nodeLimits(wide))).toBe(64);
    expect(takes(nodeLimits({ ...wide, concurrentPerServer: 10 }))).toBe(10);
    expect(takes(nodeLimits({ ...wide, concurrentPerServer: 10 }), { concurrent: 3 })).toBe(3);
    expect(takes(nodeLimits({ ...wide, concurrentPerServer: 10 }), { concurrent: 100 })).toBe(100);
  });

  test('RL-04: the last places are not for calls to a server that fails', () => {
    const limits = nodeLimits(
      { ...ROOM, concurrentPerPerson: 100, concurrentPerServer: 100, concurrentCalls: 16 },
      { unwell: (server) => server === 'sick' },
    );
    let sick = 0;
    while (limits.enter(keys('dana', { server: 'sick' })) === null) sick++;
    expect(sick).toBe(14);
    expect([limits.enter(keys('dana')), limits.enter(keys('dana')), limits.enter(keys('dana'))]).toEqual([
      null,
      null,
      'node',
    ]);
  });

  test('are never more than the bounds and never less than zero, in any order of coming and going', () => {
    const step = fc.record({ person: fc.constantFrom('a' as const, 'b', 'c'), come: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const limits = nodeLimits({ ...ROOM, concurrentPerPerson: 2, concurrentCalls: 4 });
        const inside = { a: 0, b: 0, c: 0 };
        const total = (): number => inside.a + inside.b + inside.c;
        for (const { person, come } of steps) {
          if (come) {
            const expected = total() >= 4 ? 'node' : inside[person] >= 2 ? 'person' : null;
            expect(limits.enter(keys(person))).toBe(expected);
            if (expected === null) inside[person]++;
          } else if (inside[person] > 0) {
            limits.leave(keys(person));
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
