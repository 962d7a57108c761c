/**
 * A request that takes an earlier one up again brings the state we gave: sealed by us, not expired, given to this caller on this endpoint
 * for the same item and the same arguments (AZ-09, PH-05, M20). Everything else in it is decided anew by the guards around this one.
 */
import { sha256Hex } from '../../lib/bytes.ts';
import type { Result } from '../../lib/result.ts';
import { invalidParams } from '../../protocol/errors.ts';
import type { RequestState } from '../../protocol/request-state.ts';
import type { Caller } from '../../identity/caller.ts';
import { known } from '../call.ts';
import type { Call } from '../call.ts';
import { PASS, deny, guard, learn } from '../guard.ts';
import type { Verdict } from '../guard.ts';

/** Who a state belongs to: never shown, only compared. */
export const whoOf = ({ issuer, subject, clientId }: Caller): string =>
  sha256Hex(JSON.stringify([issuer, subject, clientId]));

export const stateIsTheirs = guard<Result<RequestState, 'unknown' | 'expired'> | null>({
  name: 'state-is-theirs',
  gather(call, ports) {
    const state = call.message.params['requestState'];
    return call.message.era === 'modern' && typeof state === 'string' ? ports.states.open(state) : null;
  },
  decide(call, opened) {
    if (opened === null) return PASS;
    if (!opened.ok) return refused(call);
    const state = opened.value;
    const same =
      state.who === whoOf(known(call, 'caller')) &&
      state.org === call.endpoint.org &&
      state.server === call.subject.server &&
      state.method === call.message.method &&
      state.item === call.subject.name;
    // Arguments are compared once they are read: `argumentsFit` stands behind this guard, `sameArguments` behind that.
    if (!same) return refused(call);
    return learn(state.held === undefined ? { resumed: state } : { waits: state });
  },
});

/** The second half, once the arguments are known: nobody gets an answer for A used on B. */
export const sameArguments = guard<null>({
  name: 'same-arguments',
  gather: () => null,
  decide(call) {
    const brought = call.facts.resumed ?? call.facts.waits;
    return !brought || brought.args === known(call, 'argumentsDigest') ? PASS : refused(call);
  },
});

function refused(call: Call): Verdict {
  const id = call.message.kind === 'request' ? call.message.id : null;
  const error = invalidParams(
    id,
    call.message.era,
    'requestState is not valid for this request: start again without it.',
  );
  return deny({ reason: 'state_invalid', error });
}
