/**
 * The life of a grant as one table: from which state a step leads where, and who may take it. Access begins with somebody who neither asked for
 * it nor gets it; taking it away is one person's word (AZ-11). Pure: the caller says who somebody is to the grant and stores the result with the
 * revision it read. That a grant is over because its time is needs no step at all: from `expiresAt` on it gives nothing (AZ-07).
 */
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { GRANT_STATES, Grant } from './grants.ts';

type State = (typeof GRANT_STATES)[number];
export type GrantStep = 'approve' | 'deny' | 'cancel' | 'suspend' | 'resume' | 'end';

interface StepRow {
  readonly from: readonly State[];
  readonly to: State;
  /** `decider`: may give access here. `responder`: may take it away anywhere. `requester`, `beneficiary`: their own. */
  readonly by: ReadonlyArray<'decider' | 'responder' | 'requester' | 'beneficiary'>;
  /** Gives access: neither whoever asked nor whoever gets it. */
  readonly secondPerson: boolean;
}

export const GRANT_STEPS: Readonly<Record<GrantStep, StepRow>> = {
  approve: { from: ['requested'], to: 'active', by: ['decider'], secondPerson: true },
  deny: { from: ['requested'], to: 'denied', by: ['decider'], secondPerson: true },
  cancel: { from: ['requested'], to: 'cancelled', by: ['requester'], secondPerson: false },
  suspend: { from: ['active'], to: 'suspended', by: ['responder', 'decider'], secondPerson: false },
  resume: { from: ['suspended'], to: 'active', by: ['decider'], secondPerson: true },
  end: { from: ['active', 'suspended'], to: 'ended', by: ['responder', 'decider', 'beneficiary'], secondPerson: false },
};

/** What somebody is to one grant. */
export interface GrantHand {
  readonly person: string;
  readonly decider: boolean;
  readonly responder: boolean;
  /** Gets the access: the person, a member of the group, who owns the agent that acts or that it goes through. */
  readonly beneficiary: boolean;
  /** One person may decide here (a team of one); beneficiary and requester then count as anybody. */
  readonly alone?: boolean;
}

export type GrantProblem =
  | { readonly code: 'grant_state'; readonly state: State }
  | { readonly code: 'grant_over'; readonly expiresAt: number }
  | { readonly code: 'grant_requester' }
  | { readonly code: 'grant_beneficiary' }
  | { readonly code: 'grant_not_yours' };

/** The grant after the step. `at`: ms since the epoch. */
export function stepGrant(
  grant: Grant,
  step: GrantStep,
  hand: GrantHand,
  note: string | null,
  at: number,
): Result<Grant, GrantProblem> {
  const { from, to, by, secondPerson } = GRANT_STEPS[step];
  const requester = hand.person === grant.requestedBy;
  const is = { requester, decider: hand.decider, responder: hand.responder, beneficiary: hand.beneficiary };
  if (secondPerson && hand.alone !== true) {
    if (requester) return err({ code: 'grant_requester' });
    if (hand.beneficiary) return err({ code: 'grant_beneficiary' });
  }
  if (!by.some((one) => is[one])) return err({ code: 'grant_not_yours' });
  if (!from.includes(grant.state)) return err({ code: 'grant_state', state: grant.state });
  const { expiresAt } = grant;
  if (to === 'active' && expiresAt !== null && expiresAt <= at) return err({ code: 'grant_over', expiresAt });
  if (!secondPerson) return ok({ ...grant, state: to, note: note ?? grant.note });
  const decided = { ...grant, state: to, decidedBy: hand.person, decidedAt: at, note };
  // An elevation begins with the yes and ends by itself; what is resumed has the end it had.
  return ok(
    step === 'approve' && grant.lastsMs !== undefined ? { ...decided, expiresAt: at + grant.lastsMs } : decided,
  );
}

export type GrantStanding = State | 'waiting' | 'over';

/** The state with what time does to it: `waiting` for its beginning, `over` when its end has passed. */
export function grantStanding({ state, startsAt, expiresAt }: Grant, at: number): GrantStanding {
  if (state !== 'active' && state !== 'suspended') return state;
  if (expiresAt !== null && expiresAt <= at) return 'over';
  return state === 'active' && startsAt !== undefined && startsAt > at ? 'waiting' : state;
}
