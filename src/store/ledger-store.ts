/**
 * The Ledger port over a backend: a bounded queue in front of its appends, nothing written after a fatal fault, an orderly close.
 * A backend is the queries on one engine (sqlite/ledger.ts, postgres/ledger.ts).
 */
import type { Ledger, LedgerEntry } from '../audit/ledger.ts';
import { LedgerFault } from '../audit/ledger.ts';
import { acceptedWork } from './accepted-work.ts';
import type { Group } from './group-commit.ts';
import { groupCommit } from './group-commit.ts';
import type { StoredCheckpoint } from './ledger-queries.ts';

/** Everything rejects with a LedgerFault; `ledger_failed` and `ledger_corrupt` from a write are fatal. */
export interface LedgerBackend {
  /** The first index of each group, once all of them are durable. */
  append(groups: readonly Group[]): Promise<readonly number[]>;
  size(log: string): Promise<number>;
  read(log: string, start: number, count: number): Promise<readonly LedgerEntry[]>;
  hashes(log: string, level: number, start: number, count: number): Promise<readonly Uint8Array[]>;
  checkpoint(log: string): Promise<StoredCheckpoint | null>;
  swapCheckpoint(log: string, expectedSize: number, next: StoredCheckpoint): Promise<boolean>;
  logs(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface LedgerOptions {
  /** Entries waiting for the disk, at most. Default 4096. */
  readonly queueLimit?: number;
  /** Default 5000. */
  readonly appendTimeoutMs?: number;
}

export interface FailingLedger {
  readonly ledger: Ledger;
  /** Closes the gate for a reason that no append met. */
  readonly fail: (fault: LedgerFault) => void;
}

/** @param batchesInFlight How many batches the backend takes at a time; further appends gather for the next one. */
export function ledgerOver(backend: LedgerBackend, batchesInFlight: number, options: LedgerOptions): FailingLedger {
  const queue = groupCommit({
    queueLimit: options.queueLimit ?? 4096,
    appendTimeoutMs: options.appendTimeoutMs ?? 5000,
    maxInFlight: batchesInFlight,
    write: (groups) => backend.append(groups),
  });
  const { run, close } = acceptedWork(() => new LedgerFault('ledger_closed', 'the ledger is closed'));

  const ledger: Ledger = {
    append: (log, text) => queue.append(log, text),
    size: (log) => run(() => backend.size(log)),
    read: (log, start, count) => run(() => backend.read(log, start, count)),
    hashes: (log, level, start, count) => run(() => backend.hashes(log, level, start, count)),
    checkpoint: (log) => run(() => backend.checkpoint(log)),
    swapCheckpoint: (log, expectedSize, next) =>
      run(() => queue.guard(() => backend.swapCheckpoint(log, expectedSize, next))),
    logs: () => run(() => backend.logs()),
    get fatal() {
      return queue.fatal;
    },
    onFatal: (listener) => queue.onFatal(listener),
    close: () =>
      close(async (settled) => {
        await queue.close();
        await settled();
        await backend.close();
      }),
  };
  return { ledger, fail: (fault) => queue.fail(fault) };
}
