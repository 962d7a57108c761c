/** What a lock has ended on this node, and when the last of it was recorded. */
import type { InflightRegistry } from './inflight.ts';

export interface LockEffect {
  /** Calls it has ended. */
  readonly calls: number;
  /** Resolves when none of them is under way any more, or after `SETTLE_WITHIN_MS`, with how many still are. */
  settled(): Promise<number>;
}

/** Whoever ends a call waits for its record, not for its server; longer than this only a ledger that is gone. */
const SETTLE_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 20;

export function lockEffect(inflight: InflightRegistry, lock: string): LockEffect {
  const why = `lock:${lock}`;
  const open = (): number => {
    let count = 0;
    for (const call of inflight.running()) if (call.cancelledBy === why) count++;
    return count;
  };
  return {
    calls: inflight.cancelledBy(why),
    async settled() {
      for (let waited = 0; open() > 0 && waited < SETTLE_WITHIN_MS; waited += LOOK_EVERY_MS)
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      return open();
    },
  };
}
