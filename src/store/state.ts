/**
 * The governance state as a port: one history of changes, one revision counter, records read back as a fold over it.
 * Implemented by `store/sqlite` and `store/postgres`; both pass `test/contracts/state-store.ts`.
 *
 * Promises of every implementation
 * - `commit` resolves only after the change is durable (fsync on SQLite, synchronous_commit on PostgreSQL).
 * - Revisions are consecutive and become visible in order: who has read revision N has read everything before it.
 * - A commit is all or nothing. Optimistic locking by `expectedRevision`; uniqueness by `key` within (kind, org).
 * - Bodies are opaque JSON here. The rooms that own a kind parse it with their own schema, on the way in and out.
 */
import type { JsonObject } from '../lib/json.ts';
import { Fault } from '../lib/fault.ts';

export interface StoredRecord {
  readonly kind: string;
  readonly org: string;
  readonly id: string;
  /** Revision of the commit that wrote this body. */
  readonly revision: number;
  readonly body: JsonObject;
}

export interface Change {
  readonly revision: number;
  /** Position inside its commit, from 0. */
  readonly ordinal: number;
  readonly at: number;
  readonly actor: string;
  readonly reason: string;
  readonly kind: string;
  readonly org: string;
  readonly id: string;
  /** null: deleted. */
  readonly body: JsonObject | null;
}

export interface Write {
  readonly kind: string;
  readonly org: string;
  readonly id: string;
  /** A second name that must be unique within (kind, org), for example `issuer subject`. */
  readonly key?: string;
  /** null deletes. Deleting what is not there is a conflict unless `expectedRevision` is left out. */
  readonly body: JsonObject | null;
  /** Revision the record must have; `null` = must not exist; left out = last writer wins. */
  readonly expectedRevision?: number | null;
}

export interface CommitRequest {
  readonly actor: string;
  readonly reason: string;
  readonly writes: readonly Write[];
}

export interface Commit {
  readonly revision: number;
  readonly at: number;
  readonly changes: readonly Change[];
}

export interface StateStore {
  /** @throws StoreFault */
  commit(request: CommitRequest): Promise<Commit>;
  /** The newest committed revision; 0 when nothing was ever committed. */
  head(): Promise<number>;
  /** Every live record and the revision at which the set is true. */
  load(): Promise<{ readonly revision: number; readonly records: readonly StoredRecord[] }>;
  /** Changes with revision > `after`, in order, whole commits only, at most about `limit` changes. */
  changesAfter(after: number, limit: number): Promise<readonly Change[]>;
  /** All changes of one record, oldest first. */
  history(kind: string, org: string, id: string): Promise<readonly Change[]>;
  /** Wake-up only: may fire late, twice or never. Returns the unsubscribe function. */
  onCommit(listener: () => void): () => void;
  close(): Promise<void>;
}

export interface RecordName {
  readonly kind: string;
  readonly org: string;
  readonly id: string;
}

/** The live records at one revision, in memory. Read-only; it moves on when the follower applies a commit. */
export interface Records {
  get(kind: string, org: string, id: string): StoredRecord | undefined;
  /** All records of a kind, in one organisation or in all. */
  list(kind: string, org?: string): IterableIterator<StoredRecord>;
}

/** One step of a follower: `records` is true at `revision`; `changed` says what differs from the step before (at first: everything). */
export interface Advance {
  readonly revision: number;
  readonly changed: readonly RecordName[];
  readonly records: Records;
}

/** A node's copy of the state, kept up to date. Implemented once, by `store/follower.ts`, over any StateStore. */
export interface Follower {
  readonly records: Records;
  /** Revision that `apply` has fully taken in. */
  readonly revision: number;
  /** When we last asked and had everything that was committed until then; ms. */
  readonly confirmedAt: number;
  /** Why the last attempt to follow failed; null after a success. For status pages: freshness alone decides. */
  readonly fault: StoreFault | null;
  /** May a decision still be made on this copy? */
  isFresh(limitMs: number): boolean;
  /**
   * Resolves when `revision` is applied here: the node that acknowledges a change waits for its own commit.
   * @throws StoreFault `store_invalid` if no such revision is committed; `store_unavailable`, `store_closed`.
   */
  advanceTo(revision: number): Promise<void>;
  /** Called after every step but the first, before `revision` moves and `advanceTo` resolves; must not throw. Returns the unsubscribe function. */
  onAdvance(listener: (changed: readonly RecordName[]) => void): () => void;
  stop(): Promise<void>;
}

export type StoreFaultCode =
  | 'store_conflict' // an expectedRevision or a key did not hold; nothing was written
  | 'store_unavailable' // not done, or not known to be done; read before you retry
  | 'store_closed'
  | 'store_locked' // another process owns this embedded database
  | 'store_corrupt'
  | 'store_newer' // the schema was written by a newer Remit; this one does not touch it
  | 'store_invalid'; // the request itself is malformed

export class StoreFault extends Fault<StoreFaultCode> {}
