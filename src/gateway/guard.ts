/**
 * A guard is two halves: `gather` gets facts (the only I/O; a failure denies) and `decide` says pass or why not (pure).
 * `decide` is a function of (snapshot, call, gathered facts), so a past decision can be repeated from the record.
 */
import type { Clock } from '../lib/clock.ts';
import type { TokenVerifier } from '../identity/access-token.ts';
import type { RequestStates } from '../protocol/request-state.ts';
import type { SessionSealer } from '../protocol/session.ts';
import type { Lane } from '../upstream/target.ts';
import type { ApprovalDesk } from './approval-desk.ts';
import type { Call, Facts } from './call.ts';
import type { Catalogue } from './catalogue.ts';
import type { Denial } from './denial.ts';
import type { InspectionPort } from './inspection.ts';
import type { Limits } from './limits.ts';
import type { Newcomers } from './newcomers.ts';
import type { SessionBook } from './session-book.ts';
import type { TaskBook } from './task-book.ts';
import type { TraceLabels } from './trace-labels.ts';

export type Verdict =
  | { readonly pass: true; readonly learned?: Partial<Facts> }
  | { readonly pass: false; readonly denial: Denial };

export const PASS: Verdict = { pass: true };
export const learn = (learned: Partial<Facts>): Verdict => ({ pass: true, learned });
export const deny = (denial: Denial): Verdict => ({ pass: false, denial });

/** What guards may ask. Everything else they read from the call and its snapshot. */
export interface GuardPorts {
  readonly clock: Clock;
  readonly verifier: TokenVerifier;
  readonly sessions: SessionSealer;
  readonly catalogue: Catalogue;
  readonly limits: Limits;
  readonly newcomers: Newcomers;
  readonly approvals: ApprovalDesk;
  /** Milliseconds since the snapshot was last confirmed to be the newest. */
  snapshotAgeMs(): number;
  readonly freshnessLimitMs: number;
  /** What legacy sessions said since they were opened. */
  readonly book: SessionBook;
  readonly tasks: TaskBook;
  /** What is looked for in content, and who hears of it. */
  readonly inspection: InspectionPort;
  /** What traces have received. */
  readonly traces: TraceLabels;
  /** Seals and opens what a modern client brings back (MRTR). */
  readonly states: RequestStates;
  /** The connection of its own that a call needs; null: the shared one. */
  laneOf(call: Call): Lane | null | Promise<Lane | null>;
}

export interface Guard<F = unknown> {
  readonly name: string;
  gather(call: Call, ports: GuardPorts): F | Promise<F>;
  decide(call: Call, facts: F): Verdict;
}

/** Keeps the type of `F` between the two halves while the table holds guards of all kinds. */
export function guard<F>(definition: Guard<F>): Guard {
  return definition;
}
