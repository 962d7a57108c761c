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
import { Server } from '../inventory/records.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Write } from '../store/state.ts';
import { commitBy, type ChangeOfState } from './commit.ts';
import type { AdminContext } from './context.ts';
import { endingWrites } from './leaving.ts';
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

/** Everything that works and has an owner. An agent that acts for people has each of them to answer for it. */
function owned(ctx: AdminContext): readonly Owned[] {
  const { org } = ctx;
  const suspended = (kind: LifeKind, id: string, body: JsonObject, revision: number, key?: string): Write => ({
    kind,
    org,
    id,
    ...(key !== undefined && { key }),
    body: { ...body, state: 'suspended' },
    expectedRevision: revision,
  });
  return [
    ...itemsOf(ctx, 'server', Server).flatMap(({ id, revision, ...body }) =>
      worksIn('server', body.state)
        ? [
            {
              kind: 'server' as const,
              id,
              owner: body.owner,
              suspend: () => [suspended('server', id, body, revision)],
            },
          ]
        : [],
    ),
    ...itemsOf(ctx, 'credential', Credential).flatMap(({ id, revision, ...body }) =>
      worksIn('credential', body.state)
        ? [
            {
              kind: 'credential' as const,
              id,
              owner: body.owner,
              suspend: () => [suspended('credential', id, body, revision)],
            },
          ]
        : [],
    ),
    ...itemsOf(ctx, 'agent', Agent).flatMap(({ id, revision, ...body }) =>
      worksIn('agent', body.state) && body.kind === 'autonomous'
        ? [
            {
              kind: 'agent' as const,
              id,
              owner: body.owner ?? '',
              suspend: (reason: string) => [
                suspended('agent', id, body, revision, agentKey(body.issuer, body.clientId)),
                ...endingWrites(ctx, [{ subject: { kind: 'client', value: body.clientId }, reason, by: BY }]),
              ],
            },
          ]
        : [],
    ),
  ];
}

export interface OwnerWatch {
  /** Looks now. Resolves when what is due is done, or has failed and is in the process log. */
  look(): Promise<void>;
  close(): Promise<void>;
}

export function watchOwners(ctx: AdminContext): OwnerWatch {
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

  let ended = false;
  let looking: Promise<void> = Promise.resolve();
  let waiting = false;
  /** One look at a time; what changes meanwhile is seen by one more. */
  function again(): Promise<void> {
    if (waiting || ended) return looking;
    waiting = true;
    looking = looking
      .then(() => {
        waiting = false;
        return look();
      })
      .catch((fault: unknown) => ctx.log.error({ err: fault }, 'owners could not be looked at'));
    return looking;
  }
  const timer = setInterval(() => void again(), LOOK_EVERY_MS);
  timer.unref();
  const stop = ctx.follower.onAdvance((changed) => {
    // After the step: the snapshot is the new one then.
    if (changed.some(({ kind }) => MOVES.has(kind))) setImmediate(() => void again());
  });
  void again();
  return {
    look: again,
    async close() {
      ended = true;
      clearInterval(timer);
      stop();
      await looking;
    },
  };
}

const MOVES: ReadonlySet<string> = new Set(['person', 'group', 'server', 'agent', 'credential']);
