/**
 * Builders of log entries: facts in, one `AuditEntry` out. Pure; nothing here hashes, reads a clock or writes.
 * Callers pass digests, never payloads: no builder has a parameter that could carry arguments, results or a secret.
 * Which kind is written when: DESIGN.md section 4, steps 10 and 13; what each promises: docs/audit-format.md.
 */
import type { Actor, AuditEntry, CallFacts, DecisionFacts, OutcomeFacts } from './entry.ts';

/** What every entry has. `AuditLog.stamp()` makes one. */
export interface Stamp {
  /** Milliseconds since the Unix epoch. */
  readonly timeMs: number;
  readonly node: string;
  readonly org: string;
  readonly ref?: string | undefined;
  /** W3C trace id. */
  readonly trace?: string | undefined;
}

export type EventFacts = NonNullable<AuditEntry['event']>;

type Part = 'actor' | 'call' | 'decision' | 'event' | 'outcome' | 'prev';

/** INVARIANT: members are set in canonical order (RFC 8785), so that the text is made from the entry itself and not from a sorted copy. */
function entryOf(
  kind: AuditEntry['kind'],
  stamp: Stamp,
  { actor, call, decision, event, outcome, prev }: { readonly [P in Part]?: AuditEntry[P] | undefined },
): AuditEntry {
  const entry: { -readonly [K in keyof AuditEntry]?: AuditEntry[K] } = {};
  if (actor !== undefined) entry.actor = actor;
  if (call !== undefined) entry.call = call;
  if (decision !== undefined) entry.decision = decision;
  if (event !== undefined) entry.event = event;
  entry.kind = kind;
  entry.node = stamp.node;
  entry.org = stamp.org;
  if (outcome !== undefined) entry.outcome = outcome;
  if (prev !== undefined) entry.prev = prev;
  if (stamp.ref !== undefined) entry.ref = stamp.ref;
  entry.time = new Date(stamp.timeMs).toISOString();
  if (stamp.trace !== undefined) entry.trace = stamp.trace;
  entry.v = 1;
  return entry as AuditEntry;
}

/** A side-effecting call is about to leave. Must be durable before it does. `prev`: an earlier entry of the same call (a hold). */
export function intentEntry(
  stamp: Stamp,
  facts: {
    readonly actor: Actor;
    readonly call: CallFacts;
    readonly decision: DecisionFacts;
    readonly prev?: number | undefined;
  },
): AuditEntry {
  return entryOf('intent', stamp, facts);
}

/** What became of an intent. `prev` is the index that `record` returned for that intent. Must be durable before the reply leaves. */
export function outcomeEntry(
  stamp: Stamp,
  facts: {
    readonly actor: Actor;
    readonly call: CallFacts;
    readonly outcome: OutcomeFacts;
    readonly prev: number;
  },
): AuditEntry {
  return entryOf('outcome', stamp, facts);
}

/** A read-only call and its outcome in one entry. Must be durable before the reply leaves. */
export function callEntry(
  stamp: Stamp,
  facts: {
    readonly actor: Actor;
    readonly call: CallFacts;
    readonly decision: DecisionFacts;
    readonly outcome: OutcomeFacts;
    readonly prev?: number | undefined;
  },
): AuditEntry {
  return entryOf('call', stamp, facts);
}

/** Refused, held or challenged, with the true reason. `actor` is left out when nobody was authenticated, `call` when nothing was readable. */
export function denialEntry(
  stamp: Stamp,
  facts: {
    readonly actor?: Actor | undefined;
    readonly call?: CallFacts | undefined;
    readonly decision: DecisionFacts;
    readonly prev?: number | undefined;
  },
): AuditEntry {
  return entryOf('denial', stamp, facts);
}

/** A change of governance state. `event.what` names it (`tool.approved`, `lock.added`), `event.revision` is the revision that carries it. */
export function adminEntry(stamp: Stamp, event: EventFacts & { readonly what: string }, actor?: Actor): AuditEntry {
  return entryOf('admin', stamp, { actor, event });
}

/** A key came into use or retired. Only its public verifier key or its id, never the key. */
export function keyEntry(stamp: Stamp, event: EventFacts & { readonly what: string }): AuditEntry {
  return entryOf('key', stamp, { event });
}

/** Nothing happened, and we were here. */
export function clockEntry(stamp: Stamp): AuditEntry {
  return entryOf('clock', stamp, {});
}

/** Something was contained. `event.what` says what, `event.server` where; codes and ids only, never a peer's text. */
export function incidentEntry(
  stamp: Stamp,
  event: EventFacts & { readonly what: string },
  facts: { readonly actor?: Actor | undefined; readonly call?: CallFacts | undefined } = {},
): AuditEntry {
  return entryOf('incident', stamp, { ...facts, event });
}

/** The gateway `opened`, `closed` or `recovered`. */
export function gateEntry(
  stamp: Stamp,
  event: EventFacts & { readonly what: 'opened' | 'closed' | 'recovered' },
): AuditEntry {
  return entryOf('gate', stamp, { event });
}
