/**
 * Whether anybody answers for an identity that is no person (NH-01, NH-05): an active person, or a group of which one active member is
 * enough (`group/<id>`). Read from the people and groups of one snapshot, so an owner who leaves is gone with the commit that took them away.
 * Not here: whether an owner is locked or has a role; that somebody is there to be asked is all that is said.
 */
import type { KnownPerson, PeopleIndex } from './people.ts';
import type { GroupIndex } from './roles.ts';

interface Directory {
  readonly people: PeopleIndex;
  readonly groups: GroupIndex;
}

const GROUP = 'group/';

/** The group that an owner names; null: it names a person. */
export const groupOfOwner = (owner: string): string | null =>
  owner.startsWith(GROUP) ? owner.slice(GROUP.length) : null;

export function ownerStands({ people, groups }: Directory, owner: string): boolean {
  const group = groupOfOwner(owner);
  if (group === null) return people.byId(owner)?.state === 'active';
  return groups.has(group) && staffedGroups(people).has(group);
}

/** Whether `person` is the owner or one of them: who answers for a thing never decides alone about what it asks for. */
export function ownsIt({ people, groups }: Directory, person: string, owner: string | undefined): boolean {
  if (owner === undefined) return false;
  if (owner === person) return true;
  const group = groupOfOwner(owner);
  return group !== null && groups.has(group) && (people.byId(person)?.groups ?? []).includes(group);
}

/** Groups with an active member. An index of people is replaced, never changed, so one pass over it stays true. */
const STAFFED = new WeakMap<PeopleIndex, ReadonlySet<string>>();

function staffedGroups(people: PeopleIndex): ReadonlySet<string> {
  const known = STAFFED.get(people);
  if (known) return known;
  const staffed = new Set<string>();
  for (const { state, groups } of people.all()) if (state === 'active') for (const id of groups ?? []) staffed.add(id);
  STAFFED.set(people, staffed);
  return staffed;
}

/** What an owner is called; null: nobody who is known. */
export function ownerName({ people, groups }: Directory, owner: string): string | null {
  const group = groupOfOwner(owner);
  const found: Pick<KnownPerson, 'name'> | undefined = group === null ? people.byId(owner) : groups.get(group);
  return found?.name ?? null;
}
