/** The follower over a real embedded store; the store it follows can be made slow, silent or wrong from outside. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { followState } from '../../src/store/follower.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import type { Advance, Change, Follower, StateStore } from '../../src/store/state.ts';
import { StoreFault } from '../../src/store/state.ts';
import { by, server } from '../contracts/state-store.ts';

const NOW = Date.UTC(2026, 10, 1);
/** Longer than any test: only commits and `advanceTo` move the follower. */
const NEVER_MS = 600_000;

let folder: string;
let store: StateStore;
let follower: Follower | undefined;
const clock = manualClock(NOW);

beforeEach(async () => {
  clock.set(NOW);
  folder = mkdtempSync(join(tmpdir(), 'remit-follower-'));
  store = await openSqliteState(join(folder, 'state.db'), { clock });
});
afterEach(async () => {
  await follower?.stop();
  follower = undefined;
  await store.close();
  rmSync(folder, { recursive: true });
});

/** The same store for a node that hears nothing from it by itself. */
const silent = (inner: StateStore): StateStore => ({ ...inner, onCommit: () => () => undefined });

async function follow(
  from: StateStore,
  apply: (advance: Advance) => void | Promise<void> = () => undefined,
  pollMs = NEVER_MS,
) {
  follower = await followState(from, { apply, clock, pollMs });
  return follower;
}

const idsOf = (of: Follower): string[] => [...of.records.list('server')].map((record) => record.id).sort();

test('the first step holds every record and names each as changed', async () => {
  await store.commit(by('ann', server('files', { v: 1 }), server('mail', { v: 1 })));
  const steps: Advance[] = [];
  const node = await follow(store, (advance) => void steps.push(advance));
  expect(node.revision).toBe(1);
  expect(steps[0]?.revision).toBe(1);
  expect(steps[0]?.changed.map((name) => name.id).sort()).toEqual(['files', 'mail']);
  expect(steps[0]?.changed[0]).toEqual({ kind: 'server', org: 'default', id: expect.any(String) });
});

test('later steps come in order, name what changed, and the records are already new inside apply', async () => {
  const seen: [number, string[], unknown][] = [];
  const node = await follow(store, ({ revision, changed, records }) => {
    seen.push([revision, changed.map((name) => name.id), records.get('server', 'default', 'files')?.body]);
  });
  await node.advanceTo((await store.commit(by('ann', server('files', { v: 1 })))).revision);
  await node.advanceTo((await store.commit(by('ann', server('files', { v: 2 })))).revision);
  await node.advanceTo((await store.commit(by('ann', server('files', null)))).revision);
  expect(seen).toEqual([
    [0, [], undefined],
    [1, ['files'], { v: 1 }],
    [2, ['files'], { v: 2 }],
    [3, ['files'], undefined],
  ]);
});

test('records are found by kind and organisation', async () => {
  await store.commit(by('ann', server('a', {}), server('b', {}, { org: 'acme' }), server('c', {}, { kind: 'agent' })));
  const node = await follow(store);
  expect(idsOf(node)).toEqual(['a', 'b']);
  expect([...node.records.list('server', 'acme')].map((record) => record.id)).toEqual(['b']);
  expect([...node.records.list('server', 'nobody')]).toEqual([]);
  expect([...node.records.list('nothing')]).toEqual([]);
  expect(node.records.get('agent', 'default', 'c')).toMatchObject({ id: 'c', revision: 1 });
  expect(node.records.get('agent', 'acme', 'c')).toBeUndefined();
});

test('a commit in this process wakes it without a poll', async () => {
  const node = await follow(store);
  await store.commit(by('ann', server('files', {})));
  await expect.poll(() => node.revision, { timeout: 30_000, interval: 5 }).toBe(1);
});

test('a commit that nobody announces is found by the poll', async () => {
  const node = await follow(silent(store), () => undefined, 10);
  await store.commit(by('ann', server('files', {})));
  await expect.poll(() => node.revision, { timeout: 30_000, interval: 5 }).toBe(1);
});

test('a commit between the load and the subscription is not missed', async () => {
  const racing: StateStore = {
    ...store,
    async load() {
      const loaded = await store.load();
      await store.commit(by('ann', server('in-between', {})));
      return loaded;
    },
  };
  const node = await follow(racing);
  await expect.poll(() => idsOf(node), { timeout: 30_000, interval: 5 }).toEqual(['in-between']);
});

test('catches up over many pages', async () => {
  const node = await follow(silent(store));
  for (let i = 0; i < 5; i++) {
    await store.commit(by('ann', ...Array.from({ length: 700 }, (_, n) => server(`s${i}-${n}`, {}))));
  }
  await node.advanceTo(5);
  expect(idsOf(node)).toHaveLength(3500);
});

describe('advanceTo', () => {
  test('R2: after it resolves, the acknowledged revision is applied', async () => {
    let applied = 0;
    const node = await follow(silent(store), async ({ revision }) => {
      await Promise.resolve();
      applied = revision;
    });
    for (let i = 1; i <= 20; i++) {
      const { revision } = await store.commit(by('ann', server(`s${i}`, {})));
      await node.advanceTo(revision);
      expect(applied).toBeGreaterThanOrEqual(revision);
    }
  });

  test('does not join a read that began before the commit', async () => {
    const gate = Promise.withResolvers<void>();
    let heads = 0;
    const slow: StateStore = {
      ...silent(store),
      async head() {
        const head = await store.head();
        if (++heads === 1) await gate.promise; // holds an answer that is about to be old
        return head;
      },
    };
    const node = await follow(slow);
    await expect.poll(() => heads).toBe(1);
    const { revision } = await store.commit(by('ann', server('files', {})));
    const advanced = node.advanceTo(revision);
    gate.resolve();
    await advanced;
    expect(node.revision).toBe(revision);
  });

  test('refuses a revision that is not in the store', async () => {
    const node = await follow(store);
    await expect(node.advanceTo(7)).rejects.toMatchObject({
      code: 'store_invalid',
      message: 'revision 7 is not in this store; it is at 0',
    });
  });

  test('says so when the store does not answer', async () => {
    let down = false;
    const node = await follow({
      ...silent(store),
      head: () => (down ? Promise.reject(new StoreFault('store_unavailable', 'gone')) : store.head()),
    });
    down = true;
    await expect(node.advanceTo(1)).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(node.fault).toMatchObject({ code: 'store_unavailable', message: 'gone' });
    down = false;
    const { revision } = await store.commit(by('ann', server('files', {})));
    await node.advanceTo(revision);
    expect(node.fault).toBeNull();
  });
});

describe('freshness', () => {
  test('R3: is the age of the last confirmation, counted from before the question', async () => {
    let asked = Promise.withResolvers<void>();
    const node = await follow({
      ...silent(store),
      async head() {
        await asked.promise;
        return store.head();
      },
    });
    asked.resolve();
    await node.advanceTo(0);
    await expect.poll(() => node.confirmedAt).toBe(NOW);
    clock.advance(2000);
    expect(node.isFresh(2000)).toBe(true);
    clock.advance(1);
    expect(node.isFresh(2000)).toBe(false);

    asked = Promise.withResolvers<void>();
    await store.commit(by('ann', server('files', {})));
    const advanced = node.advanceTo(1); // asks now,
    clock.advance(1500); // and the answer takes 1.5 s
    asked.resolve();
    await advanced;
    expect(node.confirmedAt).toBe(NOW + 2001);
    expect(node.isFresh(2000)).toBe(true);
    clock.advance(501);
    expect(node.isFresh(2000)).toBe(false);
  });

  test('a poll without changes renews it', async () => {
    const node = await follow(silent(store), () => undefined, 5);
    clock.advance(60_000);
    await expect.poll(() => node.isFresh(2000), { timeout: 30_000 }).toBe(true);
  });

  test('a store that does not answer makes the copy stale, and only that', async () => {
    let down = false;
    const node = await follow(
      { ...silent(store), head: () => (down ? Promise.reject(new Error('network')) : store.head()) },
      () => undefined,
      5,
    );
    down = true;
    await expect.poll(() => node.fault?.code, { timeout: 30_000 }).toBe('store_unavailable');
    clock.advance(2001);
    expect(node.isFresh(2000)).toBe(false);
    down = false;
    await expect.poll(() => node.isFresh(2000), { timeout: 30_000 }).toBe(true);
  });

  const broken: readonly [string, (inner: StateStore) => Partial<StateStore>, RegExp][] = [
    [
      'goes back in time',
      () => ({ head: () => Promise.resolve(0) }),
      /went back from revision 1 to 0; if a backup was restored/,
    ],
    [
      'misses a revision',
      (inner) => ({
        changesAfter: async (after, limit) =>
          (await inner.changesAfter(after, limit)).filter((change: Change) => change.revision !== 2),
      }),
      /revision 4 but not all changes after 1/,
    ],
    [
      'misses a revision in the middle',
      (inner) => ({
        changesAfter: async (after, limit) =>
          (await inner.changesAfter(after, limit)).filter((change: Change) => change.revision !== 3),
      }),
      /revision 4 but not all changes after 1/,
    ],
  ];
  test.each(broken)('a store that %s is never believed again', async (_title, damage, message) => {
    await store.commit(by('ann', server('one', {})));
    let damaged = false;
    const inner = silent(store);
    const from: StateStore = {
      ...inner,
      head: () => (damaged ? (damage(inner).head ?? inner.head) : inner.head)(),
      changesAfter: (after, limit) =>
        (damaged ? (damage(inner).changesAfter ?? inner.changesAfter) : inner.changesAfter)(after, limit),
    };
    const node = await follow(from);
    await expect.poll(() => node.fault).toBeNull();
    await store.commit(by('ann', server('two', {})));
    await store.commit(by('ann', server('three', {})));
    await store.commit(by('ann', server('four', {})));
    damaged = true;
    await expect(node.advanceTo(4)).rejects.toMatchObject({
      code: 'store_corrupt',
      message: expect.stringMatching(message),
    });
    damaged = false;
    await expect(node.advanceTo(4)).rejects.toMatchObject({ code: 'store_corrupt' });
    expect(node.isFresh(Number.MAX_SAFE_INTEGER)).toBe(false);
  });

  test('a change that cannot be applied makes the copy stale for good', async () => {
    const node = await follow(silent(store), ({ revision }) => {
      if (revision === 2) throw new Error('policy does not compile');
    });
    await store.commit(by('ann', server('one', {})));
    await node.advanceTo(1);
    await store.commit(by('ann', server('two', {})));
    await expect(node.advanceTo(2)).rejects.toMatchObject({ message: 'revision 2 could not be applied' });
    expect(node.revision).toBe(1);
    expect(node.isFresh(Number.MAX_SAFE_INTEGER)).toBe(false);
  });

  test('a stopped follower is not fresh and applies nothing more', async () => {
    let steps = 0;
    const node = await follow(store, () => void steps++);
    await node.stop();
    await store.commit(by('ann', server('one', {})));
    expect(node.isFresh(Number.MAX_SAFE_INTEGER)).toBe(false);
    await expect(node.advanceTo(1)).rejects.toMatchObject({ code: 'store_closed' });
    expect(steps).toBe(1);
  });
});

test('the first load fails loudly', async () => {
  const failing = { ...store, load: () => Promise.reject(new StoreFault('store_unavailable', 'gone')) };
  await expect(followState(failing, { apply: () => undefined, clock })).rejects.toMatchObject({
    code: 'store_unavailable',
  });
});
