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
  /**
   * Whoever opened or took it listens no longer. `told`: its end is told, it is forgotten. Otherwise it is kept for the next one,
   * running or ended, for as long as an answer may take; then a run that still waits is ended.
   */
  leave(parked: Parked, told: boolean): void;
  /** Null: there is none, or somebody listens to it. Every one taken needs one `leave`. */
  take(id: string): Parked | null;
  readonly size: number;
}

/** Calls one person may have waiting. */
const MAX_PER_PERSON = 20;

export function parking(inflight: InflightRegistry): Parking {
  interface Kept {
    readonly entry: Parked;
    readonly person: string;
    ended: boolean;
    timer: NodeJS.Timeout | null;
  }
  const parked = new Map<string, Kept>();

  /** Nobody listens: ends it, or forgets its end, when nobody comes back in time. */
  const expire = (kept: Kept): void => {
    if (kept.timer) clearTimeout(kept.timer);
    const { id, call } = kept.entry;
    const over = (): void => {
      if (kept.ended) parked.delete(id);
      else inflight.cancel(call.inflight, 'nobody_came_back');
    };
    kept.timer = setTimeout(over, ANSWER_WITHIN_MS).unref();
  };

  return {
    open(call, person, box, run) {
      let theirs = 0;
      for (const one of parked.values()) if (one.person === person) theirs++;
      if (theirs >= MAX_PER_PERSON) return null;
      const id = randomBytes(16).toString('base64url');
      const entry: Parked = { id, call, box, run, prev: undefined, attended: true };
      const kept: Kept = { entry, person, ended: false, timer: null };
      parked.set(id, kept);
      const onEnd = (): void => {
        kept.ended = true;
        inflight.close(call.inflight);
        if (!entry.attended) expire(kept);
      };
      void run.then(onEnd, onEnd);
      return entry;
    },
    leave(entry, told) {
      const kept = parked.get(entry.id);
      if (!kept) return;
      entry.attended = false;
      if (told) parked.delete(entry.id);
      else expire(kept);
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
