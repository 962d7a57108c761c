/**
 * Policy decides over person, agent, tool, scopes, sign-in and arguments. A missing scope is a challenge, a sign-in too old or too weak
 * another one; a missing approval lets the call go on to the guard that asks for one; everything else that is not an allow is a no, and so
 * is an error (AZ-12).
 */
import { decide } from '../../policy/decide.ts';
import { known } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';
import { questionOf } from '../question.ts';

export const callerMay = guard<number>({
  name: 'caller-may',
  gather: (_call, ports) => ports.clock.now(),
  decide(call, now) {
    const { policies } = call.snapshot;
    if (!policies) return deny({ reason: 'policy_denied', visible: true, because: 'policies_unusable', rules: [] });
    // An approval is there only when the guards are asked a second time: it is already found and bound.
    const decision = decide(policies, questionOf(call, call.facts.approval !== undefined, now));
    switch (decision.verdict) {
      case 'hold':
        // Asked again before dispatch, when nobody can be asked to approve any more: the next call is held.
        if (call.facts.decision)
          return deny({ reason: 'policy_denied', visible: true, because: 'approval_missing', rules: decision.rules });
        return learn({ decision });
      case 'allow':
        // What is sent became something to agree to meanwhile, and nobody can be asked any more.
        if (call.facts.contentHold && call.facts.decision && !call.facts.approval)
          return deny({ reason: 'policy_denied', visible: true, because: 'approval_missing', rules: decision.rules });
        return learn({ decision });
      case 'challenge':
        return deny({ reason: 'scope_missing', scopes: decision.requiredScopes ?? [known(call, 'tool').facts!.scope] });
      case 'step_up':
        return deny({
          reason: 'step_up',
          maxAgeSeconds: decision.stepUp?.maxAgeSeconds ?? null,
          acrValues: decision.stepUp?.acrValues ?? [],
        });
      case 'deny':
        return deny({
          reason: 'policy_denied',
          visible: true,
          because: decision.reason ?? 'not_permitted',
          rules: decision.rules,
        });
    }
  },
});
