/** Who is called when: wake-ups of one turn together, and the poll that stands behind the wake-ups of other nodes. */
import { expect, test } from 'vitest';
import { watchers } from '../../src/store/exchange-watch.ts';

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test('any number of wake-ups in one turn are one call, and none is made within the turn', async () => {
  const { watch, wake } = watchers();
  let calls = 0;
  watch('t', () => calls++);
  for (let i = 0; i < 5; i++) wake(['t', 'u']);
  expect(calls).toBe(0);
  await nextTurn();
  expect(calls).toBe(1);
});

test('whoever stopped watching between the wake-up and the call is not called', async () => {
  const { watch, wake } = watchers();
  const called: string[] = [];
  const stop = watch('t', () => called.push('stopped'));
  watch('t', () => called.push('stays'));
  wake(['t']);
  stop();
  await nextTurn();
  expect(called).toEqual(['stays']);
});

test('a poll asks for watched topics only, and asks nobody when there are none', async () => {
  const { watch, poll } = watchers();
  const asked: (readonly string[])[] = [];
  const marksOf = (topics: readonly string[]) => {
    asked.push(topics);
    return Promise.resolve(new Map<string, string>());
  };
  await poll(marksOf);
  const stop = watch('t', () => undefined);
  watch('u', () => undefined);
  await poll(marksOf);
  stop();
  await poll(marksOf);
  expect(asked).toEqual([['t', 'u'], ['u']]);
});

test('a poll wakes a new watcher once, and after that whenever the topic changed, appeared or went', async () => {
  const { watch, poll } = watchers();
  let calls = 0;
  watch('t', () => calls++);
  const counts: number[] = [];
  for (const mark of ['1', '1', '2', '2', null, null, '2']) {
    await poll(() => Promise.resolve(new Map(mark === null ? [] : [['t', mark]])));
    await nextTurn();
    counts.push(calls);
  }
  expect(counts).toEqual([1, 1, 2, 2, 3, 3, 4]);
  watch('t', () => undefined);
  await poll(() => Promise.resolve(new Map([['t', '2']])));
  await nextTurn();
  expect(calls).toBe(5);
});

test('a poll that fails loses nothing: the next one finds the change', async () => {
  const { watch, poll } = watchers();
  let calls = 0;
  watch('t', () => calls++);
  await expect(poll(() => Promise.reject(new Error('the cable')))).rejects.toThrow('the cable');
  await poll(() => Promise.resolve(new Map([['t', '1']])));
  await nextTurn();
  expect(calls).toBe(1);
});

test('after clear nobody is called', async () => {
  const { watch, wake, clear } = watchers();
  let calls = 0;
  watch('t', () => calls++);
  wake(['t']);
  clear();
  wake(['t']);
  await nextTurn();
  expect(calls).toBe(0);
});
