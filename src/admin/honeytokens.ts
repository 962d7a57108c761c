/**
 * Planted secrets over the API: made or given, placed by people, retired. A value that was made here is in the answer once and nowhere
 * else; the record holds it sealed. Whoever plants one decides what stops calls, so it takes the care of a policy; to retire one is to turn
 * an alarm off, so it takes two people (AZ-11): until the second agrees it is looked for.
 */
import { z } from 'zod';
import { Honeytoken, HoneytokenValue, newHoneytoken } from '../inventory/honeytokens.ts';
import { ownerStands } from '../directory/owners.ts';
import { digestOf, type Digest } from '../lib/canonical-json.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { SLUG, SLUG_RULE } from '../lib/slug.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { conflict, forbidden, invalid, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler, Reason } from './route.ts';

/** Every text is searched for all of them. */
const MAX_HONEYTOKENS = 1_000;

export const listHoneytokens = handler({
  run: async ({ ctx }) => ok({ body: { honeytokens: itemsOf(ctx, 'honeytoken', Honeytoken).map(shown) } }),
});

export const addHoneytoken = handler({
  body: z.strictObject({
    id: z.string().regex(SLUG, SLUG_RULE),
    title: z.string().min(1).max(200),
    placed: z.string().min(1).max(500).describe('Where it lies, in words.'),
    owner: z.string().min(1).max(200).describe('Who is told: a directory id, or group/ and an id.'),
    value: HoneytokenValue.optional().describe('Left out: one is made and is in the answer, once.'),
    reason: Reason,
  }),
  run: async (ask) => {
    const { ctx, body } = ask;
    const { id, title, placed, owner, reason } = body;
    if (itemOf(ctx, 'honeytoken', id, Honeytoken))
      return err(
        conflict('honeytoken_exists', `There is a honeytoken ${id}.`, 'Choose another id; a value is never replaced.'),
      );
    if (itemsOf(ctx, 'honeytoken', Honeytoken).filter(({ retired }) => !retired).length >= MAX_HONEYTOKENS)
      return err(conflict('honeytokens_full', `There are ${MAX_HONEYTOKENS} honeytokens.`, 'Retire some first.'));
    if (!ownerStands(ctx.snapshot(), owner))
      return err(invalid('owner', 'Nobody active has this id.', 'Name a person of the directory, or group/ID.'));
    const value = body.value ?? newHoneytoken();
    const record: Honeytoken = {
      title,
      placed,
      owner,
      sealed: ctx.honeytokens.seal(value, id),
      madeAt: ctx.clock.now(),
    };
    const done = await commitChange(ask, {
      what: 'honeytoken.added',
      subject: `honeytoken/${id}`,
      reason,
      facts: { placed, owner },
      writes: [{ kind: 'honeytoken', org: ctx.org, id, body: record, expectedRevision: null }],
    });
    if (!done.ok) return done;
    const made = body.value === undefined ? { value } : {};
    return ok({ status: 201, body: { id, ...made, revision: done.value }, revision: done.value });
  },
});

export const retireHoneytoken = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, who, body, params, seen } = ask;
    const found = standing(ctx, params['honeytoken'] ?? '');
    if (!found.ok) return found;
    const { id, revision, retiring, ...record } = found.value;
    if (retiring)
      return err(
        conflict(
          'honeytoken_retiring',
          `${retiring.by} wants that already.`,
          'Agree with the digest of that: remit honeytoken approve.',
        ),
      );
    const read = expected(seen, revision);
    if (!read.ok) return read;
    const said = { by: who.person, at: ctx.clock.now(), reason: body.reason };
    const alone = ctx.facts.unsafeOnePersonMayDecide;
    const after: Honeytoken = { ...record, [alone ? 'retired' : 'retiring']: said };
    const done = await commitChange(ask, {
      what: alone ? 'honeytoken.retired' : 'honeytoken.retirement_proposed',
      subject: `honeytoken/${id}`,
      reason: body.reason,
      facts: { placed: record.placed, ...(!alone && { digest: digestOfProposal(id, said) }) },
      writes: [{ kind: 'honeytoken', org: ctx.org, id, body: after, expectedRevision: read.value }],
    });
    return done.ok ? ok({ body: shown({ id, revision: done.value, ...after }), revision: done.value }) : done;
  },
});

export const approveRetirement = handler({
  body: z.strictObject({ reason: Reason, digest: z.string().max(200).describe('Of the proposal, as it was read.') }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const found = standing(ctx, params['honeytoken'] ?? '');
    if (!found.ok) return found;
    const { id, revision, retiring, ...record } = found.value;
    if (!retiring)
      return err(conflict('honeytoken_planted', 'Nobody wants it retired.', 'Look at: remit honeytoken list'));
    if (retiring.by === who.person && !ctx.facts.unsafeOnePersonMayDecide)
      return err(
        forbidden(
          'two_people',
          'Nobody agrees to what they proposed.',
          'Ask another security reviewer or administrator.',
        ),
      );
    if (body.digest !== digestOfProposal(id, retiring))
      return err(conflict('honeytoken_moved', 'Something else is proposed by now.', 'Read it again.'));
    const after: Honeytoken = { ...record, retired: { ...retiring, at: ctx.clock.now(), agreed: who.person } };
    const done = await commitChange(ask, {
      what: 'honeytoken.retired',
      subject: `honeytoken/${id}`,
      reason: body.reason,
      facts: { placed: record.placed, digest: body.digest, proposedBy: retiring.by },
      writes: [{ kind: 'honeytoken', org: ctx.org, id, body: after, expectedRevision: revision }],
    });
    return done.ok ? ok({ body: shown({ id, revision: done.value, ...after }), revision: done.value }) : done;
  },
});

export const keepHoneytoken = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const found = standing(ctx, params['honeytoken'] ?? '');
    if (!found.ok) return found;
    const { id, revision, retiring, ...record } = found.value;
    if (!retiring) return err(conflict('honeytoken_planted', 'Nobody wants it retired.', 'Nothing needs to be done.'));
    const done = await commitChange(ask, {
      what: 'honeytoken.kept',
      subject: `honeytoken/${id}`,
      reason: body.reason,
      facts: { placed: record.placed, proposedBy: retiring.by },
      writes: [{ kind: 'honeytoken', org: ctx.org, id, body: record, expectedRevision: revision }],
    });
    return done.ok ? ok({ body: shown({ id, revision: done.value, ...record }), revision: done.value }) : done;
  },
});

/** One that is looked for. */
function standing(ctx: AdminContext, id: string): Result<Item<Honeytoken>, Problem> {
  const found = itemOf(ctx, 'honeytoken', id, Honeytoken);
  if (!found) return err(notFound('honeytoken', id));
  if (!found.retired) return ok(found);
  return err(conflict('honeytoken_retired', `It was retired by ${found.retired.by}.`, 'Nothing is left to do.'));
}

/** Of one proposal: another one, or the same once more, has another. */
const digestOfProposal = (id: string, retiring: NonNullable<Honeytoken['retiring']>): Digest =>
  digestOf({ id, retiring });

function shown({ sealed: _sealed, retiring, ...rest }: Item<Honeytoken>) {
  if (!retiring) return { ...rest, state: rest.retired ? 'retired' : 'planted' };
  return { ...rest, state: 'retiring', retiring: { ...retiring, digest: digestOfProposal(rest.id, retiring) } };
}
