/**
 * The ledger in one embedded database file of its own, so that audit volume can never take governance state down.
 * Durable means: fsync of the write-ahead log returned before `append` resolves. The port is ../../audit/ledger.ts.
 */
import type { Ledger, LedgerFaultCode } from '../../audit/ledger.ts';
import { LedgerFault } from '../../audit/ledger.ts';
import { isFault } from '../../lib/fault.ts';
import { groupCommit } from '../group-commit.ts';
import type { LedgerMethods } from './ledger-worker.ts';
import { startDatabase, workerModule } from './worker.ts';

export interface LedgerOptions {
  /** Entries waiting for the disk, at most. Default 4096. */
  readonly queueLimit?: number;
  /** Default 5000. */
  readonly appendTimeoutMs?: number;
}

/** One batch is committed while the next one is ready for it; a third gathers on the main thread. */
const BATCHES_IN_FLIGHT = 2;

/**
 * Opens or creates the ledger at `path` and brings it to this schema.
 * @throws LedgerFault `ledger_locked` (another process has it), `ledger_corrupt`, `ledger_newer`, `ledger_failed`.
 */
export async function openSqliteLedger(path: string, options: LedgerOptions = {}): Promise<Ledger> {
  const rebuild = (code: string | null, message: string): LedgerFault =>
    new LedgerFault((code ?? 'ledger_failed') as LedgerFaultCode, message);
  const database = await startDatabase<LedgerMethods>(workerModule('./ledger-worker', import.meta.url), path, rebuild);
  const queue = groupCommit({
    queueLimit: options.queueLimit ?? 4096,
    appendTimeoutMs: options.appendTimeoutMs ?? 5000,
    maxInFlight: BATCHES_IN_FLIGHT,
    write: (groups) => database.call('append', groups),
  });
  database.onDeath((fault) => queue.fail(fault as LedgerFault));
  const isClosed = new LedgerFault('ledger_closed', 'the ledger is closed');
  let closing: Promise<void> | null = null;

  const close = async (): Promise<void> => {
    await queue.close();
    try {
      await database.call('close');
    } catch (error) {
      // After a disk error the writer refuses even this; the thread ends all the same.
      if (!isFault(error)) throw error;
    }
    await database.end(isClosed);
  };

  return {
    append: (log, text) => queue.append(log, text),
    size: (log) => database.call('size', log),
    read: (log, start, count) => database.call('read', log, start, count),
    hashes: (log, level, start, count) => database.call('hashes', log, level, start, count),
    checkpoint: (log) => database.call('checkpoint', log),
    async swapCheckpoint(log, expectedSize, next) {
      if (queue.fatal !== null) throw queue.fatal;
      return database.call('swapCheckpoint', log, expectedSize, next);
    },
    logs: () => database.call('logs'),
    get fatal() {
      return queue.fatal;
    },
    onFatal: (listener) => queue.onFatal(listener),
    close() {
      closing ??= close();
      return closing;
    },
  };
}
