/** The follower's copy in the shape the gateway and the admin API read it: records, age, and a word after every change. */
import type { StateView } from '../gateway/gateway.ts';
import type { Clock } from '../lib/clock.ts';
import { followState } from '../store/follower.ts';
import type { Follower, RecordName, Records, StateStore } from '../store/state.ts';

export interface LocalView extends StateView {
  readonly follower: Follower;
  stop(): Promise<void>;
}

/** @throws StoreFault when the first load fails. */
export async function openView(state: StateStore, clock: Clock): Promise<LocalView> {
  const listeners = new Set<(changed: readonly RecordName[]) => void>();
  let revision = 0;
  let records: Records | null = null;
  const follower = await followState(state, {
    clock,
    pollMs: 500,
    apply(advance) {
      // Listeners must read the revision they are told about, before anybody else can decide by it.
      ({ revision, records } = advance);
      for (const listener of listeners) listener(advance.changed);
    },
  });
  return {
    follower,
    get revision() {
      return revision;
    },
    records: (kind, org) => records!.list(kind, org),
    get: (kind, org, id) => records!.get(kind, org, id),
    onApplied(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    // A follower that is broken for good goes stale by itself: its confirmation stands still.
    ageMs: () =>
      follower.isFresh(Number.MAX_SAFE_INTEGER) ? clock.now() - follower.confirmedAt : Number.POSITIVE_INFINITY,
    advanceTo: (target) => follower.advanceTo(target),
    stop: () => follower.stop(),
  };
}
