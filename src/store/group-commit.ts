/**
 * The queue in front of a ledger: appends of one turn of the event loop become one batch, a batch becomes one durable commit.
 * Bounded in entries and in time; after a fatal fault nothing is accepted (TRUST.md section 2, lessons 3 and 4).
 * It knows no database: `write` is a worker thread (SQLite) or a transaction (PostgreSQL).
 *
 * While as many batches are being written as `maxInFlight` allows, the next one gathers: the slower the disk, the larger the group.
 * Under load it gathers a moment longer (as PostgreSQL's commit_delay and commit_siblings do), because a fast disk would otherwise be
 * asked for many small commits, each with its messages, wake-ups and fsync. When few wait, nothing waits.
 */
import type { Appended } from '../audit/ledger.ts';
import { LedgerFault } from '../audit/ledger.ts';
import { bag } from '../lib/bag.ts';
import type { Place } from '../lib/bag.ts';
import { toLedgerFault } from './engine-fault.ts';

/** The tlog-tiles format prefixes entries with a uint16 length. */
export const MAX_ENTRY_BYTES = 65_535;

/** The texts of one log inside a batch, in the order they were appended. */
export interface Group {
  readonly log: string;
  readonly texts: readonly string[];
}

export interface GroupCommitOptions {
  /** Entries waiting or being written, at most. */
  readonly queueLimit: number;
  /** The longest an append waits. Counted from the first append of its batch, so others of the batch may wait less. */
  readonly appendTimeoutMs: number;
  readonly maxInFlight: number;
  /** Makes all groups durable at once; the first index of each group, in their order. Rejects with a LedgerFault. */
  readonly write: (groups: readonly Group[]) => Promise<readonly number[]>;
}

export interface GroupCommit {
  append(log: string, text: string): Promise<Appended>;
  /** Does another kind of write under the same rule: none after a fatal fault, and its own fatal fault closes the queue. */
  guard<T>(write: () => Promise<T>): Promise<T>;
  /** Refuses all that waits, once and for good. */
  fail(fault: LedgerFault): void;
  readonly fatal: LedgerFault | null;
  onFatal(listener: (fault: LedgerFault) => void): () => void;
  /** Accepts nothing more; resolves when everything accepted is written or refused. */
  close(): Promise<void>;
}

interface Waiter {
  readonly resolve: (appended: Appended) => void;
  readonly reject: (fault: LedgerFault) => void;
}

interface Batch extends Place {
  readonly groups: Map<string, { readonly log: string; readonly texts: string[]; readonly waiters: Waiter[] }>;
  entries: number;
  timer: NodeJS.Timeout | undefined;
}

/** A batch of so many says that there is load, and that the next one may gather longer ... */
const BUSY_ENTRIES = 6;
/** ... so long, unless so many are there. */
const GATHER_MS = 1;
const FULL_ENTRIES = 32;

const FATAL: readonly string[] = ['ledger_failed', 'ledger_corrupt'];

export function groupCommit({ queueLimit, appendTimeoutMs, maxInFlight, write }: GroupCommitOptions): GroupCommit {
  const inFlight = bag<Batch>();
  const fatalListeners = new Set<(fault: LedgerFault) => void>();
  let gathering: Batch | null = null;
  let scheduled = false;
  let queued = 0;
  let lastEntries = 0;
  /** Set while a batch that could go gathers a moment longer. */
  let pause: NodeJS.Timeout | undefined;
  let fatal: LedgerFault | null = null;
  let closed = false;
  let onIdle: (() => void) | undefined;

  function append(log: string, text: string): Promise<Appended> {
    const refusal =
      fatal ?? (closed ? new LedgerFault('ledger_closed', 'the ledger is closed') : refuseEntry(log, text));
    if (refusal !== null) return Promise.reject(refusal);
    if (queued >= queueLimit) {
      return Promise.reject(
        new LedgerFault('ledger_overloaded', `${queued} audit entries wait for the disk; try again later`),
      );
    }
    return new Promise((resolve, reject) => {
      gathering ??= newBatch();
      let group = gathering.groups.get(log);
      if (group === undefined) {
        group = { log, texts: [], waiters: [] };
        gathering.groups.set(log, group);
      }
      group.texts.push(text);
      group.waiters.push({ resolve, reject });
      gathering.entries++;
      queued++;
      if (pause !== undefined && gathering.entries >= FULL_ENTRIES) {
        clearTimeout(pause);
        pause = undefined;
        setImmediate(flush);
      }
      schedule();
    });
  }

  function newBatch(): Batch {
    const batch: Batch = { at: -1, groups: new Map(), entries: 0, timer: undefined };
    batch.timer = setTimeout(() => expire(batch), appendTimeoutMs);
    return batch;
  }

  function schedule(): void {
    if (scheduled || gathering === null || inFlight.size >= maxInFlight) return;
    scheduled = true;
    if (lastEntries < BUSY_ENTRIES || gathering.entries >= FULL_ENTRIES) setImmediate(flush);
    else pause = setTimeout(flush, GATHER_MS);
  }

  function flush(): void {
    scheduled = false;
    pause = undefined;
    const batch = gathering;
    if (batch === null) return;
    gathering = null;
    lastEntries = batch.entries;
    inFlight.add(batch);
    void commit(batch);
  }

  async function commit(batch: Batch): Promise<void> {
    const groups = [...batch.groups.values()];
    try {
      const firsts = await write(groups.map(({ log, texts }) => ({ log, texts })));
      groups.forEach(({ log, waiters }, position) => {
        const first = firsts[position] as number;
        waiters.forEach((waiter, offset) => waiter.resolve({ log, index: first + offset }));
      });
    } catch (error) {
      refuse(batch, noteFatal(error));
    }
    settle(batch);
  }

  async function guard<T>(write: () => Promise<T>): Promise<T> {
    if (fatal !== null) throw fatal;
    try {
      return await write();
    } catch (error) {
      throw noteFatal(error);
    }
  }

  function noteFatal(error: unknown): LedgerFault {
    const fault = toLedgerFault(error);
    if (FATAL.includes(fault.code)) fail(fault);
    return fault;
  }

  function settle(batch: Batch): void {
    clearTimeout(batch.timer);
    inFlight.remove(batch);
    queued -= batch.entries;
    schedule();
    announceIdle();
  }

  /** What is being written still counts against the limit: the memory and the disk's debt are real until it answers. */
  function expire(batch: Batch): void {
    refuse(
      batch,
      new LedgerFault(
        'ledger_overloaded',
        `the disk did not answer within ${appendTimeoutMs} ms; the entry may still appear`,
      ),
    );
    if (batch === gathering) forget(batch);
  }

  function forget(batch: Batch): void {
    clearTimeout(batch.timer);
    gathering = null;
    queued -= batch.entries;
    announceIdle();
  }

  function fail(fault: LedgerFault): void {
    if (fatal !== null) return;
    fatal = fault;
    for (const batch of inFlight) refuse(batch, fault);
    if (gathering !== null) {
      refuse(gathering, fault);
      forget(gathering);
    }
    for (const listener of fatalListeners) listener(fault);
  }

  function announceIdle(): void {
    if (inFlight.size === 0 && gathering === null) onIdle?.();
  }

  return {
    append,
    guard,
    fail,
    get fatal() {
      return fatal;
    },
    onFatal(listener) {
      fatalListeners.add(listener);
      return () => void fatalListeners.delete(listener);
    },
    close() {
      closed = true;
      return new Promise((resolve) => {
        onIdle = resolve;
        announceIdle();
      });
    },
  };
}

/** A promise that was settled before ignores this. */
function refuse(batch: Batch, fault: LedgerFault): void {
  for (const { waiters } of batch.groups.values()) for (const waiter of waiters) waiter.reject(fault);
}

/** PostgreSQL cannot store U+0000, and half a surrogate pair has no UTF-8 form: the stored bytes would not be the hashed ones. */
function refuseEntry(log: string, text: string): LedgerFault | null {
  if (log.length === 0 || log.length > 512 || log.includes('\0') || !log.isWellFormed()) {
    return new LedgerFault(
      'ledger_invalid',
      'the name of a log has 1 to 512 characters of well-formed Unicode without U+0000',
    );
  }
  if (text.length > MAX_ENTRY_BYTES || Buffer.byteLength(text) > MAX_ENTRY_BYTES) {
    return new LedgerFault(
      'ledger_entry_too_large',
      `an entry has at most ${MAX_ENTRY_BYTES} bytes; log digests, not payloads`,
    );
  }
  if (text.includes('\0') || !text.isWellFormed()) {
    return new LedgerFault('ledger_invalid', 'an entry is well-formed Unicode without U+0000');
  }
  return null;
}
