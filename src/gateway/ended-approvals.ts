/**
 * A change of what was agreed about ends the agreement (AP-07): the writes that cancel open approvals of items, to be committed together
 * with the change itself. What has another call digest could not be spent anyway; this is for what goes back to what it was.
 */
import { failApproval } from '../approvals/machine.ts';
import type { Write } from '../store/state.ts';
import type { Snapshot } from './snapshot.ts';

/** Of these items of a server, by key. Fails with the whole commit when one of them was decided or used meanwhile. */
export function cancelApprovals(
  { approvals }: Pick<Snapshot, 'approvals'>,
  org: string,
  server: string,
  keys: ReadonlySet<string>,
  why: string,
): Write[] {
  const writes: Write[] = [];
  if (keys.size === 0) return writes;
  for (const held of approvals.values()) {
    for (const { id, revision, ...approval } of held) {
      if (approval.server !== server || !keys.has(approval.tool)) continue;
      const body = failApproval(approval, why);
      if (body) writes.push({ kind: 'approval', org, id, expectedRevision: revision, body });
    }
  }
  return writes;
}
