/**
 * The thread that owns the ledger's database file: the only writer there is, and the place where hashes are computed.
 * Started by ledger.ts; speaks the protocol of worker.ts. One message is one commit is one fsync.
 */
import { LedgerFault } from '../../audit/ledger.ts';
import { toLedgerFault } from '../engine-fault.ts';
import type { Group } from '../group-commit.ts';
import type { StoredCheckpoint } from '../ledger-queries.ts';
import {
  ledgerAppender,
  readCheckpoint,
  readEntries,
  readHashes,
  readLogs,
  readSize,
  swapCheckpoint,
} from '../ledger-queries.ts';
import { ledgerMigrations } from '../migrations/ledger.ts';
import type { LedgerTables } from '../schema.ts';
import { toSqliteFault } from './fault.ts';
import type { OpenDatabase } from './open.ts';
import { openDatabase } from './open.ts';
import { transactAtOnce } from './transact.ts';
import { serveDatabase } from './worker.ts';
import { oneWriter } from './writer.ts';

export type LedgerMethods = ReturnType<typeof ledgerMethods>;

function ledgerMethods({ db, file }: OpenDatabase<LedgerTables>) {
  // Any append that the database refuses is fatal, whatever the reason: with one writer there is no harmless one.
  const write = oneWriter((error) => !(error instanceof LedgerFault && error.code === 'ledger_invalid'));
  const append = ledgerAppender(db);
  const transact = transactAtOnce(file);
  const failing = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      const fault = toFault(error);
      throw fault.code === 'ledger_unavailable'
        ? new LedgerFault('ledger_failed', fault.message, { cause: error })
        : fault;
    }
  };
  return {
    append: (groups: readonly Group[]) => write(() => failing(async () => transact(append(groups)))),
    size: (log: string) => readSize(db, log),
    read: (log: string, start: number, count: number) => readEntries(db, log, start, count),
    hashes: (log: string, level: number, start: number, count: number) => readHashes(db, log, level, start, count),
    checkpoint: (log: string) => readCheckpoint(db, log),
    swapCheckpoint: (log: string, expectedSize: number, next: StoredCheckpoint) =>
      write(() => failing(() => swapCheckpoint(db, log, expectedSize, next))),
    logs: () => readLogs(db),
    close: () => db.destroy(),
  };
}

async function open(path: string): Promise<LedgerMethods> {
  return ledgerMethods(await openDatabase<LedgerTables>(path, 'ledger', ledgerMigrations('blob')));
}

function toFault(error: unknown): LedgerFault {
  return error instanceof LedgerFault ? error : toLedgerFault(toSqliteFault(error));
}

await serveDatabase(open, toFault);
