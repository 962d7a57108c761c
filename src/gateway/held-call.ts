/**
 * What the two ways to wait for a person's yes share (held.ts in a request, held-task.ts in a task): how the waiting ended, and the call as
 * it goes on after it.
 */
import type { Approval } from '../approvals/records.ts';
import { isOpen } from '../approvals/records.ts';
import type { Over } from './approval-desk.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';

export type Needed = Extract<Denial, { reason: 'approval_needed' }>;

/** Null: it is open still, or approved. */
export function overOf(
  id: string,
  approval: Approval | null,
  deps: Pick<AnswerDeps, 'ports' | 'approvals'>,
): Extract<Denial, { reason: 'approval_over' }> | null {
  const now = deps.ports.clock.now();
  if (approval && isOpen(approval) && now < approval.expiresAt) return null;
  const how: Over = approval === null ? 'cancelled' : isOpen(approval) ? 'expired' : (approval.state as Over);
  const again = how === 'denied' ? (approval?.decidedAt ?? now) + deps.approvals.deniedHoldMs : null;
  return { reason: 'approval_over', approval: id, how, again };
}

/**
 * The call as it was made, without what its client brought back while it waited, over the state as it is now. `waitedFor`: the approval; if
 * somebody else has used it by the time its guards are asked, the call is over, and no other approval is asked for.
 */
export function afresh(call: Call, deps: Pick<AnswerDeps, 'snapshot'>, waitedFor: string): Call {
  const { inputResponses: _answers, requestState: _state, ...params } = call.message.params;
  // Nothing that a guard has found before is taken over, but who this is: the token was shown once.
  const facts = { caller: known(call, 'caller'), heldAt: known(call, 'heldAt'), waitedFor };
  return {
    ...call,
    message: { ...call.message, params },
    facts,
    snapshot: deps.snapshot(),
    stoppedBy: null,
  };
}
