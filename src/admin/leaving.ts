/**
 * What ends together with somebody's standing (TRUST.md R1, R5; CONTROLS ID-04): the tokens they have, and the calls that wait for a yes.
 * Whoever takes a person, an agent, a grant or a session away commits these writes in the same step as the change itself, so there is no
 * revision at which one is true and the other is not. Refresh grants and sessions at the authorization server follow by event (transmit.ts).
 */
import { cancelApproval } from '../approvals/machine.ts';
import type { Approval } from '../approvals/records.ts';
import type { Void } from '../directory/voids.ts';
import { newId } from '../lib/ids.ts';
import type { Write } from '../store/state.ts';
import type { AdminContext } from './context.ts';

type Leaving = Pick<AdminContext, 'org' | 'clock' | 'follower' | 'facts' | 'snapshot'>;

export interface Ending {
  /** A `person` takes the held calls that they asked for along; a `client` those that it asked for. */
  readonly subject: Void['subject'];
  readonly reason: string;
  /** Directory id, or `<kind>:<id>` of the connection or stream that said so. */
  readonly by: string;
  /** Tokens issued at or before this moment are void. Default: now. Never later than now: a source's clock must not void what does not exist yet. */
  readonly before?: number;
}

/** Of one commit, which the store bounds and others write to as well: whoever has many calls held must be taken away all the same. */
const MOST_HELD = 900;

/**
 * Ends the held calls, waiting or approved and unused, that `which` names; `MOST_HELD` of them, those that could run first. The others are
 * worth nothing while who asked does not stand; a lock goes on until none is left (locks.ts).
 */
export function heldCallWrites(
  ctx: Pick<Leaving, 'org' | 'clock' | 'snapshot'>,
  which: (approval: Approval) => boolean,
): Write[] {
  const now = ctx.clock.now();
  const held = [...ctx.snapshot().approvals.values()].flat().filter((one) => now < one.expiresAt && which(one));
  const some = held.length <= MOST_HELD ? held : held.toSorted((a, b) => orderOf(a) - orderOf(b)).slice(0, MOST_HELD);
  return some.flatMap(({ id, revision, ...approval }): Write[] => {
    const cancelled = cancelApproval(approval, { person: approval.person, mayDecide: false }, now);
    if (!cancelled.ok) return [];
    return [{ kind: 'approval', org: ctx.org, id, body: cancelled.value, expectedRevision: revision }];
  });
}

const orderOf = ({ state }: Approval): number => (state === 'approved' ? 0 : 1);

/** Voids that are over are swept along, a few with each new one. */
const SWEEP = 20;

export function endingWrites(ctx: Leaving, endings: readonly Ending[]): Write[] {
  const now = ctx.clock.now();
  const writes = endings.map(({ subject, reason, by, before = now }): Write => {
    const body: Void = {
      subject,
      before: Math.min(before, now),
      reason: reason.slice(0, 2_000),
      by,
      until: now + ctx.facts.longestTokenMs,
    };
    return {
      kind: 'void',
      org: ctx.org,
      id: newId('void', ctx.clock),
      body,
      expectedRevision: null,
    };
  });
  const gone = new Set(endings.map(({ subject }) => `${subject.kind} ${subject.value}`));
  writes.push(
    ...heldCallWrites(ctx, ({ person, agent }) => gone.has(`person ${person}`) || gone.has(`client ${agent}`)),
  );
  // The oldest stand first. Two sweeps at once must not fail a revocation: no expected revision.
  let looked = 0;
  for (const { id, body } of ctx.follower.records.list('void', ctx.org)) {
    if (looked++ === SWEEP) break;
    if (Number(body['until']) < now) writes.push({ kind: 'void', org: ctx.org, id, body: null });
  }
  return writes;
}
