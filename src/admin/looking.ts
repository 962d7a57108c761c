/**
 * Background work of the admin plane that looks again every so often: one look at a time, a failure goes to the process log and the next look
 * comes all the same, and whoever closes it waits for the one that is under way.
 */
import type { AdminContext } from './context.ts';

export interface Looking {
  /** Looks now. Resolves when what is due is done, or has failed and is in the process log. */
  look(): Promise<void>;
  close(): Promise<void>;
}

/** `closed`: fires with `close`, for a look that takes long. */
export function lookEvery(
  ms: number,
  look: (closed: AbortSignal) => Promise<void>,
  failed: string,
  log: Pick<AdminContext['log'], 'error'>,
): Looking {
  const closing = new AbortController();
  const { signal } = closing;
  let last: Promise<void> = Promise.resolve();
  let waiting = false;
  /** What changes while one runs is seen by one more, however often it is asked for. */
  const again = (): Promise<void> => {
    if (waiting || signal.aborted) return last;
    waiting = true;
    last = last
      .then(() => {
        waiting = false;
        return look(signal);
      })
      .catch((fault: unknown) => log.error({ err: fault }, failed));
    return last;
  };
  const timer = setInterval(() => void again(), ms);
  timer.unref();
  return {
    look: again,
    async close() {
      closing.abort();
      clearInterval(timer);
      await last;
    },
  };
}
