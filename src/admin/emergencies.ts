/**
 * Emergencies: access without approvals for hours, opened by two people, told to everybody who should know, over by itself, and looked at
 * afterwards by somebody who took no part. What `forbid`, locks, switches, pins and scopes stop stays stopped. No setting makes one person
 * enough. Not here: accounts for the day when sign-in is broken (break-glass.ts); such an account confirms nothing, because nobody knows whose hand it is.
 */
import { z } from 'zod';
import { newId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { stepGrant } from '../policy/grant-machine.ts';
import { BREAK_GLASS_MAX_MS, Grant, GrantMembers } from '../policy/grants.ts';
import { commitChange, expected } from './commit.ts';
import { factsOf, handOf, holds, problemOf, refusalOf, shown, write } from './grants.ts';
import { conflict, forbidden, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler, Reason, type Ask } from './route.ts';

/** A request that nobody confirmed this long is no emergency. */
const CONFIRM_WITHIN_MS = 3_600_000;
const READERS = ['operator', 'auditor', 'security_reviewer', 'administrator'] as const;
const CONFIRMERS = ['operator', 'security_reviewer', 'administrator'] as const;

export const listEmergencies = handler({
  run: async ({ ctx }) => {
    const at = ctx.clock.now();
    const view = ctx.snapshot();
    const found = itemsOf(ctx, 'grant', Grant).filter(({ breakGlass }) => breakGlass);
    return ok({ body: { emergencies: found.map((grant) => shown(view, grant, at)) } });
  },
});

export const openEmergency = handler({
  body: z.strictObject({
    who: z.string().min(1).max(200).describe('The person who will work: you or somebody else.'),
    what: GrantMembers.shape.what.refine(({ items, risks }) => (items === undefined) !== (risks === undefined), {
      message: 'name items, or risk classes of the whole server, not both',
    }),
    minutes: z
      .number()
      .int()
      .min(1)
      .max(BREAK_GLASS_MAX_MS / 60_000),
    justification: GrantMembers.shape.justification,
  }),
  run: async (ask) => {
    const { ctx, who, body } = ask;
    const at = ctx.clock.now();
    const grant: Grant = {
      who: { kind: 'person', id: body.who },
      what: body.what,
      conditions: [],
      approval: 'waived',
      breakGlass: true,
      justification: body.justification,
      expiresAt: null,
      lastsMs: body.minutes * 60_000,
      state: 'requested',
      requestedBy: who.person,
      requestedAt: at,
      decidedBy: null,
      decidedAt: null,
      note: null,
    };
    const refused = refusalOf(ctx.snapshot(), grant, at);
    if (refused) return err(refused);
    const id = newId('grant', ctx.clock);
    const done = await commitChange(ask, {
      what: 'break_glass.requested',
      subject: `grant/${id}`,
      reason: body.justification.slice(0, 1_000),
      facts: { ...factsOf(grant), minutes: body.minutes },
      writes: [write(ctx, id, grant, null)],
    });
    return done.ok
      ? ok({ status: 201, body: { id, state: grant.state, revision: done.value }, revision: done.value })
      : done;
  },
});

export const confirmEmergency = handler({
  body: z.strictObject({ note: z.string().min(1).max(1_000).nullable().default(null) }),
  run: async (ask) => {
    const { ctx, who, body, seen } = ask;
    const found = emergencyOf(ask);
    if (!found.ok) return found;
    const { id, revision, ...grant } = found.value;
    const view = ctx.snapshot();
    const at = ctx.clock.now();
    const { person, beneficiary, decider, responder } = handOf(ctx, view, who, grant);
    if (who.breakGlass)
      return err(forbidden('break_glass_account', 'An account for emergencies is nobody, and two people must agree.'));
    // `alone` is not handed on: two people, always.
    const hand = { person, beneficiary, responder, decider: decider || holds(who, CONFIRMERS) };
    const moved = stepGrant(grant, 'approve', hand, body.note, at);
    if (!moved.ok) return err(problemOf(moved.error));
    if (at - grant.requestedAt >= CONFIRM_WITHIN_MS)
      return err(
        conflict(
          'break_glass_stale',
          'It was asked for more than an hour ago.',
          'Open a new one if it is still needed.',
        ),
      );
    const read = expected(seen, revision);
    if (!read.ok) return read;
    const refused = refusalOf(view, moved.value, at);
    if (refused) return err(refused);
    const { expiresAt } = moved.value;
    const done = await commitChange(ask, {
      what: 'break_glass.opened',
      subject: `grant/${id}`,
      reason: body.note ?? grant.justification.slice(0, 1_000),
      facts: { ...factsOf(grant), requester: grant.requestedBy, expiresAt: expiresAt ?? 0 },
      writes: [write(ctx, id, moved.value, revision)],
    });
    if (!done.ok) return done;
    const facts = {
      grant: id,
      server: grant.what.server,
      for: grant.who.id,
      by: [grant.requestedBy, who.person],
      expiresAt,
    };
    ctx.log.warn({ ref: ask.ref, ...facts }, 'an emergency is open: calls under this grant need no approval');
    return ok({ body: { id, state: moved.value.state, expiresAt, revision: done.value }, revision: done.value });
  },
});

export const endEmergency = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, who, body } = ask;
    const found = emergencyOf(ask);
    if (!found.ok) return found;
    const { id, revision, ...grant } = found.value;
    const at = ctx.clock.now();
    const hand = handOf(ctx, ctx.snapshot(), who, grant);
    const mayEnd = hand.responder || who.person === grant.requestedBy;
    const moved = stepGrant(
      grant,
      grant.state === 'requested' ? 'deny' : 'end',
      { ...hand, responder: mayEnd, decider: hand.decider || mayEnd, beneficiary: hand.beneficiary, alone: true },
      body.reason,
      at,
    );
    if (!moved.ok) return err(problemOf(moved.error));
    const done = await commitChange(ask, {
      what: grant.state === 'requested' ? 'break_glass.refused' : 'break_glass.ended',
      subject: `grant/${id}`,
      reason: body.reason,
      facts: { ...factsOf(grant), requester: grant.requestedBy },
      writes: [write(ctx, id, moved.value, revision)],
    });
    return done.ok ? ok({ body: { id, state: moved.value.state, revision: done.value }, revision: done.value }) : done;
  },
});

/** One that is there and that they may know of; what is none of theirs is not there. */
export function emergencyOf({ ctx, who, params }: Ask<unknown, unknown>): Result<Item<Grant>, Problem> {
  const id = params['grant'] ?? '';
  const grant = itemOf(ctx, 'grant', id, Grant);
  if (!grant?.breakGlass) return err(notFound('emergency', id));
  const { decider, responder, beneficiary } = handOf(ctx, ctx.snapshot(), who, grant);
  const theirs = decider || responder || beneficiary || who.person === grant.requestedBy || holds(who, READERS);
  return theirs ? ok(grant) : err(notFound('emergency', id));
}
