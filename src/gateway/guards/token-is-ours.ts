/**
 * The caller presents one access token, in the Authorization header, issued for this very resource (RFC 6750, 8707, 9068): as a bearer
 * token, or bound to a key whose possession this request proves (RFC 9449; AN-13).
 * Nothing about servers or tools is read before this guard has passed.
 */
import type { TokenProblem } from '../../identity/access-token.ts';
import { readBearer, readDpopToken } from '../../identity/bearer.ts';
import type { BearerProblem } from '../../identity/bearer.ts';
import type { Caller } from '../../identity/caller.ts';
import { isOurTrouble } from '../../identity/token-problem.ts';
import type { Result } from '../../lib/result.ts';
import { err, ok } from '../../lib/result.ts';
import type { Call } from '../call.ts';
import { deny, guard, learn } from '../guard.ts';
import type { GuardPorts } from '../guard.ts';

type Reading = Result<Caller, { readonly bearer: BearerProblem } | { readonly token: TokenProblem }>;

const named = (result: Result<Caller, TokenProblem>): Reading => (result.ok ? result : err({ token: result.error }));

export const tokenIsOurs = guard<Reading>({
  name: 'token-is-ours',
  gather(call, ports) {
    const bearer = readBearer(call.rawHeaders, call.rawUrl);
    if (!bearer.ok) return bearer.error === 'scheme' ? withProof(call, ports) : err({ bearer: bearer.error });
    const cached = ports.verifier.cached(bearer.value, call.endpoint.resource);
    if (cached) return ok(cached);
    return ports.verifier.verify(bearer.value, call.endpoint.resource).then(named);
  },
  decide(_call, reading) {
    if (reading.ok) return learn({ caller: reading.value });
    const { error } = reading;
    if ('bearer' in error) {
      if (error.bearer === 'missing') return deny({ reason: 'token_missing' });
      if (error.bearer === 'in_url') return deny({ reason: 'token_in_url' });
      return deny({ reason: 'token_malformed' });
    }
    const { token } = error;
    if (isOurTrouble(token)) return deny({ reason: 'keys_unavailable', problem: token.kind });
    if (token.kind !== 'proof') return deny({ reason: 'token_invalid', problem: token.kind });
    const problem = `proof:${token.detail}`;
    return deny({ reason: 'token_invalid', problem, ...(token.nonce !== undefined && { nonce: token.nonce }) });
  },
});

function withProof(call: Call, ports: GuardPorts): Reading | Promise<Reading> {
  const { rawHeaders, rawUrl, httpMethod: method, endpoint } = call;
  const token = readDpopToken(rawHeaders, rawUrl);
  if (!token.ok) return err({ bearer: token.error });
  // The URL that clients use, whatever stands in front of us; the path was matched by the listener.
  const url = URL.parse(endpoint.resource)!.origin + rawUrl.split('?', 1)[0];
  return ports.verifier.verify(token.value, endpoint.resource, { rawHeaders, method, url }).then(named);
}
