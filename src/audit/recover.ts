/**
 * At start: which calls had left, or may have left, when the gateway stopped? Says so in the log, once, by name.
 * A crash between intent and outcome thus leaves "unknown" in the record, never silence (AE-03).
 * It does not find out what happened: only the upstream knows.
 */
import type { AuditLog } from './audit-log.ts';
import { gateEntry } from './entries.ts';
import type { Appended, Ledger } from './ledger.ts';
import { MAX_SCAN, scanBack } from './query.ts';

/** Call ids that fit into one entry beside the rest. */
const MAX_NAMED = 100;

export interface UnknownCall {
  readonly call: string;
  /** Of the intent. */
  readonly index: number;
  readonly time: string;
  readonly server: string | null;
  readonly tool: string | null;
}

export interface Recovery {
  /** False: the last stop was orderly, or the log is new. */
  readonly crashed: boolean;
  /** Oldest first. */
  readonly unknown: readonly UnknownCall[];
  /** False: the search ended at its limit before it met the last opening; older intents may exist (`remit-verify` lists all). */
  readonly complete: boolean;
  /** The gate entry that was written. */
  readonly gate: Appended;
}

/**
 * Call once per start, after `openAuditLog` and before the first call is admitted. Writes one `gate` entry: `opened` after an orderly stop,
 * `recovered` otherwise, with the count of calls whose outcome is unknown and the ids of the first hundred.
 * `scope`: `all` where this process is the ledger's only user (SQLite); `node` where other nodes may have calls in flight right now.
 * @throws LedgerFault: then the gate must stay closed.
 */
export async function recover(options: {
  readonly ledger: Ledger;
  readonly audit: AuditLog;
  readonly scope: 'all' | 'node';
}): Promise<Recovery> {
  const { ledger, audit, scope } = options;
  const { node } = audit.stamp();
  const size = await ledger.size(audit.log);
  const finished = new Set<number>();
  let lastGate: string | null = null;
  const { entries, scannedFrom } = await scanBack(
    ledger,
    audit.log,
    size,
    ({ index, entry }) => {
      if (scope === 'node' && entry.node !== node) return false;
      // Outcomes stand behind their intents, so going backwards we meet them first.
      // A parked call's request was answered, but the call itself was still open at its server.
      const open = entry.outcome?.status === 'input_required' && entry.outcome.detail === 'parked';
      if (entry.kind === 'outcome' && entry.prev !== undefined && !open) finished.add(entry.prev);
      return entry.kind === 'intent' && !finished.has(index);
    },
    MAX_SCAN,
    MAX_SCAN,
    ({ entry }) => {
      if (entry.kind !== 'gate' || (scope === 'node' && entry.node !== node)) return false;
      lastGate ??= String(entry.event?.what);
      return entry.event?.what !== 'closed';
    },
  );
  const crashed = lastGate !== null && lastGate !== 'closed';
  const unknown = entries.map(({ index, entry }) => ({
    call: entry.call?.id ?? '',
    index,
    time: entry.time,
    server: entry.call?.server ?? null,
    tool: entry.call?.tool ?? null,
  }));
  const opened = !crashed && unknown.length === 0;
  const gate = await audit.record(
    gateEntry(
      audit.stamp(),
      opened
        ? { what: 'opened' }
        : {
            what: 'recovered',
            unknown: unknown.length,
            calls: unknown.slice(0, MAX_NAMED).map(({ call }) => call),
            scannedFrom,
          },
    ),
  );
  return { crashed, unknown, complete: lastGate !== null || scannedFrom === 0, gate };
}
