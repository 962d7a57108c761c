/**
 * Would this person (or this agent, acting alone) be allowed to call this tool, and by which policies: the same functions that decide calls,
 * over the same snapshot, in their order (standing, locks, server state, pin, ceiling, policy). The token is supposed: what is not said
 * of it is as a good one would have it. Nothing is called and nothing is held.
 */
import { z } from 'zod';
import type { Person } from '../directory/records.ts';
import { rolesFromClaims } from '../directory/roles.ts';
import { principalOf } from '../gateway/principal.ts';
import type { NoPrincipal } from '../gateway/principal.ts';
import { personFacts } from '../gateway/question.ts';
import type { PersonEntry, Snapshot } from '../gateway/snapshot.ts';
import { lockOn } from '../gateway/standing.ts';
import type { Caller } from '../identity/caller.ts';
import { toolStanding } from '../integrity/standing.ts';
import { agentKey, withinCeiling } from '../inventory/agents.ts';
import type { KnownAgent } from '../inventory/agents.ts';
import { err, ok } from '../lib/result.ts';
import { explain } from '../policy/explain.ts';
import { signInAt } from '../policy/sign-in.ts';
import type { SignIn } from '../policy/sign-in.ts';
import { notFound } from './problem.ts';
import { handler } from './route.ts';

/** Stands for any agent without a ceiling, where the question names none. */
const ANY_AGENT = 'remit-explain';

const ALONE = 'agent/';

export const explainAccess = handler({
  body: z.strictObject({
    person: z.string().describe('Id of the person, or `agent/<id>` of an agent that acts alone.'),
    server: z.string(),
    tool: z.string().describe('Name of a tool, or the key of another item, such as `prompt greeting`.'),
    agent: z
      .string()
      .default(ANY_AGENT)
      .describe('Client id the person would use. Left out: an active agent without a ceiling.'),
    actors: z.array(z.string()).max(10).default([]).describe('Further agents of the chain (`act`), outermost first.'),
    scopes: z.array(z.string()).optional().describe('Scopes of the token. Left out: the scope of the tool is held.'),
    claims: z
      .record(z.string(), z.array(z.string()))
      .optional()
      .describe('Claims that a mapping may read. Left out: those of our tenant, and no others.'),
    signIn: z
      .strictObject({
        age: z.number().int().min(0).nullable().default(0).describe('Seconds since the sign-in; null: not said.'),
        amr: z.array(z.string()).max(20).default([]),
        acr: z.string().nullable().default(null),
      })
      .prefault({})
      .describe('How the person signed in. Left out: just now, by no method that the token names.'),
    arguments: z.record(z.string(), z.json()).default({}),
    approved: z.boolean().default(false),
  }),
  run: async ({ ctx, body }) => {
    const view = ctx.snapshot();
    const at = ctx.clock.now();
    const autonomous = body.person.startsWith(ALONE) ? agentOf(view, body.person.slice(ALONE.length)) : undefined;
    const person = view.people.byId(body.person);
    const who = autonomous ?? person;
    if (!who) return err(notFound('person', body.person));
    const server = view.servers.get(body.server);
    const tool = server?.tools.get(body.tool);
    if (server === undefined || tool === undefined) return err(notFound('tool', `${body.server}/${body.tool}`));

    const { age, amr, acr } = body.signIn;
    const signIn: SignIn = { authTime: age === null ? null : Math.floor(at / 1_000) - age, amr, acr };
    const scopes = new Set(body.scopes ?? (tool.approved === null ? [] : [tool.approved.scope]));
    const caller: Caller = {
      issuer: who.issuer,
      subject: autonomous ? autonomous.clientId : person!.subject,
      clientId: autonomous ? autonomous.clientId : body.agent,
      alone: autonomous !== undefined,
      scopes,
      tokenId: ANY_AGENT,
      // After every void so far: a token that is fetched now.
      issuedAt: Math.floor(at / 1_000) + 1,
      expiresAt: Math.floor(at / 1_000) + 60,
      actChain: body.actors,
      grantId: null,
      sessionId: null,
      ...signIn,
      keyThumbprint: null,
      attributes: body.claims ?? tenantClaims(view, who.issuer),
    };
    const found = principalOf(withAnyAgent(view, who.issuer), caller, at);
    const principal = found.ok ? found.value : null;

    // In the order of the pipeline: the first that says no is the answer.
    const lock = lockOn(view, { server: server.id, tool: tool.key }, at);
    const standing = toolStanding(tool.record);
    const before = [
      [found.ok ? '' : reasonOf(found.error), !found.ok],
      [`locked:${lock?.subject.kind ?? ''}`, lock !== null],
      [`server_${server.record.state}`, server.record.state !== 'enabled'],
      ['server_switched_off', !server.inService],
      [`tool_${standing}`, standing !== 'approved'],
      [`tool_switched_off:${tool.switchedOff ?? ''}`, tool.switchedOff !== null],
      ['above_ceiling', principal !== null && tool.facts !== null && !withinCeiling(principal.ceiling, tool.facts)],
      ['policies_broken', view.policies === null],
    ] as const;
    const stop = before.find(([, stopped]) => stopped);
    const roles = autonomous
      ? autonomous.roles.map((role) => ({ role, from: 'agent' as const }))
      : rolesBySource(view, person!, caller);
    const facts = {
      revision: view.revision,
      policy: view.policyDigest,
      person: body.person,
      roles: [...new Set(roles.map(({ role }) => role))],
      rolesBySource: roles,
      groups: autonomous ? [] : groupsOf(view, person!),
      agent: principal && {
        client: caller.clientId,
        title: principal.agent.title,
        ceiling: principal.ceiling,
        owner: principal.owner,
      },
      signIn: caller.alone ? null : signInAt(signIn, at),
      risk: tool.approved?.risk ?? null,
      scope: tool.approved?.scope ?? null,
    };
    if (stop !== undefined || view.policies === null || principal === null) {
      return ok({
        body: {
          verdict: 'deny',
          reason: stop?.[0] ?? 'policies_broken',
          rules: [],
          policies: [],
          nearest: [],
          stoppedBefore: 'policy',
          ...facts,
        },
      });
    }
    const { decision, policies, nearest } = explain(view.policies, {
      org: ctx.org,
      person: personFacts(principal.person),
      agent: caller.clientId,
      tool: { server: server.id, name: tool.key },
      scopes,
      approved: body.approved,
      arguments: body.arguments,
      signIn,
      alone: caller.alone,
      actors: caller.actChain,
      at,
    });
    return ok({ body: { ...decision, policies, nearest, stoppedBefore: null, ...facts } });
  },
});

function agentOf(view: Snapshot, id: string): KnownAgent | undefined {
  return [...view.agents.values()].find((agent) => agent?.id === id) ?? undefined;
}

const reasonOf = (why: NoPrincipal): string => (why.reason === 'locked' ? `locked:${why.on}` : why.reason);

/** The same picture, in which the agent that stands for any is known and active. */
function withAnyAgent(view: Snapshot, issuer: string): Snapshot {
  const any: KnownAgent = {
    id: ANY_AGENT,
    issuer,
    clientId: ANY_AGENT,
    title: 'any agent',
    kind: 'delegate',
    state: 'active',
    roles: [],
    ceiling: {},
  };
  return { ...view, agents: new Map([...view.agents, [agentKey(issuer, ANY_AGENT), any]]) };
}

function tenantClaims(view: Snapshot, issuer: string): Caller['attributes'] {
  const tenant = view.mappings.get(issuer)?.tenant;
  return tenant ? { [tenant.claim]: [tenant.value] } : {};
}

type Source =
  | { readonly from: 'own' | 'agent' }
  | { readonly from: 'group'; readonly group: string; readonly name: string }
  | { readonly from: 'claim'; readonly claim: string; readonly value: string };
type SourcedRole = Source & { readonly role: Person['roles'][number] };

/** Where each role comes from; a role that several give stands there several times. */
function rolesBySource(view: Snapshot, person: PersonEntry, { issuer, attributes }: Caller): readonly SourcedRole[] {
  const mapping = view.mappings.get(issuer);
  return [
    ...person.roles.map((role) => ({ role, from: 'own' as const })),
    ...groupsOf(view, person).flatMap(({ id, name }) =>
      (view.groups.get(id)?.roles ?? []).map((role) => ({ role, from: 'group' as const, group: id, name })),
    ),
    ...(mapping?.rules ?? []).flatMap((rule) =>
      rolesFromClaims({ ...mapping!, rules: [rule] }, attributes, person).map((role) => ({
        role,
        from: 'claim' as const,
        claim: rule.claim,
        value: rule.value,
      })),
    ),
  ];
}

function groupsOf(view: Snapshot, person: PersonEntry): ReadonlyArray<{ readonly id: string; readonly name: string }> {
  return (person.groups ?? []).flatMap((id) => {
    const group = view.groups.get(id);
    return group ? [{ id, name: group.name }] : [];
  });
}
