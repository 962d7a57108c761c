/**
 * Checks across entries, in log order: links point back to the same call, an outcome has its intent, time runs forward,
 * nobody was silent longer than promised. What is left without an outcome is listed, never guessed.
 * Memory: one record per intent that is still open; nothing per entry.
 */
import type { VerifiedEntry } from './entry.ts';
import { MAX_LISTED, printable } from './report.ts';
import type { Findings, Unfinished } from './report.ts';

/** Nodes stamp entries before they are appended, so neighbours may stand the wrong way round by this much. */
const CLOCK_TOLERANCE_MS = 2000;

export interface History {
  /** Entries must come in order. `lookup` fetches an earlier entry of the same log; null when it cannot be read. */
  add(index: number, entry: VerifiedEntry, lookup: (index: number) => Promise<VerifiedEntry | null>): Promise<void>;
  summary(): {
    readonly kinds: Record<string, number>;
    readonly firstTime: string | null;
    readonly lastTime: string | null;
    readonly unfinished: Unfinished[];
    readonly unfinishedCount: number;
  };
}

interface OpenIntent {
  readonly time: string;
  readonly call: string;
  readonly recoveredAt: number | null;
}

export function history(found: Findings, gapMs: number): History {
  const kinds: Record<string, number> = {};
  const open = new Map<number, OpenIntent>();
  let org: string | null = null;
  let first: VerifiedEntry | null = null;
  let previous: VerifiedEntry | null = null;
  let latestMs = 0;

  function name(index: number, entry: VerifiedEntry) {
    return { index, time: entry.time, ...(entry.call === null ? {} : { call: printable(entry.call) }) };
  }

  async function checkLink(
    index: number,
    entry: VerifiedEntry,
    lookup: (index: number) => Promise<VerifiedEntry | null>,
  ) {
    if (entry.prev === null) return;
    const intent = open.get(entry.prev);
    if (entry.prev < index && intent !== undefined && intent.call === entry.call) {
      // A parked call goes on at its server: another outcome follows.
      if (entry.kind === 'outcome' && !entry.parked) open.delete(entry.prev);
      return;
    }
    const target = entry.prev < index ? await lookup(entry.prev) : null;
    // A retry that brings answers is a call of its own; it names the one that waited for them, of the same person, item and arguments.
    if (entry.kind === 'intent' && target?.kind === 'intent' && entry.use !== null && target.use === entry.use) return;
    if (target === null || target.call === null || target.call !== entry.call) {
      const severity = 'error';
      const message = `entry ${index} points to entry ${entry.prev}, which is not an earlier entry of the same call`;
      found.add({ severity, code: 'link_broken', message, ...name(index, entry) });
    } else if (entry.kind === 'outcome' && target.kind === 'intent') {
      const message = `entry ${index} is a further outcome of the intent at ${entry.prev}`;
      found.add({ severity: 'warning', code: 'outcome_repeated', message, ...name(index, entry) });
    } else if (entry.kind === 'outcome' && (target.kind === 'outcome' || target.kind === 'call')) {
      const message = `entry ${index} amends the outcome at ${entry.prev}: the answer was held back after all`;
      found.add({ severity: 'note', code: 'outcome_amended', message, ...name(index, entry) });
    } else if (entry.kind === 'outcome') {
      const message = `entry ${index} is an outcome, and entry ${entry.prev} is not its intent`;
      found.add({ severity: 'error', code: 'outcome_without_intent', message, ...name(index, entry) });
    }
  }

  function checkTime(index: number, entry: VerifiedEntry) {
    if (previous === null) return;
    if (entry.timeMs < latestMs - CLOCK_TOLERANCE_MS) {
      const message = `entry ${index} is dated ${latestMs - entry.timeMs} ms before an earlier entry`;
      found.add({ severity: 'warning', code: 'clock_went_back', message, ...name(index, entry) });
    }
    const silentMs = entry.timeMs - latestMs;
    if (silentMs <= gapMs) return;
    const span = `nothing was recorded for ${Math.round(silentMs / 1000)} s before entry ${index}`;
    const orderly = previous.kind === 'gate' && previous.event?.what === 'closed';
    found.add(
      orderly
        ? { severity: 'note', code: 'stopped', message: `${span}: the gateway had closed`, ...name(index, entry) }
        : {
            severity: 'warning',
            code: 'silence',
            message: `${span}, and no closing was recorded`,
            ...name(index, entry),
          },
    );
  }

  function markRecovered(index: number, entry: VerifiedEntry) {
    if (entry.kind !== 'gate' || !Array.isArray(entry.event?.calls)) return;
    const named = new Set<unknown>(entry.event.calls);
    for (const [at, intent] of open) {
      if (intent.recoveredAt === null && named.has(intent.call)) open.set(at, { ...intent, recoveredAt: index });
    }
  }

  return {
    async add(index, entry, lookup) {
      kinds[entry.kind] = (kinds[entry.kind] ?? 0) + 1;
      org ??= entry.org;
      if (entry.org !== org) {
        const message = `entry ${index} is of organisation "${printable(entry.org)}" in the log of "${printable(org)}"`;
        found.add({ severity: 'error', code: 'foreign_organisation', message, ...name(index, entry) });
      }
      await checkLink(index, entry, lookup);
      checkTime(index, entry);
      markRecovered(index, entry);
      if (entry.kind === 'intent' && entry.call !== null) {
        open.set(index, { time: entry.time, call: entry.call, recoveredAt: null });
      }
      first ??= entry;
      previous = entry;
      latestMs = Math.max(latestMs, entry.timeMs);
    },
    summary: () => ({
      kinds,
      firstTime: first?.time ?? null,
      lastTime: previous?.time ?? null,
      unfinished: [...open]
        .slice(0, MAX_LISTED)
        .map(([index, { time, call, recoveredAt }]) => ({ index, time, call: printable(call), recoveredAt })),
      unfinishedCount: open.size,
    }),
  };
}
