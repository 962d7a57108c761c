/**
 * What strangers do is counted, not logged one by one, so that nobody without a token can fill the disk (TRUST.md section 2, lesson 5).
 * Once a minute the counts become one audit entry. Reasons are our own codes: a stranger cannot add keys.
 */
import type { Clock } from '../lib/clock.ts';

export interface NoiseCounter {
  count(reason: string): void;
  /** Hands over the counts since the last call and starts again; null when there were none. */
  drain(): { readonly since: number; readonly until: number; readonly counts: Readonly<Record<string, number>> } | null;
}

export function noiseCounter(clock: Clock): NoiseCounter {
  let counts = new Map<string, number>();
  let since = clock.now();
  return {
    count: (reason) => void counts.set(reason, (counts.get(reason) ?? 0) + 1),
    drain() {
      const until = clock.now();
      const drained = counts.size === 0 ? null : { since, until, counts: Object.fromEntries(counts) };
      counts = new Map();
      since = until;
      return drained;
    },
  };
}
