/**
 * What is done about content, over the API: one record for the organisation. What is stricter holds at once; what lets something through that
 * was not let through waits until somebody else agrees to exactly that (AZ-11). Record kinds `inspection` and `inspection_proposal`.
 */
import { z } from 'zod';
import { InspectionPolicy } from '../content/records.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { err, ok } from '../lib/result.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { effectiveRows } from './inspection-effective.ts';
import { relaxes } from './inspection-relaxes.ts';
import { conflict, forbidden, invalid, notFound } from './problem.ts';
import { itemOf, type Item } from './records.ts';
import { handler, Reason } from './route.ts';

const ID = 'default';
const KIND = 'inspection';
const PROPOSAL = 'inspection_proposal';

const Proposal = z.strictObject({
  policy: InspectionPolicy,
  by: z.string().min(1),
  at: z.number().int(),
  /** What it would let through, in words. */
  why: z.string().min(1).max(500),
});

const proposed = (ctx: AdminContext): Item<z.infer<typeof Proposal>> | undefined => itemOf(ctx, PROPOSAL, ID, Proposal);
const digest = (policy: InspectionPolicy): Digest => digestOf(policy);

/** A record that cannot be read lets nothing out; whoever replaces it is judged by the defaults. */
function inForce(ctx: AdminContext): { readonly policy: InspectionPolicy; readonly revision: number | undefined } {
  const item = itemOf(ctx, KIND, ID, InspectionPolicy);
  if (!item) {
    const raw = ctx.follower.records.get(KIND, ctx.org, ID);
    return { policy: InspectionPolicy.parse({}), revision: raw?.revision };
  }
  const { id: _id, revision, ...policy } = item;
  return { policy, revision };
}

export const getInspection = handler({
  run: async ({ ctx }) => {
    const { policy, revision } = inForce(ctx);
    const waiting = proposed(ctx);
    const readable = ctx.snapshot().inspection !== null;
    const rows = effectiveRows(policy);
    const body = {
      inspection: policy,
      readable,
      // Towards servers nothing goes by a record that cannot be read.
      effective: readable ? rows : (rows?.filter(({ direction }) => direction === 'in') ?? null),
      revision: revision ?? null,
      proposed: waiting
        ? {
            inspection: waiting.policy,
            digest: digest(waiting.policy),
            by: waiting.by,
            at: waiting.at,
            why: waiting.why,
          }
        : null,
    };
    return ok({ body, ...(revision !== undefined && { revision }) });
  },
});

export const putInspection = handler({
  body: z.strictObject({ reason: Reason, inspection: InspectionPolicy }),
  run: async (ask) => {
    const { ctx, who, body } = ask;
    const before = inForce(ctx);
    const revision = expected(ask.seen, before.revision);
    if (!revision.ok) return revision;
    const policy = body.inspection;
    for (const [at, { servers = [] }] of policy.rules.entries())
      for (const [place, server] of servers.entries())
        if (!ctx.snapshot().servers.has(server))
          return err(
            invalid(
              `inspection.rules.${at}.servers.${place}`,
              `There is no server ${JSON.stringify(server)}.`,
              'Look at: remit server list',
            ),
          );
    const why = ctx.facts.unsafeOnePersonMayDecide ? null : relaxes(before.policy, policy);
    const waiting = proposed(ctx);
    const { org } = ctx;
    const facts = { digest: digest(policy), rules: policy.rules.length, ...(why !== null && { lets: why }) };
    const done = await commitChange(ask, {
      what: why === null ? 'inspection.changed' : 'inspection.proposed',
      subject: `inspection/${ID}`,
      reason: body.reason,
      facts,
      writes:
        why === null
          ? [
              { kind: KIND, org, id: ID, body: policy, expectedRevision: revision.value },
              // What waited was said of other rules.
              ...(waiting ? [{ kind: PROPOSAL, org, id: ID, body: null, expectedRevision: waiting.revision }] : []),
            ]
          : [
              {
                kind: PROPOSAL,
                org,
                id: ID,
                body: { policy, by: who.person, at: ctx.clock.now(), why },
                expectedRevision: waiting?.revision ?? null,
              },
            ],
    });
    if (!done.ok) return done;
    const state = why === null ? 'in force' : 'proposed';
    return ok({ body: { state, digest: digest(policy), ...(why !== null && { why }), revision: done.value } });
  },
});

export const approveInspection = handler({
  body: z.strictObject({ reason: Reason, digest: z.string().max(200).describe('Of the proposal, as it was read.') }),
  run: async (ask) => {
    const { ctx, who, body } = ask;
    const waiting = proposed(ctx);
    if (!waiting) return err(notFound('proposal', KIND));
    if (waiting.by === who.person && !ctx.facts.unsafeOnePersonMayDecide)
      return err(
        forbidden(
          'two_people',
          'Nobody agrees to what they proposed.',
          'Ask another security reviewer or administrator.',
        ),
      );
    if (digest(waiting.policy) !== body.digest)
      return err(conflict('inspection_moved', 'Something else is proposed by now.', 'Read it again.'));
    const { revision } = inForce(ctx);
    const { org } = ctx;
    const done = await commitChange(ask, {
      what: 'inspection.changed',
      subject: `inspection/${ID}`,
      reason: body.reason,
      facts: { digest: body.digest, rules: waiting.policy.rules.length, lets: waiting.why, proposedBy: waiting.by },
      writes: [
        { kind: KIND, org, id: ID, body: waiting.policy, expectedRevision: revision ?? null },
        { kind: PROPOSAL, org, id: ID, body: null, expectedRevision: waiting.revision },
      ],
    });
    return done.ok ? ok({ body: { state: 'in force', revision: done.value }, revision: done.value }) : done;
  },
});
