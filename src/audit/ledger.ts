/**
 * The ledger as a port: an append-only sequence of entries per log, durable before it says so.
 * Implemented over SQLite (worker thread, group commit) and PostgreSQL; both pass `test/contracts/ledger.ts`.
 *
 * Promises
 * - `append` resolves only after the entry is durable (fsync returned). Order of indexes = order of commit; no gaps.
 * - An error from the disk is fatal for this ledger: it stops, every later append is refused, `onFatal` fires (TRUST.md section 2, lesson 3).
 * - A slow disk does not hang callers: the queue is bounded and each append has a deadline; past either it is refused.
 * - A refused append may still appear in the log after a crash. The safe direction: more intents than actions, never fewer.
 */
import { Fault } from '../lib/fault.ts';

/** Where an entry landed. */
export interface Appended {
  readonly log: string;
  readonly index: number;
}

export interface LedgerEntry {
  readonly index: number;
  /** Exactly the bytes that were hashed (UTF-8 canonical JSON, at most 65,535 bytes). */
  readonly text: string;
}

export interface Ledger {
  /** @throws LedgerFault */
  append(log: string, text: string): Promise<Appended>;
  size(log: string): Promise<number>;
  /** Entries from `start`, at most `count`; fewer at the end. */
  read(log: string, start: number, count: number): Promise<readonly LedgerEntry[]>;
  /**
   * Stored Merkle hashes of tlog-tiles level `level` (0 = leaf hashes), indexes [start, start+count).
   * Level L, index i = RFC 6962 hash over leaves [i*256^L, (i+1)*256^L), present only once complete.
   */
  hashes(log: string, level: number, start: number, count: number): Promise<readonly Uint8Array[]>;
  /** Root over the first `size` entries is computed by the caller from hashes(); this is the signed statement about it. */
  checkpoint(log: string): Promise<{ readonly size: number; readonly note: string } | null>;
  /**
   * Stores a newer checkpoint if the stored one still has `expectedSize` (-1: none yet). False: somebody else was faster,
   * and the caller must stop signing and find out who (a second gateway with our key would fork the log).
   */
  swapCheckpoint(log: string, expectedSize: number, next: { size: number; note: string }): Promise<boolean>;
  logs(): Promise<readonly string[]>;
  readonly fatal: LedgerFault | null;
  onFatal(listener: (fault: LedgerFault) => void): () => void;
  close(): Promise<void>;
}

export type LedgerFaultCode =
  | 'ledger_overloaded' // queue full or deadline passed; not known to be absent
  | 'ledger_failed' // the disk said no; the gate is closed
  | 'ledger_locked' // another process owns it
  | 'ledger_corrupt'
  | 'ledger_newer' // the schema was written by a newer Remit; this one does not touch it
  | 'ledger_unavailable' // PostgreSQL did not answer; not known to be absent, and the next append may succeed
  | 'ledger_invalid' // the request itself is malformed
  | 'ledger_entry_too_large'
  | 'ledger_closed';

export class LedgerFault extends Fault<LedgerFaultCode> {}
