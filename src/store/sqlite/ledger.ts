/**
 * The ledger in one embedded database file of its own, so that audit volume can never take governance state down.
 * Durable means: fsync of the write-ahead log returned before `append` resolves. The port is ../../audit/ledger.ts.
 */
import type { Ledger, LedgerFaultCode } from '../../audit/ledger.ts';
import { LedgerFault } from '../../audit/ledger.ts';
import type { LedgerOptions } from '../ledger-store.ts';
import { ledgerOver } from '../ledger-store.ts';
import type { LedgerMethods } from './ledger-worker.ts';
import { workerModule } from '../../lib/worker-module.ts';
import { startDatabase } from './worker.ts';

/** While one batch is committed the next one gathers: fewer, larger commits cost less than keeping the thread always busy. */
const BATCHES_IN_FLIGHT = 1;

/**
 * Opens or creates the ledger at `path` and brings it to this schema.
 * @throws LedgerFault `ledger_locked` (another process has it), `ledger_corrupt`, `ledger_newer`, `ledger_unavailable`.
 */
export async function openSqliteLedger(path: string, options: LedgerOptions = {}): Promise<Ledger> {
  const thread = workerModule('./ledger-worker', import.meta.url);
  const database = await startDatabase<LedgerMethods>(thread, path, (code, text) => {
    return new LedgerFault((code ?? 'ledger_failed') as LedgerFaultCode, text);
  });
  const backend = {
    append: database.method('append'),
    size: database.method('size'),
    read: database.method('read'),
    hashes: database.method('hashes'),
    checkpoint: database.method('checkpoint'),
    swapCheckpoint: database.method('swapCheckpoint'),
    logs: database.method('logs'),
    close: () => database.end(new LedgerFault('ledger_closed', 'the ledger is closed')),
  };
  const { ledger, fail } = ledgerOver(backend, BATCHES_IN_FLIGHT, options);
  database.onDeath((fault) => fail(fault as LedgerFault));
  return ledger;
}
