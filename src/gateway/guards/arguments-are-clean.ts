/**
 * What would go to the server holds nothing that may not leave (CI-03, CI-05, CI-07): arguments, a URI, what is completed, and what the caller
 * put into `_meta`. It is let through as it is, held for a person, or refused; never rewritten, so that its digest stays the one that was
 * judged, agreed to and recorded (AE-10). Where the rules cannot be read, nothing leaves.
 */
import type { OutInspection } from '../../content/inspect.ts';
import type { Action } from '../../content/terms.ts';
import { deny, guard, learn } from '../guard.ts';
import { inspectOut, noted, outgoing } from '../inspection.ts';

export const argumentsAreClean = guard<OutInspection | null>({
  name: 'arguments-are-clean',
  gather(call, { inspection }) {
    if (call.snapshot.inspection === null) return null;
    const written = (looked: OutInspection): OutInspection => {
      if (looked.findings.length > 0 || looked.faults.length > 0) noted(call, 'out', 'sent', looked, inspection);
      return looked;
    };
    const looked = inspectOut(call, outgoing(call), inspection);
    return looked instanceof Promise ? looked.then(written) : written(looked);
  },
  decide(_call, looked) {
    if (looked === null) return deny({ reason: 'inspection_failed', detectors: ['rules'] });
    if (looked.verdict === 'pass') return CLEAN;
    if (looked.verdict === 'hold') return learn({ contentHold: classesOf(looked, 'hold') });
    if (looked.reason === 'inspection_failed') return deny({ reason: 'inspection_failed', detectors: looked.faults });
    const at = looked.findings.find(({ action }) => action === 'block')?.at ?? null;
    return deny({ reason: 'content_blocked', classes: classesOf(looked, 'block'), at });
  },
});

const CLEAN = learn({ contentHold: null });

/** Too large, too deep: no class, but a reason. */
function classesOf({ findings, reason }: OutInspection, action: Action): readonly string[] {
  const classes = findings.filter((finding) => finding.action === action).map((finding) => finding.class);
  return classes.length === 0 ? [reason ?? action] : [...new Set(classes)].slice(0, 8);
}
