/**
 * Opens one organisation's log: records entries, signs checkpoints over what is durable, publishes them.
 * INVARIANT (TRUST.md 3.2): entries durable, then signed, then swapped into the ledger, then published; never another order.
 * INVARIANT: whatever we sign extends what we signed or accepted before, computed from our own memory of it and not from a second read.
 * Nodes of one deployment take turns over one ledger; a checkpoint under our key that our ledger does not lead to is a fork, and fatal.
 */
import type { Clock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import { formatCheckpoint, openCheckpoint } from '../verify/checkpoint.ts';
import { FormatError } from '../verify/format-error.ts';
import { compactRange, extendRange, inclusionHolds, inclusionProof, sameHash } from '../verify/merkle.ts';
import type { CompactRange } from '../verify/merkle.ts';
import { formatProof } from '../verify/proof.ts';
import { AuditFault } from './audit-log.ts';
import type { AuditLog, SignedCheckpoint } from './audit-log.ts';
import { clockEntry, keyEntry } from './entries.ts';
import type { Stamp } from './entries.ts';
import { entryText } from './entry-text.ts';
import type { AuditEntry } from './entry.ts';
import type { LogSigner } from './keys.ts';
import { LedgerFault } from './ledger.ts';
import type { Appended, Ledger } from './ledger.ts';
import { hashReader, readPublished, writeTree } from './tree-files.ts';
import type { Published } from './tree-files.ts';

/** How often another node may win the swap before we leave it for the next turn. */
const MAX_SWAPS = 8;

export interface AuditLogOptions {
  readonly ledger: Ledger;
  readonly org: string;
  /** Origin line of the checkpoints; must be the name of the signer's key. */
  readonly origin: string;
  readonly signer: LogSigner;
  readonly clock: Clock;
  readonly node: string;
  /** Milliseconds between checkpoints while entries arrive. 0: no timer, `checkpointNow` only. */
  readonly checkpointEveryMs?: number;
  /** The longest silence: after it a `clock` entry is written and signed. Milliseconds. */
  readonly idleEveryMs?: number;
  /** Where to keep a tlog-tiles copy up to date. Failing to write it does not stop recording. */
  readonly publishDir?: string;
  /** The log is not to be trusted with another entry. Stop admitting calls. Fires once. */
  readonly onFatal: (fault: Fault) => void;
}

/** What we last signed, or accepted from another node after checking it. */
interface Head extends SignedCheckpoint {
  readonly range: CompactRange;
  readonly keyId: string;
}

/**
 * Checks the stored and the published checkpoint against the ledger, records a new or rotated key, signs a first checkpoint, starts the timer.
 * @throws AuditFault when ledger, key and checkpoints do not belong together; LedgerFault.
 */
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  const { ledger, org: log, origin, signer, clock, node, publishDir } = options;
  const { checkpointEveryMs = 1000, idleEveryMs = 10_000 } = options;
  if (signer.vkey.name !== origin) {
    throw new AuditFault('log_key_mismatch', `the log key is named ${signer.vkey.name}, the log is ${origin}`);
  }
  const trusted = [signer.vkey, ...signer.retired];
  const read = hashReader(ledger, log);
  let head: Head | null = null;
  let headSeenAtMs = clock.now();
  let activeAtMs = clock.now();
  let lastIndex = -1;
  let published: Published | null = null;
  let publishFault: string | null = null;
  let fatal: Fault | null = null;
  let closing: Promise<void> | null = null;
  /** Checkpoints are made one after another in this process. */
  let turn: Promise<unknown> = Promise.resolve();

  function stamp(more: { readonly ref?: string | undefined; readonly trace?: string | undefined } = {}): Stamp {
    // One shape whatever is known: on every call's path, and an absent member is not written (entries.ts).
    return { timeMs: clock.now(), node, org: log, ref: more.ref, trace: more.trace };
  }

  async function record(entry: AuditEntry): Promise<Appended> {
    if (fatal !== null) throw new LedgerFault('ledger_failed', 'the audit log has stopped', { cause: fatal });
    if (closing !== null) throw new LedgerFault('ledger_closed', 'the audit log is closed');
    const appended = await ledger.append(log, entryText(entry));
    lastIndex = Math.max(lastIndex, appended.index);
    activeAtMs = clock.now();
    return appended;
  }

  /** Takes over the checkpoint in the ledger after proving that it extends what we know. */
  async function adopt(stored: { readonly size: number; readonly note: string }): Promise<Head> {
    const opened = openStored(stored.note);
    const { size, root } = opened.checkpoint;
    const behind = `the stored checkpoint speaks of ${size} entries`;
    if (size !== stored.size)
      throw new AuditFault('log_forked', `${behind}, the ledger says it speaks of ${stored.size}`);
    if (head !== null && size < head.size) {
      throw new AuditFault('log_rolled_back', `${behind}, and ${head.size} were signed before`);
    }
    const held = await ledger.size(log);
    if (held < size) throw new AuditFault('log_rolled_back', `${behind}, the ledger has ${held}`);
    const range = head?.range.clone() ?? compactRange();
    await extendRange(range, size, read);
    if (!sameHash(range.root(), root)) {
      throw new AuditFault(
        'log_forked',
        `${behind} with another history than our ledger: two gateways use one key, or entries were changed`,
      );
    }
    return { size, root, note: stored.note, range, keyId: opened.signers[0]?.id ?? '' };
  }

  function openStored(note: string) {
    try {
      const opened = openCheckpoint(note, trusted);
      if (opened.ok && opened.checkpoint.origin === origin) return opened;
      const why = opened.ok ? `it is of ${opened.checkpoint.origin}` : opened.message;
      throw new AuditFault(
        'log_key_mismatch',
        `the stored checkpoint is not ours: ${why}. Restore the key, or its line in retired.vkeys`,
      );
    } catch (cause) {
      if (!(cause instanceof FormatError)) throw cause;
      throw new AuditFault('log_key_mismatch', `the stored checkpoint cannot be read: ${cause.message}`, { cause });
    }
  }

  function setHead(next: Head): Head {
    if (next.size > (head?.size ?? -1)) activeAtMs = clock.now();
    lastIndex = Math.max(lastIndex, next.size - 1);
    head = next;
    headSeenAtMs = clock.now();
    return next;
  }

  async function signNext(): Promise<Head> {
    for (let attempt = 0; attempt < MAX_SWAPS; attempt += 1) {
      const stored = await ledger.checkpoint(log);
      if (stored === null && head !== null) {
        throw new AuditFault('log_rolled_back', `the ledger lost its checkpoint over ${head.size} entries`);
      }
      // Another node's turn, or our own swap whose answer was lost: both are checked the same way.
      if (stored !== null && stored.note !== head?.note) setHead(await adopt(stored));
      const size = await ledger.size(log);
      if (head !== null && size < head.size) {
        throw new AuditFault('log_rolled_back', `the ledger has ${size} entries, ${head.size} were signed`);
      }
      if (head !== null && size === head.size) return head;
      const range = head?.range.clone() ?? compactRange();
      await extendRange(range, size, read);
      const root = range.root();
      const note = signer.sign(formatCheckpoint({ origin, size, root }));
      if (await ledger.swapCheckpoint(log, head?.size ?? -1, { size, note })) {
        return setHead({ size, root, note, range, keyId: signer.vkey.id });
      }
    }
    throw new AuditFault('log_contended', `other nodes won the checkpoint ${MAX_SWAPS} times in a row`);
  }

  /** At start only: a published checkpoint that is newer than our ledger is how a rollback shows, so it must be readable. */
  async function comparePublished(dir: string): Promise<void> {
    try {
      await readPublished(ledger, log, dir, trusted);
    } catch (cause) {
      if (cause instanceof Fault) throw cause;
      throw new AuditFault('publish_unreadable', `the publish directory ${dir} cannot be read`, { cause });
    }
  }

  async function publish(next: Head): Promise<void> {
    if (publishDir === undefined || published?.note === next.note) return;
    try {
      const there = await readPublished(ledger, log, publishDir, trusted, published);
      // Another node may have published more already.
      if (there === null || there.size <= next.size) {
        await writeTree({ ledger, log, dir: publishDir, checkpoint: next, from: there?.size ?? 0, vkeys: trusted });
        published = next;
      }
      publishFault = null;
    } catch (error) {
      if (error instanceof Fault) throw error;
      publishFault = error instanceof Error ? error.message : String(error);
    }
  }

  function fail(fault: Fault): void {
    if (fatal !== null) return;
    fatal = fault;
    clearInterval(timer);
    options.onFatal(fault);
  }

  async function oneTurn(): Promise<Head> {
    if (fatal !== null) throw fatal;
    try {
      const next = await signNext();
      await publish(next);
      return next;
    } catch (error) {
      if (error instanceof AuditFault && error.code !== 'log_contended') fail(error);
      if (error instanceof LedgerFault && error.code === 'ledger_corrupt') fail(error);
      throw error;
    }
  }

  function checkpointNow(): Promise<Head> {
    const next = turn.then(oneTurn, oneTurn);
    turn = next;
    return next;
  }

  async function tick(): Promise<void> {
    try {
      // Early by one period, so that the silence never exceeds what was promised.
      if (clock.now() - activeAtMs >= idleEveryMs - checkpointEveryMs) await record(clockEntry(stamp()));
      await checkpointNow();
    } catch (error) {
      // A ledger that refuses has told its own listeners; a fork was told above. The next tick tries again.
      if (!(error instanceof Fault)) {
        fail(new LedgerFault('ledger_failed', 'checkpoints cannot be made any more', { cause: error }));
      }
    }
  }

  async function receipt(index: number): Promise<string> {
    let under = head;
    if (under === null || index >= under.size) under = await checkpointNow();
    if (!Number.isSafeInteger(index) || index < 0 || index >= under.size) {
      throw new AuditFault('log_index_unknown', `the log has no entry ${index}`);
    }
    const [leaf] = await read(0, index, 1);
    const hashes = await inclusionProof(index, under.size, read);
    if (leaf === undefined || !inclusionHolds(leaf, index, under.size, hashes, under.root)) {
      throw new LedgerFault('ledger_corrupt', `the stored hashes do not lead from entry ${index} to the signed root`);
    }
    return formatProof({ index, hashes, checkpoint: under.note });
  }

  async function close(): Promise<void> {
    clearInterval(timer);
    await turn.catch(() => undefined);
    if (fatal === null && ledger.fatal === null) await checkpointNow();
  }

  let timer: NodeJS.Timeout | undefined;
  const stored = await ledger.checkpoint(log);
  if (stored !== null) setHead(await adopt(stored));
  if (publishDir !== undefined) await comparePublished(publishDir);
  const signedBy = (head as Head | null)?.keyId ?? null;
  if (signedBy === null) await record(keyEntry(stamp(), { what: 'created', vkey: signer.vkey.text }));
  else if (signedBy !== signer.vkey.id) {
    const old = trusted.find(({ id }) => id === signedBy)?.text ?? signedBy;
    await record(keyEntry(stamp(), { what: 'rotated', vkey: signer.vkey.text, retired: old }));
  }
  await checkpointNow();
  let ticking = false;
  if (checkpointEveryMs > 0) {
    timer = setInterval(() => {
      if (ticking) return;
      ticking = true;
      void tick().finally(() => (ticking = false));
    }, checkpointEveryMs);
    timer.unref();
  }

  return {
    log,
    origin,
    stamp,
    record,
    checkpointNow,
    receipt,
    status: () => ({
      origin,
      lastIndex,
      checkpoint: head === null ? null : { size: head.size, seenAtMs: headSeenAtMs },
      publishFault,
      fatal: fatal ?? ledger.fatal,
    }),
    close: () => (closing ??= close()),
  };
}
