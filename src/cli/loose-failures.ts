/**
 * A promise that failed and that nobody waited for: by default it ends the process, so that whoever can cause one ends every call on the
 * node. A long-running command goes on and says so, loudly; what failed was nobody's answer. Exceptions outside promises still end it.
 */
import { isFault } from '../lib/fault.ts';

/** Once per process. `tell` gets a code and the stack, for the operator. */
export function outliveLooseFailures(tell: (code: string, stack: string) => void): void {
  process.on('unhandledRejection', (reason: unknown) => {
    const code = isFault(reason) ? reason.code : 'unexpected';
    tell(code, reason instanceof Error ? (reason.stack ?? reason.message) : String(reason));
  });
}
