/**
 * What would this token become? The same reading and the same question as for a call (identity/claims, gateway/principal), over the
 * snapshot of this moment, and over the snapshot as it would be with the records that newcomers get. Changes nothing, records no token.
 * A token is verified as usual; claims alone are read as if a good token of their issuer had them, and the answer says so.
 */
import { z } from 'zod';
import type { Person } from '../directory/records.ts';
import { isOurTenant, rolesFromClaims } from '../directory/roles.ts';
import { voidOn } from '../directory/voids.ts';
import { principalOf, type NoPrincipal, type Principal } from '../gateway/principal.ts';
import type { Snapshot } from '../gateway/snapshot.ts';
import { lockOn } from '../gateway/standing.ts';
import type { Caller } from '../identity/caller.ts';
import { readCompactJws } from '../identity/compact-jws.ts';
import { publicDescription, type TokenProblem } from '../identity/token-problem.ts';
import { agentKey, type KnownAgent } from '../inventory/agents.ts';
import type { JsonObject } from '../lib/json.ts';
import { ok, type Result } from '../lib/result.ts';
import type { AdminContext } from './context.ts';
import { handler } from './route.ts';

const TokenText = z.string().min(1).max(16_384);

export const previewToken = handler({
  body: z.union([
    z.strictObject({
      token: TokenText.describe('An access token. Verified as usual and kept nowhere.'),
      resource: z.url().optional().describe('What it is for. Left out: what its `aud` says.'),
    }),
    z.strictObject({
      claims: z
        .record(z.string(), z.json())
        .describe('Claims with `iss`; times, `jti` and `aud` are filled in where they are missing.'),
      resource: z.url().optional(),
    }),
  ]),
  run: async ({ ctx, body }) => {
    const read =
      'token' in body ? await fromToken(ctx, body.token, body.resource) : fromClaims(ctx, body.claims, body.resource);
    const { caller, ...facts } = read;
    if (!caller.ok) return ok({ body: { ...facts, readable: false, problem: problemOf(caller.error) } });
    return ok({ body: { ...facts, readable: true, problem: null, ...become(ctx, caller.value) } });
  },
});

interface Read {
  readonly signature: 'verified' | 'not_checked';
  readonly resource: string;
  readonly caller: Result<Caller, TokenProblem>;
}

async function fromToken(ctx: AdminContext, token: string, said: string | undefined): Promise<Read> {
  const jws = readCompactJws(token);
  const aud = jws.ok ? [jws.value.claims['aud']].flat().find((one) => typeof one === 'string') : undefined;
  const resource = said ?? aud ?? defaultResource(ctx);
  const verified = await ctx.verifier.verify(token, resource);
  // Everything but the proof of possession held: the token is as its issuer wrote it.
  const bound = !verified.ok && verified.error.kind === 'sender_binding' && jws.ok;
  return {
    signature: verified.ok || bound ? 'verified' : 'not_checked',
    resource,
    caller: bound ? ctx.verifier.read(jws.value.claims, resource) : verified,
  };
}

function fromClaims(ctx: AdminContext, said: JsonObject, named: string | undefined): Read {
  const iat = Math.floor(ctx.clock.now() / 1000);
  const resource = named ?? defaultResource(ctx);
  const claims: JsonObject = { iat, exp: iat + 60, jti: 'preview', ...said, aud: said['aud'] ?? resource };
  const aud = [claims['aud']].flat().find((one) => typeof one === 'string');
  return { signature: 'not_checked', resource, caller: ctx.verifier.read(claims, named ?? aud ?? resource) };
}

const defaultResource = (ctx: AdminContext): string => `${ctx.facts.mcpUrl}/mcp/${ctx.org}`;

function problemOf(problem: TokenProblem): object {
  const { kind, ...rest } = problem;
  return { kind, message: `${publicDescription(kind)}.`, ...rest };
}

function become(ctx: AdminContext, caller: Caller): object {
  const view = ctx.snapshot();
  const now = ctx.clock.now();
  const mapping = view.mappings.get(caller.issuer);
  const ours = isOurTenant(mapping, caller.attributes);
  const { after, newcomers } = withNewcomers(view, caller, now);
  const found = principalOf(after, { ...caller }, now);
  const person = caller.alone ? undefined : after.people.byIdentity(caller.issuer, caller.subject);
  return {
    token: {
      issuer: caller.issuer,
      subject: caller.subject,
      client: caller.clientId,
      alone: caller.alone,
      scopes: [...caller.scopes],
      chain: caller.actChain,
      issuedAt: caller.issuedAt * 1000,
      expiresAt: caller.expiresAt * 1000,
      signIn: { at: caller.authTime === null ? null : caller.authTime * 1000, amr: caller.amr, acr: caller.acr },
      keyThumbprint: caller.keyThumbprint,
      attributes: caller.attributes,
    },
    organisation: view.organisation?.issuers.includes(caller.issuer) && ours ? ctx.org : null,
    admitted: found.ok,
    ...(found.ok ? { reason: null, message: null, remedy: null } : whyNot(found.error)),
    person: person
      ? {
          id: view.people.byId(person.id) ? person.id : null,
          name: person.name,
          state: person.state,
          connection: person.provisioned?.connection ?? null,
          breakGlass: person.breakGlass === true,
        }
      : null,
    roles: rolesBySource(after, caller, found),
    groups: found.ok ? (found.value.person.groups ?? []) : [],
    agents: [caller.clientId, ...caller.actChain].map((client) => {
      const agent = after.agents.get(agentKey(caller.issuer, client));
      return {
        client,
        id: agent && agent.id !== '' ? agent.id : null,
        state: agent?.state ?? null,
        kind: agent?.kind ?? null,
      };
    }),
    ceiling: found.ok ? found.value.ceiling : null,
    owner: found.ok ? found.value.owner : null,
    stops: stops(view, caller, person?.id ?? null, now),
    newcomers,
  };
}

/** The picture as it would be after the first call of this token, and what would have become a record. */
function withNewcomers(
  view: Snapshot,
  caller: Caller,
  now: number,
): { readonly after: Snapshot; readonly newcomers: object[] } {
  let after = view;
  const newcomers: object[] = [];
  const { issuer, subject } = caller;
  for (const client of [caller.clientId, ...caller.actChain]) {
    const found = principalOf(after, { ...caller }, now);
    if (found.ok || found.error.reason !== 'agent_unknown' || found.error.client !== client) continue;
    const key = agentKey(issuer, client);
    const rule = view.organisation?.newAgents ?? 'pending';
    const becomes = view.agents.has(key)
      ? 'refuse'
      : caller.alone && client === caller.clientId && rule !== 'refuse'
        ? 'pending'
        : rule;
    newcomers.push({ agent: client, becomes });
    if (becomes === 'refuse') return { after, newcomers };
    const kind = caller.alone && client === caller.clientId ? 'autonomous' : 'delegate';
    const agent: KnownAgent = {
      id: '',
      issuer,
      clientId: client,
      title: client,
      kind,
      state: becomes,
      roles: [],
      ceiling: {},
    };
    after = { ...after, agents: new Map([...after.agents, [key, agent]]) };
  }
  const found = principalOf(after, { ...caller }, now);
  if (
    !found.ok &&
    found.error.reason === 'person_unknown' &&
    !caller.alone &&
    view.organisation?.issuers.includes(issuer)
  ) {
    const becomes = view.mappings.get(issuer)?.newcomers ?? 'refuse';
    newcomers.push({ person: subject, becomes });
    if (becomes === 'create') {
      const person: Person = { issuer, subject, name: subject.slice(0, 200), state: 'active', roles: [] };
      after = { ...after, people: after.people.with([['preview', { ...person, id: 'preview' }]]) };
    }
  }
  return { after, newcomers };
}

function rolesBySource(view: Snapshot, caller: Caller, found: Result<Principal, NoPrincipal>): object[] {
  if (caller.alone) return found.ok ? found.value.person.roles.map((role) => ({ role, from: 'agent' })) : [];
  const person = view.people.byIdentity(caller.issuer, caller.subject);
  if (!person) return [];
  const mapping = view.mappings.get(caller.issuer);
  const counted = rolesFromClaims(mapping, caller.attributes, person);
  const rules = counted.length === 0 ? [] : (mapping?.rules ?? []);
  return [
    ...person.roles.map((role) => ({ role, from: 'person' })),
    ...(person.groups ?? []).flatMap((id) => {
      const group = view.groups.get(id);
      return (group?.roles ?? []).map((role) => ({ role, from: `group ${id}`, name: group?.name }));
    }),
    ...rules.flatMap(({ claim, value, roles }) =>
      caller.attributes[claim]?.includes(value) ? roles.map((role) => ({ role, from: `claim ${claim}=${value}` })) : [],
    ),
  ];
}

/** Every lock and void that falls on it, not only the first that decides. */
function stops(view: Snapshot, caller: Caller, person: string | null, now: number): object[] {
  const locks = [
    lockOn(view, { person }, now),
    ...[caller.clientId, ...caller.actChain].map((agent) => lockOn(view, { agent }, now)),
    lockOn(view, { token: caller.tokenId }, now),
  ].filter((lock) => lock !== null);
  const by = view.voids === null ? 'unreadable' : voidOn(view.voids, person, caller);
  return [...locks.map(({ id, subject }) => ({ lock: id, on: subject.kind })), ...(by === null ? [] : [{ void: by }])];
}

const WHY: Readonly<Record<NoPrincipal['reason'], readonly [message: string, remedy: string]>> = {
  person_unknown: [
    'Nobody here has this identity, or its issuer may not speak for people of this organisation.',
    'Add the person, provision them, or let a mapping of the issuer create newcomers.',
  ],
  person_inactive: ['The person is inactive.', 'Activate them where they are kept.'],
  person_without_role: [
    'The person, or the agent that acts alone, has no role.',
    'Give one to the person or to a group of theirs, or map a claim to one.',
  ],
  tenant_unknown: [
    'The token is of another tenant of this issuer, or does not say of which.',
    'See the tenant claim of the mapping for the issuer.',
  ],
  agent_unknown: [
    'The client has no record.',
    'Register it (`remit agent add`), or see `newAgents` of the organisation.',
  ],
  agent_not_active: ['The client may not act.', 'Review it: `remit agent activate`.'],
  agent_without_owner: [
    'Nobody who is active answers for this agent.',
    'Name another owner: `remit agent set --owner`.',
  ],
  locked: ['A lock is in force.', 'Lift it when its reason is over: `remit lock list`.'],
  token_void: ['The token was voided before its end.', 'Sign in anew.'],
  source_silent: ['Who provisions this person has been silent for too long.', 'See the connection in `remit status`.'],
};

function whyNot(why: NoPrincipal): object {
  const [message, remedy] = WHY[why.reason];
  return { ...why, message, remedy };
}
