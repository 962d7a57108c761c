/**
 * Which scopes include others. Every token that carries the wider one counts as carrying the narrower ones, so whoever widens a scope changes
 * what tokens may do that are out already: less holds at once, more waits until somebody else agrees to exactly what they read (AZ-11).
 */
import { z } from 'zod';
import { digestOf, type Digest } from '../lib/canonical-json.ts';
import { ok, err } from '../lib/result.ts';
import { ScopeRecord } from '../policy/grants.ts';
import type { Write } from '../store/state.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { conflict, forbidden, invalid, notFound } from './problem.ts';
import { itemOf, itemsOf } from './records.ts';
import { handler, Reason } from './route.ts';

export const listScopes = handler({
  run: async ({ ctx }) =>
    ok({ body: { scopes: itemsOf(ctx, 'scope', ScopeRecord).map(({ id, ...scope }) => shown(id, scope)) } }),
});

export const getScope = handler({
  run: async ({ ctx, params }) => {
    const id = params['scope'] ?? '';
    const scope = itemOf(ctx, 'scope', id, ScopeRecord);
    return scope ? ok({ body: shown(id, scope), revision: scope.revision }) : err(notFound('scope', id));
  },
});

/** Order says nothing. */
const Wanted = ScopeRecord.omit({ proposed: true }).extend({
  includes: ScopeRecord.shape.includes.overwrite((includes) => [...new Set(includes)].sort()),
});

export const putScope = handler({
  body: z.strictObject({ reason: Reason, scope: Wanted }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const id = params['scope'] ?? '';
    if (!ScopeRecord.shape.includes.safeParse([id]).success)
      return err(invalid('scope', 'a scope is 1 to 128 printable characters without space, quote and backslash'));
    const before = itemOf(ctx, 'scope', id, ScopeRecord);
    const revision = expected(ask.seen, before?.revision);
    if (!revision.ok) return revision;
    const { title } = body.scope;
    const wanted = body.scope.includes.filter((one) => one !== id);
    const held = before?.includes ?? [];
    const more = wanted.some((one) => !held.includes(one));
    const scope: ScopeRecord =
      !more || ctx.facts.unsafeOnePersonMayDecide
        ? { title, includes: wanted }
        : {
            title,
            includes: held.filter((one) => wanted.includes(one)),
            proposed: { includes: wanted, by: who.person, at: ctx.clock.now() },
          };
    const done = await commitChange(ask, {
      what: scope.proposed ? 'scope.proposed' : 'scope.changed',
      subject: `scope/${id}`,
      reason: body.reason,
      facts: { includes: wanted },
      writes: [write(ctx, id, scope, revision.value)],
    });
    if (!done.ok) return done;
    const { value } = done;
    return ok({ status: before ? 200 : 201, body: { ...shown(id, scope), revision: value }, revision: value });
  },
});

export const approveScope = handler({
  body: z.strictObject({ reason: Reason, digest: z.string().max(200).describe('Of the proposal, as it was read.') }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const id = params['scope'] ?? '';
    const before = itemOf(ctx, 'scope', id, ScopeRecord);
    if (!before) return err(notFound('scope', id));
    const { proposed, title, revision } = before;
    if (!proposed)
      return err(conflict('scope_state', 'Nothing is proposed for this scope.', 'Nothing needs to be done.'));
    if (proposed.by === who.person && !ctx.facts.unsafeOnePersonMayDecide)
      return err(
        forbidden(
          'scope_author',
          'Nobody agrees to what they proposed.',
          'Ask another security reviewer or administrator.',
        ),
      );
    if (body.digest !== digestOfProposal(id, title, proposed.includes))
      return err(conflict('scope_moved', 'Something else is proposed by now.', 'Read the scope again.'));
    const { includes } = proposed;
    const done = await commitChange(ask, {
      what: 'scope.changed',
      subject: `scope/${id}`,
      reason: body.reason,
      facts: { includes, digest: body.digest, proposedBy: proposed.by },
      writes: [write(ctx, id, { title, includes }, revision)],
    });
    return done.ok ? ok({ body: { id, title, includes, revision: done.value }, revision: done.value }) : done;
  },
});

export const deleteScope = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const id = params['scope'] ?? '';
    const before = itemOf(ctx, 'scope', id, ScopeRecord);
    if (!before) return err(notFound('scope', id));
    const done = await commitChange(ask, {
      what: 'scope.removed',
      subject: `scope/${id}`,
      reason: body.reason,
      writes: [{ kind: 'scope', org: ctx.org, id, body: null, expectedRevision: before.revision }],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

/** Of what the scope would be once somebody agrees. */
const digestOfProposal = (id: string, title: string, includes: readonly string[]): Digest =>
  digestOf({ id, title, includes: [...includes] });

/** With the digest that whoever agrees names. */
function shown(id: string, { proposed, ...scope }: ScopeRecord): object {
  const waiting = proposed && { ...proposed, digest: digestOfProposal(id, scope.title, proposed.includes) };
  return { id, ...scope, ...(waiting && { proposed: waiting }) };
}

const write = (ctx: AdminContext, id: string, scope: ScopeRecord, expectedRevision: number | null): Write => ({
  kind: 'scope',
  org: ctx.org,
  id,
  body: scope,
  expectedRevision,
});
