/**
 * Every way a call can be refused, as one closed union. Adding a reason without deciding what the caller sees does not compile (wire.ts).
 * The rich reason goes to the audit log and the operator; the caller gets neutral text and a reference id.
 */
import type { JsonObject } from '../lib/json.ts';
import type { WireError } from '../protocol/errors.ts';
import type { Over } from './approval-desk.ts';
import type { Full } from './limits.ts';
import type { NoPrincipal } from './principal.ts';

export type Denial =
  // before anybody is known: counted, not logged one by one (docs/not-audited.md)
  | { readonly reason: 'token_missing' }
  | { readonly reason: 'token_malformed' }
  | { readonly reason: 'token_in_url' }
  /** `nonce`: what the next proof of possession must carry. */
  | { readonly reason: 'token_invalid'; readonly problem: string; readonly nonce?: string }
  | { readonly reason: 'keys_unavailable'; readonly problem: string }
  // the message itself
  | { readonly reason: 'message_refused'; readonly error: WireError }
  | { readonly reason: 'method_unknown'; readonly error: WireError }
  // standing
  | { readonly reason: 'snapshot_stale'; readonly ageMs: number }
  | { readonly reason: 'snapshot_unsound' }
  | NoPrincipal
  /** An emergency account, away from where its use raises an alarm (ID-07). */
  | { readonly reason: 'break_glass' }
  | { readonly reason: 'locked'; readonly lock: string; readonly on: 'organisation' | 'server' | 'tool' }
  | { readonly reason: 'server_unknown' }
  | { readonly reason: 'server_not_enabled'; readonly state: string }
  /** Its switch `reachable` is off (AZ-14). */
  | { readonly reason: 'server_switched_off' }
  /** The server takes only tokens that are bound to a key, and this one is not (AN-13). */
  | { readonly reason: 'proof_required' }
  | { readonly reason: 'session_unknown' }
  | { readonly reason: 'session_of_another'; readonly owner: string }
  | { readonly reason: 'state_invalid'; readonly error: WireError }
  | { readonly reason: 'capability_missing'; readonly required: JsonObject }
  | { readonly reason: 'task_unknown' }
  // the item
  | { readonly reason: 'tool_unknown' }
  | { readonly reason: 'tool_unreviewed' }
  /** A switch of its server takes it away (AZ-14); it is as if it were not there. */
  | { readonly reason: 'tool_switched_off'; readonly by: 'writes' | 'productionData' }
  | { readonly reason: 'tool_changed'; readonly approved: string; readonly seen: string }
  | { readonly reason: 'tool_gone' }
  | { readonly reason: 'tool_unconfirmed'; readonly fault: string }
  /** The server has an account of each person, and this one has linked none. */
  | { readonly reason: 'account_not_linked'; readonly server: string }
  | { readonly reason: 'arguments_invalid'; readonly problems: readonly string[] }
  | { readonly reason: 'header_mismatch'; readonly error: WireError }
  | { readonly reason: 'schema_unusable' }
  /** Something in what would be sent may not leave. `at`: a JSON Pointer into it; null: all of it. */
  | { readonly reason: 'content_blocked'; readonly classes: readonly string[]; readonly at: string | null }
  /** It could not be looked at by these detectors (CI-11). */
  | { readonly reason: 'inspection_failed'; readonly detectors: readonly string[] }
  // the decision
  /** The policies would allow it to somebody who signed in lately, or with a second factor (RFC 9470). */
  | { readonly reason: 'step_up'; readonly maxAgeSeconds: number | null; readonly acrValues: readonly string[] }
  | { readonly reason: 'scope_missing'; readonly scopes: readonly string[] }
  | {
      readonly reason: 'policy_denied';
      readonly visible: boolean;
      /** Which of the decision's reasons, and the policies that decided. */
      readonly because: string;
      readonly rules: readonly string[];
    }
  /** `page`: where who asked sees how it stands. */
  | {
      readonly reason: 'approval_needed';
      readonly approval: string;
      readonly expiresAt: number;
      readonly page: string | null;
    }
  /** `again`: when asking anew makes sense, ms since the epoch; null: at once. */
  | {
      readonly reason: 'approval_over';
      readonly approval: string | null;
      readonly how: Over;
      readonly again: number | null;
    }
  /** The caller has as many requests open as one may have. */
  | { readonly reason: 'approvals_full'; readonly open: number; readonly again: number }
  | { readonly reason: 'approval_lost'; readonly approval: string }
  // room
  | { readonly reason: 'rate_limited'; readonly on: string; readonly retryAfterSeconds: number }
  /** `again`: when there is a new one, ms since the epoch. */
  | { readonly reason: 'budget_spent'; readonly on: 'calls' | 'sum'; readonly again: number }
  /** Exactly this call, so often in a row. */
  | { readonly reason: 'loop_stopped'; readonly times: number; readonly pauseSeconds: number }
  /** `on`: whose places are taken; left out: this node's, or those of one person. */
  | { readonly reason: 'overloaded'; readonly on?: Full }
  /** It failed too often and is left alone for a while (RL-04). */
  | { readonly reason: 'server_unwell'; readonly server: string; readonly retryAfterSeconds: number }
  | { readonly reason: 'ledger_unavailable'; readonly fault: string }
  /** The call left, and what became of it cannot be made durable. */
  | { readonly reason: 'outcome_unrecorded'; readonly fault: string }
  // ours
  | { readonly reason: 'guard_failed'; readonly guard: string; readonly fault: string };

export type DenialReason = Denial['reason'];

/** Reasons that stop a request before its sender is known. */
const ANONYMOUS: ReadonlySet<DenialReason> = new Set([
  'token_missing',
  'token_malformed',
  'token_in_url',
  'token_invalid',
  'keys_unavailable',
]);

export function isAnonymous(denial: Denial): boolean {
  return ANONYMOUS.has(denial.reason);
}

/** How the log calls a denial: challenges and holds are not plain refusals. */
export function verdictOf(denial: Denial): 'deny' | 'hold' | 'challenge' {
  if (denial.reason === 'scope_missing' || denial.reason === 'step_up') return 'challenge';
  if (denial.reason === 'approval_needed') return 'hold';
  return 'deny';
}

/** The reason as one short code for log and metrics, with the detail an operator needs and no peer's text. */
export function reasonCode(denial: Denial): string {
  switch (denial.reason) {
    case 'token_invalid':
    case 'keys_unavailable':
      return `${denial.reason}:${denial.problem}`;
    case 'locked':
      return `locked:${denial.on}:${denial.lock}`;
    case 'guard_failed':
      return `guard_failed:${denial.guard}:${denial.fault}`;
    case 'rate_limited':
      return `rate_limited:${denial.on}`;
    case 'budget_spent':
      return `budget_spent:${denial.on}`;
    case 'overloaded':
      return denial.on === undefined ? 'overloaded' : `overloaded:${denial.on}`;
    case 'token_void':
      return `token_void:${denial.by}`;
    case 'agent_not_active':
      return `agent_not_active:${denial.state}`;
    case 'source_silent':
      return `source_silent:${denial.source}`;
    case 'server_not_enabled':
      return `server_not_enabled:${denial.state}`;
    case 'tool_switched_off':
      return `tool_switched_off:${denial.by}`;
    case 'approval_over':
      return `approval_over:${denial.how}`;
    case 'policy_denied':
      return `policy_denied:${denial.because}`;
    case 'content_blocked':
      return `content_blocked:${denial.classes.join(',').slice(0, 200)}`;
    case 'inspection_failed':
      return `inspection_failed:${denial.detectors.join(',').slice(0, 200)}`;
    case 'ledger_unavailable':
    case 'outcome_unrecorded':
    case 'tool_unconfirmed':
      return `${denial.reason}:${denial.fault}`;
    case 'message_refused':
    case 'header_mismatch':
      return `${denial.reason}:${denial.error.code}`;
    default:
      return denial.reason;
  }
}

/** Refusals that say nothing about the caller: what was to be told waits until we can decide again. */
export const PASSING: ReadonlySet<Denial['reason']> = new Set(['snapshot_stale', 'snapshot_unsound', 'guard_failed']);
