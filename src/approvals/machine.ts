/**
 * How an approval moves (TRUST.md section 7): `pending` once to approved, denied, expired, cancelled or failed; `approved` once to used,
 * expired, cancelled or failed. As many people as it needs must say yes; one no ends it. Pure: the caller stores the new record with the
 * revision it read, so that two uses cannot both win. Time is a number; an approval ends at `expiresAt` even if nobody wrote that down.
 */
import type { Digest } from '../lib/canonical-json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { ExactCall } from './call-digest.ts';
import { callDigest } from './call-digest.ts';
import type { Approval } from './records.ts';
import { isOpen, yesGivers } from './records.ts';

export type ApprovalProblem =
  | { readonly code: 'approval_state'; readonly state: Approval['state'] }
  | { readonly code: 'approval_expired'; readonly expiredAt: number }
  | { readonly code: 'approval_self' }
  | { readonly code: 'approval_role' }
  | { readonly code: 'approval_twice' }
  | { readonly code: 'approval_other_call' }
  | { readonly code: 'approval_not_yours' };

/** What is said of a request besides the call itself. */
export type Circumstances = Partial<
  Pick<
    Approval,
    | 'issuer'
    | 'actors'
    | 'sealed'
    | 'validMs'
    | 'needed'
    | 'policy'
    | 'risk'
    | 'justification'
    | 'because'
    | 'found'
    | 'ref'
  >
>;

/** A call that waits for a decision. `at` and the result are ms since the epoch. With `sealed`, no argument stands in it in plain. */
export function requestApproval(call: ExactCall, at: number, ttlMs: number, more: Circumstances = {}): Approval {
  return {
    person: call.person,
    agent: call.agent,
    server: call.server,
    tool: call.tool,
    definition: call.definition,
    call: callDigest(call),
    ...(more.sealed === undefined && { arguments: { ...call.arguments } as NonNullable<Approval['arguments']> }),
    state: 'pending',
    requestedAt: at,
    expiresAt: at + ttlMs,
    needed: 1,
    decisions: [],
    decidedBy: null,
    decidedAt: null,
    note: null,
    ...more,
  };
}

export interface Approver {
  /** Directory id. */
  readonly person: string;
  /** They are among those who decide about this call; the directory and the server's record say so, not this room. */
  readonly mayDecide: boolean;
  /** They own an agent that asked: then they are the requester too (AP-03). */
  readonly ownsAgent: boolean;
}

export interface Word {
  readonly by: Approver;
  readonly outcome: 'approved' | 'denied';
  readonly note: string | null;
  readonly at: number;
  /** Whether who said yes before may still say it. Left out: they all may. */
  readonly stands?: (person: string) => boolean;
}

/** A no is as binding as a yes, and one is enough. The requester decides neither, and nobody decides twice. */
export function decideApproval(approval: Approval, word: Word): Result<Approval, ApprovalProblem> {
  const { by, outcome, note, at, stands = () => true } = word;
  if (by.person === approval.person || by.ownsAgent) return err({ code: 'approval_self' });
  if (!by.mayDecide) return err({ code: 'approval_role' });
  const open = openAt(approval, 'pending', at);
  if (!open.ok) return open;
  const before = yesGivers(approval);
  if (before.includes(by.person) && outcome === 'approved') return err({ code: 'approval_twice' });
  const decisions = [...approval.decisions, { by: by.person, outcome, note, at }];
  const said = { ...approval, decisions, decidedBy: by.person, decidedAt: at, note };
  if (outcome === 'denied') return ok({ ...said, state: 'denied' });
  if (before.filter(stands).length + 1 < approval.needed) return ok(said);
  return ok({
    ...said,
    state: 'approved',
    expiresAt: approval.validMs === undefined ? approval.expiresAt : at + approval.validMs,
  });
}

/** Whether as many as it needs said yes and may still say it. */
export function isAgreed(approval: Approval, stands: (person: string) => boolean): boolean {
  return approval.state === 'approved' && yesGivers(approval).filter(stands).length >= approval.needed;
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
  why?: string,
): Result<Approval, ApprovalProblem> {
  if (by.person !== approval.person && !by.mayDecide) return err({ code: 'approval_not_yours' });
  const open = openAt(approval, approval.state === 'approved' ? 'approved' : 'pending', at);
  if (!open.ok) return open;
  return ok({ ...approval, state: 'cancelled', ...(why !== undefined && { ended: why }) });
}

/** What it was asked for is gone or another thing. Null: it is over already. */
export function failApproval(approval: Approval, why: string): Approval | null {
  return isOpen(approval) ? { ...approval, state: 'failed', ended: why } : null;
}

/** The record once its time is over, or null when nothing is to be written. */
export function expireApproval(approval: Approval, at: number): Approval | null {
  return isOpen(approval) && at >= approval.expiresAt ? { ...approval, state: 'expired' } : null;
}

function openAt(approval: Approval, state: Approval['state'], at: number): Result<void, ApprovalProblem> {
  if (approval.state !== state) return err({ code: 'approval_state', state: approval.state });
  if (at >= approval.expiresAt) return err({ code: 'approval_expired', expiredAt: approval.expiresAt });
  return ok(undefined);
}
