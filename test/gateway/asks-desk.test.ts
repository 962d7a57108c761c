/** Questions put to legacy sessions: an id is guessed by nobody, belongs to one session and one node, and nothing is left of it. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { askDesk } from '../../src/gateway/ask-desk.ts';
import type { UpstreamReply } from '../../src/upstream/connection.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const KEYS = [new Uint8Array(32).fill(7)];
const YES: UpstreamReply = { kind: 'result', result: { action: 'accept' } };
const NO: UpstreamReply = { kind: 'result', result: { action: 'decline' } };
const never = (): AbortSignal => new AbortController().signal;

test('AZ-09: an answer counts once, in the session that was asked', async () => {
  const desk = askDesk('node-1', KEYS);
  const waiting = desk.put('mine');
  const answer = waiting.answer(never(), 1_000);
  expect([desk.find(waiting.id, 'another'), desk.find(waiting.id, 'mine')]).toEqual(['unknown', 'here']);
  expect(desk.take(waiting.id, 'another', NO)).toBe(false);
  expect(desk.take(waiting.id, 'mine', YES)).toBe(true);
  expect(await answer).toBe(YES);
  expect(desk.take(waiting.id, 'mine', NO)).toBe(false);
  expect(desk.find(waiting.id, 'mine')).toBe('unknown');
  expect(vi.getTimerCount()).toBe(0);
});

test('AZ-09: an id of another node says which, in its session and to nodes with our keys', () => {
  const { id } = askDesk('node-2', KEYS).put('mine');
  expect(askDesk('node-1', KEYS).find(id, 'mine')).toEqual({ node: 'node-2' });
  expect(askDesk('node-1', KEYS).find(id, 'another')).toBe('unknown');
  expect(askDesk('node-1', [new Uint8Array(32).fill(8)]).find(id, 'mine')).toBe('unknown');
  expect(id).not.toContain(Buffer.from('node-2').toString('base64url'));
});

test.each(['', 'ask', 'ask..', 'ask.x.y', `ask.${'A'.repeat(4_000)}.${'A'.repeat(22)}`, '7'])(
  'AZ-09: what was made up is unknown: %s',
  (id) => {
    expect(askDesk('node-1', KEYS).find(id, 'mine')).toBe('unknown');
    expect(askDesk('node-1', KEYS).take(id, 'mine', YES)).toBe(false);
  },
);

test('nobody waits beyond the time, or for a call that ended, or for one that had ended before', async () => {
  const desk = askDesk('node-1', KEYS);
  const late = desk.put('mine');
  const answer = late.answer(never(), 1_000);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await answer).toBeNull();
  const ended = new AbortController();
  const stopped = desk.put('mine');
  const second = stopped.answer(ended.signal, 1_000);
  ended.abort();
  expect(await second).toBeNull();
  const third = desk.put('mine');
  expect(await third.answer(ended.signal, 1_000)).toBeNull();
  for (const { id } of [late, stopped, third]) expect(desk.take(id, 'mine', YES)).toBe(false);
  expect(vi.getTimerCount()).toBe(0);
});

test('10,000 ids are 10,000 different ones', () => {
  const desk = askDesk('node-1', KEYS);
  expect(new Set(Array.from({ length: 10_000 }, () => desk.put('mine').id)).size).toBe(10_000);
});
