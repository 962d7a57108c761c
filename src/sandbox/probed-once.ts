import type { Probe } from './backend.ts';

/** Examines the host once while it isolates; where it does not, anew each time, because the operator may have acted. */
export function probedOnce(examine: () => Promise<Probe>): () => Promise<Probe> {
  let found: Promise<Probe> | undefined;
  return () =>
    (found ??= examine().then((result) => {
      if (!result.available) found = undefined;
      return result;
    }));
}
