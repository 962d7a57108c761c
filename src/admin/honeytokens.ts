/**
 * Planted secrets over the API: made or given, placed by people, retired. A value that was made here is in the answer once and nowhere
 * else; the record holds it sealed. Whoever plants one decides what stops calls, so it takes the care of a policy.
 */
import { z } from 'zod';
import { Honeytoken, HoneytokenValue, newHoneytoken } from '../inventory/honeytokens.ts';
import { ownerStands } from '../directory/owners.ts';
import { err, ok } from '../lib/result.ts';
import { SLUG, SLUG_RULE } from '../lib/slug.ts';
import { commitChange, expected } from './commit.ts';
import { conflict, invalid, notFound } from './problem.ts';
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
    const found = itemOf(ctx, 'honeytoken', params['honeytoken'] ?? '', Honeytoken);
    if (!found) return err(notFound('honeytoken', params['honeytoken'] ?? ''));
    const { id, revision, ...record } = found;
    if (record.retired)
      return err(conflict('honeytoken_retired', `It was retired by ${record.retired.by}.`, 'Nothing is left to do.'));
    const read = expected(seen, revision);
    if (!read.ok) return read;
    const retired = { by: who.person, at: ctx.clock.now(), reason: body.reason };
    const done = await commitChange(ask, {
      what: 'honeytoken.retired',
      subject: `honeytoken/${id}`,
      reason: body.reason,
      facts: { placed: record.placed },
      writes: [{ kind: 'honeytoken', org: ctx.org, id, body: { ...record, retired }, expectedRevision: read.value }],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

function shown({ sealed: _sealed, ...rest }: Item<Honeytoken>) {
  return { ...rest, state: rest.retired ? 'retired' : 'planted' };
}
