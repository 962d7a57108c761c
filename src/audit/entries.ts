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
  readonly ref?: string;
  /** W3C trace id. */
  readonly trace?: string;
}

export type EventFacts = NonNullable<AuditEntry['event']>;

function head<K extends AuditEntry['kind']>(kind: K, stamp: Stamp) {
  return {
    v: 1,
    kind,
    time: new Date(stamp.timeMs).toISOString(),
    node: stamp.node,
    org: stamp.org,
    ...(stamp.ref === undefined ? {} : { ref: stamp.ref }),
    ...(stamp.trace === undefined ? {} : { trace: stamp.trace }),
  } as const;
}

const link = (prev: number | undefined) => (prev === undefined ? {} : { prev });

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
  return {
    ...head('intent', stamp),
    actor: facts.actor,
    call: facts.call,
    decision: facts.decision,
    ...link(facts.prev),
  };
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
  return { ...head('outcome', stamp), actor: facts.actor, call: facts.call, outcome: facts.outcome, prev: facts.prev };
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
  return {
    ...head('call', stamp),
    actor: facts.actor,
    call: facts.call,
    decision: facts.decision,
    outcome: facts.outcome,
    ...link(facts.prev),
  };
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
  return {
    ...head('denial', stamp),
    ...(facts.actor === undefined ? {} : { actor: facts.actor }),
    ...(facts.call === undefined ? {} : { call: facts.call }),
    decision: facts.decision,
    ...link(facts.prev),
  };
}

/** A change of governance state. `event.what` names it (`tool.approved`, `lock.added`), `event.revision` is the revision that carries it. */
export function adminEntry(stamp: Stamp, event: EventFacts & { readonly what: string }, actor?: Actor): AuditEntry {
  return { ...head('admin', stamp), ...(actor === undefined ? {} : { actor }), event };
}

/** A key came into use or retired. Only its public verifier key or its id, never the key. */
export function keyEntry(stamp: Stamp, event: EventFacts & { readonly what: string }): AuditEntry {
  return { ...head('key', stamp), event };
}

/** Nothing happened, and we were here. */
export function clockEntry(stamp: Stamp): AuditEntry {
  return head('clock', stamp);
}

/** The gateway `opened`, `closed` or `recovered`. */
export function gateEntry(
  stamp: Stamp,
  event: EventFacts & { readonly what: 'opened' | 'closed' | 'recovered' },
): AuditEntry {
  return { ...head('gate', stamp), event };
}
