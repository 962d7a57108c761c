/**
 * Access reviews over the API (NH-10): open a campaign over grants, say of each grant that it is still needed or not, with the evidence of
 * its use before one's eyes. Nobody attests access of their own. What is revoked ends with the word; what is kept says who said so and why.
 */
import { z } from 'zod';
import { Group, type Role } from '../../directory/records.ts';
import { ownerStands, ownsIt } from '../../directory/owners.ts';
import { newId } from '../../lib/ids.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import { grantStanding } from '../../policy/grant-machine.ts';
import { Grant } from '../../policy/grants.ts';
import type { Write } from '../../store/state.ts';
import { commitChange } from '../commit.ts';
import type { AdminContext } from '../context.ts';
import { handOf } from '../grants.ts';
import { conflict, forbidden, invalid, notFound, type Problem } from '../problem.ts';
import { itemOf, itemsOf, type Item } from '../records.ts';
import { handler, queryNumber, Reason, type AdminCaller, type Ask } from '../route.ts';
import { Attestation, attestationId, Campaign, Evidence } from './records.ts';

const DAY_MS = 86_400_000;
const MOST_ITEMS = 5_000;
const SEE_ALL: readonly Role[] = ['operator', 'auditor', 'security_reviewer', 'administrator'];

export const listCampaigns = handler({
  run: async ({ ctx }) => {
    const all = itemsOf(ctx, 'attestation', Attestation);
    const campaigns = itemsOf(ctx, 'campaign', Campaign).map((campaign) => ({
      ...campaign,
      ...countsOf(all.filter((one) => one.campaign === campaign.id)),
    }));
    return ok({ body: { reviews: campaigns } });
  },
});

export const getCampaign = handler({
  query: z.strictObject({ mine: z.enum(['true']).optional().describe('Only what waits for you.') }),
  run: async ({ ctx, who, params, query }) => {
    const found = campaignOf(ctx, params['review'] ?? '');
    if (!found.ok) return found;
    const campaign = found.value;
    // Who has which access and why is for who oversees it and who is asked about it.
    const all = SEE_ALL.some((role) => who.roles.has(role));
    const theirs = itemsIn(ctx, campaign.id).filter((one) => all || isReviewer(ctx, who, one));
    if (!all && theirs.length === 0) return err(notFound('review', campaign.id));
    const items = theirs.filter(
      (one) => query.mine === undefined || (one.decision === 'pending' && isReviewer(ctx, who, one)),
    );
    return ok({ body: { ...campaign, ...countsOf(theirs), items: items.map((one) => shown(ctx, one)) } });
  },
});

export const openCampaign = handler({
  body: z.strictObject({
    reason: Reason,
    review: Campaign.pick({ title: true, purpose: true, server: true, group: true, reviewer: true }).extend({
      dueAt: z.number().int().describe('ms since the epoch; what nobody attested by then is suspended.'),
    }),
  }),
  run: async (ask) => {
    const { ctx, who, body } = ask;
    const { review } = body;
    const view = ctx.snapshot();
    const now = ctx.clock.now();
    const problems = [
      ...(review.dueAt < now + DAY_MS || review.dueAt > now + 366 * DAY_MS
        ? [['dueAt', 'must be between a day and a year from now'] as const]
        : []),
      ...(review.server !== undefined && !view.servers.has(review.server)
        ? [['server', `there is no server ${JSON.stringify(review.server)}`] as const]
        : []),
      ...(review.group !== undefined && itemOf(ctx, 'group', review.group, Group) === undefined
        ? [['group', `there is no group ${JSON.stringify(review.group)}`] as const]
        : []),
      ...(review.reviewer !== undefined && !ownerStands(view, review.reviewer)
        ? [['reviewer', 'must be an active person, or group/ and the id of a group with an active member'] as const]
        : []),
    ];
    const [first] = problems;
    if (first)
      return err(invalid(`review.${first[0]}`, problems.map(([field, message]) => `${field}: ${message}`).join('; ')));
    const grants = itemsOf(ctx, 'grant', Grant).filter(
      (grant) =>
        grant.state === 'active' &&
        grantStanding(grant, now) !== 'over' &&
        (review.server === undefined || grant.what.server === review.server) &&
        (review.group === undefined || (grant.who.kind === 'group' && grant.who.id === review.group)),
    );
    if (grants.length === 0)
      return err(conflict('review_empty', 'No grant in force is among these.', 'Nothing needs to be reviewed.'));
    if (grants.length > MOST_ITEMS)
      return err(
        conflict(
          'review_too_large',
          `${grants.length} grants are more than one campaign asks about.`,
          `Open one for each server; at most ${MOST_ITEMS}.`,
        ),
      );
    const id = newId('review', ctx.clock);
    const campaign: Campaign = { ...review, state: 'open', openedBy: who.person, openedAt: now, closedAt: null };
    const items = grants.map((grant): Attestation => {
      const owner = view.servers.get(grant.what.server)?.record.owner;
      // Whoever opened it answers where nobody else is left to.
      const reviewer = review.reviewer ?? (owner !== undefined && ownerStands(view, owner) ? owner : who.person);
      return {
        campaign: id,
        grant: grant.id,
        reviewer,
        decision: 'pending',
        by: null,
        at: null,
        note: null,
        evidence: null,
      };
    });
    const done = await commitChange(ask, {
      what: 'review.opened',
      subject: `campaign/${id}`,
      reason: body.reason,
      facts: { grants: items.length, dueAt: review.dueAt },
      writes: [
        { kind: 'campaign', org: ctx.org, id, body: campaign, expectedRevision: null },
        ...items.map((item) => attestationWrite(ctx, item, null)),
      ],
    });
    return done.ok
      ? ok({ status: 201, body: { id, grants: items.length, revision: done.value }, revision: done.value })
      : done;
  },
});

const decide = (decision: 'kept' | 'revoked') =>
  handler({
    body: z.strictObject({ note: z.string().min(1, 'say why').max(2_000) }),
    run: async (ask) => {
      const { ctx, who, params, body } = ask;
      const open = openItem(ask);
      if (!open.ok) return open;
      const { item, campaign } = open.value;
      if (!isReviewer(ctx, who, item))
        return err(forbidden('review_not_yours', 'This decision is not yours.', `Its reviewer is ${item.reviewer}.`));
      const found = itemOf(ctx, 'grant', item.grant, Grant);
      const { id: _, revision, ...grant } = found ?? { id: '', revision: 0, state: 'ended' as const };
      if (grant.state !== 'active')
        return err(conflict('grant_state', `The grant is ${grant.state} already.`, 'Nothing is left to review of it.'));
      const hand = handOf(ctx, ctx.snapshot(), who, grant);
      if (decision === 'kept' && hand.alone !== true && (hand.beneficiary || grant.requestedBy === who.person))
        return err(
          forbidden(
            'review_own',
            'Nobody attests access of their own, or that they asked for.',
            'Ask another reviewer; revoking it is yours.',
          ),
        );
      const now = ctx.clock.now();
      const evidence = evidenceOf(ctx, item.grant);
      const { id: itemId, revision: itemRevision, ...attestation } = item;
      const decided: Attestation = { ...attestation, decision, by: who.person, at: now, note: body.note, evidence };
      const after: Grant =
        decision === 'kept'
          ? { ...grant, attested: { by: who.person, at: now, campaign: campaign.id, note: body.note } }
          : { ...grant, state: 'ended', note: body.note };
      const done = await commitChange(ask, {
        what: `review.${decision}`,
        subject: `grant/${item.grant}`,
        reason: body.note.slice(0, 1_000),
        facts: {
          review: params['review'] ?? '',
          lastUsedAt: evidence?.lastUsedAt ?? null,
          evidence: evidence?.index ?? null,
          uses: evidence?.uses ?? 0,
        },
        writes: [
          attestationWrite(ctx, decided, itemRevision),
          { kind: 'grant', org: ctx.org, id: item.grant, body: after, expectedRevision: revision },
        ],
      });
      return done.ok ? ok({ body: { id: itemId, decision, revision: done.value }, revision: done.value }) : done;
    },
  });

export const keepGrant = decide('kept');
export const revokeGrant = decide('revoked');

export const cancelCampaign = handler({
  body: z.strictObject({ reason: Reason }),
  run: async (ask) => {
    const { ctx, body, params } = ask;
    const found = campaignOf(ctx, params['review'] ?? '');
    if (!found.ok) return found;
    const { id, revision, ...campaign } = found.value;
    if (campaign.state !== 'open')
      return err(conflict('review_state', `The review is ${campaign.state}.`, 'Nothing needs to be done.'));
    const done = await commitChange(ask, {
      what: 'review.cancelled',
      subject: `campaign/${id}`,
      reason: body.reason,
      writes: [
        {
          kind: 'campaign',
          org: ctx.org,
          id,
          body: { ...campaign, state: 'cancelled', closedAt: ctx.clock.now() },
          expectedRevision: revision,
        },
      ],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

/** Grants in force that nobody has used for so long, the longest unused first (NH-09). */
export const unusedGrants = handler({
  query: z.strictObject({ days: queryNumber(1, 3_650).default(90) }),
  run: async ({ ctx, query }) => ok({ body: { days: query.days, grants: unusedSince(ctx, query.days) } }),
});

export function unusedSince(ctx: AdminContext, days: number) {
  const now = ctx.clock.now();
  return itemsOf(ctx, 'grant', Grant)
    .filter((grant) => grantStanding(grant, now) === 'active')
    .map((grant) => {
      const evidence = evidenceOf(ctx, grant.id);
      const since = Math.max(evidence?.lastUsedAt ?? 0, grant.decidedAt ?? grant.requestedAt);
      return { id: grant.id, who: grant.who, what: grant.what, justification: grant.justification, since, evidence };
    })
    .filter(({ since }) => now - since >= days * DAY_MS)
    .toSorted((a, b) => a.since - b.since);
}

export const evidenceOf = (ctx: AdminContext, grant: string): Evidence | null =>
  Evidence.safeParse(ctx.follower.records.get('evidence', ctx.org, grant)?.body).data ?? null;

export function itemsIn(ctx: AdminContext, campaign: string): Item<Attestation>[] {
  return itemsOf(ctx, 'attestation', Attestation).filter((one) => one.campaign === campaign);
}

export function attestationWrite(ctx: AdminContext, item: Attestation, expectedRevision: number | null): Write {
  return {
    kind: 'attestation',
    org: ctx.org,
    id: attestationId(item.campaign, item.grant),
    body: item,
    expectedRevision,
  };
}

export function campaignOf(ctx: AdminContext, id: string): Result<Item<Campaign>, Problem> {
  const campaign = itemOf(ctx, 'campaign', id, Campaign);
  return campaign ? ok(campaign) : err(notFound('review', id));
}

function openItem({
  ctx,
  params,
}: Ask<unknown, unknown>): Result<{ campaign: Item<Campaign>; item: Item<Attestation> }, Problem> {
  const found = campaignOf(ctx, params['review'] ?? '');
  if (!found.ok) return found;
  const id = attestationId(found.value.id, params['grant'] ?? '');
  const item = itemOf(ctx, 'attestation', id, Attestation);
  if (!item) return err(notFound('item of the review', id));
  if (found.value.state !== 'open' || found.value.dueAt <= ctx.clock.now())
    return err(conflict('review_state', 'The review is over.', 'Ask for the access anew where it is still needed.'));
  if (item.decision !== 'pending')
    return err(conflict('review_decided', `It is ${item.decision} already.`, 'Nothing is left to decide.'));
  return ok({ campaign: found.value, item });
}

/** The named one, one of the named group, or a security reviewer in their place. */
function isReviewer(ctx: AdminContext, who: AdminCaller, { reviewer }: Attestation): boolean {
  return ownsIt(ctx.snapshot(), who.person, reviewer) || who.roles.has('security_reviewer');
}

function shown(ctx: AdminContext, item: Item<Attestation>): object {
  const grant = itemOf(ctx, 'grant', item.grant, Grant);
  return { ...item, evidence: item.evidence ?? evidenceOf(ctx, item.grant), access: grant ?? null };
}

const countsOf = (items: readonly Attestation[]) => ({
  grants: items.length,
  pending: items.filter(({ decision }) => decision === 'pending').length,
  kept: items.filter(({ decision }) => decision === 'kept').length,
  revoked: items.filter(({ decision }) => decision === 'revoked').length,
  lapsed: items.filter(({ decision }) => decision === 'lapsed').length,
});
