/**
 * What happens when nobody says anything: at the due date every grant of a campaign that nobody attested is suspended (NH-10), and grants
 * that nobody has used for `governance.unusedGrantsEndAfterDays` are suspended, too, where that is set (NH-09). Suspended access comes back
 * by the decision of somebody who does not have it. CRASH in the middle: the next look goes on with what still waits.
 */
import { grantStanding } from '../../policy/grant-machine.ts';
import { Grant } from '../../policy/grants.ts';
import type { Write } from '../../store/state.ts';
import { commitBy } from '../commit.ts';
import type { AdminContext } from '../context.ts';
import { lookEvery, type Looking } from '../looking.ts';
import { itemOf, itemsOf, type Item } from '../records.ts';
import { attestationWrite, evidenceOf, itemsIn, unusedSince } from './campaigns.ts';
import { Campaign } from './records.ts';

const LOOK_EVERY_MS = 30_000;
/** Items of one commit. */
const CHUNK = 500;
const BY = 'remit:reviews';

export function watchReviews(ctx: AdminContext): Looking {
  const commit = async (what: string, subject: string, reason: string, writes: readonly Write[]): Promise<boolean> => {
    const done = await commitBy(ctx, { name: BY, actor: null, ref: subject }, { what, subject, reason, writes });
    // Somebody decided at the same moment, or another node was quicker: the next look sees it.
    if (!done.ok && done.error.code !== 'conflict')
      ctx.log.error({ subject, code: done.error.code }, 'a review that is due could not be closed');
    return done.ok;
  };

  async function close(campaign: Item<Campaign>): Promise<void> {
    const { id, revision, ...body } = campaign;
    const now = ctx.clock.now();
    const waiting = itemsIn(ctx, id).filter(({ decision }) => decision === 'pending');
    for (let at = 0; at < waiting.length; at += CHUNK) {
      const writes = waiting.slice(at, at + CHUNK).flatMap(({ id: _id, revision: itemRevision, ...item }): Write[] => {
        const found = itemOf(ctx, 'grant', item.grant, Grant);
        const inForce = found?.state === 'active' && grantStanding(found, now) !== 'over';
        const decided = {
          ...item,
          decision: inForce ? 'lapsed' : 'moot',
          at: now,
          evidence: evidenceOf(ctx, item.grant),
        } as const;
        const said = attestationWrite(ctx, decided, itemRevision);
        return inForce ? [said, suspended(ctx, found, 'nobody attested it in time')] : [said];
      });
      if (!(await commit('review.lapsed', `campaign/${id}`, 'nobody attested these grants in time', writes))) return;
    }
    await commit('review.closed', `campaign/${id}`, 'its time is over', [
      {
        kind: 'campaign',
        org: ctx.org,
        id,
        body: { ...body, state: 'closed', closedAt: now },
        expectedRevision: revision,
      },
    ]);
  }

  async function look(): Promise<void> {
    // On an old copy a word that was said in time may be missing.
    if (!ctx.follower.isFresh(ctx.facts.freshnessLimitMs)) return;
    const now = ctx.clock.now();
    for (const campaign of itemsOf(ctx, 'campaign', Campaign))
      if (campaign.state === 'open' && campaign.dueAt <= now) await close(campaign);
    const { unusedGrantsEndAfterDays: days } = ctx.facts;
    if (days === 0) return;
    for (const { id } of unusedSince(ctx, days).slice(0, CHUNK)) {
      const grant = itemOf(ctx, 'grant', id, Grant);
      if (grant?.state !== 'active') continue;
      await commit('grant.suspended', `grant/${id}`, `nobody used it for ${days} days`, [
        suspended(ctx, grant, `nobody used it for ${days} days`),
      ]);
    }
  }

  return lookEvery(LOOK_EVERY_MS, look, 'access reviews could not be looked at', ctx.log);
}

function suspended(ctx: AdminContext, { id, revision, ...grant }: Item<Grant>, note: string): Write {
  return { kind: 'grant', org: ctx.org, id, body: { ...grant, state: 'suspended', note }, expectedRevision: revision };
}
