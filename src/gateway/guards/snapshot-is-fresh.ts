/** A node that cannot tell whether its picture is the newest, or cannot read a lock or a void in it, refuses: somebody may be locked out (TRUST.md R3). */
import { PASS, deny, guard } from '../guard.ts';

export const snapshotIsFresh = guard<{ ageMs: number; limitMs: number }>({
  name: 'snapshot-is-fresh',
  gather: (_call, ports) => ({ ageMs: ports.snapshotAgeMs(), limitMs: ports.freshnessLimitMs }),
  decide(call, { ageMs, limitMs }) {
    if (call.snapshot.locks === null || call.snapshot.voids === null) return deny({ reason: 'snapshot_unsound' });
    return ageMs <= limitMs ? PASS : deny({ reason: 'snapshot_stale', ageMs });
  },
});
