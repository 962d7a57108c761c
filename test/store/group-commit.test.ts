/** The queue in front of a ledger, with a disk that answers when the test says so. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { LedgerFault } from '../../src/audit/ledger.ts';
import type { Group } from '../../src/store/group-commit.ts';
import { groupCommit } from '../../src/store/group-commit.ts';

/** A disk whose every write waits for the test. */
function manualDisk() {
  const writes: { groups: readonly Group[]; succeed: () => void; fail: (error: Error) => void }[] = [];
  const sizes = new Map<string, number>();
  const write = (groups: readonly Group[]): Promise<readonly number[]> =>
    new Promise((resolve, reject) => {
      const succeed = (): void =>
        resolve(
          groups.map(({ log, texts }) => {
            const first = sizes.get(log) ?? 0;
            sizes.set(log, first + texts.length);
            return first;
          }),
        );
      writes.push({ groups, succeed, fail: reject });
    });
  return { write, writes };
}

const LIMITS = { queueLimit: 10, appendTimeoutMs: 60_000, maxInFlight: 1 };
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe('batches', () => {
  test('all appends of one turn are one write, in order, by log', async () => {
    const { write, writes } = manualDisk();
    const queue = groupCommit({ ...LIMITS, write });
    const landed = Promise.all(['a', 'b', 'a'].map((log, i) => queue.append(log, `${i}`)));
    await nextTurn();
    expect(writes.map((one) => one.groups)).toEqual([
      [
        { log: 'a', texts: ['0', '2'] },
        { log: 'b', texts: ['1'] },
      ],
    ]);
    writes[0]?.succeed();
    expect(await landed).toEqual([
      { log: 'a', index: 0 },
      { log: 'b', index: 0 },
      { log: 'a', index: 1 },
    ]);
  });

  test('while one batch is being written the next one gathers, over many turns', async () => {
    const { write, writes } = manualDisk();
    const queue = groupCommit({ ...LIMITS, write });
    const landed = [queue.append('a', '0')];
    for (let i = 1; i < 5; i++) {
      await nextTurn();
      landed.push(queue.append('a', `${i}`));
    }
    expect(writes).toHaveLength(1);
    writes[0]?.succeed();
    await expect.poll(() => writes.length).toBe(2);
    expect(writes[1]?.groups).toEqual([{ log: 'a', texts: ['1', '2', '3', '4'] }]);
    writes[1]?.succeed();
    expect((await Promise.all(landed)).map((at) => at.index)).toEqual([0, 1, 2, 3, 4]);
  });
});

describe('under load', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  /** A queue whose last batch had `entries` entries and is written. */
  async function after(entries: number) {
    const { write, writes } = manualDisk();
    const queue = groupCommit({ ...LIMITS, queueLimit: 100, write });
    const landed = Promise.all(Array.from({ length: entries }, (_, i) => queue.append('a', `${i}`)));
    await nextTurn();
    writes[0]?.succeed();
    await landed;
    return { queue, writes };
  }

  test('the batch after a small one goes in the next turn', async () => {
    const { queue, writes } = await after(5);
    void queue.append('a', 'next');
    await nextTurn();
    expect(writes).toHaveLength(2);
  });

  test('the batch after a large one gathers for one millisecond and then goes, also when nobody else comes', async () => {
    const { queue, writes } = await after(6);
    void queue.append('a', 'first');
    await nextTurn();
    void queue.append('a', 'second');
    await nextTurn();
    expect(writes).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(writes[1]?.groups).toEqual([{ log: 'a', texts: ['first', 'second'] }]);
  });

  test('a full batch waits no longer', async () => {
    const { queue, writes } = await after(6);
    for (let i = 0; i < 32; i++) void queue.append('a', `${i}`);
    await nextTurn();
    expect(writes[1]?.groups[0]?.texts).toHaveLength(32);
    void queue.append('a', 'after');
    vi.advanceTimersByTime(1);
    expect(writes).toHaveLength(2);
  });

  test('AE-03: a batch that gathers when the disk fails is refused and never written', async () => {
    const { queue, writes } = await after(6);
    const waits = queue.append('a', 'waits');
    queue.fail(new LedgerFault('ledger_failed', 'the disk failed'));
    await expect(waits).rejects.toMatchObject({ code: 'ledger_failed', message: 'the disk failed' });
    vi.advanceTimersByTime(1);
    await nextTurn();
    expect(writes).toHaveLength(1);
  });

  test('close waits for a batch that gathers', async () => {
    const { queue, writes } = await after(6);
    const waits = queue.append('a', 'waits');
    const closed = queue.close();
    vi.advanceTimersByTime(1);
    writes[1]?.succeed();
    await expect(waits).resolves.toEqual({ log: 'a', index: 6 });
    await closed;
  });
});

describe('a disk that is too slow', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  test('an append that is not durable in time is refused, and the next one has its chance', async () => {
    const { write, writes } = manualDisk();
    const queue = groupCommit({ ...LIMITS, appendTimeoutMs: 5000, write });
    const inFlight = queue.append('a', 'in flight');
    await nextTurn();
    const gathering = queue.append('a', 'gathering');
    const both = Promise.allSettled([inFlight, gathering]);
    vi.advanceTimersByTime(4999);
    await nextTurn();
    expect(queue.fatal).toBeNull();
    vi.advanceTimersByTime(1);
    const refusal = {
      status: 'rejected',
      reason: {
        code: 'ledger_overloaded',
        message: 'the disk did not answer within 5000 ms; the entry may still appear',
      },
    };
    expect(await both).toMatchObject([refusal, refusal]);

    writes[0]?.succeed();
    const late = queue.append('a', 'later');
    await nextTurn();
    await nextTurn();
    expect(writes[1]?.groups, 'what expired before it was sent is not written').toEqual([
      { log: 'a', texts: ['later'] },
    ]);
    writes[1]?.succeed();
    expect(await late).toEqual({ log: 'a', index: 1 });
  });

  test('what the disk owes counts against the limit, also after its callers were refused', async () => {
    const { write, writes } = manualDisk();
    const queue = groupCommit({ ...LIMITS, write });
    const owed = Promise.allSettled(Array.from({ length: 10 }, (_, i) => queue.append('a', `${i}`)));
    await nextTurn();
    vi.advanceTimersByTime(60_000);
    expect(new Set((await owed).map((result) => result.status))).toEqual(new Set(['rejected']));
    await expect(queue.append('a', 'x')).rejects.toMatchObject({
      code: 'ledger_overloaded',
      message: '10 audit entries wait for the disk; try again later',
    });
    writes[0]?.succeed();
    await nextTurn();
    const next = queue.append('a', 'y');
    vi.advanceTimersByTime(1); // ten entries were load: the batch after them gathers
    writes[1]?.succeed();
    expect(await next).toEqual({ log: 'a', index: 10 });
  });
});

describe('a disk that fails', () => {
  test('AE-03: a fatal fault refuses what is written, what waits and what comes, and is announced once', async () => {
    const { write, writes } = manualDisk();
    const queue = groupCommit({ ...LIMITS, maxInFlight: 2, write });
    const announced = vi.fn();
    queue.onFatal(announced);
    const results = [queue.append('a', '0')];
    await nextTurn();
    results.push(queue.append('a', '1'));
    await nextTurn();
    results.push(queue.append('a', '2'));
    await nextTurn();
    const settled = Promise.allSettled(results);
    const fault = new LedgerFault('ledger_failed', 'disk I/O error');
    writes[0]?.fail(fault);
    expect((await settled).map((result) => result.status === 'rejected' && result.reason)).toEqual([
      fault,
      fault,
      fault,
    ]);
    writes[1]?.succeed(); // the disk carries on; we do not
    await nextTurn();
    await expect(queue.append('a', '3')).rejects.toBe(fault);
    expect(queue.fatal).toBe(fault);
    expect(announced.mock.calls).toEqual([[fault]]);
    expect(writes).toHaveLength(2);
    await queue.close();
  });

  test('AE-03: another write that meets the fault closes the queue too, and is refused after it', async () => {
    const { write, writes } = manualDisk();
    const queue = groupCommit({ ...LIMITS, write });
    const fault = new LedgerFault('ledger_failed', 'disk I/O error');
    await expect(queue.guard(() => Promise.reject(fault))).rejects.toBe(fault);
    await expect(queue.append('a', '0')).rejects.toBe(fault);
    await expect(queue.guard(() => Promise.resolve(true))).rejects.toBe(fault);
    expect(writes).toEqual([]);
  });

  test('a fault that is not fatal refuses its batch only', async () => {
    const { write, writes } = manualDisk();
    const queue = groupCommit({ ...LIMITS, write });
    const lost = queue.append('a', '0');
    await nextTurn();
    const kept = queue.append('a', '1');
    writes[0]?.fail(new LedgerFault('ledger_unavailable', 'connection lost'));
    await expect(lost).rejects.toMatchObject({ code: 'ledger_unavailable' });
    await expect.poll(() => writes.length).toBe(2);
    writes[1]?.succeed();
    expect(await kept).toEqual({ log: 'a', index: 0 });
    expect(queue.fatal).toBeNull();
  });
});

test('close waits for what was accepted and refuses what comes', async () => {
  const { write, writes } = manualDisk();
  const queue = groupCommit({ ...LIMITS, write });
  const accepted = queue.append('a', '0');
  const closed = queue.close();
  await expect(queue.append('a', '1')).rejects.toMatchObject({ code: 'ledger_closed' });
  await nextTurn();
  writes[0]?.succeed();
  expect(await accepted).toEqual({ log: 'a', index: 0 });
  await closed;
});
