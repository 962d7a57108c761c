/**
 * The ledger in PostgreSQL; several gateways may append to one log (the port is ../../audit/ledger.ts).
 * Durable means: COMMIT returned with synchronous_commit on. A lost connection refuses the batch it met, whose entries may still
 * appear; only an answer that speaks of the disk or of damage is fatal.
 */
import type { Ledger } from '../../audit/ledger.ts';
import { LedgerFault } from '../../audit/ledger.ts';
import { toLedgerFault } from '../engine-fault.ts';
import type { Group } from '../group-commit.ts';
import {
  ledgerAppender,
  readCheckpoint,
  readEntries,
  readHashes,
  readLogs,
  readSize,
  swapCheckpoint,
} from '../ledger-queries.ts';
import type { LedgerOptions } from '../ledger-store.ts';
import { ledgerOver } from '../ledger-store.ts';
import { ledgerMigrations } from '../migrations/ledger.ts';
import type { LedgerTables } from '../schema.ts';
import { transactOver } from '../statements.ts';
import { toPostgresFault } from './fault.ts';
import type { PostgresOptions } from './open.ts';
import { DEFAULT_SCHEMA, openDatabase } from './open.ts';

/** One for appends, the others for readers and the checkpoint. */
const CONNECTIONS = 3;
/** A second batch of ours would only wait for the row that the first one holds. */
const BATCHES_IN_FLIGHT = 1;

/** @throws LedgerFault `ledger_unavailable` (not reachable, not durable), `ledger_newer`. */
export async function openPostgresLedger(url: string, options: LedgerOptions & PostgresOptions = {}): Promise<Ledger> {
  const schema = options.schema ?? DEFAULT_SCHEMA;
  const migrations = ledgerMigrations('bytea');
  const db = await faulting(openDatabase<LedgerTables>(url, schema, CONNECTIONS, 'ledger', migrations));
  const append = ledgerAppender(db);
  const backend = {
    append: (groups: readonly Group[]) => faulting(transactOver(db, append(groups))),
    size: (log: string) => faulting(readSize(db, log)),
    read: (log: string, start: number, count: number) => faulting(readEntries(db, log, start, count)),
    hashes: (log: string, level: number, start: number, count: number) =>
      faulting(readHashes(db, log, level, start, count)),
    checkpoint: (log: string) => faulting(readCheckpoint(db, log)),
    swapCheckpoint: (log: string, expectedSize: number, next: { size: number; note: string }) =>
      faulting(swapCheckpoint(db, log, expectedSize, next)),
    logs: () => faulting(readLogs(db)),
    close: () => db.destroy(),
  };
  return ledgerOver(backend, BATCHES_IN_FLIGHT, options).ledger;
}

async function faulting<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof LedgerFault ? error : toLedgerFault(toPostgresFault(error));
  }
}
