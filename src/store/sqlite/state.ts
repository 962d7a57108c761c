/**
 * The governance state in one embedded database file, owned by one worker thread of one process (the port is ../state.ts).
 * Durable means: fsync of the write-ahead log returned before `commit` resolves.
 */
import type { Clock } from '../../lib/clock.ts';
import { systemClock } from '../../lib/clock.ts';
import { stateStoreOver } from '../state-store.ts';
import type { StateStore, StoreFaultCode } from '../state.ts';
import { StoreFault } from '../state.ts';
import type { StateMethods } from './state-worker.ts';
import { workerModule } from '../../lib/worker-module.ts';
import { startDatabase } from './worker.ts';

/**
 * Opens or creates the database at `path` and brings it to this schema.
 * @throws StoreFault `store_locked` (another process has it), `store_corrupt`, `store_newer`, `store_unavailable`.
 */
export async function openSqliteState(path: string, options: { readonly clock?: Clock } = {}): Promise<StateStore> {
  const thread = workerModule('./state-worker', import.meta.url);
  const database = await startDatabase<StateMethods>(thread, path, (code, text) => {
    return new StoreFault((code ?? 'store_unavailable') as StoreFaultCode, text);
  });
  const backend = {
    commit: database.method('commit'),
    head: database.method('head'),
    load: database.method('load'),
    changesAfter: database.method('changesAfter'),
    history: database.method('history'),
    close: () => database.end(new StoreFault('store_closed', 'the state store is closed')),
  };
  return stateStoreOver(backend, options.clock ?? systemClock).store;
}
