/**
 * Held calls: what waits, exactly what would run, and the decision. The machine is `approvals/machine.ts`; the requester never decides.
 * A decision names the call digest that the approver saw, so that nobody approves something else than they read (AP-02).
 */
import { z } from 'zod';
import { decideApproval, type ApprovalProblem } from '../approvals/machine.ts';
import { Approval } from '../approvals/records.ts';
import { DigestText } from '../integrity/records.ts';
import { err, ok } from '../lib/result.ts';
import { commitChange } from './commit.ts';
import type { AdminContext } from './context.ts';
import { conflict, forbidden, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf } from './records.ts';
import { handler } from './route.ts';

export const listApprovals = handler({
  query: z.strictObject({ state: z.enum(['pending', 'all']).default('pending') }),
  run: async ({ ctx, query }) => {
    const now = ctx.clock.now();
    const approvals = itemsOf(ctx, 'approval', Approval).filter(
      ({ state, expiresAt }) => query.state === 'all' || (state === 'pending' && expiresAt > now),
    );
    return ok({ body: { approvals } });
  },
});

export const getApproval = handler({
  run: async ({ ctx, params }) => {
    const id = params['approval'] ?? '';
    const approval = itemOf(ctx, 'approval', id, Approval);
    return approval === undefined ? err(notFound('approval', id)) : ok({ body: approval, revision: approval.revision });
  },
});

const decision = (outcome: 'approved' | 'denied') =>
  handler({
    body: z.strictObject({
      call: DigestText.describe('Digest of the call that you read.'),
      note: z.string().max(1000).nullable().default(null),
    }),
    run: async (ask) => {
      const { ctx, who, params, body } = ask;
      const id = params['approval'] ?? '';
      const found = itemOf(ctx, 'approval', id, Approval);
      if (found === undefined) return err(notFound('approval', id));
      const { id: _, revision, ...approval } = found;
      if (approval.call !== body.call) return err(problemOf({ code: 'approval_other_call' }));
      const decided = decideApproval(approval, {
        // The route asked for the role already.
        by: {
          person: who.person,
          mayDecide: who.roles.has('approver'),
          ownsAgent: answersFor(ctx, who.person, approval),
        },
        outcome,
        note: body.note,
        at: ctx.clock.now(),
      });
      if (!decided.ok) return err(problemOf(decided.error));
      const done = await commitChange(ask, {
        what: `approval.${outcome}`,
        subject: `approval/${id}`,
        reason: body.note ?? outcome,
        facts: { call: approval.call, server: approval.server, tool: approval.tool, requester: approval.person },
        writes: [
          {
            kind: 'approval',
            org: ctx.org,
            id,
            body: decided.value,
            expectedRevision: revision,
          },
        ],
      });
      if (done.ok || done.error.revision !== undefined) ctx.onApproval(id);
      return done.ok ? ok({ body: { id, state: outcome, revision: done.value }, revision: done.value }) : done;
    },
  });

/** An approval names the client without its issuer: owning any agent of that name counts, and so does owning the one that acted alone. */
function answersFor(ctx: AdminContext, person: string, { agent, person: requester }: Approval): boolean {
  for (const known of ctx.snapshot().agents.values())
    if (known?.owner === person && (known.clientId === agent || `agent/${known.id}` === requester)) return true;
  return false;
}

export const approveCall = decision('approved');
export const denyCall = decision('denied');

function problemOf(problem: ApprovalProblem): Problem {
  switch (problem.code) {
    case 'approval_self':
      return forbidden(
        'approval_self',
        'Nobody decides on their own call, or on one of an agent that they answer for.',
        'Ask another approver.',
      );
    case 'approval_role':
    case 'approval_not_yours':
      return forbidden(problem.code, 'This decision is not yours.');
    case 'approval_state':
      return conflict('approval_state', `The call is ${problem.state} already.`, 'Nothing is left to decide.');
    case 'approval_expired':
      return conflict('approval_expired', 'The time to decide is over.', 'The caller can ask again.');
    case 'approval_other_call':
      return conflict('approval_other_call', 'This is not the call you read.', 'Read it again and decide anew.');
    default:
      return problem satisfies never;
  }
}
