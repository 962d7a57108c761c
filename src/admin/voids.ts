/**
 * Tokens taken back before they end: everything of a person ("sign out everywhere"), of a client, a grant or a session, or one token.
 * In force on this node before the answer leaves; calls that run on such a token are cancelled with the snapshot. Nothing is undone here:
 * whoever signs in anew gets tokens that it does not touch. Refresh grants end at the authorization server by event.
 */
import { z } from 'zod';
import { Void, VOID_KINDS } from '../directory/voids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { commitChange } from './commit.ts';
import { endingWrites } from './leaving.ts';
import { PAGE, pageOf } from './paging.ts';
import { invalid, notFound, type Problem } from './problem.ts';
import { itemsOf } from './records.ts';
import { handler, Reason, type Answer, type Ask } from './route.ts';

export const listVoids = handler({
  query: z.strictObject({ limit: PAGE.limit, after: PAGE.after, kind: z.enum(VOID_KINDS).optional() }),
  run: async ({ ctx, query }) => {
    const now = ctx.clock.now();
    const voids = new Map(itemsOf(ctx, 'void', Void).map((one) => [one.id, one]));
    const { rows, next } = pageOf([...voids.keys()], query, (id) => {
      const one = voids.get(id)!;
      return one.until < now || (query.kind !== undefined && one.subject.kind !== query.kind) ? undefined : one;
    });
    return ok({ body: { voids: rows, next } });
  },
});

export const addVoid = handler({
  body: z.strictObject({
    kind: z.enum(VOID_KINDS),
    value: z
      .string()
      .min(1)
      .max(512)
      .describe('Id of a person, client id, or the id of the grant, session or token (`jti`).'),
    issuer: z.url().optional().describe('Whose grant, session or token it is. Left out: the only issuer.'),
    reason: Reason,
  }),
  run: async (ask) => {
    const { ctx, body } = ask;
    const { kind, value } = body;
    if (kind === 'person' && !ctx.snapshot().people.byId(value)) return err(notFound('person', value));
    if (kind === 'person' || kind === 'client') return voided(ask, { kind, value }, body.reason);
    const issuers = ctx.snapshot().organisation?.issuers ?? [];
    const issuer = body.issuer ?? (issuers.length === 1 ? issuers[0] : undefined);
    if (issuer === undefined || !issuers.includes(issuer))
      return err(
        invalid(
          'issuer',
          `Whose ${kind} is it? The organisation trusts: ${issuers.join(', ') || 'nobody'}.`,
          'Name one of them.',
        ),
      );
    return voided(ask, { kind, value: `${issuer} ${value}` }, body.reason);
  },
});

export const signOutPerson = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const id = ask.params['person'] ?? '';
    if (!ask.ctx.snapshot().people.byId(id)) return err(notFound('person', id));
    return voided(ask, { kind: 'person', value: id }, ask.body.reason);
  },
});

/** Everybody may end their own sign-ins: a lost laptop should not wait for an administrator. */
export const signOutMyself = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => voided(ask, { kind: 'person', value: ask.who.person }, ask.body.reason),
});

async function voided(
  ask: Ask<unknown, unknown>,
  subject: Void['subject'],
  reason: string,
): Promise<Result<Answer, Problem>> {
  const done = await commitChange(ask, {
    what: 'tokens.voided',
    subject: `${subject.kind}/${subject.value}`,
    reason,
    facts: { kind: subject.kind, value: subject.value },
    writes: endingWrites(ask.ctx, [{ subject, reason, by: ask.who.person }]),
  });
  return done.ok ? ok({ status: 201, body: { ...subject, revision: done.value }, revision: done.value }) : done;
}
