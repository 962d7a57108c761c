/** A node that cannot tell whether its picture is the newest refuses: somebody may have been locked out a moment ago (TRUST.md R3). */
import { PASS, deny, guard } from '../guard.ts';

export const snapshotIsFresh = guard<{ ageMs: number; limitMs: number }>({
  name: 'snapshot-is-fresh',
  gather: (_call, ports) => ({ ageMs: ports.snapshotAgeMs(), limitMs: ports.freshnessLimitMs }),
  decide: (_call, { ageMs, limitMs }) => (ageMs <= limitMs ? PASS : deny({ reason: 'snapshot_stale', ageMs })),
});
