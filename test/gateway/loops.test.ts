/** RL-07: when repetition is a loop, by the clock. */
import { expect, test } from 'vitest';
import type { Call } from '../../src/gateway/call.ts';
import { LOOP_MS, loopWatch } from '../../src/gateway/loops.ts';

const callOf = (argument = 'sha256:a', risk = 'write'): Call =>
  ({
    facts: {
      person: { id: 'dana' },
      agent: { id: 'cli' },
      tool: { id: 'notes/run', facts: { risk } },
      argumentsDigest: argument,
    },
  }) as unknown as Call;

function watch(settings = {}) {
  const clock = { now: 0 };
  const told: number[] = [];
  const loops = loopWatch(
    settings,
    (_call, times) => void told.push(times),
    () => clock.now,
  );
  return { loops, told, clock };
}

test('RL-07: twenty in a minute go on, the twenty-first does not, and is told once', () => {
  const { loops, told } = watch();
  const seen = Array.from({ length: 25 }, () => loops.again(callOf()));
  expect(seen.slice(0, 20)).toEqual(Array.from({ length: 20 }, () => null));
  expect(seen.slice(20)).toEqual([21, 22, 23, 24, 25]);
  expect(told).toEqual([21]);
});

test('RL-07: who polls once a second what only reads, or once in four seconds what does more, may do so all day', () => {
  const { loops, told, clock } = watch();
  for (let s = 0; s < 3_600; s++) {
    clock.now = s * 1_000;
    expect(loops.again(callOf('sha256:r', 'read'))).toBeNull();
    if (s % 4 === 0) expect(loops.again(callOf('sha256:w'))).toBeNull();
  }
  expect(told).toEqual([]);
});

test('RL-07: a loop that goes on trying stays stopped; a minute of quiet ends it, and it may begin anew', () => {
  const { loops, told, clock } = watch({ repeatsPerMinute: 3 });
  for (let n = 0; n < 4; n++) loops.again(callOf());
  for (let n = 0; n < 100; n++) {
    clock.now += LOOP_MS - 1;
    expect(loops.again(callOf())).not.toBeNull();
  }
  clock.now += LOOP_MS;
  expect(loops.again(callOf())).toBeNull();
  expect(told).toHaveLength(1);
});

test('RL-07: another argument is another call, also while one is stopped', () => {
  const { loops } = watch({ repeatsPerMinute: 3 });
  for (let n = 0; n < 4; n++) loops.again(callOf());
  expect([loops.again(callOf('sha256:b')), loops.again(callOf())]).toEqual([null, 5]);
});

test('what is not repeated is forgotten, what is repeated all the time is not', () => {
  const { loops } = watch({ repeatsPerMinute: 9 });
  let last: number | null = null;
  for (let n = 0; n < 40_000; n++) {
    loops.again(callOf(`sha256:${n}`));
    if (n % 4_000 === 0) last = loops.again(callOf('sha256:loop'));
  }
  expect(last).toBe(10);
});
