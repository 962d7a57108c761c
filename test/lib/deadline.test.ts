/** Timers are vitest's: no test waits for the wall clock. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { deadlineIn } from '../../src/lib/deadline.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('fires its signal when the time is over, not before', () => {
  const deadline = deadlineIn(100, manualClock(0));
  vi.advanceTimersByTime(99);
  expect(deadline.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(deadline.signal.aborted).toBe(true);
  expect(deadline.signal.reason).toBe('deadline');
});

test('says what is left of it, never less than nothing', () => {
  const clock = manualClock(1000);
  const deadline = deadlineIn(100, clock);
  expect(deadline.at).toBe(1100);
  clock.advance(40);
  expect(deadline.remainingMs()).toBe(60);
  clock.advance(500);
  expect(deadline.remainingMs()).toBe(0);
  deadline.done();
});

test('cancelling ends it early with its reason, once', () => {
  const deadline = deadlineIn(100, manualClock(0));
  const seen: unknown[] = [];
  deadline.signal.addEventListener('abort', () => seen.push(deadline.signal.reason));
  deadline.cancel('lock');
  deadline.cancel('again');
  vi.advanceTimersByTime(1000);
  expect(seen).toEqual(['lock']);
});

test('done stops the timer: work that ended is not aborted afterwards', () => {
  const deadline = deadlineIn(100, manualClock(0));
  deadline.done();
  deadline.done();
  vi.advanceTimersByTime(1000);
  expect(deadline.signal.aborted).toBe(false);
  expect(vi.getTimerCount()).toBe(0);
});
