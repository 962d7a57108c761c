/**
 * Held calls: what waits, exactly what would run, and the decision. The machine is `approvals/machine.ts`, who decides is
 * `gateway/approvers.ts`; the API and the pages go through the same three functions here. A decision names the call digest that the
 * approver saw, so that nobody approves something else than they read (AP-02). Arguments are opened for the requester and for those who
 * decide; overseers see everything else.
 */
import { z } from 'zod';
import { cancelApproval, decideApproval, type ApprovalProblem } from '../approvals/machine.ts';
import { isReadable } from '../approvals/readable.ts';
import { Approval, isOpen, openKey } from '../approvals/records.ts';
import type { Actor } from '../audit/entry.ts';
import type { Role } from '../directory/records.ts';
import { sayOf, type Say } from '../gateway/approvers.ts';
import { DigestText } from '../integrity/records.ts';
import type { JsonObject } from '../lib/json.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { commitBy } from './commit.ts';
import type { AdminContext } from './context.ts';
import { PAGE, pageOf } from './paging.ts';
import { conflict, forbidden, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler, type AdminCaller, type Ask } from './route.ts';

/** A signed-in person of the API or of a page. `ref` names the request in the log. */
export interface Decider {
  readonly person: string;
  readonly actor: Actor;
  readonly ref: string;
}

/** A held call as one person may see it. */
export interface HeldView extends Omit<Item<Approval>, 'arguments' | 'sealed'> {
  /** Null: this person does not see them, or nobody can open them any more. */
  readonly arguments: JsonObject | null;
  /** Why its time is over although nobody wrote that down yet. */
  readonly over: 'expired' | null;
  /** What this person may do about it now. */
  readonly you: { readonly asked: boolean; readonly mayDecide: boolean; readonly decided: boolean };
}

const OVERSEERS: readonly Role[] = ['auditor', 'security_reviewer', 'administrator'];

function viewOf(ctx: AdminContext, person: string, approval: Item<Approval>): HeldView & { readonly say: Say } {
  const now = ctx.clock.now();
  const say = sayOf(ctx.snapshot(), person, approval, now);
  const asked = approval.person === person;
  const { arguments: _plain, sealed: _sealed, ...facts } = approval;
  const over = isOpen(approval) && now >= approval.expiresAt ? 'expired' : null;
  const decided = approval.decisions.some(({ by }) => by === person);
  return {
    ...facts,
    arguments: asked || say !== 'no' || decided ? readable(ctx, approval) : null,
    over,
    you: { asked, mayDecide: say === 'may' && approval.state === 'pending' && over === null && !decided, decided },
    say,
  };
}

/** Null: nobody can open them any more, or nobody could read them. */
function readable(ctx: AdminContext, approval: Approval): JsonObject | null {
  const opened = ctx.heldArguments.open(approval);
  return opened !== null && isReadable(opened) ? opened : null;
}

/** Null: there is none, or it is nothing that this person may see; both read the same. */
export function readHeld(
  ctx: AdminContext,
  who: { readonly person: string; readonly roles: ReadonlySet<Role> },
  id: string,
): HeldView | null {
  const found = itemOf(ctx, 'approval', id, Approval);
  if (found === undefined) return null;
  const { say, ...view } = viewOf(ctx, who.person, found);
  const sees = view.you.asked || say !== 'no' || view.you.decided || OVERSEERS.some((role) => who.roles.has(role));
  return sees ? view : null;
}

export type Decided = { readonly id: string; readonly state: Approval['state']; readonly revision: number };

/**
 * One person's word about one held call: durable, in force on this node and in the log when it resolves. `call` is the digest of what
 * they read. The state is `pending` still when more people are needed.
 */
export async function decideHeld(
  ctx: AdminContext,
  who: Decider,
  id: string,
  word: { readonly call: string; readonly outcome: 'approved' | 'denied'; readonly note: string | null },
): Promise<Result<Decided, Problem>> {
  const found = itemOf(ctx, 'approval', id, Approval);
  const now = ctx.clock.now();
  const snapshot = ctx.snapshot();
  const say = found === undefined ? 'no' : sayOf(snapshot, who.person, found, now);
  if (found === undefined) return err(notFound('approval', id));
  const { id: _, revision, ...approval } = found;
  if (approval.call !== word.call) return err(problemOf({ code: 'approval_other_call' }));
  const decided = decideApproval(approval, {
    by: { person: who.person, mayDecide: say === 'may', ownsAgent: say === 'self' },
    outcome: word.outcome,
    note: word.note,
    at: now,
    stands: (person) => sayOf(snapshot, person, approval, now) === 'may',
  });
  if (!decided.ok) return err(problemOf(decided.error));
  if (word.outcome === 'approved' && readable(ctx, approval) === null)
    return err(
      conflict('approval_unreadable', 'Nobody can read what this call would send.', 'The caller has to ask again.'),
    );
  const tool = snapshot.servers.get(approval.server)?.tools.get(approval.tool);
  if (word.outcome === 'approved' && tool?.approved && tool.approved.digest !== approval.definition)
    return err(
      conflict('approval_void', 'The tool is not what it was when this was asked.', 'The caller has to ask again.'),
    );
  return written(ctx, who, { id, revision, approval: decided.value }, `approval.${word.outcome}`, word.note);
}

/** The requester takes a call back, or somebody who decides ends it. */
export async function cancelHeld(
  ctx: AdminContext,
  who: Decider,
  id: string,
  note: string | null = null,
): Promise<Result<Decided, Problem>> {
  const found = itemOf(ctx, 'approval', id, Approval);
  if (found === undefined) return err(notFound('approval', id));
  const { id: _, revision, ...approval } = found;
  const now = ctx.clock.now();
  const mayDecide = sayOf(ctx.snapshot(), who.person, approval, now) === 'may';
  const why = approval.person === who.person ? 'withdrawn by who asked' : 'ended by an approver';
  const cancelled = cancelApproval(approval, { person: who.person, mayDecide }, now, why);
  if (!cancelled.ok) return err(problemOf(cancelled.error));
  return written(ctx, who, { id, revision, approval: cancelled.value }, 'approval.cancelled', note);
}

async function written(
  ctx: AdminContext,
  who: Decider,
  { id, revision, approval }: { readonly id: string; readonly revision: number; readonly approval: Approval },
  what: string,
  note: string | null,
): Promise<Result<Decided, Problem>> {
  const done = await commitBy(
    ctx,
    { name: who.person, actor: who.actor, ref: who.ref },
    {
      what,
      subject: `approval/${id}`,
      reason: note === null || note === '' ? what : note,
      facts: {
        approval: id,
        call: approval.call,
        server: approval.server,
        tool: approval.tool,
        requester: approval.person,
        state: approval.state,
        ...(approval.ref !== undefined && { held: approval.ref }),
      },
      writes: [
        {
          kind: 'approval',
          org: ctx.org,
          id,
          body: approval,
          expectedRevision: revision,
          ...(isOpen(approval) && { key: openKey(approval) }),
        },
      ],
    },
  );
  if (done.ok || done.error.revision !== undefined) ctx.onApproval(id);
  return done.ok ? ok({ id, state: approval.state, revision: done.value }) : done;
}

const STATES = ['pending', 'mine-to-decide', 'mine', 'all'] as const;

export const listApprovals = handler({
  query: z.strictObject({
    limit: PAGE.limit,
    after: PAGE.after,
    state: z
      .enum(STATES)
      .default('pending')
      .describe('`mine-to-decide`: what you can say yes or no to now. `mine`: what you asked for.'),
  }),
  run: async ({ ctx, who, query }) => {
    const page = listHeld(ctx, who, query);
    return ok({ body: { approvals: page.rows, next: page.next } });
  },
});

/** Newest first; only what this person may see, without arguments. */
export function listHeld(
  ctx: AdminContext,
  who: Pick<AdminCaller, 'person' | 'roles'>,
  query: {
    readonly limit: number;
    readonly after?: string | undefined;
    readonly state: (typeof STATES)[number];
  },
) {
  const all = OVERSEERS.some((role) => who.roles.has(role));
  const byId = new Map(itemsOf(ctx, 'approval', Approval).map((one) => [one.id, one]));
  // Ids begin with their time; pages go by ids in rising order, so the newest first means the order turned round.
  const ids = [...byId.keys()].sort().reverse();
  const from = query.after === undefined ? 0 : ids.findIndex((id) => id < query.after!);
  return pageOf(from < 0 ? [] : ids.slice(from), { limit: query.limit }, (id) => {
    const { say, arguments: _arguments, ...row } = viewOf(ctx, who.person, byId.get(id)!);
    if (!all && say === 'no' && !row.you.asked && !row.you.decided) return undefined;
    if (query.state === 'pending' && (row.state !== 'pending' || row.over !== null)) return undefined;
    if (query.state === 'mine-to-decide' && !row.you.mayDecide) return undefined;
    if (query.state === 'mine' && !row.you.asked) return undefined;
    return row;
  });
}

export const getApproval = handler({
  run: async ({ ctx, who, params }) => {
    const id = params['approval'] ?? '';
    const held = readHeld(ctx, who, id);
    return held === null ? err(notFound('approval', id)) : ok({ body: held, revision: held.revision });
  },
});

const decider = ({ who, ref }: Ask<unknown, unknown>): Decider => ({ person: who.person, actor: who.actor, ref });
const Note = z.string().max(1000).nullable().default(null);

const decision = (outcome: 'approved' | 'denied') =>
  handler({
    body: z.strictObject({ call: DigestText.describe('Digest of the call that you read.'), note: Note }),
    run: async (ask) => {
      const { call, note } = ask.body;
      const done = await decideHeld(ask.ctx, decider(ask), ask.params['approval'] ?? '', { call, outcome, note });
      return done.ok ? ok({ body: done.value, revision: done.value.revision }) : done;
    },
  });

export const approveCall = decision('approved');
export const denyCall = decision('denied');

export const cancelCall = handler({
  body: z.strictObject({ note: Note }),
  run: async (ask) => {
    const done = await cancelHeld(ask.ctx, decider(ask), ask.params['approval'] ?? '', ask.body.note);
    return done.ok ? ok({ body: done.value, revision: done.value.revision }) : done;
  },
});

function problemOf(problem: ApprovalProblem): Problem {
  switch (problem.code) {
    case 'approval_self':
      return forbidden(
        'approval_self',
        'Nobody decides on their own call, or on one of an agent that they answer for.',
        'Ask another approver.',
      );
    case 'approval_role':
      return forbidden(
        'approval_role',
        'This decision is not yours.',
        'It takes the role `approver` in the directory, or one of the groups that the server names.',
      );
    case 'approval_not_yours':
      return forbidden(problem.code, 'This call is not yours to take back.');
    case 'approval_twice':
      return conflict('approval_twice', 'You have agreed already.', 'Somebody else has to agree, too.');
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
