/**
 * The person is known, active, has a role, and no lock falls on them, their agent or this token.
 * Roles and standing come from our directory at the snapshot's revision, never from the token (ID-03, ID-08).
 */
import { trustsIssuer } from '../../directory/people.ts';
import { personFor, personStanding } from '../../directory/standing.ts';
import { known } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';
import { lockOn } from '../standing.ts';

export const callerStands = guard<number>({
  name: 'caller-stands',
  gather: (_call, ports) => ports.clock.now(),
  decide(call, now) {
    const caller = known(call, 'caller');
    const { people, organisation } = call.snapshot;
    const person = personFor(people, caller.issuer, caller.subject);
    const lock = lockOn(
      call.snapshot,
      { person: person?.id ?? null, agent: caller.clientId, token: caller.tokenId },
      now,
    );
    if (lock) return deny({ reason: 'locked', lock: lock.id, on: lock.subject.kind });
    if (!person || !organisation || !trustsIssuer(organisation, caller.issuer))
      return deny({ reason: 'person_unknown' });
    const standing = personStanding(person);
    if (standing !== 'active') return deny({ reason: `person_${standing}` });
    return learn({ person });
  },
});
