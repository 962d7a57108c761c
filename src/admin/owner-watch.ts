/**
 * What becomes of servers, agents that act alone and credentials when nobody of their owners is left (NH-05): noticed with the next change of
 * state, recorded, and suspended `governance.ownerlessAfterHours` later unless somebody else answers for them by then.
 * When it was noticed is a record of its own (kind `ownerless`), so neither a restart nor another node begins the time anew; the node that is
 * first wins, the others find the record. CRASH between noticing and suspending: the next look of any node suspends. Suspended work is only
 * given back by enabling it, with all its rules.
 */
import { z } from 'zod';
import { ownerStands } from '../directory/owners.ts';
import { Agent, agentKey } from '../inventory/agents.ts';
import { Credential } from '../inventory/credentials.ts';
import { worksIn, type LifeKind } from '../inventory/lifecycle.ts';
import type { Write } from '../store/state.ts';
import { commitBy, type ChangeOfState } from './commit.ts';
import type { AdminContext } from './context.ts';
import { endingWrites } from './leaving.ts';
import { lookEvery, type Looking } from './looking.ts';
import { itemOf, itemsOf } from './records.ts';

const KIND = 'ownerless';
const LOOK_EVERY_MS = 5_000;
const HOUR_MS = 3_600_000;
const BY = 'remit:owners';

const Notice = z.strictObject({
  owner: z.string(),
  /** ms since the epoch. */
  at: z.number().int(),
});
type Notice = z.infer<typeof Notice>;

const noticeId = (kind: LifeKind, id: string): string => `${kind}/${id}`;

/** Null: nobody has noticed anything. */
export const noticeOf = (ctx: AdminContext, kind: LifeKind, id: string): Notice | null =>
  itemOf(ctx, KIND, noticeId(kind, id), Notice) ?? null;

/** When it is suspended, ms since the epoch. */
export const endOfNotice = ({ facts }: Pick<AdminContext, 'facts'>, { at }: Notice): number =>
  at + facts.ownerlessAfterHours * HOUR_MS;

interface Owned {
  readonly kind: LifeKind;
  readonly id: string;
  readonly owner: string;
  /** What puts it out of service; none of it is left to somebody who is not there. */
  suspend(reason: string): readonly Write[];
}

/**
 * Everything that works and has an owner. An agent that acts for people has each of them to answer for it. Read from the picture that calls
 * are decided by: a directory that is loaded moves people all the time, and nothing is parsed anew for each of them.
 */
function owned(ctx: AdminContext): readonly Owned[] {
  const { org } = ctx;
  const { servers, agents } = ctx.snapshot();
  const suspended = (kind: LifeKind, id: string, body: object, revision: number, key?: string): Write => ({
    kind,
    org,
    id,
    ...(key !== undefined && { key }),
    body: { ...body, state: 'suspended' },
    expectedRevision: revision,
  });
  const found: Owned[] = [];
  for (const { id, revision, record } of servers.values())
    if (worksIn('server', record.state))
      found.push({
        kind: 'server',
        id,
        owner: record.owner,
        suspend: () => [suspended('server', id, record, revision)],
      });
  for (const { id, revision, ...body } of itemsOf(ctx, 'credential', Credential))
    if (worksIn('credential', body.state))
      found.push({
        kind: 'credential',
        id,
        owner: body.owner,
        suspend: () => [suspended('credential', id, body, revision)],
      });
  for (const agent of agents.values()) {
    if (agent === null || agent.kind !== 'autonomous' || !worksIn('agent', agent.state)) continue;
    const { id } = agent;
    found.push({
      kind: 'agent',
      id,
      owner: agent.owner ?? '',
      suspend: (reason) => {
        const item = itemOf(ctx, 'agent', id, Agent);
        if (item === undefined) return [];
        const { id: _id, revision, ...body } = item;
        return [
          suspended('agent', id, body, revision, agentKey(body.issuer, body.clientId)),
          ...endingWrites(ctx, [{ subject: { kind: 'client', value: body.clientId }, reason, by: BY }]),
        ];
      },
    });
  }
  return found;
}

export function watchOwners(ctx: AdminContext): Looking {
  async function commit(change: ChangeOfState): Promise<void> {
    const ref = change.subject;
    const done = await commitBy(ctx, { name: BY, actor: null, ref }, change);
    // Another node was quicker, or somebody named another owner: the next look sees it.
    if (!done.ok && done.error.code !== 'conflict')
      ctx.log.error({ subject: change.subject, code: done.error.code }, 'what nobody answers for could not be handled');
  }

  async function look(): Promise<void> {
    // On an old copy somebody may be missing who is back.
    if (!ctx.follower.isFresh(ctx.facts.freshnessLimitMs)) return;
    const now = ctx.clock.now();
    const view = ctx.snapshot();
    const kept = new Set<string>();
    for (const { kind, id, owner, suspend } of owned(ctx)) {
      if (ownerStands(view, owner)) continue;
      const subject = noticeId(kind, id);
      kept.add(subject);
      const known = itemOf(ctx, KIND, subject, Notice);
      // Whoever was named meanwhile and left, too, has a time of their own.
      const notice = known?.owner === owner ? known : { owner, at: now };
      if (notice !== known)
        await commit({
          what: `${kind}.owner_gone`,
          subject,
          reason: 'nobody of its owners is active',
          facts: { owner, suspendedAt: endOfNotice(ctx, notice) },
          writes: [{ kind: KIND, org: ctx.org, id: subject, body: notice, expectedRevision: known?.revision ?? null }],
        });
      if (endOfNotice(ctx, notice) > now) continue;
      const reason = `nobody answers for it: its owner ${owner === '' ? 'is not named' : `${owner} is gone`}`;
      await commit({
        what: `${kind}.suspended`,
        subject,
        reason,
        facts: { owner, noticedAt: notice.at },
        writes: [...suspend(reason), { kind: KIND, org: ctx.org, id: subject, body: null }],
      });
    }
    for (const { id, revision } of ctx.follower.records.list(KIND, ctx.org)) {
      if (kept.has(id)) continue;
      await commit({
        what: 'owner.found',
        subject: id,
        reason: 'somebody answers for it, or it is out of service',
        writes: [{ kind: KIND, org: ctx.org, id, body: null, expectedRevision: revision }],
      });
    }
  }

  const looking = lookEvery(LOOK_EVERY_MS, look, 'owners could not be looked at', ctx.log);
  const stop = ctx.follower.onAdvance((changed) => {
    // After the step: the snapshot is the new one then.
    if (changed.some(({ kind }) => MOVES.has(kind))) setImmediate(() => void looking.look());
  });
  void looking.look();
  return {
    look: looking.look,
    async close() {
      stop();
      await looking.close();
    },
  };
}

const MOVES: ReadonlySet<string> = new Set(['person', 'group', 'server', 'agent', 'credential']);
