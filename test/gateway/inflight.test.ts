/** Calls on their way: cancelled once, for the first reason, by whoever may; nothing is kept of those that ended. */
import { afterEach, expect, test, vi } from 'vitest';
import { inflightRegistry } from '../../src/gateway/inflight.ts';
import type { InflightFacts } from '../../src/gateway/inflight.ts';
import { callerLike } from '../support/caller.ts';

const HOUR = 3_600_000;
const facts = (subject: string): InflightFacts => ({
  caller: callerLike({ subject }),
  server: 's',
  tool: 't',
});

afterEach(() => void vi.useRealTimers());

test('cancels exactly the calls for which there is a reason, and says how many', () => {
  const registry = inflightRegistry();
  const [dana, dora, unknown] = [registry.open('1', HOUR), registry.open('2', HOUR), registry.open('3', HOUR)];
  dana.facts = facts('dana');
  dora.facts = facts('dora');
  expect(registry.cancelWhere((one) => (one?.caller.subject === 'dana' ? 'lock:1' : null))).toBe(1);
  expect([dana, dora, unknown].map((call) => call.cancelledBy)).toEqual(['lock:1', null, null]);
  expect([dana, dora].map((call) => call.signal.aborted)).toEqual([true, false]);
  expect(dana.signal.reason).toBe('lock:1');
  for (const call of [dana, dora, unknown]) registry.close(call);
  expect(registry.size).toBe(0);
});

test('keeps the first reason', () => {
  const registry = inflightRegistry();
  const call = registry.open('1', HOUR);
  registry.cancel(call, 'client_gone');
  registry.cancel(call, 'lock:1');
  expect(registry.cancelWhere(() => 'shutdown')).toBe(0);
  expect(call.cancelledBy).toBe('client_gone');
  registry.close(call);
});

test('a call that ended is not cancelled any more', () => {
  const registry = inflightRegistry();
  const call = registry.open('1', HOUR);
  registry.close(call);
  registry.cancel(call, 'lock:1');
  expect(registry.cancelWhere(() => 'shutdown')).toBe(0);
  expect(call.cancelledBy).toBeNull();
  expect(call.signal.aborted).toBe(false);
});

test('a client cancels its own call of this session only, by the id it used, whatever its type', () => {
  const registry = inflightRegistry();
  const calls = [1, '1', 2].map((id) => {
    const call = registry.open(`c${id}`, HOUR);
    call.request = { session: 'mine', id };
    return call;
  });
  expect(registry.cancelRequest('another', 1)).toBe(false);
  expect(registry.cancelRequest('mine', 3)).toBe(false);
  expect(registry.cancelRequest('mine', '1')).toBe(true);
  expect(calls.map(({ cancelledBy }) => cancelledBy)).toEqual([null, 'client_cancelled', null]);
  for (const call of calls) registry.close(call);
});

test('ends a call at its deadline', () => {
  vi.useFakeTimers();
  const registry = inflightRegistry();
  const [late, closed] = [registry.open('1', 1_000), registry.open('2', 1_000)];
  registry.close(closed);
  vi.advanceTimersByTime(999);
  expect(late.cancelledBy).toBeNull();
  vi.advanceTimersByTime(1);
  expect([late.cancelledBy, closed.cancelledBy]).toEqual(['deadline', null]);
  registry.close(late);
});
