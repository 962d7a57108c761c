/**
 * The server's time limit for one request that may be interrupted by questions: while one is open it does not run.
 * Fires through its own signal, which also carries what the caller's says. Needed only for such requests: a plain one
 * has a plain timer.
 */
export interface Patience {
  readonly signal: AbortSignal;
  pause(): void;
  resume(): void;
  /** The limit begins anew: a step of its own. */
  renew(): void;
  giveUp(reason: unknown): void;
  /** Over: no timer or listener is left, and whoever still waits for `signal` is told. */
  stop(): void;
}

export function patience(limitMs: number, caller: AbortSignal): Patience {
  const own = new AbortController();
  let leftMs = limitMs;
  let since = 0;
  let paused = 0;
  let timer: NodeJS.Timeout | undefined;
  const onCaller = (): void => own.abort(caller.reason);
  caller.addEventListener('abort', onCaller, { once: true });
  if (caller.aborted) onCaller();

  const run = (): void => {
    since = performance.now();
    timer = setTimeout(() => own.abort('deadline'), Math.max(leftMs, 0));
  };
  const halt = (): void => clearTimeout(timer);
  run();
  return {
    signal: own.signal,
    pause: () => {
      if (paused++ > 0) return;
      halt();
      leftMs -= performance.now() - since;
    },
    resume: () => {
      if (--paused === 0 && !own.signal.aborted) run();
    },
    renew: () => {
      leftMs = limitMs;
      if (paused > 0 || own.signal.aborted) return;
      halt();
      run();
    },
    giveUp: (reason) => own.abort(reason),
    stop: () => {
      halt();
      paused = 1; // a late answer starts nothing
      caller.removeEventListener('abort', onCaller);
      own.abort('settled');
    },
  };
}
