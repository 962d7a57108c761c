/**
 * Keeps a copy of all records in step with a StateStore: loads once, then applies changes in order, woken by commits and by a poll.
 * It promises order and says how fresh it is; whether that is fresh enough is decided by whoever admits a call.
 * Fail closed: when the store cannot be read or a change cannot be applied, `confirmedAt` stands still and the copy goes stale.
 */
import type { Clock } from '../lib/clock.ts';
import { toStoreFault } from './engine-fault.ts';
import type { Advance, Change, Follower, RecordName, Records, StateStore, StoredRecord } from './state.ts';
import { StoreFault } from './state.ts';

/** Changes read at once while catching up. */
const PAGE = 1000;

export interface FollowOptions {
  /**
   * Takes in one step; called for the first load too, and never twice at a time. Other code must not decide by the new revision
   * before it returns. If it throws, the follower stops for good and goes stale: a snapshot that missed a change must not decide.
   */
  readonly apply: (advance: Advance) => void | Promise<void>;
  readonly clock: Clock;
  /** How often to ask when nothing wakes us. Default 500. */
  readonly pollMs?: number;
}

/** @throws StoreFault when the first load fails; whatever `apply` throws on it. */
export async function followState(store: StateStore, { apply, clock, pollMs = 500 }: FollowOptions): Promise<Follower> {
  const loadedAt = clock.now();
  const loaded = await store.load();
  const records = recordMap(loaded.records);
  await apply({ revision: loaded.revision, changed: loaded.records.map(nameOf), records });

  let revision = loaded.revision;
  let confirmedAt = loadedAt;
  let fault: StoreFault | null = null;
  /** Set when the copy can never be right again. */
  let broken: StoreFault | null = null;
  let running: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  let timer: NodeJS.Timeout | undefined;
  const listeners = new Set<(changed: readonly RecordName[]) => void>();

  /** After this we have everything that was committed before it began. */
  async function catchUp(): Promise<void> {
    const askedAt = clock.now();
    const head = await store.head();
    if (head < revision) {
      throw breakWith(`the store went back from revision ${revision} to ${head}; if a backup was restored, restart`);
    }
    while (revision < head) {
      const changes = await store.changesAfter(revision, PAGE);
      const last = changes.at(-1);
      if (last === undefined || hasGap(changes, revision)) {
        throw breakWith(`the store has revision ${head} but not all changes after ${revision}`);
      }
      records.apply(changes);
      const changed = changes.map(nameOf);
      try {
        await apply({ revision: last.revision, changed, records });
        for (const listener of listeners) listener(changed);
      } catch (cause) {
        throw breakWith(`revision ${last.revision} could not be applied`, cause);
      }
      revision = last.revision;
    }
    confirmedAt = Math.max(confirmedAt, askedAt);
  }

  function breakWith(message: string, cause?: unknown): StoreFault {
    broken = new StoreFault('store_corrupt', message, { cause });
    return broken;
  }

  async function run(): Promise<void> {
    try {
      if (broken !== null) throw broken;
      await catchUp();
      fault = null;
    } catch (error) {
      fault = toStoreFault(error);
      throw fault;
    }
  }

  /** Joins nobody who began before us: what they read may be older than what we were asked for. */
  function refresh(): Promise<void> {
    if (running === null) {
      running = run().finally(() => (running = null));
      return running;
    }
    next ??= running
      .catch(() => undefined)
      .then(() => {
        next = null;
        return refresh();
      });
    return next;
  }

  /** A failure shows in `fault` and in the age of the copy; the next turn tries again. */
  const wake = (): void => void refresh().catch(() => undefined);

  function poll(): void {
    timer = setTimeout(() => {
      void refresh()
        .catch(() => undefined)
        .finally(() => (timer === undefined ? undefined : poll()));
    }, pollMs);
    timer.unref();
  }

  const unsubscribe = store.onCommit(wake);
  poll();
  wake(); // What was committed between load and subscription.

  return {
    records,
    get revision() {
      return revision;
    },
    get confirmedAt() {
      return confirmedAt;
    },
    get fault() {
      return fault;
    },
    isFresh: (limitMs) => broken === null && clock.now() - confirmedAt <= limitMs,
    async advanceTo(target) {
      if (revision >= target && broken === null) return;
      await refresh();
      if (revision < target) {
        throw new StoreFault('store_invalid', `revision ${target} is not in this store; it is at ${revision}`);
      }
    },
    onAdvance(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async stop() {
      clearTimeout(timer);
      timer = undefined;
      unsubscribe();
      broken ??= new StoreFault('store_closed', 'this follower was stopped');
      await running?.catch(() => undefined);
    },
  };
}

/** Every commit has at least one change, so the revisions of a page leave none out. */
function hasGap(changes: readonly Change[], after: number): boolean {
  return changes.some((change, i) => {
    const before = changes[i - 1]?.revision ?? after;
    return change.revision !== before + 1 && !(i > 0 && change.revision === before);
  });
}

const nameOf = ({ kind, org, id }: RecordName): RecordName => ({ kind, org, id });

interface RecordMap extends Records {
  apply(changes: readonly Change[]): void;
}

/** kind -> organisation -> id -> record. */
function recordMap(initial: readonly StoredRecord[]): RecordMap {
  const kinds = new Map<string, Map<string, Map<string, StoredRecord>>>();

  function slot(kind: string, org: string): Map<string, StoredRecord> {
    const orgs = entryOf(kinds, kind, () => new Map<string, Map<string, StoredRecord>>());
    return entryOf(orgs, org, () => new Map<string, StoredRecord>());
  }
  for (const record of initial) slot(record.kind, record.org).set(record.id, record);

  return {
    get: (kind, org, id) => kinds.get(kind)?.get(org)?.get(id),
    *list(kind, org) {
      const orgs = kinds.get(kind);
      if (orgs === undefined) return;
      if (org === undefined) for (const ids of orgs.values()) yield* ids.values();
      else yield* orgs.get(org)?.values() ?? [];
    },
    apply(changes) {
      for (const { kind, org, id, revision, body } of changes) {
        if (body === null) slot(kind, org).delete(id);
        else slot(kind, org).set(id, { kind, org, id, revision, body });
      }
    },
  };
}

function entryOf<K, V>(map: Map<K, V>, key: K, create: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const created = create();
  map.set(key, created);
  return created;
}
