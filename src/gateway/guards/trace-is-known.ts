/**
 * What the trace of this call has received before (AZ-10), and whether what it sends is a copy of it (CI-08), for the guard after it. Everybody
 * is asked only where that could make a difference to the decision; else what this node knows is enough, and nothing is waited for.
 */
import { labelsMatter } from '../../policy/decide.ts';
import { COPIED } from '../../policy/labels.ts';
import { known } from '../call.ts';
import { flowOf } from '../flow.ts';
import type { TraceFlow } from '../flow.ts';
import { guard, learn } from '../guard.ts';
import { questionOf } from '../question.ts';
import { traceOf } from '../trace-labels.ts';

export const traceIsKnown = guard<TraceFlow>({
  name: 'trace-is-known',
  gather(call, { traces, clock }) {
    const trace = traceOf(call);
    const { policies } = call.snapshot;
    const matters = policies ? labelsMatter(policies, questionOf(call, false, clock.now())) : 0;
    // Inside, what this node recognises is enough.
    const asked = known(call, 'tool').facts!.outward ? matters : matters & ~COPIED;
    const sent = known(call, 'arguments');
    if (asked === 0) return flowOf(call, traces, traces.peek(trace), matters, sent);
    return traces.load(trace, asked).then((received) => flowOf(call, traces, received, matters, sent));
  },
  decide: (_call, flow) => learn({ flow }),
});
