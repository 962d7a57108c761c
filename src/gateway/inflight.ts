/**
 * Calls that are on their way, so that a lock, a departure or the caller's own cancellation reaches them.
 * A call registers before its standing is checked: a lock that lands in between finds it here, a lock that landed earlier is seen by the guard.
 */
import type { Caller } from '../identity/caller.ts';
import { bag } from '../lib/bag.ts';
import type { Place } from '../lib/bag.ts';

export interface InflightFacts {
  readonly caller: Caller;
  /** Null: a message to an aggregate that is about no one server. */
  readonly server: string | null;
  /** Without the server. */
  readonly tool: string | null;
}

export interface Inflight {
  readonly id: string;
  /** Null until its guards have passed. */
  facts: InflightFacts | null;
  /** Legacy `notifications/cancelled` finds the call by session and request id. */
  request: { readonly session: string; readonly id: string | number } | null;
  readonly signal: AbortSignal;
  /** Goes on after the request that began it was answered (a parked call, a task): whoever keeps it closes it. */
  held: boolean;
  /** Why it was ended: `lock:<id>`, `client_gone`, `client_cancelled`, `shutdown`, `deadline`; null while it runs. */
  cancelledBy: string | null;
}

export interface InflightRegistry {
  open(id: string, timeoutMs: number): Inflight;
  close(call: Inflight): void;
  cancel(call: Inflight, why: string): void;
  /** Its deadline rests until the returned function is called, and then begins anew; pauses nest. */
  pause(call: Inflight): () => void;
  /** How many were ended by this reason; remembered for locks, the newest few hundred. */
  cancelledBy(why: string): number;
  /** Ends every call for which `why` gives a reason; null lets it run. Returns how many. */
  cancelWhere(why: (facts: InflightFacts | null) => string | null): number;
  cancelRequest(session: string, requestId: string | number): boolean;
  running(): Iterable<Inflight>;
  readonly size: number;
}

interface Entry extends Inflight, Place {
  readonly controller: AbortController;
  readonly timeoutMs: number;
  timer: NodeJS.Timeout | undefined;
  pauses: number;
}

const REMEMBERED_LOCKS = 500;

export function inflightRegistry(): InflightRegistry {
  const calls = bag<Entry>();
  /** INVARIANT: every Inflight comes from `open`. Null: it is closed. */
  const entryOf = (call: Inflight): Entry | null => ((call as Entry).at < 0 ? null : (call as Entry));

  const byLock = new Map<string, number>();
  const count = (why: string): void => {
    if (!why.startsWith('lock:')) return;
    const before = byLock.get(why) ?? 0;
    const [oldest] = byLock.keys();
    if (before === 0 && byLock.size >= REMEMBERED_LOCKS && oldest !== undefined) byLock.delete(oldest);
    byLock.set(why, before + 1);
  };

  const cancel = (call: Inflight, why: string): void => {
    const entry = entryOf(call);
    if (!entry || call.cancelledBy !== null) return;
    call.cancelledBy = why;
    count(why);
    entry.controller.abort(why);
  };

  return {
    open(id, timeoutMs) {
      const controller = new AbortController();
      const call: Entry = {
        at: -1,
        id,
        facts: null,
        request: null,
        signal: controller.signal,
        held: false,
        cancelledBy: null,
        controller,
        timeoutMs,
        timer: setTimeout(() => cancel(call, 'deadline'), timeoutMs),
        pauses: 0,
      };
      calls.add(call);
      return call;
    },
    close(call) {
      clearTimeout((call as Entry).timer);
      calls.remove(call as Entry);
    },
    cancel,
    cancelledBy: (why) => byLock.get(why) ?? 0,
    pause(call) {
      const entry = entryOf(call);
      if (!entry) return () => undefined;
      entry.pauses++;
      clearTimeout(entry.timer);
      let over = false;
      return () => {
        if (over) return;
        over = true;
        if (--entry.pauses === 0 && entry.at >= 0)
          entry.timer = setTimeout(() => cancel(call, 'deadline'), entry.timeoutMs);
      };
    },
    cancelWhere(why) {
      let count = 0;
      for (const call of calls) {
        const reason = call.cancelledBy === null ? why(call.facts) : null;
        if (reason === null) continue;
        cancel(call, reason);
        count++;
      }
      return count;
    },
    cancelRequest(session, requestId) {
      for (const call of calls) {
        if (call.request?.session === session && call.request.id === requestId) {
          cancel(call, 'client_cancelled');
          return true;
        }
      }
      return false;
    },
    running: () => calls,
    get size() {
      return calls.size;
    },
  };
}
