/**
 * A draft in shadow: asked about live calls, deciding none. One person puts it there and takes it out again, because it gives and takes nothing;
 * both are recorded. What was counted is this node's own and goes with its process: on several nodes each is asked for itself.
 */
import { z } from 'zod';
import { MOST_SHADOWS } from '../gateway/shadow.ts';
import { err, ok } from '../lib/result.ts';
import { PolicyRecord } from '../policy/records.ts';
import { commitChange } from './commit.ts';
import { checkPolicyText } from './policies.ts';
import { conflict, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf } from './records.ts';
import { handler, queryNumber, Reason } from './route.ts';

const shadowing = (to: 'shadow' | 'draft') =>
  handler({
    body: z.strictObject({ reason: Reason }),
    run: async (ask) => {
      const { ctx, params, body } = ask;
      const id = params['policy'] ?? '';
      const found = itemOf(ctx, 'policy', id, PolicyRecord);
      if (found === undefined) return err(notFound('policy', id));
      const { id: _, revision, ...policy } = found;
      const from = to === 'shadow' ? 'draft' : 'shadow';
      if (policy.state !== from) return err(wrongState(policy.state, from));
      if (to === 'shadow') {
        const checked = checkPolicyText(ctx, id, policy.text);
        if (!checked.ok) return checked;
        const others = itemsOf(ctx, 'policy', PolicyRecord).filter(({ state }) => state === 'shadow');
        if (others.length >= MOST_SHADOWS)
          return err(
            conflict(
              'shadow_too_many',
              `${others.length} policies are in shadow; each costs a decision per call.`,
              `Take one out first: ${others.map((one) => one.id).join(', ')}.`,
            ),
          );
      }
      const done = await commitChange(ask, {
        what: to === 'shadow' ? 'policy.shadowed' : 'policy.unshadowed',
        subject: `policy/${id}`,
        reason: body.reason,
        facts: { replaces: policy.replaces },
        writes: [{ kind: 'policy', org: ctx.org, id, body: { ...policy, state: to }, expectedRevision: revision }],
      });
      return done.ok ? ok({ body: { id, state: to, revision: done.value }, revision: done.value }) : done;
    },
  });

export const enterShadow = shadowing('shadow');
export const leaveShadow = shadowing('draft');

export const shadowReport = handler({
  query: z.strictObject({
    limit: queryNumber(1, 1_000).default(50),
    offset: queryNumber(0, 1_000_000).default(0).describe('`next` of the answer before.'),
  }),
  run: async ({ ctx, params, query }) => {
    const id = params['policy'] ?? '';
    const found = itemOf(ctx, 'policy', id, PolicyRecord);
    if (found === undefined) return err(notFound('policy', id));
    const report = ctx.shadows.report(id);
    if (report === null) return err(wrongState(found.state, 'shadow'));
    const { rows, ...rest } = report;
    const { offset, limit } = query;
    const changes = [...Map.groupBy(rows, ({ from, to }) => `${from} ${to}`).values()].map((same) => ({
      from: same[0]!.from,
      to: same[0]!.to,
      calls: same.reduce((sum, { count }) => sum + count, 0),
    }));
    const page = rows.slice(offset, offset + limit);
    const next = offset + limit < rows.length ? offset + limit : null;
    return ok({ body: { policy: id, node: ctx.node, ...rest, changes, rows: page, next }, revision: found.revision });
  },
});

export const resetShadow = handler({
  body: z.strictObject({}),
  run: async ({ ctx, params }) => {
    const id = params['policy'] ?? '';
    if (ctx.shadows.report(id) === null) return err(notFound('policy in shadow', id));
    ctx.shadows.reset(id);
    return ok({ body: { policy: id, node: ctx.node, since: ctx.clock.now() } });
  },
});

const wrongState = (state: PolicyRecord['state'], wanted: 'draft' | 'shadow'): Problem =>
  conflict(
    'policy_state',
    `The policy is ${state === 'active' ? 'in force' : `a ${state}`}, not a ${wanted}.`,
    wanted === 'draft' ? 'Store the text as a draft first.' : 'Put the draft in shadow first.',
  );
