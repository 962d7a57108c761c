/** Whom a notice is about, as active people of the directory. Bounded: nobody is helped by a message to a thousand approvers. */
import type { Approval } from '../../approvals/records.ts';
import type { Role } from '../../directory/records.ts';
import { standingRoles } from '../../directory/roles.ts';
import type { PersonEntry, Snapshot } from '../../gateway/snapshot.ts';

const MOST = 50;

/** The people behind an owner, requester or beneficiary: a person, the members of `group/<id>`, who answers for `agent/<id>`. */
export function peopleBehind(snapshot: Snapshot, name: string): readonly string[] {
  if (name.startsWith('group/')) return membersOf(snapshot, new Set([name.slice('group/'.length)]));
  if (name.startsWith('agent/')) {
    const id = name.slice('agent/'.length);
    for (const agent of snapshot.agents.values())
      if (agent?.id === id) return agent.owner === undefined ? [] : peopleBehind(snapshot, agent.owner);
    return [];
  }
  return snapshot.people.byId(name)?.state === 'active' ? [name] : [];
}

/** Who may decide about this held call; never who asked. */
export function deciders(
  snapshot: Snapshot,
  { server, person }: Pick<Approval, 'server' | 'person'>,
): readonly string[] {
  const groups = snapshot.servers.get(server)?.record.approvers;
  const able = groups ? membersOf(snapshot, new Set(groups)) : withRole(snapshot, 'approver');
  return able.filter((id) => id !== person);
}

function membersOf(snapshot: Snapshot, groups: ReadonlySet<string>): readonly string[] {
  return some(snapshot, ({ groups: theirs }) => theirs?.some((id) => groups.has(id)) ?? false);
}

export function withRole(snapshot: Snapshot, role: Role): readonly string[] {
  return some(snapshot, (person) => standingRoles(person, snapshot.groups).includes(role));
}

function some({ people }: Snapshot, fits: (person: PersonEntry) => boolean): readonly string[] {
  const found: string[] = [];
  for (const person of people.all()) {
    if (person.state !== 'active' || !fits(person)) continue;
    found.push(person.id);
    if (found.length === MOST) break;
  }
  return found;
}
