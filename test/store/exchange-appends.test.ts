/** The queue in front of an exchange, with a database that answers when the test says so. */
import { describe, expect, test } from 'vitest';
import { appendQueue } from '../../src/store/exchange-appends.ts';
import type { PendingAppend } from '../../src/store/exchange-queries.ts';

const MIB = 1024 * 1024;
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const one = (topic: string): PendingAppend => ({ topic, texts: ['x'], expiresAt: 1, expect: null, replaces: false });

/** A database whose every write waits for the test; each append is answered with how many came before it. */
function manualDatabase() {
  const writes: { topics: readonly string[]; succeed: () => void; fail: (error: Error) => void }[] = [];
  let count = 0;
  const append = appendQueue(
    (appends) =>
      new Promise((resolve, reject) => {
        const succeed = (): void => resolve(appends.map(() => ++count));
        writes.push({ topics: appends.map(({ topic }) => topic), succeed, fail: reject });
      }),
  );
  return { append, writes };
}

test('all appends of one turn are one write, in order', async () => {
  const { append, writes } = manualDatabase();
  const landed = Promise.all(['a', 'b', 'a'].map((topic) => append(one(topic), 1)));
  await nextTurn();
  expect(writes.map(({ topics }) => topics)).toEqual([['a', 'b', 'a']]);
  writes[0]?.succeed();
  expect(await landed).toEqual([1, 2, 3]);
});

test('while one batch is being written the next one gathers, over many turns', async () => {
  const { append, writes } = manualDatabase();
  const landed = [append(one('a'), 1)];
  await nextTurn();
  for (const topic of ['b', 'c', 'd']) {
    landed.push(append(one(topic), 1));
    await nextTurn();
  }
  expect(writes).toHaveLength(1);
  writes[0]?.succeed();
  await nextTurn();
  expect(writes.map(({ topics }) => topics)).toEqual([['a'], ['b', 'c', 'd']]);
  writes[1]?.succeed();
  expect(await Promise.all(landed)).toEqual([1, 2, 3, 4]);
});

test.each([
  ['many appends', 600, 1, [512, 88]],
  ['large appends', 6, 1.5 * MIB, [3, 3]],
  ['one append beyond a whole batch', 2, 20 * MIB, [1, 1]],
])('%s are cut into batches, in order', async (_, count, bytes, sizes) => {
  const { append, writes } = manualDatabase();
  const landed = Array.from({ length: count }, (_one, i) => append(one(`${i}`), bytes));
  for (let done = 0; done < sizes.length; done++) {
    await nextTurn();
    writes[done]?.succeed();
  }
  expect(await Promise.all(landed)).toEqual(Array.from({ length: count }, (_one, i) => i + 1));
  expect(writes.map(({ topics }) => topics.length)).toEqual(sizes);
});

test('a write that fails refuses its batch with exchange_unavailable, and the next batch goes on', async () => {
  const { append, writes } = manualDatabase();
  const refused = [append(one('a'), 1), append(one('b'), 1)].map((promise) =>
    expect(promise).rejects.toMatchObject({ code: 'exchange_unavailable', message: 'the cable' }),
  );
  await nextTurn();
  const next = append(one('c'), 1);
  writes[0]?.fail(new Error('the cable'));
  await Promise.all(refused);
  await nextTurn();
  writes[1]?.succeed();
  expect(await next).toBe(1);
});

describe('a database that does not answer', () => {
  test.each([
    ['appends', 8192, 1, /^8192 messages of 8192 bytes wait for the exchange; try again later$/],
    ['bytes', 64, MIB, /^64 messages of 67108864 bytes wait for the exchange; try again later$/],
  ])(
    'holds a bounded number of %s; what is beyond is refused at once, until some were written',
    async (_, count, bytes, message) => {
      const { append, writes } = manualDatabase();
      let settled = 0;
      const held = Array.from({ length: count }, () => append(one('t'), bytes).finally(() => settled++));
      await expect(append(one('t'), bytes)).rejects.toMatchObject({
        code: 'exchange_unavailable',
        message: expect.stringMatching(message),
      });
      expect(settled).toBe(0);
      await nextTurn();
      writes[0]?.succeed();
      await nextTurn();
      held.push(append(one('t'), bytes));
      for (let done = 1; done < writes.length; done++) {
        writes[done]?.succeed();
        await nextTurn();
      }
      expect(await Promise.all(held)).toHaveLength(count + 1);
    },
  );
});
