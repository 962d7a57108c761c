/**
 * What was contained, told: every kind of incident in the log, alarms as open records, too, from which people are notified. Bounded: of one
 * kind and subject six entries a minute; what more there was is counted in the next one. Never throws and never holds up whoever reports:
 * containment has happened already when this is called.
 * CRASH between the log and the record: the log has it; the next of its kind opens the record.
 */
import { LRUCache } from 'lru-cache';
import type { AuditLog } from '../audit/audit-log.ts';
import { incidentEntry } from '../audit/entries.ts';
import type { Actor, CallFacts } from '../audit/entry.ts';
import { INCIDENTS, IncidentRecord } from '../inventory/incidents.ts';
import type { IncidentKind } from '../inventory/incidents.ts';
import { sha256Hex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { isFault } from '../lib/fault.ts';
import type { StoredRecord, StateStore } from '../store/state.ts';

export interface Incident {
  readonly what: IncidentKind;
  readonly subject: string;
  /** Codes and ids, never a peer's text: flat, small. */
  readonly facts: Readonly<Record<string, string | number | boolean | null>>;
  readonly actor?: Actor | undefined;
  readonly call?: CallFacts | undefined;
}

export interface Incidents {
  /** Resolves when it is in the log, or counted; most do not wait for it. */
  report(incident: Incident): Promise<void>;
  /** How many of a kind and subject this process has seen, counted ones included. */
  count(what: IncidentKind, subject: string): number;
}

const MINUTE_MS = 60_000;
const PER_MINUTE = 6;
const REMEMBERED = 5_000;

interface Count {
  from: number;
  written: number;
  more: number;
  all: number;
}

export function incidentLog(deps: {
  readonly org: string;
  readonly clock: Clock;
  readonly audit: AuditLog;
  readonly state: StateStore;
  readonly record: (id: string) => StoredRecord | undefined;
  readonly log: (level: 'warn' | 'error', fields: object, message: string) => void;
}): Incidents {
  const { org, clock, audit, state } = deps;
  const counts = new LRUCache<string, Count>({ max: REMEMBERED });

  async function open({ what, subject, facts }: Incident): Promise<void> {
    const id = incidentId(what, subject);
    const known = IncidentRecord.safeParse(deps.record(id)?.body);
    if (known.success && known.data.closed === undefined) return;
    const body: IncidentRecord = { what, subject, facts: { ...facts }, openedAt: clock.now() };
    await state.commit({
      actor: 'remit:incidents',
      reason: `${what}: ${subject}`.slice(0, 500),
      writes: [{ kind: 'incident', org, id, body }],
    });
  }

  async function write(incident: Incident, more: number): Promise<void> {
    const { what, subject, facts, actor, call } = incident;
    try {
      await audit.record(
        incidentEntry(audit.stamp(), { ...facts, what, subject, ...(more > 0 && { more }) }, { actor, call }),
      );
      if (INCIDENTS[what] === 'alarm') await open(incident);
    } catch (error) {
      deps.log('error', { what, subject, fault: isFault(error) ? error.code : String(error) }, 'incident not recorded');
    }
  }

  return {
    async report(incident) {
      const { what, subject } = incident;
      const key = `${what} ${subject}`;
      const now = clock.now();
      let count = counts.get(key);
      if (count === undefined) counts.set(key, (count = { from: now, written: 0, more: 0, all: 0 }));
      if (now - count.from >= MINUTE_MS || now < count.from) Object.assign(count, { from: now, written: 0 });
      count.all++;
      if (count.written >= PER_MINUTE) {
        count.more++;
        return;
      }
      count.written++;
      const { more } = count;
      count.more = 0;
      deps.log('warn', { what, subject, ...incident.facts }, 'contained');
      await write(incident, more);
    },
    count: (what, subject) => counts.get(`${what} ${subject}`)?.all ?? 0,
  };
}

/** One open record per kind and subject. */
export const incidentId = (what: IncidentKind, subject: string): string => `${what}-${sha256Hex(subject).slice(0, 24)}`;
