/**
 * What the trace of this call has received before (AZ-10), for the guard after it. Everybody is asked only where that could make a
 * difference to the decision; else what this node knows is enough, and nothing is waited for.
 */
import { labelsMatter } from '../../policy/decide.ts';
import type { Labels } from '../../policy/labels.ts';
import { guard, learn } from '../guard.ts';
import { questionOf } from '../question.ts';
import { traceOf } from '../trace-labels.ts';

export const traceIsKnown = guard<Labels>({
  name: 'trace-is-known',
  gather(call, { traces, clock }) {
    const trace = traceOf(call);
    const { policies } = call.snapshot;
    const wanted = policies ? labelsMatter(policies, questionOf(call, false, clock.now())) : 0;
    return wanted === 0 ? traces.peek(trace) : traces.load(trace, wanted);
  },
  decide: (_call, labels) => learn({ labels }),
});
