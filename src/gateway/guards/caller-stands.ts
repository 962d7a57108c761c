/**
 * The person is known, active, has a role, and no lock falls on them, their agent or this token.
 * Roles and standing come from our directory at the snapshot's revision, never from the token (ID-03, ID-08).
 */
import { personKey } from '../../directory/records.ts';
import { lockedBy } from '../../inventory/locks.ts';
import { known } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';

export const callerStands = guard<number>({
  name: 'caller-stands',
  gather: (_call, ports) => ports.clock.now(),
  decide(call, now) {
    const caller = known(call, 'caller');
    const person = call.snapshot.people.get(personKey(caller.issuer, caller.subject));
    const who = { person: person?.id ?? null, agent: caller.clientId, server: null, tool: null, token: caller.tokenId };
    const lock = lockedBy(call.snapshot.locks, who, now);
    if (lock) return deny({ reason: 'locked', lock: lock.id, on: lock.subject.kind });
    if (!person || !call.snapshot.organisation?.issuers.includes(caller.issuer))
      return deny({ reason: 'person_unknown' });
    if (person.state !== 'active') return deny({ reason: 'person_inactive' });
    if (person.roles.length === 0) return deny({ reason: 'person_without_role' });
    return learn({ person });
  },
});
