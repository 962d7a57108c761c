/**
 * The caller presents one access token, in the Authorization header, issued for this very resource (RFC 6750, 8707, 9068).
 * Nothing about servers or tools is read before this guard has passed.
 */
import type { TokenProblem } from '../../identity/access-token.ts';
import { readBearer } from '../../identity/bearer.ts';
import type { BearerProblem } from '../../identity/bearer.ts';
import type { Caller } from '../../identity/caller.ts';
import type { Result } from '../../lib/result.ts';
import { err, ok } from '../../lib/result.ts';
import { deny, guard, learn } from '../guard.ts';

type Reading = Result<Caller, { readonly bearer: BearerProblem } | { readonly token: TokenProblem }>;

export const tokenIsOurs = guard<Reading>({
  name: 'token-is-ours',
  gather(call, ports) {
    const bearer = readBearer(call.rawHeaders, call.rawUrl);
    if (!bearer.ok) return err({ bearer: bearer.error });
    const cached = ports.verifier.cached(bearer.value, call.endpoint.resource);
    if (cached) return ok(cached);
    return ports.verifier
      .verify(bearer.value, call.endpoint.resource)
      .then((result) => (result.ok ? result : err({ token: result.error })));
  },
  decide(_call, reading) {
    if (reading.ok) return learn({ caller: reading.value });
    const { error } = reading;
    if ('bearer' in error) {
      if (error.bearer === 'missing') return deny({ reason: 'token_missing' });
      if (error.bearer === 'in_url') return deny({ reason: 'token_in_url' });
      return deny({ reason: 'token_malformed' });
    }
    if (error.token.kind === 'keys_unavailable') return deny({ reason: 'keys_unavailable', problem: error.token.kind });
    return deny({ reason: 'token_invalid', problem: error.token.kind });
  },
});
