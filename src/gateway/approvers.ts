/**
 * Who decides about a held call, over one picture of the state: at the moment of the decision and again at the moment of use, by one rule
 * (AP-03). Deciders are the members of the groups that the server names, else whoever has the role `approver` in the directory; roles that
 * only a token's claims give do not count, because nobody could ask for them again when the call is made. Never: the requester, whoever
 * owns the agent that asked, one it acts for, or the agent that is the requester; an emergency account.
 */
import type { Approval } from '../approvals/records.ts';
import { standingRoles } from '../directory/roles.ts';
import type { PersonEntry, Snapshot } from './snapshot.ts';
import { lockOn } from './standing.ts';

/** `self`: they asked, or answer for what asked. `no`: they do not stand, or it is others' to decide. */
export type Say = 'may' | 'self' | 'no';

type Asked = Pick<Approval, 'person' | 'agent' | 'issuer' | 'actors' | 'server'>;

export function sayOf(snapshot: Snapshot, person: string, approval: Asked, now: number): Say {
  const known = snapshot.people.byId(person);
  if (known?.state !== 'active' || known.breakGlass === true || lockOn(snapshot, { person }, now) !== null) return 'no';
  if (person === approval.person || answersFor(snapshot, known, approval)) return 'self';
  return decides(snapshot, known, approval) ? 'may' : 'no';
}

/** Whether this person is among the deciders of a server, whoever asks. */
function decides(snapshot: Snapshot, person: PersonEntry, { server }: Asked): boolean {
  const groups = snapshot.servers.get(server)?.record.approvers;
  return groups === undefined
    ? standingRoles(person, snapshot.groups).includes('approver')
    : groups.some((group) => isMember(snapshot, person, group));
}

const isMember = (snapshot: Snapshot, person: PersonEntry, group: string): boolean =>
  snapshot.groups.has(group) && person.groups?.includes(group) === true;

/** Records of before they named the issuer of the client: owning any agent of that name counts. */
function answersFor(snapshot: Snapshot, person: PersonEntry, { person: requester, ...asked }: Asked): boolean {
  const clients = [asked.agent, ...(asked.actors ?? [])];
  for (const agent of snapshot.agents.values()) {
    if (agent === null) continue;
    const acted = clients.includes(agent.clientId) && (asked.issuer === undefined || asked.issuer === agent.issuer);
    if ((acted || requester === `agent/${agent.id}`) && owns(snapshot, person, agent.owner)) return true;
  }
  return false;
}

const owns = (snapshot: Snapshot, person: PersonEntry, owner: string | undefined): boolean =>
  owner === person.id || (owner?.startsWith('group/') === true && isMember(snapshot, person, owner.slice(6)));

/** Who may be asked, in words: the groups of the server, or the role. */
export function decidersInWords(snapshot: Snapshot, server: string): string {
  const groups = snapshot.servers.get(server)?.record.approvers;
  if (groups === undefined) return 'an approver';
  return groups.map((id) => snapshot.groups.get(id)?.name ?? id).join(' or ');
}
