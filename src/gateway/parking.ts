/**
 * Calls of modern clients that wait at an old server for an answer from the client (decision 0008): the server's request stays open on this
 * node, the client was answered `input_required`, and its retry, after passing every guard again, takes the call up here. The call is never
 * made twice. A parked call is a call in flight: locks and departures end it; so does its time. Memory only: a node that ends loses what is
 * parked on it, and the retry is told so.
 */
import { randomBytes } from 'node:crypto';
import { ANSWER_WITHIN_MS } from './asking.ts';
import type { AskBox } from './asking.ts';
import type { Call } from './call.ts';
import type { InflightRegistry } from './inflight.ts';
import type { Performed } from './perform.ts';

export interface Parked {
  readonly id: string;
  /** The call that was made; its retries are calls of their own. */
  readonly call: Call;
  readonly box: AskBox;
  readonly run: Promise<Performed>;
  /** Log index of what was last told the client. */
  prev: number | undefined;
  /** A retry is listening right now; a second one at the same time is refused. */
  attended: boolean;
}

export interface Parking {
  /** Null: this person has too many waiting already. */
  open(call: Call, person: string, box: AskBox, run: Promise<Performed>): Parked | null;
  /** Nobody listens any more for now: it ends when nobody comes back in time. */
  leave(parked: Parked): void;
  take(id: string): Parked | null;
  readonly size: number;
}

/** Calls one person may have waiting. */
const MAX_PER_PERSON = 20;

export function parking(inflight: InflightRegistry): Parking {
  const parked = new Map<string, { readonly entry: Parked; readonly person: string; timer: NodeJS.Timeout | null }>();

  return {
    open(call, person, box, run) {
      let theirs = 0;
      for (const one of parked.values()) if (one.person === person) theirs++;
      if (theirs >= MAX_PER_PERSON) return null;
      const id = randomBytes(16).toString('base64url');
      const entry: Parked = { id, call, box, run, prev: undefined, attended: true };
      parked.set(id, { entry, person, timer: null });
      void run.finally(() => {
        const one = parked.get(id);
        if (one?.timer) clearTimeout(one.timer);
        // What came while nobody listened is kept for the retry, for as long as an answer may take.
        if (entry.attended || !one) parked.delete(id);
        else one.timer = setTimeout(() => parked.delete(id), ANSWER_WITHIN_MS).unref();
        inflight.close(call.inflight);
      });
      return entry;
    },
    leave(entry) {
      const one = parked.get(entry.id);
      if (!one) return;
      entry.attended = false;
      one.timer = setTimeout(() => inflight.cancel(entry.call.inflight, 'nobody_came_back'), ANSWER_WITHIN_MS).unref();
    },
    take(id) {
      const one = parked.get(id);
      if (!one || one.entry.attended) return null;
      if (one.timer) clearTimeout(one.timer);
      one.timer = null;
      one.entry.attended = true;
      return one.entry;
    },
    get size() {
      return parked.size;
    },
  };
}
