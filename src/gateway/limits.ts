/**
 * Room for everybody (RL-01): calls per minute and calls in flight of a person, an agent, the organisation, a server and a tool, and logged
 * refusals per caller. Keys are verified identities, never headers, sessions or tokens, so that nothing a client writes buys a new bucket.
 * Rates and budgets are counted by `Counters`, the port for a store shared by several nodes. If that store is away `take` rejects and the
 * guard refuses; such a store's own floor is the memory of its node (limits-memory.ts), so that it need not come to that.
 * Calls in flight are always of this node: they guard its memory. Not here: loops (loops.ts), what a budget is of (budgets.ts).
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { Server } from '../inventory/records.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import { memoryCounters } from './limits-memory.ts';
import { agentOf } from './limits-who.ts';
import { loopWatch } from './loops.ts';
import type { LoopSettings, Loops } from './loops.ts';

/** Whose room it is, in the order in which it is asked; a message that is about no server or tool has a shorter list of keys. */
export const LEVELS = ['person', 'agent', 'organisation', 'server', 'tool'] as const;
export type Level = (typeof LEVELS)[number];

/** So many in so long. INVARIANT: `on` is the same for all quotas of one kind, and no other kind has it. */
export interface Quota {
  readonly on: string;
  readonly max: number;
  readonly windowMs: number;
}

/** The first quota that had no room, and when it has. */
export interface Short {
  readonly at: number;
  readonly againMs: number;
}

/** A window begins with the first that is taken in it, and ends as a whole. Contract: test/contracts/limits.ts. */
export interface Counters {
  /**
   * Takes `amounts` (default: one each) of every quota, key by key, or of none. Atomic: of what runs at the same time never more than `max` is
   * taken in a window. What is refused costs nothing. @throws Fault when the store is away: then nothing is known to be taken.
   */
  take(quotas: readonly Quota[], keys: readonly string[], amounts?: readonly number[]): Promise<Short | null>;
  /** Undoes a `take` of so long ago, as far as its windows still are; never below nothing. */
  giveBack(
    quotas: readonly Quota[],
    keys: readonly string[],
    amounts: readonly number[] | undefined,
    agoMs: number,
  ): Promise<void>;
}

export interface LimitSettings extends LoopSettings {
  readonly callsPerMinutePerPerson: number;
  readonly callsPerMinutePerAgent?: number;
  readonly callsPerMinutePerOrganisation?: number;
  readonly callsPerMinutePerServer?: number;
  readonly callsPerMinutePerTool?: number;
  /** Refusals of one caller that are logged one by one in a minute. */
  readonly refusalsPerMinutePerCaller: number;
  readonly concurrentPerPerson: number;
  readonly concurrentPerAgent?: number;
  readonly concurrentPerOrganisation?: number;
  readonly concurrentPerServer?: number;
  readonly concurrentCalls: number;
}

/** Wide: they are for those who set them. A server's own bound in flight is the bulkhead (RL-04), and that one is narrow. */
const WIDE = 1_000_000;
const CONCURRENT_PER_SERVER = 64;
/** The node's last places, as a part of all, are not for calls to a server that does not answer well. */
const KEPT_BACK = 1 / 8;

export type Room =
  | { readonly ok: true }
  | { readonly ok: false; readonly on: string; readonly retryAfterSeconds: number };

/** Whose places are all taken. */
export type Full = Exclude<Level, 'tool'> | 'node';

/** What a record says of its server. */
export type OwnLimits = Server['limits'];

export interface Limits {
  readonly counters: Counters;
  readonly loops: Loops;
  /** Takes one call of each of these minutes, or of none. `keys` as `keysOf` makes them. */
  take(keys: readonly string[], own?: OwnLimits): Promise<Room>;
  /**
   * One more refusal of this caller: `log` it; or it is the `last` one of this minute to be logged, and says that more may follow;
   * or `count` it only. Who holds a token and nothing else must not be able to fill the disk.
   */
  refusal(caller: string): Promise<'log' | 'last' | 'count'>;
  /** Takes a place among calls in flight, or says whose places are full. Every null needs one `leave`. */
  enter(keys: readonly string[], own?: OwnLimits): Full | null;
  leave(keys: readonly string[]): void;
  /** True when the node is full: refuse before reading a body. */
  full(): boolean;
}

/** Verified identities of this call, in the order of LEVELS. */
export function keysOf(call: Call): string[] {
  const { server, tool } = call.facts;
  // An agent that acts alone stands in the person's place, too.
  const keys = [known(call, 'person').id, agentOf(call), call.endpoint.org];
  if (server) {
    keys.push(server.id);
    if (tool) keys.push(tool.id);
  }
  return keys;
}

const MINUTE_MS = 60_000;
const ROOM: Room = { ok: true };
const SERVER = LEVELS.indexOf('server');

export interface LimitParts {
  /** Default: in memory. */
  readonly counters?: Counters;
  /** Whether calls to this server may be in vain: it fails, or is being tried again. */
  readonly unwell?: (server: string) => boolean;
  readonly onLoop?: (call: Call, times: number) => void;
}

export function nodeLimits(settings: LimitSettings, parts: LimitParts = {}): Limits {
  const { counters = memoryCounters(), unwell = () => false, onLoop = () => undefined } = parts;
  const perMinute: Readonly<Record<Level, number>> = {
    person: settings.callsPerMinutePerPerson,
    agent: settings.callsPerMinutePerAgent ?? WIDE,
    organisation: settings.callsPerMinutePerOrganisation ?? WIDE,
    server: settings.callsPerMinutePerServer ?? WIDE,
    tool: settings.callsPerMinutePerTool ?? WIDE,
  };
  const quotas: readonly Quota[] = LEVELS.map((on) => ({ on, max: perMinute[on], windowMs: MINUTE_MS }));
  const refusals = new RateLimiterMemory({ points: settings.refusalsPerMinutePerCaller, duration: 60 });
  const inFlight: Readonly<Record<Exclude<Level, 'tool'>, number>> = {
    person: settings.concurrentPerPerson,
    agent: settings.concurrentPerAgent ?? settings.concurrentCalls,
    organisation: settings.concurrentPerOrganisation ?? settings.concurrentCalls,
    server: settings.concurrentPerServer ?? CONCURRENT_PER_SERVER,
  };
  const places = (['person', 'agent', 'organisation', 'server'] as const).map((on) => ({
    on,
    max: inFlight[on],
    taken: new Map<string, Taken>(),
  }));
  const keptBack = settings.concurrentCalls - Math.max(1, Math.floor(settings.concurrentCalls * KEPT_BACK));
  let total = 0;

  return {
    counters,
    loops: loopWatch(settings, onLoop),
    async take(keys, own) {
      const of =
        own?.callsPerMinute === undefined || keys.length <= SERVER
          ? quotas
          : quotas.with(SERVER, { on: 'server', max: own.callsPerMinute, windowMs: MINUTE_MS });
      const short = await counters.take(of, keys);
      return short === null ? ROOM : noRoom(of[short.at]!.on, short.againMs);
    },
    async refusal(caller) {
      try {
        await refusals.consume(caller);
        return 'log';
      } catch (over) {
        // The library refuses by throwing a result that is not an Error.
        if (!(over instanceof RateLimiterRes)) throw over;
        return over.consumedPoints === settings.refusalsPerMinutePerCaller + 1 ? 'last' : 'count';
      }
    },
    enter(keys, own) {
      if (total >= settings.concurrentCalls) return 'node';
      // What may wait in vain leaves the last places to those that will not.
      if (total >= keptBack && keys.length > SERVER && unwell(keys[SERVER]!)) return 'node';
      const count = Math.min(keys.length, places.length);
      for (let at = 0; at < count; at++) {
        const { on, max, taken } = places[at]!;
        const most = at === SERVER ? (own?.concurrent ?? max) : max;
        if ((taken.get(keys[at]!)?.now ?? 0) >= most) return on;
      }
      for (let at = 0; at < count; at++) {
        const { taken } = places[at]!;
        const place = taken.get(keys[at]!);
        if (place) place.now++;
        else put(taken, keys[at]!);
      }
      total++;
      return null;
    },
    leave(keys) {
      const count = Math.min(keys.length, places.length);
      for (let at = 0; at < count; at++) {
        const place = places[at]!.taken.get(keys[at]!);
        if (place && place.now > 0) place.now--;
      }
      total--;
    },
    full: () => total >= settings.concurrentCalls,
  };
}

/** Whose places they are is told where that is neither the node nor the caller. */
export const crowded = (on: Full): Denial =>
  on === 'node' || on === 'person' ? { reason: 'overloaded' } : { reason: 'overloaded', on };

const noRoom = (on: string, againMs: number): Extract<Room, { ok: false }> => ({
  ok: false,
  on,
  retryAfterSeconds: Math.max(1, Math.ceil(againMs / 1000)),
});

/** Stays when it is empty: a table whose entries come and go with every call costs the collector dear (lib/bag.ts). */
interface Taken {
  now: number;
}
const MOST_KEPT = 20_000;

function put(taken: Map<string, Taken>, key: string): void {
  if (taken.size >= MOST_KEPT) for (const [one, { now }] of taken) if (now === 0) taken.delete(one);
  taken.set(key, { now: 1 });
}
