/** When a server is left alone, and how it comes back (RL-04). */
import { describe, expect, test } from 'vitest';
import { FAILURES_TO_OPEN, began, ended, newBreaker, open, phaseOf, refusedFor } from '../../src/upstream/breaker.ts';
import type { Breaker } from '../../src/upstream/breaker.ts';
import { UpstreamFault } from '../../src/upstream/connection.ts';
import type { UpstreamFaultCode } from '../../src/upstream/connection.ts';
import { HttpStatusFault } from '../../src/upstream/http-rules.ts';

const fault = (code: UpstreamFaultCode = 'upstream_timeout'): UpstreamFault =>
  new UpstreamFault(code, 'it did not answer', { dispatched: 'unknown' });
const failing = (breaker: Breaker, times: number, now = 0): Array<number | null> =>
  Array.from({ length: times }, () => ended(breaker, began(breaker, now), fault(), now));

describe('RL-04: requests without an answer', () => {
  test('open it when there are five in a row, for half a second first', () => {
    const breaker = newBreaker();
    expect(failing(breaker, 4)).toEqual([null, null, null, null]);
    expect([phaseOf(breaker, 0), refusedFor(breaker, 0)]).toEqual(['closed', null]);
    expect(failing(breaker, 1)).toEqual([500]);
    expect([phaseOf(breaker, 499), refusedFor(breaker, 100)]).toEqual(['open', 400]);
    expect(breaker.last).toEqual({ code: 'upstream_timeout', message: 'it did not answer' });
  });

  test('that are not in a row do not open it', () => {
    const breaker = newBreaker();
    for (let i = 0; i < 50; i++) {
      failing(breaker, FAILURES_TO_OPEN - 1);
      ended(breaker, began(breaker, 0), 'answered', 0);
    }
    expect(phaseOf(breaker, 0)).toBe('closed');
  });

  test.each<[UpstreamFaultCode, boolean]>([
    ['upstream_timeout', true],
    ['upstream_unreachable', true],
    ['upstream_closed', true],
    ['upstream_cancelled', false],
    ['upstream_auth', false],
    ['upstream_unlinked', false],
    ['upstream_protocol', false],
    ['upstream_too_large', false],
    ['upstream_session_lost', false],
    ['upstream_identity', false],
    ['upstream_refused_address', false],
    ['upstream_sandbox', false],
  ])('%s counts: %s', (code, counts) => {
    const breaker = newBreaker();
    for (let i = 0; i < 20; i++) ended(breaker, began(breaker, 0), fault(code), 0);
    expect(phaseOf(breaker, 0)).toBe(counts ? 'open' : 'closed');
  });

  test.each([
    [500, false],
    [501, false],
    [429, true],
    [502, true],
    [503, true],
    [504, true],
  ])('an HTTP %i counts: %s; what one request stumbles over is not the server', (status, counts) => {
    const breaker = newBreaker();
    for (let i = 0; i < 20; i++) ended(breaker, began(breaker, 0), new HttpStatusFault(status), 0);
    expect(phaseOf(breaker, 0)).toBe(counts ? 'open' : 'closed');
  });

  test('that went out before it opened prolong nothing', () => {
    const breaker = newBreaker();
    const early = Array.from({ length: 40 }, () => began(breaker, 0));
    for (const tried of early) ended(breaker, tried, fault(), 100);
    expect([breaker.retryAt, breaker.openings]).toEqual([600, 1]);
  });
});

describe('RL-04: half open', () => {
  test('lets one through; the others are told to come back', () => {
    const breaker = newBreaker();
    failing(breaker, 5);
    expect(refusedFor(breaker, 500)).toBeNull();
    const tried = began(breaker, 500);
    expect(tried).toBe(true);
    for (const now of [500, 501, 5_499]) expect(refusedFor(breaker, now)).toBe(1_000);
    ended(breaker, tried, 'answered', 5_499);
    expect([phaseOf(breaker, 5_499), refusedFor(breaker, 5_499), breaker.failures]).toEqual(['closed', null, 0]);
  });

  test('a slow call that tries it out holds up the others for five seconds, not to its end', () => {
    const breaker = newBreaker();
    failing(breaker, 5);
    expect(refusedFor(breaker, 500)).toBeNull();
    const slow = began(breaker, 500);
    expect([5_499, 5_500, 5_501].map((now) => refusedFor(breaker, now))).toEqual([1_000, null, 1_000]);
    ended(breaker, began(breaker, 5_502), 'answered', 5_600);
    expect([phaseOf(breaker, 5_600), slow]).toEqual(['closed', true]);
  });

  test('of two that try, one that is answered closes it, and the other one, which is not, does not open it again', () => {
    const breaker = newBreaker();
    failing(breaker, 5);
    refusedFor(breaker, 500);
    const [quick, slow] = [began(breaker, 500), began(breaker, 500)];
    ended(breaker, quick, 'answered', 510);
    expect(ended(breaker, slow, fault(), 30_500)).toBeNull();
    expect([phaseOf(breaker, 30_500), breaker.failures, breaker.probing]).toEqual(['closed', 1, 0]);
  });

  test('who was let through and sends nothing holds up nobody for long', () => {
    const breaker = newBreaker();
    failing(breaker, 5);
    expect(refusedFor(breaker, 500)).toBeNull();
    expect(refusedFor(breaker, 1_400)).toBe(1_000);
    expect(refusedFor(breaker, 1_500)).toBeNull();
  });

  test('one failure opens it again, for twice as long each time, to half a minute; an answer forgets all of it', () => {
    const breaker = newBreaker();
    failing(breaker, 5);
    const pauses: Array<number | null> = [];
    let now = 0;
    for (let i = 0; i < 8; i++) {
      now = breaker.retryAt!;
      expect(refusedFor(breaker, now)).toBeNull();
      pauses.push(ended(breaker, began(breaker, now), fault(), now));
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    now = breaker.retryAt!;
    ended(breaker, began(breaker, now), 'answered', now);
    expect(failing(breaker, 5, now).at(-1)).toBe(500);
  });

  test('a caller who leaves while trying it out says nothing: the next one tries', () => {
    const breaker = newBreaker();
    failing(breaker, 5);
    expect(refusedFor(breaker, 500)).toBeNull();
    expect(ended(breaker, began(breaker, 500), fault('upstream_cancelled'), 600)).toBeNull();
    expect([phaseOf(breaker, 600), refusedFor(breaker, 600)]).toEqual(['half_open', null]);
    expect(ended(breaker, began(breaker, 600), 'dropped', 700)).toBeNull();
    expect(refusedFor(breaker, 700)).toBeNull();
  });

  test('of several that try at the same time none is left counted', () => {
    const breaker = newBreaker();
    failing(breaker, 5);
    refusedFor(breaker, 500);
    const tried = [began(breaker, 500), began(breaker, 500), began(breaker, 500)];
    ended(breaker, tried[0]!, 'answered', 510);
    ended(breaker, tried[1]!, fault(), 520);
    ended(breaker, tried[2]!, 'dropped', 530);
    expect(breaker.probing).toBe(0);
  });
});

test('an opening that failed opens it at once; trying again at once is no pause', () => {
  const breaker = newBreaker();
  expect([open(breaker, fault(), 0), open(breaker, fault(), 0), open(breaker, fault(), 0)]).toEqual([
    500, 1_000, 2_000,
  ]);
  expect(open(newBreaker(), fault(), 0, false)).toBe(0);
});
