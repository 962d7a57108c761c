/**
 * Agents: listed with what is wrong with them, registered, reviewed, suspended, retired. Whoever may act has an owner and a purpose (NH-01).
 * Suspending and retiring void the client's tokens and end its held calls in the same commit; what runs is cancelled with the snapshot.
 * Nobody reviews an agent that acts alone and is theirs, or that they wrote, and nobody stops the client they are talking through (AZ-11).
 * While one that acts alone works, a change can only take from it; what gives it more is stored while it is suspended, and somebody else
 * activates it.
 */
import { z } from 'zod';
import { ownerName, ownerStands, ownsIt } from '../directory/owners.ts';
import { Agent, AGENT_KINDS, AGENT_STATES, agentKey } from '../inventory/agents.ts';
import { missingFor, stepsFrom, takesTwo, type Missing } from '../inventory/lifecycle.ts';
import { digestOf } from '../lib/canonical-json.ts';
import { lockOn } from '../gateway/standing.ts';
import { newId } from '../lib/ids.ts';
import { err, ok, type Result } from '../lib/result.ts';
import type { Write } from '../store/state.ts';
import { agentFindings, mixedEnvironments, widened, type Finding } from './agent-states.ts';
import { commitChange, expected } from './commit.ts';
import type { AdminContext } from './context.ts';
import { endingWrites } from './leaving.ts';
import { holds, PAGE, pageOf } from './paging.ts';
import { conflict, forbidden, invalid, notFound, type Problem } from './problem.ts';
import { itemOf, itemsOf, type Item } from './records.ts';
import { handler, Reason, type AdminCaller } from './route.ts';
import { somebodyElse, wroteIt } from './second-person.ts';

export const findingsOf = (ctx: AdminContext, agent: Agent): readonly Finding[] => {
  const { people, groups, agents, organisation } = ctx.snapshot();
  return agentFindings(agent, { people, groups, agents, issuers: organisation?.issuers ?? [], now: ctx.clock.now() });
};

export const listAgents = handler({
  query: z.strictObject({
    ...PAGE,
    state: z.enum(AGENT_STATES).optional(),
    kind: z.enum(AGENT_KINDS).optional(),
    owner: z.string().min(1).max(200).optional().describe('Agents that this person, or group/ID, answers for.'),
  }),
  run: async ({ ctx, query }) => {
    const agents = new Map(itemsOf(ctx, 'agent', Agent).map((agent) => [agent.id, agent]));
    const { rows, next } = pageOf([...agents.keys()], query, (id) => {
      const agent = agents.get(id)!;
      if (query.state !== undefined && agent.state !== query.state) return undefined;
      if (query.kind !== undefined && agent.kind !== query.kind) return undefined;
      if (query.owner !== undefined && agent.owner !== query.owner) return undefined;
      if (!holds(query.search, id, agent.title, agent.clientId)) return undefined;
      return { ...agent, findings: findingsOf(ctx, agent) };
    });
    return ok({ body: { agents: rows, next, total: agents.size } });
  },
});

export const getAgent = handler({
  run: async ({ ctx, params }) => {
    const found = agentOf(ctx, params['agent'] ?? '');
    if (!found.ok) return found;
    const { value: agent } = found;
    const view = ctx.snapshot();
    const lock = lockOn(view, { person: null, agent: agent.clientId, token: '' }, ctx.clock.now());
    const before = view.voids?.get(`client ${agent.clientId}`);
    return ok({
      body: {
        ...agent,
        findings: findingsOf(ctx, agent),
        lacks: lacksOf(ctx, agent),
        next: stepsFrom('agent', agent.state),
        ownerName: agent.owner === undefined ? null : ownerName(view, agent.owner),
        lock: lock?.id ?? null,
        /** Tokens issued at or before this moment are void; null: none is. */
        tokensVoidBefore: before ?? null,
        heldCalls: [...view.approvals.values()].flat().filter((approval) => approval.agent === agent.clientId).length,
      },
      revision: agent.revision,
    });
  },
});

/** What people say about an agent; the rest is its identity and its state. */
const Described = Agent.omit({ issuer: true, clientId: true, state: true, firstSeenAt: true });

export const addAgent = handler({
  body: z.strictObject({
    reason: Reason,
    agent: Described.extend({ issuer: Agent.shape.issuer, clientId: Agent.shape.clientId }),
  }),
  run: async (ask) => {
    const { ctx, body } = ask;
    const agent: Agent = { ...body.agent, state: 'pending' };
    const view = ctx.snapshot();
    const issuers = view.organisation?.issuers ?? [];
    if (!issuers.includes(agent.issuer))
      return err(
        invalid(
          'agent.issuer',
          'This organisation does not trust this issuer.',
          `Use one of: ${issuers.join(', ') || 'none yet'}.`,
        ),
      );
    if (view.agents.has(agentKey(agent.issuer, agent.clientId)))
      return err(conflict('agent_exists', 'This client of this issuer has a record already.', 'Review that one.'));
    // Only `apply` names the id of a new agent; this row has no such parameter.
    const mixed = problemOf(mixedEnvironments(agent, view.servers));
    if (mixed) return err(mixed);
    const id = ask.params['agent'] ?? newId('agent', ctx.clock);
    const done = await commitChange(ask, {
      what: 'agent.added',
      subject: `agent/${id}`,
      reason: body.reason,
      facts: { client: agent.clientId, kind: agent.kind, state: agent.state },
      writes: [agentWrite(ctx.org, id, agent, null)],
    });
    return done.ok ? ok({ status: 201, body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

export const putAgent = handler({
  body: z.strictObject({ reason: Reason, agent: Described }),
  run: async (ask) => {
    const { ctx, body, who, params } = ask;
    const found = agentOf(ctx, params['agent'] ?? '');
    if (!found.ok) return found;
    const { id, revision: at, ...before } = found.value;
    const revision = expected(ask.seen, at);
    if (!revision.ok) return revision;
    if (before.state === 'retired') return err(noStep(before.state, 'changed'));
    if (before.state === 'active' && body.agent.kind !== before.kind)
      return err(
        invalid('agent.kind', 'The kind of an active agent does not change.', 'Suspend it first, then review it anew.'),
      );
    const agent = described(before, body.agent);
    const refused =
      (before.state === 'active' ? lacking(ctx, agent) : null) ??
      problemOf(mixedEnvironments(agent, ctx.snapshot().servers)) ??
      theirOwn(ctx, who, before, agent) ??
      givesMore(ctx, before, agent);
    if (refused) return err(refused);
    const done = await commitChange(ask, {
      what: 'agent.changed',
      subject: `agent/${id}`,
      reason: body.reason,
      facts: factsOf(agent),
      writes: [agentWrite(ctx.org, id, agent, revision.value)],
    });
    return done.ok ? ok({ body: { id, revision: done.value }, revision: done.value }) : done;
  },
});

/** The review: what is said about the agent, and that it may act, in one step. */
export const activateAgent = handler({
  body: z.strictObject({
    reason: Reason,
    agent: Described.partial().optional().describe('What is to be said about it; the rest stays as it is.'),
  }),
  run: async (ask) => {
    const { ctx, who, body, params } = ask;
    const found = agentOf(ctx, params['agent'] ?? '');
    if (!found.ok) return found;
    const { id, revision: at, ...before } = found.value;
    const agent: Agent = { ...described(before, { ...before, ...body.agent }), state: 'active' };
    const two = takesTwo('agent', agent);
    // Whoever gives rights says which revision they read.
    const revision = ask.seen.kind === 'unsaid' && !two ? ok(at) : expected(ask.seen, at);
    if (!revision.ok) return revision;
    if (!stepsFrom('agent', before.state).includes('active')) return err(noStep(before.state, 'activated'));
    const refused =
      lacking(ctx, agent) ??
      problemOf(mixedEnvironments(agent, ctx.snapshot().servers)) ??
      theirOwn(ctx, who, before, agent);
    if (refused) return err(refused);
    if (two && !ctx.facts.unsafeOnePersonMayDecide) {
      // What is said in the same step nobody else has read.
      if (digestOf({ ...agent, state: before.state }) !== digestOf(before)) return err(wroteIt('agent'));
      const wrote = await somebodyElse(ctx, who, 'agent', id, Agent);
      if (wrote) return err(wrote);
    }
    const done = await commitChange(ask, {
      what: 'agent.activated',
      subject: `agent/${id}`,
      reason: body.reason,
      facts: { stateBefore: before.state, ...factsOf(agent) },
      writes: [agentWrite(ctx.org, id, agent, revision.value)],
    });
    return done.ok ? ok({ body: { id, state: 'active', revision: done.value }, revision: done.value }) : done;
  },
});

const stopping = (state: 'suspended' | 'retired') =>
  handler({
    body: z.strictObject({ reason: Reason }),
    run: async (ask) => {
      const { ctx, who, body, params } = ask;
      const found = agentOf(ctx, params['agent'] ?? '');
      if (!found.ok) return found;
      const { id, revision: at, ...before } = found.value;
      const revision = ask.seen.kind === 'unsaid' ? ok(at) : expected(ask.seen, at);
      if (!revision.ok) return revision;
      if (!stepsFrom('agent', before.state).includes(state)) return err(noStep(before.state, state));
      if (before.clientId === who.token.clientId)
        return err(
          forbidden(
            'own_client',
            'You are talking through this agent: without it nobody could undo this.',
            'Use another client of admin.clients, or lock single people instead.',
          ),
        );
      const subject = { kind: 'client', value: before.clientId } as const;
      const done = await commitChange(ask, {
        what: `agent.${state}`,
        subject: `agent/${id}`,
        reason: body.reason,
        facts: { client: before.clientId, stateBefore: before.state },
        writes: [
          agentWrite(ctx.org, id, { ...before, state }, revision.value),
          ...endingWrites(ctx, [{ subject, reason: body.reason, by: who.person }]),
        ],
      });
      return done.ok ? ok({ body: { id, state, revision: done.value }, revision: done.value }) : done;
    },
  });

export const suspendAgent = stopping('suspended');
export const retireAgent = stopping('retired');

const agentWrite = (org: string, id: string, agent: Agent, expectedRevision: number | null): Write => ({
  kind: 'agent',
  org,
  id,
  key: agentKey(agent.issuer, agent.clientId),
  body: agent,
  expectedRevision,
});

function agentOf(ctx: AdminContext, id: string): Result<Item<Agent>, Problem> {
  const agent = itemOf(ctx, 'agent', id, Agent);
  return agent ? ok(agent) : err(notFound('agent', id));
}

/** Identity, state and first sight of `before`, everything else as it is said now. */
function described(before: Agent, said: object): Agent {
  const { issuer, clientId, state, firstSeenAt } = before;
  return Agent.parse({ ...said, issuer, clientId, state, ...(firstSeenAt !== undefined && { firstSeenAt }) });
}

function factsOf({ clientId, kind, state, owner, roles, ceiling }: Agent) {
  return { client: clientId, kind, state, owner: owner ?? '', roles, bounds: Object.keys(ceiling) };
}

/** Everything that keeps it from acting, at once. */
const lacksOf = (ctx: AdminContext, agent: Agent): readonly Missing[] =>
  missingFor('agent', 'active', agent, {
    now: ctx.clock.now(),
    ownerStands: (owner) => ownerStands(ctx.snapshot(), owner),
  });

const lacking = (ctx: AdminContext, agent: Agent): Problem | null => problemOf(lacksOf(ctx, agent));

function problemOf(lacks: readonly Missing[]): Problem | null {
  if (lacks.length === 0) return null;
  return invalid(
    `agent.${lacks[0]!.field}`,
    `The agent may not act yet. ${lacks.map(({ message }) => message).join(' ')}`,
    lacks.map(({ remedy }) => remedy).join(' '),
  );
}

/** An agent that acts alone has rights of its own: whoever answers for it would give them to themselves. */
function theirOwn(ctx: AdminContext, who: AdminCaller, before: Agent, after: Agent): Problem | null {
  const owns = [before.owner, after.owner].some((owner) => ownsIt(ctx.snapshot(), who.person, owner));
  if (after.kind !== 'autonomous' || !owns) return null;
  return forbidden(
    'own_agent',
    'Nobody reviews or changes an agent that acts alone and that they answer for.',
    'Ask another reviewer.',
  );
}

/** One person alone gives an agent nothing: what it gets more of waits for a second one, and until then it does not work. */
function givesMore(ctx: AdminContext, before: Agent, after: Agent): Problem | null {
  if (before.state !== 'active' || before.kind !== 'autonomous' || ctx.facts.unsafeOnePersonMayDecide) return null;
  const [field] = widened(before, after);
  if (field === undefined) return null;
  return invalid(
    field,
    'An agent that acts alone and is active gets nothing more by a change.',
    'Suspend it, change it, and let another reviewer activate it.',
  );
}

function noStep(state: Agent['state'], wanted: string): Problem {
  const remedy =
    state === 'retired'
      ? 'Retired is the end. Register another client.'
      : `From ${state} it can become: ${stepsFrom('agent', state).join(', ')}.`;
  return conflict('agent_state', `An agent that is ${state} is not ${wanted}.`, remedy);
}
