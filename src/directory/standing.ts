/**
 * Whether a person may act at all, before any policy is asked (ID-03): known, active, and with at least one role.
 * Locks and void tokens are not looked at here.
 */
import type { KnownPerson } from './people.ts';

export type PersonStanding = 'active' | 'unknown' | 'inactive' | 'without_role';

/** Only `active` may go on. Somebody without a role sees nothing and may call nothing. `person.roles` are all roles that count. */
export function personStanding(person: Pick<KnownPerson, 'state' | 'roles'> | null): PersonStanding {
  if (!person) return 'unknown';
  if (person.state !== 'active') return 'inactive';
  return person.roles.length === 0 ? 'without_role' : 'active';
}
