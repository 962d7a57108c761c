/**
 * Questions to one log: the last entries, one entry, entries that fit a filter, the whole story of one call (AE-05).
 * Reads the ledger backwards page by page and stops at a limit that is always said in the answer; it is no search engine.
 * Not checked here: whether the log was changed. `remit-verify` does that, on an export.
 */
import type { Actor, AuditEntry, CallFacts, DecisionFacts, EntryKind, OutcomeFacts } from './entry.ts';
import { AuditFault } from './audit-log.ts';
import { LedgerFault } from './ledger.ts';
import type { Ledger, LedgerEntry } from './ledger.ts';

const PAGE = 256;
/** Entries one question may look at. */
export const MAX_SCAN = 100_000;

export interface Indexed {
  readonly index: number;
  readonly entry: AuditEntry;
}

export interface Filter {
  readonly call?: string;
  readonly person?: string;
  readonly tool?: string;
  readonly server?: string;
  readonly ref?: string;
  readonly kinds?: readonly EntryKind[];
  /** ISO 8601, inclusive. */
  readonly since?: string;
  /** ISO 8601, exclusive. */
  readonly until?: string;
}

export interface Found {
  /** Oldest first. */
  readonly entries: readonly Indexed[];
  /** Everything at or above this index was looked at. 0: the whole log. */
  readonly scannedFrom: number;
  /** The log's size when the question was asked. */
  readonly size: number;
}

/** The chain of one call, from the person to what happened. Fields are null when no entry says it. */
/** One step of an approval. */
export interface Step {
  readonly index: number;
  readonly time: string;
  readonly approval: string;
  /** `hold`, `allow`, … for calls; `approval.approved`, `approval.denied`, … for what people said. */
  readonly what: string;
  /** The call; null for what people said. */
  readonly call: string | null;
  readonly person: string | null;
}

export interface Reconstruction {
  readonly call: string;
  readonly entries: readonly { readonly index: number; readonly kind: EntryKind; readonly time: string }[];
  readonly human: { readonly issuer: string; readonly subject: string; readonly person: string | null } | null;
  readonly agent: { readonly client: string; readonly chain: readonly string[] } | null;
  readonly token: string | null;
  readonly decision: DecisionFacts | null;
  readonly approval: string | null;
  /** Whoever held it, said something about it, or used it, under whatever call: hold, decisions and use of its approvals, in order. */
  readonly agreement: readonly Step[];
  readonly tool: Omit<CallFacts, 'id'> | null;
  /** Id of the credential presented upstream. */
  readonly credential: string | null;
  /** `unknown`: an intent without an outcome. `refused`: no intent, a denial. */
  readonly outcome: OutcomeFacts | 'unknown' | 'refused';
}

/** The last `count` entries, oldest first. */
export async function tailEntries(ledger: Ledger, log: string, count: number): Promise<readonly Indexed[]> {
  const size = await ledger.size(log);
  const wanted = Math.min(count, MAX_SCAN);
  const { entries } = await scanBack(ledger, log, size, () => true, wanted, wanted);
  return entries;
}

/** The exact text of an entry, as it was hashed. @throws AuditFault `log_index_unknown` */
export async function showEntry(ledger: Ledger, log: string, index: number): Promise<LedgerEntry> {
  const [entry] = Number.isSafeInteger(index) && index >= 0 ? await ledger.read(log, index, 1) : [];
  if (entry?.index !== index) throw new AuditFault('log_index_unknown', `log ${log} has no entry ${index}`);
  return entry;
}

/** The newest `limit` entries that fit. `scannedFrom` above 0 means that older ones were not looked at. */
export async function findEntries(
  ledger: Ledger,
  log: string,
  filter: Filter,
  { limit = 100, maxScan = MAX_SCAN }: { readonly limit?: number; readonly maxScan?: number } = {},
): Promise<Found> {
  const size = await ledger.size(log);
  return await scanBack(ledger, log, size, ({ entry }) => fits(entry, filter), limit, Math.min(maxScan, MAX_SCAN));
}

/** Everything the log says about one call, or null when the entries looked at do not mention it. */
export async function reconstruct(ledger: Ledger, log: string, call: string): Promise<Reconstruction | null> {
  const { entries } = await findEntries(ledger, log, { call }, { limit: 1000 });
  if (entries.length === 0) return null;
  const facts = entries.map(({ entry }) => entry);
  const actor = last(facts, (entry) => entry.actor);
  const decision = last(facts, (entry) => entry.decision);
  const outcome = last(facts, (entry) => entry.outcome);
  const dispatched = facts.some(({ kind }) => kind === 'intent');
  return {
    call,
    entries: entries.map(({ index, entry }) => ({ index, kind: entry.kind, time: entry.time })),
    human: actor === null ? null : human(actor),
    agent: actor === null ? null : { client: actor.client, chain: actor.chain },
    token: actor?.token ?? null,
    decision,
    approval: decision?.approval ?? null,
    agreement: await agreementOf(ledger, log, new Set(facts.flatMap((entry) => entry.decision?.approval ?? []))),
    tool: withoutId(last(facts, (entry) => entry.call)),
    credential: outcome?.credential ?? null,
    outcome: outcome ?? (dispatched ? 'unknown' : 'refused'),
  };
}

async function agreementOf(ledger: Ledger, log: string, approvals: ReadonlySet<string>): Promise<readonly Step[]> {
  if (approvals.size === 0) return [];
  const steps = new Map<number, Step>();
  const stepOf = ({ index, entry }: Indexed): boolean => {
    const { decision, event, call, actor, time } = entry;
    const approval = decision?.approval ?? event?.['approval'];
    if (typeof approval !== 'string' || !approvals.has(approval)) return false;
    const what = decision?.verdict ?? String(event?.['what']);
    steps.set(index, { index, time, approval, what, call: call?.id ?? null, person: actor?.person ?? null });
    return true;
  };
  await scanBack(ledger, log, await ledger.size(log), stepOf, 1_000, MAX_SCAN);
  return [...steps.values()].sort((a, b) => a.index - b.index);
}

function human({ issuer, subject, person }: Actor) {
  return { issuer, subject, person };
}

function withoutId(call: CallFacts | null): Omit<CallFacts, 'id'> | null {
  if (call === null) return null;
  const { id: _id, ...rest } = call;
  return rest;
}

function last<T>(facts: readonly AuditEntry[], pick: (entry: AuditEntry) => T | undefined): T | null {
  for (const entry of facts.toReversed()) {
    const value = pick(entry);
    if (value !== undefined) return value;
  }
  return null;
}

function fits(entry: AuditEntry, filter: Filter): boolean {
  return (
    (filter.call === undefined || entry.call?.id === filter.call) &&
    (filter.person === undefined || entry.actor?.person === filter.person || entry.actor?.subject === filter.person) &&
    (filter.tool === undefined || entry.call?.tool === filter.tool) &&
    (filter.server === undefined || entry.call?.server === filter.server) &&
    (filter.ref === undefined || entry.ref === filter.ref) &&
    (filter.kinds === undefined || filter.kinds.includes(entry.kind)) &&
    (filter.since === undefined || entry.time >= filter.since) &&
    (filter.until === undefined || entry.time < filter.until)
  );
}

/** From the end backwards, until `limit` entries fit, `maxScan` were read, `stop` says so, or the log begins. */
export async function scanBack(
  ledger: Ledger,
  log: string,
  size: number,
  wanted: (one: Indexed) => boolean,
  limit: number,
  maxScan: number,
  stop: (one: Indexed) => boolean = () => false,
): Promise<Found> {
  const entries: Indexed[] = [];
  const lowest = Math.max(0, size - maxScan);
  let scannedFrom = size;
  while (scannedFrom > lowest) {
    const start = Math.max(lowest, scannedFrom - PAGE);
    const page = await ledger.read(log, start, scannedFrom - start);
    for (const stored of page.toReversed()) {
      const one = { index: stored.index, entry: parseStored(log, stored) };
      scannedFrom = stored.index;
      if (wanted(one)) entries.push(one);
      if (entries.length >= limit || stop(one)) return { entries: entries.reverse(), scannedFrom, size };
    }
    scannedFrom = start;
  }
  return { entries: entries.reverse(), scannedFrom, size };
}

/** We wrote it; a text that is no entry means that somebody else did. */
function parseStored(log: string, { index, text }: LedgerEntry): AuditEntry {
  try {
    const value = JSON.parse(text) as AuditEntry;
    if (value.v === 1 && typeof value.kind === 'string' && typeof value.time === 'string') return value;
  } catch {
    // Falls through to the same complaint.
  }
  throw new LedgerFault('ledger_corrupt', `entry ${index} of log ${log} is not an entry`);
}
