/**
 * What a reviewer should know about an agent (NH-05, AN-14), and which changes of one that works give it more. Pure. What must be said of it
 * before it may act, and its life, are the one table for all identities (`inventory/lifecycle.ts`).
 */
import { ownerStands } from '../directory/owners.ts';
import type { PeopleIndex } from '../directory/people.ts';
import type { GroupIndex } from '../directory/roles.ts';
import { agentKey, type Agent, type AgentIndex, type Ceiling } from '../inventory/agents.ts';
import { reachableFrom } from '../inventory/environments.ts';
import { missingFor, worksIn, type Missing } from '../inventory/lifecycle.ts';
import type { Server } from '../inventory/records.ts';

export const FINDINGS = {
  waiting_for_review: 'Nobody has looked at it yet; its calls are refused.',
  owner_missing: 'It may act and nobody answers for it.',
  owner_gone: 'Who answered for it is gone or inactive. Name another owner.',
  incomplete: 'It may act and lacks what an agent that acts alone must say of itself today.',
  review_due: 'The day when somebody should have looked at it again is over.',
  secret_expired: 'Its secret should have been replaced.',
  secret_expires_soon: 'Its secret must be replaced within two weeks.',
  issuer_untrusted: 'Its issuer is not trusted any more; nobody can call with it.',
  client_twice: 'Two records claim this client, so neither counts. Retire one.',
} as const;
export type Finding = keyof typeof FINDINGS;

const SOON_MS = 14 * 86_400_000;

/** A retired one is nobody's concern any more. */
export function agentFindings(
  agent: Agent,
  view: {
    readonly people: PeopleIndex;
    readonly groups: GroupIndex;
    readonly agents: AgentIndex;
    readonly issuers: readonly string[];
    /** ms since the epoch. */
    readonly now: number;
  },
): readonly Finding[] {
  if (agent.state === 'retired') return [];
  const found: Finding[] = [];
  const left = agent.secretExpiresAt === undefined ? Number.POSITIVE_INFINITY : agent.secretExpiresAt - view.now;
  const works = worksIn('agent', agent.state);
  const stands = agent.owner !== undefined && ownerStands(view, agent.owner);
  if (agent.state === 'pending') found.push('waiting_for_review');
  if (agent.owner === undefined && works) found.push('owner_missing');
  if (agent.owner !== undefined && !stands) found.push('owner_gone');
  if (works && agent.kind === 'autonomous') {
    const facts = { now: view.now, ownerStands: () => true };
    const lacks = missingFor('agent', agent.state, { ...agent, owner: agent.owner ?? 'nobody' }, facts);
    if (lacks.some(({ field }) => field !== 'reviewBy' || agent.reviewBy === undefined)) found.push('incomplete');
  }
  if (agent.reviewBy !== undefined && agent.reviewBy <= view.now) found.push('review_due');
  if (left <= 0) found.push('secret_expired');
  else if (left < SOON_MS) found.push('secret_expires_soon');
  if (!view.issuers.includes(agent.issuer)) found.push('issuer_untrusted');
  if (view.agents.get(agentKey(agent.issuer, agent.clientId)) === null) found.push('client_twice');
  return found;
}

/** What of a change gives the agent more than it has: fields, dotted. */
export function widened(before: Agent, after: Agent): readonly string[] {
  const fields: string[] = [];
  if (after.roles.some((role) => !before.roles.includes(role))) fields.push('agent.roles');
  if (before.environment !== undefined && after.environment !== before.environment) fields.push('agent.environment');
  for (const bound of ['servers', 'risks', 'scopes', 'environments'] as const) {
    const had: readonly string[] | undefined = before.ceiling[bound];
    const has: readonly string[] | undefined = after.ceiling[bound];
    if (had && (!has || has.some((value) => !had.includes(value)))) fields.push(`agent.ceiling.${bound}`);
  }
  return fields;
}

/** NH-07, as far as it shows in the record: what an agent of one side names of the other it could never reach. */
export function mixedEnvironments(
  { environment, ceiling }: { readonly environment?: Agent['environment']; readonly ceiling: Ceiling },
  servers: ReadonlyMap<string, { readonly record: Server }>,
): readonly Missing[] {
  if (environment === undefined) return [];
  const mine = reachableFrom(environment);
  const line = 'Production and everything else do not mix.';
  const bounds = (ceiling.environments ?? []).filter((one) => !mine.includes(one));
  const named = (ceiling.servers ?? []).filter((id) => {
    const server = servers.get(id);
    return server !== undefined && !mine.includes(server.record.environment);
  });
  return [
    ...(bounds.length === 0
      ? []
      : [
          {
            field: 'ceiling.environments',
            message: `An agent of ${environment} cannot reach ${bounds.join(', ')}. ${line}`,
            remedy: `Name some of ${mine.join(', ')}, or leave the bound out.`,
          },
        ]),
    ...(named.length === 0
      ? []
      : [
          {
            field: 'ceiling.servers',
            message: `An agent of ${environment} cannot reach ${named.join(', ')}, of another environment. ${line}`,
            remedy: 'Leave these servers out, or register another agent for them.',
          },
        ]),
  ];
}
