/**
 * Whose rights a verified token brings at this moment (CONTROLS ID-01, ID-03, ID-06, ID-08): the person, the agents that act for them,
 * and what is left when each bound is applied. One function for calls, for what runs already, for the admin plane and for `explain`.
 * Pure over the snapshot and the time. What is worked out for a token is kept with it until the snapshot changes.
 */
import { ownerStands } from '../directory/owners.ts';
import { trustsIssuer } from '../directory/people.ts';
import type { Role } from '../directory/records.ts';
import { isOurTenant, rolesFromClaims, standingRoles } from '../directory/roles.ts';
import { personStanding } from '../directory/standing.ts';
import { VOID_KINDS, voidOn } from '../directory/voids.ts';
import type { Caller } from '../identity/caller.ts';
import { agentKey, commonCeiling } from '../inventory/agents.ts';
import type { Ceiling, KnownAgent } from '../inventory/agents.ts';
import type { LockSubject } from '../inventory/records.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { IdentitySource, PersonEntry, Snapshot } from './snapshot.ts';
import { lockOn } from './standing.ts';

export interface Principal {
  /** With all roles that count and the groups that exist. For an agent that acts alone: the agent in the place of a person, as `agent/<id>`. */
  readonly person: PersonEntry;
  readonly agent: KnownAgent;
  /** What every agent in the chain may at most; null: nothing bounds it. */
  readonly ceiling: Ceiling | null;
  /** Who answers for an agent that acts alone: a directory id, or `group/<id>`; null where a person is there. */
  readonly owner: string | null;
}

/** Why a token brings nobody. All of it is a member of `Denial`. */
export type NoPrincipal =
  | { readonly reason: 'person_unknown' }
  | { readonly reason: 'person_inactive' }
  | { readonly reason: 'person_without_role' }
  /** The issuer speaks of another organisation's people, or of ones it may not speak of here. */
  | { readonly reason: 'tenant_unknown' }
  | { readonly reason: 'agent_unknown'; readonly client: string }
  | { readonly reason: 'agent_not_active'; readonly state: string }
  /** Nobody answers for an agent that acts alone. */
  | { readonly reason: 'agent_without_owner' }
  | { readonly reason: 'locked'; readonly lock: string; readonly on: LockSubject['kind'] }
  | { readonly reason: 'token_void'; readonly by: (typeof VOID_KINDS)[number] }
  /** Who tells us about this person has been silent for too long, and the connection says to refuse then. */
  | { readonly reason: 'source_silent'; readonly source: string };

interface Worked {
  readonly snapshot: Snapshot;
  readonly result: Result<Principal, NoPrincipal>;
}
const KEPT = new WeakMap<Caller, Worked>();

export function principalOf(snapshot: Snapshot, caller: Caller, now: number): Result<Principal, NoPrincipal> {
  let kept = KEPT.get(caller);
  if (kept?.snapshot !== snapshot) KEPT.set(caller, (kept = { snapshot, result: workOut(snapshot, caller) }));
  const { result } = kept;
  const person = result.ok ? result.value.person : snapshot.people.byIdentity(caller.issuer, caller.subject);
  const owner = result.ok ? result.value.owner : null;
  const stop =
    barred(snapshot, caller, person ?? null, now) ?? (owner === null ? null : ownerLocked(snapshot, owner, now));
  return stop ? err(stop) : result;
}

/**
 * What ends with time, or can fall on people whom we do not know otherwise: locks, void tokens, a silent source. A lock on the organisation
 * is not asked here: it stops every call (server-is-enabled.ts), but not the people who are to lift it.
 */
function barred(snapshot: Snapshot, caller: Caller, person: PersonEntry | null, now: number): NoPrincipal | null {
  const { locks, voids, sources } = snapshot;
  if (locks === null || locks.size > 0) {
    for (const agent of [caller.clientId, ...caller.actChain]) {
      const lock = lockOn(
        snapshot,
        { organisation: null, person: person?.id ?? null, agent, token: caller.tokenId },
        now,
      );
      if (lock) return { reason: 'locked', lock: lock.id, on: lock.subject.kind };
    }
  }
  // INVARIANT: voids that cannot be read (null) count as falling on everything; the first guard has refused by then.
  const voided = voids === null ? 'token' : voidOn(voids, person?.id ?? null, caller);
  if (voided) return { reason: 'token_void', by: voided };
  const connection = person?.provisioned?.connection;
  if (connection !== undefined && isClosed(sources.get(connection), now))
    return { reason: 'source_silent', source: connection };
  const streams = person === null ? undefined : snapshot.doors.get(caller.issuer);
  if (streams !== undefined) {
    for (const id of streams) if (isClosed(sources.get(id), now)) return { reason: 'source_silent', source: id };
  }
  return null;
}

/** Whoever locks a person means what they left running, too. */
function ownerLocked(snapshot: Snapshot, owner: string, now: number): NoPrincipal | null {
  const lock = lockOn(snapshot, { organisation: null, person: owner }, now);
  return lock ? { reason: 'locked', lock: lock.id, on: lock.subject.kind } : null;
}

/** A source whose silence closes the door, and that has been silent for too long. */
function isClosed(source: IdentitySource | undefined, now: number): boolean {
  if (source?.whenSilent !== 'refuse' || source.silenceAfterMs === null) return false;
  return source.contactAt === null || now - source.contactAt > source.silenceAfterMs;
}

function workOut(snapshot: Snapshot, caller: Caller): Result<Principal, NoPrincipal> {
  const { organisation, mappings } = snapshot;
  if (!organisation || !trustsIssuer(organisation, caller.issuer)) return err({ reason: 'person_unknown' });
  const mapping = mappings.get(caller.issuer);
  if (!isOurTenant(mapping, caller.attributes)) return err({ reason: 'tenant_unknown' });

  const chain: KnownAgent[] = [];
  for (const client of [caller.clientId, ...caller.actChain]) {
    const agent = snapshot.agents.get(agentKey(caller.issuer, client));
    if (!agent) return err({ reason: 'agent_unknown', client });
    if (agent.state !== 'active') return err({ reason: 'agent_not_active', state: agent.state });
    chain.push(agent);
  }
  const agent = chain[0]!;
  const ceiling = commonCeiling(chain);
  if (caller.alone) return alone(snapshot, caller, agent, ceiling);

  const known = snapshot.people.byIdentity(caller.issuer, caller.subject);
  if (!known) return err({ reason: 'person_unknown' });
  const roles = [
    ...new Set<Role>([...standingRoles(known, snapshot.groups), ...rolesFromClaims(mapping, caller.attributes, known)]),
  ];
  const groups = (known.groups ?? []).filter((id) => snapshot.groups.has(id));
  const person = { ...known, roles, groups };
  const standing = personStanding(person);
  if (standing !== 'active') return err({ reason: `person_${standing}` });
  return ok({ person, agent, ceiling, owner: null });
}

function alone(
  snapshot: Snapshot,
  { issuer, subject }: Caller,
  agent: KnownAgent,
  ceiling: Ceiling | null,
): Result<Principal, NoPrincipal> {
  if (agent.kind !== 'autonomous') return err({ reason: 'agent_not_active', state: 'not_autonomous' });
  const { owner } = agent;
  if (owner === undefined || !ownerStands(snapshot, owner)) return err({ reason: 'agent_without_owner' });
  if (agent.roles.length === 0) return err({ reason: 'person_without_role' });
  const person = {
    id: `agent/${agent.id}`,
    issuer,
    subject,
    name: agent.title,
    state: 'active' as const,
    roles: agent.roles,
  };
  return ok({ person, agent, ceiling, owner });
}
