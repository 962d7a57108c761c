/**
 * How much a connection may ask: so many requests in a second, one change at a time with a bounded queue behind it, few searches at once.
 * Over it the answer is 429 with Retry-After, which provisioning services honour. In memory: each node counts for itself.
 */
import { refuse } from '../../directory/scim/problem.ts';
import type { Clock } from '../../lib/clock.ts';

export interface LimitSettings {
  readonly requestsPerSecond: number;
  /** May come at once after a pause. */
  readonly burst: number;
  readonly waitingChanges: number;
  readonly searches: number;
}
export const LIMITS: LimitSettings = { requestsPerSecond: 500, burst: 1_000, waitingChanges: 100, searches: 2 };

const slowDown = (): never =>
  refuse({ status: 429, detail: 'This connection asks too much at once. Try again later.', retryAfterSeconds: 2 });

export interface ConnectionLimits {
  /** Takes one request off the allowance. @throws a refusal. */
  request(connection: string): void;
  /** One change after the other, over all connections. @throws a refusal when too many wait. */
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  search<T>(connection: string, work: () => Promise<T>): Promise<T>;
}

export function connectionLimits(clock: Clock, settings: LimitSettings): ConnectionLimits {
  const allowances = new Map<string, { left: number; at: number }>();
  const searching = new Map<string, number>();
  let waiting = 0;
  let last: Promise<unknown> = Promise.resolve();

  return {
    request(connection) {
      const now = clock.now();
      let allowance = allowances.get(connection);
      if (allowance === undefined) allowances.set(connection, (allowance = { left: settings.burst, at: now }));
      const earned = ((now - allowance.at) / 1_000) * settings.requestsPerSecond;
      allowance.left = Math.min(settings.burst, allowance.left + Math.max(0, earned));
      allowance.at = now;
      if (allowance.left < 1) slowDown();
      allowance.left -= 1;
    },
    async inTurn(work) {
      if (waiting >= settings.waitingChanges) slowDown();
      waiting++;
      const turn = last.then(work, work);
      last = turn.catch(() => undefined);
      try {
        return await turn;
      } finally {
        waiting--;
      }
    },
    async search(connection, work) {
      const now = searching.get(connection) ?? 0;
      if (now >= settings.searches) slowDown();
      searching.set(connection, now + 1);
      try {
        return await work();
      } finally {
        searching.set(connection, (searching.get(connection) ?? 1) - 1);
      }
    },
  };
}
