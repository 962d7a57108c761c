/**
 * Counters in the memory of this node: of several nodes each has its own, so all together admit as many times the limit (RL-01 holds per node).
 * Atomic because nothing is awaited between looking and taking. The clock is the one that nobody can set: a jump of the time of day ends no
 * window. Forgotten with the node. rate-limiter-flexible has no take of several keys at once, so this is not built on it.
 */
import type { Counters, Quota } from './limits.ts';

interface Window {
  used: number;
  /** On `now`'s clock, ms. */
  endsAt: number;
}

/** Windows of one kind before those that are over are looked for. */
const FIRST_SWEEP = 1_024;

interface Kind {
  readonly windows: Map<string, Window>;
  sweepAt: number;
}

const NOTHING_SHORT = Promise.resolve(null);

export interface MemoryCounters extends Counters {
  /** Windows that are kept. */
  readonly size: number;
}

export function memoryCounters(now: () => number = () => performance.now()): MemoryCounters {
  const kinds = new Map<string, Kind>();

  function kindOf(on: string): Kind {
    let kind = kinds.get(on);
    if (kind === undefined) kinds.set(on, (kind = { windows: new Map(), sweepAt: FIRST_SWEEP }));
    return kind;
  }

  function begin({ on, windowMs }: Quota, key: string, used: number, at: number): void {
    const kind = kindOf(on);
    if (kind.windows.size >= kind.sweepAt) {
      for (const [one, { endsAt }] of kind.windows) if (endsAt <= at) kind.windows.delete(one);
      kind.sweepAt = Math.max(FIRST_SWEEP, kind.windows.size * 2);
    }
    kind.windows.set(key, { used, endsAt: at + windowMs });
  }

  return {
    take(quotas, keys, amounts) {
      const at = now();
      for (let index = 0; index < keys.length; index++) {
        const { on, max, windowMs } = quotas[index]!;
        const window = kinds.get(on)?.windows.get(keys[index]!);
        const live = window !== undefined && window.endsAt > at;
        if ((live ? window.used : 0) + (amounts?.[index] ?? 1) <= max) continue;
        return Promise.resolve({ at: index, againMs: live ? window.endsAt - at : windowMs });
      }
      for (let index = 0; index < keys.length; index++) {
        const quota = quotas[index]!;
        const amount = amounts?.[index] ?? 1;
        const window = kinds.get(quota.on)?.windows.get(keys[index]!);
        if (window !== undefined && window.endsAt > at) window.used += amount;
        else begin(quota, keys[index]!, amount, at);
      }
      return NOTHING_SHORT;
    },
    giveBack(quotas, keys, amounts, agoMs) {
      const at = now();
      for (let index = 0; index < keys.length; index++) {
        const { on, windowMs } = quotas[index]!;
        const window = kinds.get(on)?.windows.get(keys[index]!);
        // What was taken in a window that is over is not given to the next one, or that would hold more than its limit.
        if (window !== undefined && window.endsAt > at && window.endsAt - windowMs <= at - agoMs)
          window.used = Math.max(0, window.used - (amounts?.[index] ?? 1));
      }
      return Promise.resolve();
    },
    get size() {
      let size = 0;
      for (const { windows } of kinds.values()) size += windows.size;
      return size;
    },
  };
}
