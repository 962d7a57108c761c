/** PostgreSQL's error codes (SQLSTATE) in the words of engine-fault.ts. A lost connection has none of these codes. */
import type { EngineProblem } from '../engine-fault.ts';
import { EngineFault } from '../engine-fault.ts';

const PROBLEMS: Readonly<Record<string, EngineProblem>> = {
  '53100': 'disk', // disk_full
  '58030': 'disk', // io_error
  XX001: 'corrupt', // data_corrupted
  XX002: 'corrupt', // index_corrupted
  // Both schemas take their head row before they insert: a duplicate means that somebody wrote around us.
  '23505': 'corrupt', // unique_violation
};

export function toPostgresFault(error: unknown): EngineFault {
  if (error instanceof EngineFault) return error;
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const message = error instanceof Error ? error.message || code : String(error);
  return new EngineFault(PROBLEMS[code] ?? 'unavailable', `PostgreSQL: ${message}`, { cause: error });
}
