/** Which approval, if any, a call may spend: approved, unused, unexpired, and given for exactly this call (AP-02, AP-07). */
import type { Digest } from '../lib/canonical-json.ts';
import type { Approval } from './records.ts';

export type HeldApproval = Approval & { readonly id: string };

/** The one that ends first, so that none is left over; null when there is none. `at` is ms since the epoch. */
export function matching(approvals: Iterable<HeldApproval>, call: Digest, at: number): HeldApproval | null {
  return first(approvals, call, at, 'approved');
}

/** A request for the same call that is still open: a repeated call attaches to it instead of asking again (PROTOCOL.md C1). */
export function waiting(approvals: Iterable<HeldApproval>, call: Digest, at: number): HeldApproval | null {
  return first(approvals, call, at, 'pending');
}

function first(
  approvals: Iterable<HeldApproval>,
  call: Digest,
  at: number,
  state: Approval['state'],
): HeldApproval | null {
  let found: HeldApproval | null = null;
  for (const approval of approvals) {
    if (approval.call !== call || approval.state !== state || at >= approval.expiresAt) continue;
    if (!found || approval.expiresAt < found.expiresAt) found = approval;
  }
  return found;
}
