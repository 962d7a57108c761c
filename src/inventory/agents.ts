/**
 * Agents: the OAuth clients that act, for a person or alone, as governed identities. An agent never has more than its person: what it may
 * do is the person's right cut by its ceiling (ID-06). One that acts alone has roles of its own and a person who answers for it.
 */
import { z } from 'zod';
import { reachableFrom } from './environments.ts';
import { ENVIRONMENTS, Governed, Owner } from './records.ts';

export const AGENT_STATES = ['pending', 'active', 'suspended', 'retired'] as const;
/** `delegate`: acts for whoever signed in. `autonomous`: acts by itself (client credentials, workload identity). */
export const AGENT_KINDS = ['delegate', 'autonomous'] as const;
/** `member` permits nothing by itself: for an agent that has only grants. */
const AGENT_ROLES = ['developer', 'operator', 'member'] as const;
const RISKS = ['read', 'write', 'destructive', 'execute', 'regulated'] as const;

/** What it may reach at most. A member that is left out sets no bound. */
export const Ceiling = z.strictObject({
  servers: z.array(z.string().min(1).max(63)).max(1_000).exactOptional(),
  risks: z.array(z.enum(RISKS)).exactOptional(),
  scopes: z.array(z.string().min(1).max(256)).max(500).exactOptional(),
  /** Servers of these environments only (NH-07). */
  environments: z.array(z.enum(ENVIRONMENTS)).exactOptional(),
});
export type Ceiling = z.infer<typeof Ceiling>;

export const Agent = z.strictObject({
  /** Client ids belong to the issuer that knows them. */
  issuer: z.url(),
  clientId: z.string().min(1).max(512),
  title: z.string().min(1).max(200),
  kind: z.enum(AGENT_KINDS),
  state: z.enum(AGENT_STATES),
  /** An autonomous agent is not active without one. */
  owner: Owner.exactOptional(),
  purpose: Governed.purpose.exactOptional(),
  environment: Governed.environment.exactOptional(),
  riskTier: Governed.riskTier,
  revocation: Governed.revocation,
  reviewBy: Governed.reviewBy,
  /** Of an autonomous agent alone. Never a role of people who decide or administer. */
  roles: z.array(z.enum(AGENT_ROLES)),
  ceiling: Ceiling,
  /** A shared secret makes it a long-lived credential: when it must be replaced (AN-14). ms since the epoch. */
  secretExpiresAt: z.number().int().exactOptional(),
  /** ms since the epoch. */
  firstSeenAt: z.number().int().exactOptional(),
});
export type Agent = z.infer<typeof Agent>;
export type KnownAgent = Agent & { readonly id: string };

/** The unique key of an agent within an organisation. */
export const agentKey = (issuer: string, clientId: string): string => `${issuer} ${clientId}`;

/** By `agentKey`; null where two records claim one client. */
export type AgentIndex = ReadonlyMap<string, KnownAgent | null>;

export function agentIndex(agents: Iterable<KnownAgent>): AgentIndex {
  const index = new Map<string, KnownAgent | null>();
  for (const agent of agents) {
    const key = agentKey(agent.issuer, agent.clientId);
    index.set(key, index.has(key) ? null : agent);
  }
  return index;
}

/**
 * What all of them may: each bound is the meet of those that set it. Null when none sets any. The environment of an agent is such a bound:
 * one that is marked for production reaches nothing else, and the other way round (NH-07).
 */
export function commonCeiling(agents: readonly Pick<Agent, 'ceiling' | 'environment'>[]): Ceiling | null {
  const ceilings = agents.flatMap(({ ceiling, environment }) =>
    environment === undefined ? [ceiling] : [ceiling, { environments: [...reachableFrom(environment)] }],
  );
  const meet = <T>(member: (ceiling: Ceiling) => readonly T[] | undefined): T[] | undefined =>
    ceilings
      .map((ceiling) => member(ceiling))
      .filter((bound) => bound !== undefined)
      .reduce<T[] | undefined>(
        (kept, bound) => (kept ? kept.filter((value) => bound.includes(value)) : [...bound]),
        undefined,
      );
  const servers = meet(({ servers }) => servers);
  const risks = meet(({ risks }) => risks);
  const scopes = meet(({ scopes }) => scopes);
  const environments = meet(({ environments }) => environments);
  if (!servers && !risks && !scopes && !environments) return null;
  return {
    ...(servers && { servers }),
    ...(risks && { risks }),
    ...(scopes && { scopes }),
    ...(environments && { environments }),
  };
}

/** Whether an item lies under the ceiling. */
export function withinCeiling(
  ceiling: Ceiling | null,
  item: { readonly server: string; readonly risk: string; readonly scope: string; readonly environment: string },
): boolean {
  if (ceiling === null) return true;
  const { servers, risks, scopes, environments } = ceiling;
  if (environments && !(environments as readonly string[]).includes(item.environment)) return false;
  if (servers && !servers.includes(item.server)) return false;
  if (risks && !(risks as readonly string[]).includes(item.risk)) return false;
  return !scopes || scopes.includes(item.scope);
}
