/** Work that a store accepted: counted, so that closing cuts nothing off; once closing has begun, nothing more is accepted. */

export interface AcceptedWork {
  /** Rejects with the fault of `closed` once closing has begun. */
  run<T>(work: () => Promise<T>): Promise<T>;
  /** Begins closing and runs `end` once; `settled` resolves when all that was accepted has ended. Idempotent. */
  close(end: (settled: () => Promise<unknown>) => Promise<void>): Promise<void>;
}

export function acceptedWork(closed: () => Error): AcceptedWork {
  const pending = new Set<Promise<unknown>>();
  let closing: Promise<void> | null = null;
  return {
    async run(work) {
      if (closing !== null) throw closed();
      const promise = work();
      pending.add(promise);
      try {
        return await promise;
      } finally {
        pending.delete(promise);
      }
    },
    close(end) {
      closing ??= end(() => Promise.allSettled(pending));
      return closing;
    },
  };
}
