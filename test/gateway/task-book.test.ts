/** Tasks as they are kept, over a real exchange: one end and no other, whoever writes it; the lease of the node that runs one. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { sealedExchange } from '../../src/gateway/exchange-box.ts';
import { isOver } from '../../src/gateway/kept-task.ts';
import { INBOX_ANSWERS, TASK_SETTINGS, taskBook } from '../../src/gateway/task-book.ts';
import type { TaskAnswers, TaskChange, TaskOwner } from '../../src/gateway/kept-task.ts';
import type { RunningTask, TaskBook } from '../../src/gateway/task-book.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { Exchange } from '../../src/store/exchange.ts';
import { openSqliteExchange } from '../../src/store/sqlite/exchange.ts';
import { until } from '../support/upstreams/open.ts';

const dir = mkdtempSync(join(tmpdir(), 'remit-tasks-'));
const clock = manualClock(1_800_000_000_000);
const KEY = randomBytes(32);
const OWNER: TaskOwner = {
  issuer: 'https://issuer.example',
  subject: 'dana',
  client: 'agent-1',
  org: 'default',
  endpoint: 'notes',
  era: 'modern',
};
const ITEM = { server: 'notes', tool: 'job' };
let exchange: Exchange;
let books: TaskBook[];

beforeAll(async () => {
  exchange = await openSqliteExchange(join(dir, 'exchange.db'), { clock });
});
afterAll(async () => {
  await exchange.close();
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  // Leases are renewed when a test says so; everything else runs in real time.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  books = [book(), book()];
});
afterEach(async () => {
  await Promise.all(books.map((one) => one.close()));
  vi.useRealTimers();
});

const book = (over: Exchange = exchange): TaskBook => taskBook(sealedExchange(over, [KEY]), clock, () => undefined);

async function begun(on: TaskBook, owner = OWNER, ttlMs: number | null = null) {
  const stopped: string[] = [];
  const answered: TaskAnswers[] = [];
  const task: RunningTask = await on.begin(owner, ITEM, ttlMs, {
    stop: (why) => void stopped.push(why),
    answer: async (answers) => void answered.push(answers),
  });
  return { task, stopped, answered };
}

describe('the end of a task', () => {
  const ENDS: readonly TaskChange[] = [
    { status: 'completed', result: { content: [] } },
    { status: 'failed', error: { code: -32603, message: 'broken' } },
    { status: 'cancelled', statusMessage: 'stopped' },
  ];
  const ask: TaskChange = {
    status: 'input_required',
    inputRequests: { 'ask-1': { method: 'roots/list', params: {} } },
  };

  test('is one, and nothing comes after it, whatever the runner and other nodes write at the same time', async () => {
    const step = fc.constantFrom('work', 'ask', 'end', 'cancel here', 'cancel there', 'look');
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), fc.constantFrom(...ENDS), async (steps, end) => {
        const [here, there] = books as [TaskBook, TaskBook];
        const { task } = await begun(here);
        const ends: string[] = [];
        const seen = async (): Promise<void> => {
          const read = await there.read(task.id);
          if (read && isOver(read)) ends.push(`${read.status} ${read.lastUpdatedAt}`);
        };
        await Promise.all(
          steps.map(async (one) => {
            clock.advance(1);
            if (one === 'work') await task.change({ status: 'working' });
            else if (one === 'ask') await task.change(ask);
            else if (one === 'end') await task.change(end);
            else if (one === 'cancel here') await here.cancel(task.id);
            else if (one === 'cancel there') await there.cancel(task.id);
            await seen();
          }),
        );
        await there.cancel(task.id);
        await seen();
        expect(new Set(ends).size).toBe(1);
        // Nothing can be written any more.
        expect(await task.change({ status: 'completed', result: { content: ['late'] } })).toBe(false);
        await seen();
        expect(new Set(ends).size).toBe(1);
      }),
      { numRuns: 60, seed: 31 },
    );
  });

  test('by another node stops the runner', async () => {
    const { task, stopped } = await begun(books[0]!);
    expect((await books[1]!.cancel(task.id))?.status).toBe('cancelled');
    await until('it is stopped', () => stopped.length > 0);
    expect(stopped).toEqual(['task_cancelled']);
  });

  test('saying again what is so writes nothing', async () => {
    const { task } = await begun(books[0]!);
    const before = await exchange.latest(`task/${task.id}`);
    await task.change({ status: 'working' });
    expect((await exchange.latest(`task/${task.id}`))?.seq).toBe(before?.seq);
    await task.change(ask);
    await task.change(ask);
    expect((await exchange.latest(`task/${task.id}`))?.seq).toBe(before!.seq + 1);
  });

  test('is tried again when the exchange fails for a moment', async () => {
    let failures = 0;
    const flaky = book({
      ...exchange,
      append: (...args) => (failures-- > 0 ? Promise.reject(new Error('busy')) : exchange.append(...args)),
    });
    books.push(flaky);
    const { task } = await begun(flaky);
    failures = 2;
    expect(await task.change(ENDS[0]!)).toBe(true);
    expect((await books[0]!.read(task.id))?.status).toBe('completed');
  });
});

describe('the lease', () => {
  test('is renewed while the task runs, and so is its time', async () => {
    let renewed = 0;
    const watched = book({
      ...exchange,
      append: (topic, ...rest) =>
        exchange.append(topic, ...rest).finally(() => void (renewed += topic.startsWith('task-lease/') ? 1 : 0)),
    });
    books.push(watched);
    const { task, stopped } = await begun(watched);
    for (let rounds = 1; rounds <= 130; rounds++) {
      clock.advance(30_000);
      vi.advanceTimersByTime(10_000);
      await until('the lease is renewed', () => renewed === rounds + 1);
    }
    await until('its time is', async () => (await books[1]!.read(task.id))!.ttlMs > 3_900_000);
    expect((await books[1]!.read(task.id))?.status).toBe('working');
    expect(stopped).toEqual([]);
    await task.change({ status: 'completed', result: {} });
  });

  test('expires 45 s after the node was last heard of: the task has failed, and a runner that comes back is stopped', async () => {
    const { task, stopped } = await begun(books[0]!);
    clock.advance(44_999);
    expect((await books[1]!.read(task.id))?.status).toBe('working');
    clock.advance(1);
    const dead = await books[1]!.read(task.id);
    expect(dead).toMatchObject({ status: 'failed', error: { code: 5030 } });
    vi.advanceTimersByTime(10_000);
    await until('it is stopped', () => stopped.length > 0);
    expect(await task.change({ status: 'completed', result: {} })).toBe(false);
    expect(await books[1]!.read(task.id)).toEqual(dead);
  });

  test('lost without anybody noticing, it stops the runner all the same', async () => {
    const { task, stopped } = await begun(books[0]!);
    clock.advance(60_000);
    vi.advanceTimersByTime(10_000);
    await until('it is stopped', () => stopped.length > 0);
    expect(stopped).toEqual(['lease_lost']);
    expect((await books[1]!.read(task.id))?.status).toBe('failed');
    expect(await exchange.latest(`task-lease/${task.id}`)).toBeNull();
  });
});

describe('answers', () => {
  test('given elsewhere arrive once, in order, and leave nothing behind', async () => {
    const { task, answered } = await begun(books[0]!);
    const given = Array.from({ length: 20 }, (_, at) => ({ responses: { [`ask-${at}`]: {} }, declined: [] }));
    for (const answers of given) await books[1]!.answer(task.id, answers);
    await until('all are there', () => answered.length >= given.length);
    expect(answered).toEqual(given);
    await task.change({ status: 'completed', result: {} });
    expect(await exchange.latest(`task-inbox/${task.id}`)).toBeNull();
    expect(await exchange.latest(`task-lease/${task.id}`)).toBeNull();
  });
});

test('so many answers may wait for a task that runs elsewhere and no more, also when they come at once', async () => {
  const { task } = await begun(books[0]!);
  const letter: TaskAnswers = { responses: {}, declined: [] };
  const taken: boolean[] = [];
  for (let round = 0; round < 12; round++)
    taken.push(...(await Promise.all(Array.from({ length: 10 }, () => books[1]!.answer(task.id, letter)))));
  expect(taken.filter(Boolean)).toHaveLength(INBOX_ANSWERS);
  expect((await exchange.latest(`task-inbox/${task.id}`))?.seq).toBe(INBOX_ANSWERS);
  // Where it runs, nothing is kept.
  expect(await books[0]!.answer(task.id, letter)).toBe(true);
});

describe('what a person may keep', () => {
  const result = (bytes: number) => ({ text: 'x'.repeat(bytes) });
  const small = () =>
    taskBook(sealedExchange(exchange, [KEY]), clock, () => undefined, { ...TASK_SETTINGS, keptBytesPerPerson: 10_000 });

  test('is counted per person until it expires, and what does not fit counts for nothing', async () => {
    books.push(small());
    const { task } = await begun(books[2]!, OWNER, 60_000);
    const keeps = (person: string, bytes: number) => task.keeps(person, result(bytes));
    expect([keeps('dana', 5000), keeps('dana', 5000), keeps('dana', 2000), keeps('dana', 2000)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(keeps('eve', 5000)).toBe(true);
    clock.advance(59_999);
    expect(keeps('dana', 5000)).toBe(false);
    clock.advance(1);
    expect(keeps('dana', 5000)).toBe(true);
  });

  test('many tiny results fill it, too', async () => {
    books.push(small());
    const { task } = await begun(books[2]!);
    const taken = Array.from({ length: 20 }, () => task.keeps('dana', {}));
    expect(taken.filter(Boolean)).toHaveLength(9);
  });

  test('a result too large for one item is not kept, whatever the room', async () => {
    const { task } = await begun(books[0]!);
    expect(task.keeps('dana', result(11 * 1024 * 1024))).toBe(false);
    expect(task.keeps('dana', result(11 * 1024 * 1024 - 100))).toBe(true);
  });
});

describe('how long a task is kept', () => {
  test.each([
    [null, 3_600_000, 3_600_000],
    [90_000, 90_000, 90_000],
    [1, 60_000, 60_000],
    [-5, 60_000, 60_000],
    [1e15, 86_400_000, 86_400_000],
  ])('asked for %s ms it is promised %s', async (asked, promised, kept) => {
    const { task } = await begun(books[0]!, OWNER, asked);
    expect(task.kept.ttlMs).toBe(promised);
    await task.change({ status: 'completed', result: {} });
    expect(task.kept.ttlMs).toBe(kept);
    clock.advance(kept - 1);
    expect((await books[1]!.read(task.id))?.status).toBe('completed');
    clock.advance(2);
    expect(await books[1]!.read(task.id)).toBeNull();
  });

  test('ended late, its result still waits for who asked for a short life', async () => {
    const { task } = await begun(books[0]!, OWNER, 60_000);
    clock.advance(40_000);
    await task.change({ status: 'completed', result: {} });
    expect(task.kept.ttlMs).toBe(100_000);
  });
});

test('lists hold the old-style tasks of one owner, over midnight', async () => {
  const old = { ...OWNER, subject: 'lister', era: 'legacy' as const };
  const first = await begun(books[0]!, old);
  clock.advance(86_400_000);
  const second = await begun(books[1]!, old);
  await begun(books[0]!, { ...old, subject: 'somebody else' });
  await begun(books[0]!, { ...old, era: 'modern' });
  const listed = [];
  for await (const entry of books[0]!.list(old, '')) listed.push(entry);
  expect(listed.map(({ id }) => id)).toEqual([first.task.id, second.task.id]);
  const rest = [];
  for await (const { id } of books[0]!.list(old, listed[0]!.place)) rest.push(id);
  expect(rest).toEqual([second.task.id]);
});

test('what does not open as a task is none: moved from another id, or sealed by somebody else', async () => {
  const { task } = await begun(books[0]!);
  const { text } = (await exchange.latest(`task/${task.id}`))!;
  const other = `task_${'B'.repeat(32)}`;
  await exchange.append(`task/${other}`, [text], { expiresAt: clock.now() + 1_000 });
  expect(await books[1]!.read(other)).toBeNull();
  const stranger = taskBook(sealedExchange(exchange, [randomBytes(32)]), clock, () => undefined);
  books.push(stranger);
  expect(await stranger.read(task.id)).toBeNull();
});
