/**
 * The person is known, active, has a role; the agents that act for them are active; no lock and no void falls on any of them or on this token.
 * Roles and standing come from our directory at the snapshot's revision; from the token only where a mapping says so (ID-03, ID-08).
 * Somebody who is new here is made known first, where the organisation's rules say so (newcomers.ts); until then they are nobody.
 */
import type { Result } from '../../lib/result.ts';
import { known } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';
import { principalOf } from '../principal.ts';
import type { NoPrincipal, Principal } from '../principal.ts';

export const callerStands = guard<Result<Principal, NoPrincipal>>({
  name: 'caller-stands',
  gather(call, ports) {
    const caller = known(call, 'caller');
    const found = principalOf(call.snapshot, caller, ports.clock.now());
    if (found.ok) return found;
    const { reason } = found.error;
    return reason === 'agent_unknown' || reason === 'person_unknown'
      ? ports.newcomers.admit(call.snapshot, caller, found.error)
      : found;
  },
  decide(_call, found) {
    if (!found.ok) return deny(found.error);
    const { person, agent, ceiling, owner } = found.value;
    // For the day when sign-in is broken, and then for the admin plane, which raises the alarm. No tool is called with it.
    if (person.breakGlass) return deny({ reason: 'break_glass' });
    return learn({ person, agent, ceiling, owner });
  },
});
