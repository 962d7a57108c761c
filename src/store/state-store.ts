/**
 * The StateStore port over a backend: reads requests, turns rows into values, wakes listeners, closes in order.
 * A backend is the queries on one engine (sqlite/state.ts, postgres/state.ts); here stands what must not differ between them.
 */
import type { Clock } from '../lib/clock.ts';
import { acceptedWork } from './accepted-work.ts';
import type { PreparedCommit } from './commit-request.ts';
import { prepareCommit } from './commit-request.ts';
import type { ChangeRow, RecordRow } from './state-queries.ts';
import { toChange, toCommit, toRecord } from './state-rows.ts';
import type { StateStore } from './state.ts';
import { StoreFault } from './state.ts';

/** Everything rejects with a StoreFault. */
export interface StateBackend {
  commit(commit: PreparedCommit): Promise<number>;
  head(): Promise<number>;
  load(): Promise<{ revision: number; records: readonly RecordRow[] }>;
  changesAfter(after: number, limit: number): Promise<readonly ChangeRow[]>;
  history(kind: string, org: string, id: string): Promise<readonly ChangeRow[]>;
  close(): Promise<void>;
}

export interface WakingStore {
  readonly store: StateStore;
  /** Wakes the listeners for a commit that happened elsewhere. */
  readonly wake: () => void;
}

export function stateStoreOver(backend: StateBackend, clock: Clock): WakingStore {
  const listeners = new Set<() => void>();
  const { run, close } = acceptedWork(() => new StoreFault('store_closed', 'the state store is closed'));

  const wake = (): void => {
    for (const listener of listeners) listener();
  };

  const store: StateStore = {
    commit: (request) =>
      run(async () => {
        const commit = prepareCommit(request, clock.now());
        const revision = await backend.commit(commit);
        wake();
        return toCommit(commit, revision);
      }),
    head: () => run(() => backend.head()),
    load: () =>
      run(async () => {
        const { revision, records } = await backend.load();
        return { revision, records: records.map(toRecord) };
      }),
    changesAfter: (after, limit) => run(async () => (await backend.changesAfter(after, limit)).map(toChange)),
    history: (kind, org, id) => run(async () => (await backend.history(kind, org, id)).map(toChange)),
    onCommit(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: () =>
      close(async (settled) => {
        await settled();
        listeners.clear();
        await backend.close();
      }),
  };
  return { store, wake };
}
