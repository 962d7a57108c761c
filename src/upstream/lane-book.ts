/**
 * Which connections a pool keeps, and when one has to go: idle too long, too old, or the least recently used when there
 * is no room. Decides; ending them is the pool's.
 */
import type { JsonObject } from '../lib/json.ts';
import { type Breaker, newBreaker, phaseOf } from './breaker.ts';
import type { Holder } from './oauth/holder.ts';
import type { LinkedConnection } from './link.ts';
import type { ServerStatus, ServerTarget } from './target.ts';
import type { UpstreamIdentity } from './connection.ts';

export interface Entry {
  readonly serverId: string;
  /** Null: the shared one. */
  readonly lane: string | null;
  /** What a legacy server is told that we can do. */
  readonly capabilities: JsonObject;
  /** Whose account it uses, as the last call brought it. */
  holder?: Holder;
  state: ServerStatus['state'];
  /** Since when it is in this state, ms. */
  since: number;
  /** When somebody last asked for it or was using it, ms. */
  usedAt: number;
  /** Of its opening. */
  breaker: Breaker;
  identity: UpstreamIdentity | null;
  /** Of the running attempt or the live connection; null when down. */
  current: { readonly promise: Promise<LinkedConnection>; readonly abort: AbortController } | null;
  /** The live connection. */
  live: LinkedConnection | null;
  /** Of the credentials that `live` was opened with. */
  stamp: string;
  /** A connection with newer credentials is being opened; `live` serves until it is there. */
  replacing: AbortController | null;
  /** Everything that was told to end and has not yet. */
  ending: Promise<unknown>;
}

/** All connections of one server. */
export interface Site {
  server: ServerTarget;
  definition: string;
  /** Why it may not have its credentials; null: it may. */
  refused: string | null;
  /** Of its credentials as they are now. */
  stamp: string;
  /** From then on its credentials have to be asked about again, ms. */
  lookAt: number;
  /** Of the requests on all its connections. */
  readonly breaker: Breaker;
  shared: Entry | null;
  readonly lanes: Map<string, Entry>;
}

export interface KeepRules {
  readonly idleMs: number;
  readonly lifeMs: number;
  readonly maxLanes: number;
}

export const KEEP: KeepRules = { idleMs: 600_000, lifeMs: 3_600_000, maxLanes: 100 };

export const newEntry = (serverId: string, lane: string | null, capabilities: JsonObject, now: number): Entry => ({
  serverId,
  lane,
  capabilities,
  state: 'down',
  since: now,
  usedAt: now,
  breaker: newBreaker(),
  identity: null,
  current: null,
  live: null,
  stamp: '',
  replacing: null,
  ending: Promise.resolve(),
});

export const entriesOf = (site: Site): Entry[] => [...(site.shared ? [site.shared] : []), ...site.lanes.values()];

const inFlight = ({ live }: Entry): number => live?.inFlight() ?? 0;

/** Whoever just asked for a connection may not have used it yet. */
const JUST_ASKED_MS = 1_000;

/** Nothing is under way on it, and nobody waits for what it may say. */
const idle = (entry: Entry): boolean =>
  entry.state !== 'connecting' && inFlight(entry) === 0 && entry.live?.watching() !== true;

/** Why this connection should end now; null while it may stay. Also notes that a busy one is used. */
export function outlived(entry: Entry, transport: string, now: number, rules: KeepRules): string | null {
  if (inFlight(entry) > 0 || entry.live?.watching() === true) entry.usedAt = now;
  if (entry.live === null) return null;
  if (entry.lane === null && transport !== 'stdio') return null;
  if (idle(entry) && now - entry.usedAt >= rules.idleMs) return 'it was idle';
  // New callers get a new one (`retired`); this one only waits for what is under way.
  const unused = inFlight(entry) === 0 && now - entry.usedAt >= JUST_ASKED_MS;
  return unused && retired(entry, now, rules) ? 'it was old' : null;
}

/** A lane too old to take anybody new. */
export const retired = (entry: Entry, now: number, { lifeMs }: KeepRules): boolean =>
  entry.lane !== null && entry.state === 'up' && now - entry.since >= lifeMs;

/** A lane that is down and owes no pause any more tells nothing. */
export const forgettable = (entry: Entry, now: number): boolean =>
  entry.lane !== null && entry.current === null && phaseOf(entry.breaker, now) !== 'open';

/** The lane that makes room for a new one: one that is down, else the least recently used idle one; null when all are in use. */
export function makesRoom(lanes: Iterable<Entry>): Entry | null {
  let oldest: Entry | null = null;
  for (const entry of lanes) {
    if (entry.current === null) return entry;
    if (idle(entry) && (oldest === null || entry.usedAt < oldest.usedAt)) oldest = entry;
  }
  return oldest;
}
