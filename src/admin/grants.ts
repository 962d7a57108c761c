/**
 * Grants over the API: ask for access, agree or refuse, take it away, see who has what until when and why. Whoever asks is never whoever agrees,
 * and nobody agrees to access of their own (AZ-11); the machine is `policy/grant-machine.ts`. A grant is refused whole, with all that is wrong.
 */
import { z } from 'zod';
import { ownsIt } from '../directory/owners.ts';
import { DigestText } from '../integrity/records.ts';
import { newId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { Snapshot } from '../gateway/snapshot.ts';
import { candidateWith } from '../policy/candidate.ts';
import type { Effect } from '../policy/effect-book.ts';
import { GRANT_PREFIX, compileGrant } from '../policy/grant-policies.ts';
import { GRANT_STEPS, grantStanding, stepGrant } from '../policy/grant-machine.ts';
import type { GrantHand, GrantProblem, GrantStep } from '../policy/grant-machine.ts';
import { Grant, GrantMembers } from '../policy/grants.ts';
import type { Write } from '../store/state.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { EffectQuery, POLICIES_BROKEN, effectBody, effectChanged, effectIn } from './effects.ts';
import { checkGrant, inForceAt } from './grant-check.ts';
import { PAGE, pageOf } from './paging.ts';
import { conflict, forbidden, invalid, notFound, type Problem } from './problem.ts';
import { itemOf, type Item } from './records.ts';
import { handler, type AdminCaller, type Ask, Reason } from './route.ts';

/** Requests of one person that wait at one time. More is asking until somebody is tired. */
const MOST_WAITING = 20;

const DECIDERS = ['security_reviewer', 'administrator'] as const;
const RESPONDERS = ['operator', 'security_reviewer', 'administrator'] as const;
const READERS = ['operator', 'auditor', 'security_reviewer', 'administrator'] as const;

/** What a request says; the rest of the record is written here and nowhere else. */
const Wanted = GrantMembers.pick({
  who: true,
  through: true,
  what: true,
  conditions: true,
  approval: true,
  justification: true,
  startsAt: true,
  expiresAt: true,
  lastsMs: true,
}).extend({
  conditions: GrantMembers.shape.conditions.default([]),
  // Waived in an emergency only, which has rows of its own (emergencies.ts).
  approval: GrantMembers.shape.approval.exclude(['waived']).default('by_risk'),
  expiresAt: GrantMembers.shape.expiresAt.default(null),
});

export const listGrants = handler({
  query: z.strictObject({
    ...PAGE,
    standing: z
      .enum(['requested', 'active', 'waiting', 'over', 'suspended', 'denied', 'cancelled', 'ended'])
      .optional(),
    person: z.string().max(200).optional().describe('Grants to this person or to a group they are in.'),
    group: z.string().max(200).optional(),
    agent: z.string().max(200).optional(),
    server: z.string().max(63).optional(),
    mine: z.enum(['true']).optional().describe('Only what you asked for or have.'),
  }),
  run: async ({ ctx, who, query }) => {
    const view = ctx.snapshot();
    const at = ctx.clock.now();
    const all = holds(who, READERS) && query.mine === undefined;
    const ids = [...ctx.follower.records.list('grant', ctx.org)].map(({ id }) => id).sort();
    const { rows, next } = pageOf(ids, query, (id) => {
      const grant = itemOf(ctx, 'grant', id, Grant);
      if (!grant || (!all && !concerns(view, who, grant))) return undefined;
      const { what, justification } = grant;
      if (query.standing !== undefined && grantStanding(grant, at) !== query.standing) return undefined;
      if (query.server !== undefined && what.server !== query.server) return undefined;
      if (query.group !== undefined && !isFor(grant, 'group', query.group)) return undefined;
      if (query.agent !== undefined && !isFor(grant, 'agent', query.agent)) return undefined;
      if (query.person !== undefined && !reaches(view, grant, query.person)) return undefined;
      const text = [id, grant.who.id, what.server, ...(what.items ?? []), justification].join(' ').toLowerCase();
      if (query.search !== undefined && !text.includes(query.search.toLowerCase())) return undefined;
      return shown(view, grant, at);
    });
    return ok({ body: { grants: rows, next } });
  },
});

export const getGrant = handler({
  run: async ({ ctx, who, params }) => {
    const found = theirs(ctx, who, params['grant'] ?? '');
    return found.ok
      ? ok({ body: shown(ctx.snapshot(), found.value, ctx.clock.now()), revision: found.value.revision })
      : found;
  },
});

/** Of one that gives nothing yet, or no more: what letting it count would do. Of one that counts: what ending it would. */
export const grantEffect = handler({
  query: EffectQuery,
  run: async ({ ctx, who, params, query }) => {
    const found = theirs(ctx, who, params['grant'] ?? '');
    if (!found.ok) return found;
    const effect = await effectOfGrant(ctx, found.value);
    if (!effect.ok) return effect;
    const { id, state, revision } = found.value;
    const change = state === 'active' ? 'end' : 'begin';
    return ok({ body: { grant: id, change, ...effectBody(ctx, effect.value, query) }, revision });
  },
});

async function effectOfGrant(
  ctx: AdminContext,
  { id, revision, ...grant }: Item<Grant>,
): Promise<Result<Effect, Problem>> {
  const view = ctx.snapshot();
  const { policies } = view;
  if (policies === null) return err(POLICIES_BROKEN);
  const policy = `${GRANT_PREFIX}${id}`;
  // One that begins later is looked at as it will be then.
  const at = Math.max(ctx.clock.now(), grant.startsAt ?? 0);
  const without = candidateWith(policies, [policy], []);
  const compiled = compileGrant(id, inForceAt(grant, at));
  if (!compiled.ok) return err(invalid('grant.what', `it ${compiled.error}`));
  const withIt = candidateWith(policies, [policy], [compiled.value]);
  const sets = grant.state === 'active' ? { before: withIt, after: without } : { before: without, after: withIt };
  return ok(await effectIn(view, `grant ${id} ${revision}`, sets, at));
}

export const requestGrant = handler({
  body: z.strictObject({ grant: Wanted }),
  run: async (ask) => {
    const { ctx, who, body } = ask;
    const view = ctx.snapshot();
    const at = ctx.clock.now();
    const grant: Grant = {
      ...body.grant,
      state: 'requested',
      requestedBy: who.person,
      requestedAt: at,
      decidedBy: null,
      decidedAt: null,
      note: null,
    };
    if (!mayAsk(view, who, grant))
      return err(
        forbidden(
          'grant_for_others',
          'You ask for yourself and for agents that you answer for.',
          'Ask an administrator, a security reviewer or an owner of the server to ask for others.',
        ),
      );
    const checked = refusalOf(view, grant, at);
    if (checked) return err(checked);
    const waiting = [...ctx.follower.records.list('grant', ctx.org)].filter(
      ({ body: other }) => other['state'] === 'requested' && other['requestedBy'] === who.person,
    );
    if (waiting.length >= MOST_WAITING)
      return err(
        conflict(
          'grant_too_many',
          `${waiting.length} requests of yours wait already.`,
          'Cancel what is no longer needed, or wait until somebody decided.',
        ),
      );
    // Only `apply` names the id of a new grant; this row has no such parameter.
    const id = ask.params['grant'] ?? newId('grant', ctx.clock);
    const done = await commitChange(ask, {
      what: 'grant.requested',
      subject: `grant/${id}`,
      reason: grant.justification.slice(0, 1_000),
      facts: factsOf(grant),
      writes: [write(ctx, id, grant, null)],
    });
    return done.ok
      ? ok({ status: 201, body: { id, state: grant.state, revision: done.value }, revision: done.value })
      : done;
  },
});

const Decision = z.strictObject({
  note: z.string().min(1).max(1_000).nullable().default(null).describe('Why; goes into the history and the log.'),
});

/** Nothing in it is needed: an effect that is named must be the one that is. */
const Agreement = Decision.extend({
  effect: DigestText.optional().describe('`digest` of the effect that you read; any other is refused.'),
});

/** Deciding names the revision that was read: nobody agrees to something else than they saw. */
const decision = (step: 'approve' | 'deny' | 'resume') =>
  handler({ body: Agreement, run: async (ask) => move(ask, step, ask.body.note, ask.body.effect ?? true) });

const withdrawal = (step: 'cancel' | 'suspend' | 'end') =>
  handler({ body: z.strictObject({ reason: Reason }), run: async (ask) => move(ask, step, ask.body.reason, false) });

export const approveGrant = decision('approve');
export const denyGrant = decision('deny');
export const resumeGrant = decision('resume');
export const cancelGrant = withdrawal('cancel');
export const suspendGrant = withdrawal('suspend');
export const endGrant = withdrawal('end');

async function move(
  ask: Ask<unknown, unknown>,
  step: GrantStep,
  note: string | null,
  /** True: the revision must be named; a digest: so is the effect. */
  decides: boolean | string,
): Promise<Result<{ readonly body: object; readonly revision: number }, Problem>> {
  const { ctx, who, params, seen } = ask;
  const id = params['grant'] ?? '';
  const found = theirs(ctx, who, id);
  if (!found.ok) return found;
  const { id: _, revision, ...grant } = found.value;
  const view = ctx.snapshot();
  const at = ctx.clock.now();
  // Two people always, whatever `governance.unsafeOnePersonMayDecide` says: there is one way to open it.
  if (grant.breakGlass && GRANT_STEPS[step].to === 'active')
    return err(
      conflict(
        'grant_break_glass',
        'An emergency is confirmed by a second person, and is not resumed.',
        `Confirm it with POST /break-glass/${id}/confirm, or open a new one.`,
      ),
    );
  const moved = stepGrant(grant, step, handOf(ctx, view, who, grant), note, at);
  if (!moved.ok) return err(problemOf(moved.error));
  if (decides !== false || seen.kind !== 'unsaid') {
    const read = expected(seen, revision);
    if (!read.ok) return read;
  }
  // What was right when it was asked for may be gone by the time somebody agrees.
  const checked = moved.value.state === 'active' ? refusalOf(view, moved.value, at) : null;
  if (checked) return err(checked);
  if (typeof decides === 'string') {
    const effect = await effectOfGrant(ctx, found.value);
    if (!effect.ok) return effect;
    if (effect.value.digest !== decides) return err(effectChanged(effect.value, `/grants/${id}/effect`));
  }
  const done = await commitChange(ask, {
    what: `grant.${moved.value.state}`,
    subject: `grant/${id}`,
    reason: note ?? step,
    facts: { ...factsOf(grant), requester: grant.requestedBy, step },
    writes: [write(ctx, id, moved.value, revision)],
  });
  if (!done.ok) return done;
  const { state, expiresAt } = moved.value;
  return ok({ body: { id, state, expiresAt, revision: done.value }, revision: done.value });
}

export function refusalOf(view: Snapshot, grant: Grant, at: number): Problem | null {
  const found = checkGrant(view, grant, at);
  return found.length === 0
    ? null
    : invalid(
        `grant.${found[0]!.field}`,
        found.map(({ field, message }) => `${field}: ${message}`).join('; '),
        'Correct all of it and ask again; nothing was stored.',
      );
}

/** A record that is there and that they may know of; what is none of theirs is not there. */
function theirs(ctx: AdminContext, who: AdminCaller, id: string): Result<Item<Grant>, Problem> {
  const grant = itemOf(ctx, 'grant', id, Grant);
  if (!grant || !(holds(who, READERS) || concerns(ctx.snapshot(), who, grant))) return err(notFound('grant', id));
  return ok(grant);
}

export const holds = (
  { roles }: AdminCaller,
  wanted: ReadonlyArray<AdminCaller['roles'] extends ReadonlySet<infer R> ? R : never>,
): boolean => wanted.some((role) => roles.has(role));

const isFor = ({ who }: Grant, kind: Grant['who']['kind'], id: string): boolean => who.kind === kind && who.id === id;

/** The person has it, by themselves or by a group. */
const reaches = (view: Snapshot, grant: Grant, person: string): boolean =>
  isFor(grant, 'person', person) ||
  (grant.who.kind === 'group' && (view.people.byId(person)?.groups ?? []).includes(grant.who.id));

const ownsServer = (view: Snapshot, person: string, server: string): boolean =>
  ownsIt(view, person, view.servers.get(server)?.record.owner);

const ownsAgent = (
  view: Snapshot,
  person: string,
  which: (agent: { id: string; clientId: string }) => boolean,
): boolean =>
  [...view.agents.values()].some((agent) => agent !== null && which(agent) && ownsIt(view, person, agent.owner));

function beneficiary(view: Snapshot, person: string, grant: Grant): boolean {
  const { who, through } = grant;
  return (
    reaches(view, grant, person) ||
    ownsAgent(view, person, ({ id, clientId }) => (who.kind === 'agent' && id === who.id) || clientId === through)
  );
}

const concerns = (view: Snapshot, { person }: AdminCaller, grant: Grant): boolean =>
  grant.requestedBy === person || beneficiary(view, person, grant) || ownsServer(view, person, grant.what.server);

function mayAsk(view: Snapshot, who: AdminCaller, grant: Grant): boolean {
  if (isFor(grant, 'person', who.person) || holds(who, DECIDERS)) return true;
  if (grant.who.kind === 'agent' && ownsAgent(view, who.person, ({ id }) => id === grant.who.id)) return true;
  return ownsServer(view, who.person, grant.what.server);
}

/** What somebody is to a grant, for the machine and for reviews. */
export function handOf(ctx: AdminContext, view: Snapshot, who: AdminCaller, grant: Grant): GrantHand {
  return {
    person: who.person,
    decider: holds(who, DECIDERS) || ownsServer(view, who.person, grant.what.server),
    responder: holds(who, RESPONDERS),
    beneficiary: beneficiary(view, who.person, grant),
    alone: ctx.facts.unsafeOnePersonMayDecide,
  };
}

export function shown(view: Snapshot, grant: Item<Grant>, at: number): object {
  const { who } = grant;
  const agent = [...view.agents.values()].find((one) => one?.id === who.id);
  const name = { person: view.people.byId(who.id)?.name, group: view.groups.get(who.id)?.name, agent: agent?.title };
  return { ...grant, standing: grantStanding(grant, at), whoName: name[who.kind] ?? null };
}

export const factsOf = ({ who, what }: Grant): Record<string, string> => ({
  to: `${who.kind}/${who.id}`,
  server: what.server,
});

export function write(ctx: AdminContext, id: string, grant: Grant, expectedRevision: number | null): Write {
  return { kind: 'grant', org: ctx.org, id, body: grant, expectedRevision };
}

export function problemOf(problem: GrantProblem): Problem {
  switch (problem.code) {
    case 'grant_requester':
      return forbidden(
        problem.code,
        'Nobody decides on what they asked for.',
        'Ask another reviewer or an owner of the server.',
      );
    case 'grant_beneficiary':
      return forbidden(
        problem.code,
        'Nobody decides on access of their own, of a group they are in, or of an agent that they answer for.',
        'Ask another reviewer or an owner of the server.',
      );
    case 'grant_not_yours':
      return forbidden(problem.code, 'This decision is not yours.');
    case 'grant_state':
      return conflict(problem.code, `The grant is ${problem.state}.`, `What can be done: ${leads(problem.state)}.`);
    case 'grant_over':
      return conflict(problem.code, 'Its time is over.', 'Ask for a new one.');
    default:
      return problem satisfies never;
  }
}

const leads = (state: Grant['state']): string =>
  Object.entries(GRANT_STEPS)
    .filter(([, { from }]) => from.includes(state))
    .map(([step]) => step)
    .join(', ') || 'nothing; ask for a new grant';
