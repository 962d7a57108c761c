/**
 * How an approval moves (TRUST.md section 7): `pending` once to approved, denied, expired or cancelled; `approved` once to used,
 * expired or cancelled. Pure: the caller stores the new record with the revision it read, so that two uses cannot both win.
 * Time is a number; an approval ends at `expiresAt` even if nobody wrote that down.
 */
import type { Digest } from '../lib/canonical-json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { ExactCall } from './call-digest.ts';
import { callDigest } from './call-digest.ts';
import type { Approval } from './records.ts';

export type ApprovalProblem =
  | { readonly code: 'approval_state'; readonly state: Approval['state'] }
  | { readonly code: 'approval_expired'; readonly expiredAt: number }
  | { readonly code: 'approval_self' }
  | { readonly code: 'approval_role' }
  | { readonly code: 'approval_other_call' }
  | { readonly code: 'approval_not_yours' };

/** A call that waits for a decision. `at` and the result are ms since the epoch. */
export function requestApproval(call: ExactCall, at: number, ttlMs: number): Approval {
  return {
    person: call.person,
    agent: call.agent,
    server: call.server,
    tool: call.tool,
    definition: call.definition,
    call: callDigest(call),
    arguments: { ...call.arguments } as Approval['arguments'],
    state: 'pending',
    requestedAt: at,
    expiresAt: at + ttlMs,
    decidedBy: null,
    decidedAt: null,
    note: null,
  };
}

export interface Approver {
  /** Directory id. */
  readonly person: string;
  /** Their standing roles let them decide; the directory and the policy say so, not this room. */
  readonly mayDecide: boolean;
  /** They own the agent that asked: then they are the requester too (AP-03). */
  readonly ownsAgent: boolean;
}

/** A no is as binding as a yes. The requester decides neither. */
export function decideApproval(
  approval: Approval,
  decision: {
    readonly by: Approver;
    readonly outcome: 'approved' | 'denied';
    readonly note: string | null;
    readonly at: number;
  },
): Result<Approval, ApprovalProblem> {
  const { by, outcome, note, at } = decision;
  if (by.person === approval.person || by.ownsAgent) return err({ code: 'approval_self' });
  if (!by.mayDecide) return err({ code: 'approval_role' });
  const open = openAt(approval, 'pending', at);
  if (!open.ok) return open;
  return ok({ ...approval, state: outcome, decidedBy: by.person, decidedAt: at, note });
}

/** Spends an approval on the call it was given for. INVARIANT: `used` is durable before the call leaves. */
export function useApproval(approval: Approval, call: Digest, at: number): Result<Approval, ApprovalProblem> {
  const open = openAt(approval, 'approved', at);
  if (!open.ok) return open;
  if (approval.call !== call) return err({ code: 'approval_other_call' });
  return ok({ ...approval, state: 'used' });
}

/** The requester takes it back, or somebody who may decide does. */
export function cancelApproval(
  approval: Approval,
  by: { readonly person: string; readonly mayDecide: boolean },
  at: number,
): Result<Approval, ApprovalProblem> {
  if (by.person !== approval.person && !by.mayDecide) return err({ code: 'approval_not_yours' });
  const open = openAt(approval, approval.state === 'approved' ? 'approved' : 'pending', at);
  if (!open.ok) return open;
  return ok({ ...approval, state: 'cancelled' });
}

/** The record once its time is over, or null when nothing is to be written. */
export function expireApproval(approval: Approval, at: number): Approval | null {
  const open = approval.state === 'pending' || approval.state === 'approved';
  return open && at >= approval.expiresAt ? { ...approval, state: 'expired' } : null;
}

function openAt(approval: Approval, state: Approval['state'], at: number): Result<void, ApprovalProblem> {
  if (approval.state !== state) return err({ code: 'approval_state', state: approval.state });
  if (at >= approval.expiresAt) return err({ code: 'approval_expired', expiredAt: approval.expiresAt });
  return ok(undefined);
}
