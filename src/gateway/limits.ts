/**
 * Room for everybody: calls per minute per person, calls in flight per person and in all, logged refusals per caller.
 * Keys are verified identities, never headers, so that nothing a client writes buys a new bucket (RL-01).
 * Memory only; the port for a store shared by several nodes is this same interface.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';

export interface LimitSettings {
  readonly callsPerMinutePerPerson: number;
  /** Refusals of one caller that are logged one by one in a minute. */
  readonly refusalsPerMinutePerCaller: number;
  readonly concurrentPerPerson: number;
  readonly concurrentCalls: number;
}

export type Room =
  | { readonly ok: true }
  | { readonly ok: false; readonly on: string; readonly retryAfterSeconds: number };

export interface Limits {
  /** Takes one call of this person's minute. */
  take(person: string): Promise<Room>;
  /**
   * One more refusal of this caller: `log` it; or it is the `last` one of this minute to be logged, and says that more may follow;
   * or `count` it only. Who holds a token and nothing else must not be able to fill the disk.
   */
  refusal(caller: string): Promise<'log' | 'last' | 'count'>;
  /** Takes a place among calls in flight; false when there is none. Every true needs one `leave`. */
  enter(person: string): boolean;
  leave(person: string): void;
  /** True when the node is full: refuse before reading a body. */
  full(): boolean;
}

export function memoryLimits(settings: LimitSettings): Limits {
  const minute = new RateLimiterMemory({ points: settings.callsPerMinutePerPerson, duration: 60 });
  const refusals = new RateLimiterMemory({ points: settings.refusalsPerMinutePerCaller, duration: 60 });
  const running = new Map<string, number>();
  let total = 0;

  return {
    async take(person) {
      try {
        await minute.consume(person);
        return { ok: true };
      } catch (refusal) {
        // The library refuses by throwing a result that is not an Error.
        if (!(refusal instanceof RateLimiterRes)) throw refusal;
        return { ok: false, on: 'person', retryAfterSeconds: Math.max(1, Math.ceil(refusal.msBeforeNext / 1000)) };
      }
    },
    async refusal(caller) {
      try {
        await refusals.consume(caller);
        return 'log';
      } catch (over) {
        if (!(over instanceof RateLimiterRes)) throw over;
        return over.consumedPoints === settings.refusalsPerMinutePerCaller + 1 ? 'last' : 'count';
      }
    },
    enter(person) {
      const count = running.get(person) ?? 0;
      if (total >= settings.concurrentCalls || count >= settings.concurrentPerPerson) return false;
      running.set(person, count + 1);
      total++;
      return true;
    },
    leave(person) {
      const count = (running.get(person) ?? 1) - 1;
      if (count === 0) running.delete(person);
      else running.set(person, count);
      total--;
    },
    full: () => total >= settings.concurrentCalls,
  };
}
