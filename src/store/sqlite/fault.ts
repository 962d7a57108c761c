/** SQLite's result codes (sqlite.org/rescode.html) in the words of engine-fault.ts. */
import { EngineFault } from '../engine-fault.ts';
import type { EngineProblem } from '../engine-fault.ts';

/** Primary result codes: the low byte of the extended code. */
const PROBLEMS: Readonly<Record<number, EngineProblem>> = {
  5: 'locked', // SQLITE_BUSY
  6: 'locked', // SQLITE_LOCKED
  8: 'disk', // SQLITE_READONLY
  10: 'disk', // SQLITE_IOERR
  11: 'corrupt', // SQLITE_CORRUPT
  13: 'disk', // SQLITE_FULL
  14: 'disk', // SQLITE_CANTOPEN
  26: 'corrupt', // SQLITE_NOTADB
};

export function toSqliteFault(error: unknown): EngineFault {
  if (error instanceof EngineFault) return error;
  const code = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : 0;
  const message = error instanceof Error ? error.message : String(error);
  return new EngineFault(PROBLEMS[code & 0xff] ?? 'unavailable', message, { cause: error });
}
