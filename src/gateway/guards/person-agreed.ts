/**
 * Where policy, or what was found in the arguments, wants a person's agreement: one approval, unused and unexpired, bound to the digest of
 * exactly this call, and policy still agrees once it is counted in (TRUST.md section 7). Without one, a request for it is opened and the call is held.
 */
import { decide } from '../../policy/decide.ts';
import type { Held } from '../approval-desk.ts';
import { known } from '../call.ts';
import { PASS, deny, guard, learn } from '../guard.ts';
import { questionOf } from '../question.ts';

export const personAgreed = guard<{ held: Held | null; now: number }>({
  name: 'person-agreed',
  gather(call, ports) {
    const now = ports.clock.now();
    if (known(call, 'decision').verdict !== 'hold' && !call.facts.contentHold) return { held: null, now };
    return ports.approvals.holdFor(call).then((held) => ({ held, now }));
  },
  decide(call, { held, now }) {
    if (!held) return PASS;
    if (held.state === 'pending') {
      const { id, expiresAt, page } = held;
      return deny({ reason: 'approval_needed', approval: id, expiresAt, page });
    }
    if (held.state === 'over')
      return deny({ reason: 'approval_over', approval: held.id, how: held.how, again: held.again });
    if (held.state === 'full') return deny({ reason: 'approvals_full', open: held.open, again: held.again });
    const decision = decide(call.snapshot.policies!, questionOf(call, true, now));
    if (decision.verdict !== 'allow')
      return deny({
        reason: 'policy_denied',
        visible: true,
        because: decision.reason ?? 'not_permitted',
        rules: decision.rules,
      });
    return learn({ decision, approval: { id: held.id, call: held.call } });
  },
});
