/**
 * One deadline for one piece of work: what is left of it, and a signal that fires when it ends or the caller goes away.
 * Every wait takes the deadline; nothing waits for ever.
 */
import type { Clock } from './clock.ts';

export interface Deadline {
  readonly at: number;
  readonly signal: AbortSignal;
  remainingMs(): number;
  /** Ends it early (the caller left, a lock fell). Idempotent. */
  cancel(reason: string): void;
  /** Must be called when the work is over, else the timer stays. Idempotent. */
  done(): void;
}

export function deadlineIn(ms: number, clock: Clock): Deadline {
  const controller = new AbortController();
  const at = clock.now() + ms;
  const timer = setTimeout(() => controller.abort('deadline'), ms);
  timer.unref();
  return {
    at,
    signal: controller.signal,
    remainingMs: () => Math.max(0, at - clock.now()),
    cancel: (reason) => {
      clearTimeout(timer);
      controller.abort(reason);
    },
    done: () => clearTimeout(timer),
  };
}
