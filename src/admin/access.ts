/**
 * Would this person (or this agent, acting alone) be allowed to call this tool, and by which policies: the guards that decide calls, over the
 * same snapshot, in their order (`explain-call.ts`). The token is supposed: what is not said
 * of it is as a good one would have it. Nothing is called and nothing is held.
 */
import { z } from 'zod';
import type { Person } from '../directory/records.ts';
import { rolesFromClaims } from '../directory/roles.ts';
import type { Principal } from '../gateway/principal.ts';
import { personFacts } from '../gateway/question.ts';
import type { PersonEntry, Snapshot } from '../gateway/snapshot.ts';
import type { SupposedCall } from '../gateway/what-if.ts';
import type { Caller } from '../identity/caller.ts';
import { agentKey } from '../inventory/agents.ts';
import type { KnownAgent } from '../inventory/agents.ts';
import { err, ok } from '../lib/result.ts';
import { visible } from '../policy/decide.ts';
import type { PersonFacts } from '../policy/decide.ts';
import { signInAt } from '../policy/sign-in.ts';
import type { SignIn } from '../policy/sign-in.ts';
import { explainCall } from './explain-call.ts';
import { notFound } from './problem.ts';
import { handler } from './route.ts';

/** Stands for any agent without a ceiling, where the question names none. */
export const ANY_AGENT = 'remit-explain';

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
    arguments: z
      .record(z.string(), z.json())
      .optional()
      .describe('Left out: none, and nobody asks whether that fits the tool.'),
    approved: z.boolean().default(false),
    untrusted: z.boolean().default(false).describe('The trace has received output that strangers may have written.'),
    private: z.boolean().default(false).describe('The trace has received private data.'),
    confidential: z.boolean().default(false).describe('It has received confidential data; private, too.'),
    regulated: z.boolean().default(false).describe('It has received regulated data; private, too.'),
    secret: z.boolean().default(false).describe('What it has received held a secret; private, too.'),
    copied: z
      .boolean()
      .default(false)
      .describe('The arguments hold text of another server with confidential or regulated data.'),
    copiedFrom: z.array(z.string()).max(1_000).default([]).describe('Servers whose text they hold.'),
    receivedFrom: z.array(z.string()).max(1_000).default([]).describe('Servers whose output the trace has received.'),
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
      keyThumbprint: ANY_AGENT,
      attributes: body.claims ?? tenantClaims(view, who.issuer),
    };
    const supposedView = withAnyAgent(view, who.issuer);
    const supposed: SupposedCall = {
      server: server.id,
      kind: tool.kind,
      name: tool.name,
      caller,
      arguments: body.arguments ?? null,
      approved: body.approved,
      labels: body,
    };
    const { principal, ...explained } = await explainCall(supposedView, supposed, at);
    // Without arguments a grant with conditions fits nothing; that some could fit is worth saying before any other advice.
    const asked = { person: personFactsOf(principal), agent: caller.clientId, at };
    const dependsOnArguments =
      body.arguments === undefined &&
      explained.stoppedBefore === null &&
      explained.reason === 'not_permitted' &&
      asked.person !== null &&
      view.policies !== null &&
      visible(view.policies, { ...asked, person: asked.person }, { server: server.id, name: tool.key });
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
    return ok({ body: { ...explained, dependsOnArguments, ...facts } });
  },
});

export function agentOf(view: Snapshot, id: string): KnownAgent | undefined {
  return [...view.agents.values()].find((agent) => agent?.id === id) ?? undefined;
}

/** The same picture, in which the agent that stands for any is known and active. */
export function withAnyAgent(view: Snapshot, issuer: string): Snapshot {
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

export function tenantClaims(view: Snapshot, issuer: string): Caller['attributes'] {
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

const personFactsOf = (principal: Principal | null): PersonFacts | null => principal && personFacts(principal.person);
