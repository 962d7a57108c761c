/** Time as a port, so that no test sleeps and no rule reads the wall clock by itself. */

export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** A clock that stands still until told otherwise. For tests and replay. */
export interface ManualClock extends Clock {
  advance(ms: number): void;
  set(ms: number): void;
}

export function manualClock(startMs: number): ManualClock {
  let nowMs = startMs;
  return {
    now: () => nowMs,
    advance: (ms) => void (nowMs += ms),
    set: (ms) => void (nowMs = ms),
  };
}
