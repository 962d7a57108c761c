/** Counting events per key within a fixed window, for at most `maxKeys` keys: the least recently seen is forgotten first. */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';

export interface WindowCounter {
  count(key: string): number;
  /** Returns the count after adding. */
  add(key: string): number;
}

export function windowCounter(options: {
  readonly windowMs: number;
  readonly maxKeys: number;
  readonly clock: Clock;
}): WindowCounter {
  const { windowMs, clock } = options;
  const entries = new LRUCache<string, { readonly since: number; count: number }>({ max: options.maxKeys });
  const live = (key: string) => {
    const entry = entries.get(key);
    return entry !== undefined && clock.now() - entry.since < windowMs ? entry : undefined;
  };
  return {
    count: (key) => live(key)?.count ?? 0,
    add: (key) => {
      const entry = live(key);
      if (entry !== undefined) return ++entry.count;
      entries.set(key, { since: clock.now(), count: 1 });
      return 1;
    },
  };
}
