/**
 * The governance state in one embedded database file, owned by one worker thread of one process (the port is ../state.ts).
 * Durable means: fsync of the write-ahead log returned before `commit` resolves.
 */
import { isFault } from '../../lib/fault.ts';
import type { Clock } from '../../lib/clock.ts';
import { systemClock } from '../../lib/clock.ts';
import { prepareCommit } from '../commit-request.ts';
import type { StateStore, StoreFaultCode } from '../state.ts';
import { StoreFault } from '../state.ts';
import { toChange, toCommit, toRecord } from '../state-rows.ts';
import type { StateMethods } from './state-worker.ts';
import { startDatabase, workerModule } from './worker.ts';

/**
 * Opens or creates the database at `path` and brings it to this schema.
 * @throws StoreFault `store_locked` (another process has it), `store_corrupt`, `store_newer`, `store_unavailable`.
 */
export async function openSqliteState(path: string, options: { readonly clock?: Clock } = {}): Promise<StateStore> {
  const clock = options.clock ?? systemClock;
  const database = await startDatabase<StateMethods>(
    workerModule('./state-worker', import.meta.url),
    path,
    (code, text) => {
      return new StoreFault((code ?? 'store_unavailable') as StoreFaultCode, text);
    },
  );
  const listeners = new Set<() => void>();
  let closing: Promise<void> | null = null;

  const assertOpen = (): void => {
    if (closing !== null) throw new StoreFault('store_closed', 'the state store is closed');
  };
  const close = async (): Promise<void> => {
    try {
      await database.call('close');
    } catch (error) {
      // After a disk error the writer refuses even this; the thread ends all the same.
      if (!isFault(error)) throw error;
    }
    await database.end(new StoreFault('store_closed', 'the state store is closed'));
  };

  return {
    async commit(request) {
      assertOpen();
      const commit = prepareCommit(request, clock.now());
      const revision = await database.call('commit', commit);
      for (const listener of listeners) listener();
      return toCommit(commit, revision);
    },
    async head() {
      assertOpen();
      return database.call('head');
    },
    async load() {
      assertOpen();
      const { revision, records } = await database.call('load');
      return { revision, records: records.map(toRecord) };
    },
    async changesAfter(after, limit) {
      assertOpen();
      return (await database.call('changesAfter', after, limit)).map(toChange);
    },
    async history(kind, org, id) {
      assertOpen();
      return (await database.call('history', kind, org, id)).map(toChange);
    },
    onCommit(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}
