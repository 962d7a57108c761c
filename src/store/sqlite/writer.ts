/**
 * One write at a time, and none after the disk failed once.
 * After a failed fsync SQLite reports the error, forgets it and commits the next transaction happily, while the kernel has already
 * dropped the dirty pages (TRUST.md section 2, lesson 3). So the first such error is remembered here and answers every later write.
 */
import { EngineFault } from '../engine-fault.ts';
import { toSqliteFault } from './fault.ts';

export type Writer = <T>(write: () => Promise<T>) => Promise<T>;

/** @param isFatal Which errors close the writer for good. */
export function oneWriter(isFatal: (error: unknown) => boolean): Writer {
  let broken: Error | null = null;
  let last: Promise<unknown> = Promise.resolve();
  return (write) => {
    const run = async () => {
      if (broken !== null) throw broken;
      try {
        return await write();
      } catch (error) {
        if (isFatal(error)) broken = error as Error;
        throw error;
      }
    };
    const result = last.then(run, run);
    last = result.catch(() => undefined);
    return result;
  };
}

export function isDiskError(error: unknown): boolean {
  const fault = error instanceof EngineFault ? error : toSqliteFault(error);
  return fault.code === 'disk' || fault.code === 'corrupt';
}
