/**
 * The look back at an emergency (AP-08): until a security reviewer who took no part has read what was done under it and says what they found,
 * it is a finding. What was done is what the log says; nobody reports it by hand.
 */
import { z } from 'zod';
import { err, ok, type Result } from '../lib/result.ts';
import { grantStanding } from '../policy/grant-machine.ts';
import { Grant } from '../policy/grants.ts';
import { recordQuestion } from './audit.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { emergencyOf } from './emergencies.ts';
import { callsUnder, type CallsUnder } from './grant-uses.ts';
import { factsOf, shown, write } from './grants.ts';
import { conflict, forbidden, type Problem } from './problem.ts';
import { itemsOf, type Item } from './records.ts';
import { handler, type Ask } from './route.ts';

export interface EmergencyFinding {
  readonly kind: 'grant';
  readonly id: string;
  readonly title: string;
  readonly code: 'break_glass_unreviewed';
  readonly message: string;
}

/** Whether it was open once and is no more. */
export const isPast = (grant: Grant, at: number): boolean =>
  grant.state === 'ended' || grantStanding(grant, at) === 'over';

export function emergencyFindings(ctx: AdminContext, now: number): readonly EmergencyFinding[] {
  return itemsOf(ctx, 'grant', Grant)
    .filter((grant) => grant.breakGlass && isPast(grant, now) && grant.postMortem === undefined)
    .map(({ id, what, who, decidedBy, requestedBy }) => ({
      kind: 'grant',
      id,
      title: `Emergency on ${what.server}`,
      code: 'break_glass_unreviewed',
      message: `${who.id} could work there without approvals, opened by ${requestedBy} and ${decidedBy ?? 'nobody'}. A security reviewer who took no part reads what was done and closes it.`,
    }));
}

/** What was done under it; reading it is recorded like every reading of the log. */
export const getEmergency = handler({
  run: async (ask) => {
    const found = emergencyOf(ask);
    if (!found.ok) return found;
    const calls = await callsOf(ask, found.value);
    if (!calls.ok) return calls;
    const { revision } = found.value;
    return ok({
      body: { ...shown(ask.ctx.snapshot(), found.value, ask.ctx.clock.now()), calls: calls.value },
      revision,
    });
  },
});

export const reviewEmergency = handler({
  body: z.strictObject({ note: z.string().min(1, 'say what you found').max(2_000) }),
  run: async (ask) => {
    const { ctx, who, body, seen } = ask;
    const found = emergencyOf(ask);
    if (!found.ok) return found;
    const { id, revision, ...grant } = found.value;
    const at = ctx.clock.now();
    if ([grant.requestedBy, grant.decidedBy, grant.who.id].includes(who.person))
      return err(
        forbidden('break_glass_part', 'Whoever asked for it, confirmed it or worked under it does not judge it.'),
      );
    if (!isPast(grant, at) || grant.postMortem !== undefined)
      return err(
        conflict(
          'break_glass_state',
          grant.postMortem ? 'It is reviewed already.' : 'It is not over.',
          grant.postMortem ? 'Nothing is left to do.' : 'End it, or wait for its end.',
        ),
      );
    const read = expected(seen, revision);
    if (!read.ok) return read;
    const calls = await callsOf(ask, found.value);
    if (!calls.ok) return calls;
    const { count, first, last, complete } = calls.value;
    const done = await commitChange(ask, {
      what: 'break_glass.reviewed',
      subject: `grant/${id}`,
      reason: body.note.slice(0, 1_000),
      facts: { ...factsOf(grant), calls: count, complete, ...(first !== null && last !== null && { first, last }) },
      writes: [
        write(ctx, id, { ...grant, postMortem: { by: who.person, at, calls: count, note: body.note } }, revision),
      ],
    });
    return done.ok ? ok({ body: { id, calls: calls.value, revision: done.value }, revision: done.value }) : done;
  },
});

async function callsOf(ask: Ask<unknown, unknown>, grant: Item<Grant>): Promise<Result<CallsUnder, Problem>> {
  const { ctx } = ask;
  const { decidedAt, expiresAt } = grant;
  if (decidedAt === null || expiresAt === null)
    return ok({ count: 0, first: null, last: null, calls: [], complete: true });
  const recorded = await recordQuestion(ask, 'break_glass.calls_read', { grant: grant.id });
  if (!recorded.ok) return recorded;
  const { ledger, log } = ctx.audit;
  return ok(await callsUnder(ledger, log.log, grant.id, { from: decidedAt, to: expiresAt }));
}
