/**
 * The life of an agent, as one table, and what must be known of it before it may act (NH-01). Pure.
 * Retired is the end: its record stays, so that its client id cannot come back as somebody new.
 */
import type { PeopleIndex } from '../directory/people.ts';
import { agentKey, type Agent, type AgentIndex } from '../inventory/agents.ts';

export type AgentState = Agent['state'];

export const AGENT_STEPS: Readonly<Record<AgentState, readonly AgentState[]>> = {
  pending: ['active', 'retired'],
  active: ['suspended', 'retired'],
  suspended: ['active', 'retired'],
  retired: [],
};

export interface Lack {
  readonly field: string;
  readonly message: string;
  readonly remedy: string;
}

/** What is missing before the agent may be active, all of it at once. */
export function agentLacks(agent: Agent, people: PeopleIndex): readonly Lack[] {
  const owner = agent.owner === undefined ? undefined : people.byId(agent.owner);
  const alone = agent.kind === 'autonomous';
  const lacks: Array<Lack | false> = [
    owner?.state !== 'active' && {
      field: 'agent.owner',
      message: agent.owner === undefined ? 'Nobody answers for it.' : `Its owner ${agent.owner} is no active person.`,
      remedy: 'Name an active person as its owner.',
    },
    agent.purpose === undefined && {
      field: 'agent.purpose',
      message: 'Nobody has said what it is for.',
      remedy: 'Say its purpose in a sentence.',
    },
    alone &&
      agent.roles.length === 0 && {
        field: 'agent.roles',
        message: 'It acts alone and has no role, so it could do nothing.',
        remedy: 'Give it developer or operator.',
      },
    !alone &&
      agent.roles.length > 0 && {
        field: 'agent.roles',
        message: 'It acts for people and has the rights of each; roles of its own are for agents that act alone.',
        remedy: 'Leave roles empty.',
      },
  ];
  return lacks.filter((lack) => lack !== false);
}

export const FINDINGS = {
  waiting_for_review: 'Nobody has looked at it yet; its calls are refused.',
  owner_missing: 'It may act and nobody answers for it.',
  owner_gone: 'Who answered for it is gone or inactive. Name another owner.',
  secret_expired: 'Its secret should have been replaced.',
  secret_expires_soon: 'Its secret must be replaced within two weeks.',
  issuer_untrusted: 'Its issuer is not trusted any more; nobody can call with it.',
  client_twice: 'Two records claim this client, so neither counts. Retire one.',
} as const;
export type Finding = keyof typeof FINDINGS;

const SOON_MS = 14 * 86_400_000;

/** What a reviewer should know about an agent (NH-05, AN-14). A retired one is nobody's concern any more. */
export function agentFindings(
  agent: Agent,
  view: {
    readonly people: PeopleIndex;
    readonly agents: AgentIndex;
    readonly issuers: readonly string[];
    /** ms since the epoch. */
    readonly now: number;
  },
): readonly Finding[] {
  if (agent.state === 'retired') return [];
  const found: Finding[] = [];
  const left = agent.secretExpiresAt === undefined ? Number.POSITIVE_INFINITY : agent.secretExpiresAt - view.now;
  if (agent.state === 'pending') found.push('waiting_for_review');
  if (agent.owner === undefined && agent.state === 'active') found.push('owner_missing');
  if (agent.owner !== undefined && view.people.byId(agent.owner)?.state !== 'active') found.push('owner_gone');
  if (left <= 0) found.push('secret_expired');
  else if (left < SOON_MS) found.push('secret_expires_soon');
  if (!view.issuers.includes(agent.issuer)) found.push('issuer_untrusted');
  if (view.agents.get(agentKey(agent.issuer, agent.clientId)) === null) found.push('client_twice');
  return found;
}
