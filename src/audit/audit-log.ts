/**
 * What the rest of the house sees of one organisation's log: record an entry durably, read a receipt, see how it stands.
 * Opened by `openAuditLog` (log.ts). The Merkle tree, the key and the checkpoints stay behind it.
 */
import type { AuditEntry } from './entry.ts';
import type { Stamp } from './entries.ts';
import type { Appended } from './ledger.ts';
import { Fault } from '../lib/fault.ts';

export interface SignedCheckpoint {
  readonly size: number;
  /** RFC 6962 root over the first `size` entries. */
  readonly root: Uint8Array;
  /** The signed note, C2SP tlog-checkpoint. */
  readonly note: string;
}

export interface AuditLogStatus {
  readonly origin: string;
  /** Index of the last entry this process saw; -1 when there is none. */
  readonly lastIndex: number;
  readonly checkpoint: { readonly size: number; readonly seenAtMs: number } | null;
  /** Why the publish directory is behind, null when it is not. Publishing is retried; recording goes on. */
  readonly publishFault: string | null;
  readonly fatal: Fault | null;
}

export interface AuditLog {
  /** The ledger's name of this log: the organisation. Also the `log` of every `Appended`. */
  readonly log: string;
  /** Origin line of the checkpoints, for receipts' `_meta`. */
  readonly origin: string;
  /** Time, node and organisation for an entry builder. */
  stamp(more?: { readonly ref?: string | undefined; readonly trace?: string | undefined }): Stamp;
  /**
   * Resolves once the entry is durable. On any rejection the call it speaks of must be refused.
   * @throws LedgerFault
   */
  record(entry: AuditEntry): Promise<Appended>;
  /** Signs over everything durable now; returns the existing checkpoint when nothing is new. @throws AuditFault, LedgerFault */
  checkpointNow(): Promise<SignedCheckpoint>;
  /** A C2SP tlog-proof of the entry under the newest checkpoint; makes a checkpoint when the entry is not under one yet. */
  receipt(index: number): Promise<string>;
  status(): AuditLogStatus;
  /** Stops the timer, signs a last checkpoint, publishes it. The ledger stays open: it belongs to the caller. Idempotent. */
  close(): Promise<void>;
}

export type AuditFaultCode =
  | 'log_forked' // a checkpoint under our key says something else than our ledger: two gateways, one key
  | 'log_rolled_back' // the ledger has fewer entries than a checkpoint that was signed
  | 'log_key_mismatch' // the stored checkpoint is signed by a key this deployment does not know
  | 'publish_unreadable' // the publish directory cannot be compared with at start
  | 'log_contended' // other nodes kept winning the checkpoint swap; the next turn tries again
  | 'log_index_unknown'
  | 'key_unreadable'
  | 'key_permissions'
  | 'key_exists';

export class AuditFault extends Fault<AuditFaultCode> {}
