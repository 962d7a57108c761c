/**
 * Which calls were made under one grant, as the log says it: admitted calls name the policies that decided, and a grant is `grant.<id>`.
 * Reads the part of the log between two moments and nothing else, however old it is. Bounded; `complete` says whether that was all of it.
 */
import type { AuditEntry } from '../audit/entry.ts';
import type { Ledger } from '../audit/ledger.ts';
import { GRANT_PREFIX } from '../policy/grant-policies.ts';

export interface CallUnder {
  readonly index: number;
  readonly time: string;
  readonly call: string | null;
  readonly person: string | null;
  readonly client: string | null;
  readonly server: string | null;
  readonly tool: string | null;
}

export interface CallsUnder {
  /** Admitted calls. */
  readonly count: number;
  /** Of the first and the last of them; null: none. */
  readonly first: number | null;
  readonly last: number | null;
  /** The first of them. */
  readonly calls: readonly CallUnder[];
  readonly complete: boolean;
}

const PAGE = 256;
const MOST_READ = 500_000;
const SHOWN = 200;
/** Entries are stamped by several nodes, and written a moment after. */
const SLACK_MS = 60_000;

/** `from`, `to`: ms since the epoch. */
export async function callsUnder(
  ledger: Ledger,
  log: string,
  grant: string,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<CallsUnder> {
  const rule = `${GRANT_PREFIX}${grant}`;
  const size = await ledger.size(log);
  const start = await firstSince(ledger, log, size, from - SLACK_MS);
  const end = Math.min(await firstSince(ledger, log, size, to + SLACK_MS), start + MOST_READ);
  const calls: CallUnder[] = [];
  let count = 0;
  let first: number | null = null;
  let last: number | null = null;
  for (let next = start; next < end; next += PAGE) {
    for (const { index, text } of await ledger.read(log, next, Math.min(PAGE, end - next))) {
      if (!text.includes(rule)) continue;
      const { kind, decision, time, call, actor } = JSON.parse(text) as AuditEntry;
      // An admitted call has its decision in its intent, or in its one entry when it left none.
      if ((kind !== 'intent' && kind !== 'call') || decision?.verdict !== 'allow') continue;
      if (!decision.rules.includes(rule)) continue;
      count++;
      first ??= index;
      last = index;
      if (calls.length < SHOWN)
        calls.push({
          index,
          time,
          call: call?.id ?? null,
          person: actor?.person ?? null,
          client: actor?.client ?? null,
          server: call?.server ?? null,
          tool: call?.tool ?? null,
        });
    }
  }
  return { count, first, last, calls, complete: end - start < MOST_READ };
}

/** The first entry that is not older than `at`; times grow with the index but for the slack. */
async function firstSince(ledger: Ledger, log: string, size: number, at: number): Promise<number> {
  let [low, high] = [0, size];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const [entry] = await ledger.read(log, middle, 1);
    if (entry && Date.parse((JSON.parse(entry.text) as AuditEntry).time) < at) low = middle + 1;
    else high = middle;
  }
  return low;
}
