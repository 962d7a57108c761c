/**
 * Whether a person may act at all, before any policy is asked (ID-03): known, active, and with at least one role.
 * Roles come from the directory's record and from nowhere else. Locks are not looked at here.
 */
import type { KnownPerson, PeopleIndex } from './people.ts';
import { personKey } from './records.ts';

export type PersonStanding = 'active' | 'unknown' | 'inactive' | 'without_role';

/** null for anybody the directory does not know for certain. */
export function personFor(index: PeopleIndex, issuer: string, subject: string): KnownPerson | null {
  return index.get(personKey(issuer, subject)) ?? null;
}

/** Only `active` may go on. Somebody without a role sees nothing and may call nothing. */
export function personStanding(person: KnownPerson | null): PersonStanding {
  if (!person) return 'unknown';
  if (person.state !== 'active') return 'inactive';
  return person.roles.length === 0 ? 'without_role' : 'active';
}
