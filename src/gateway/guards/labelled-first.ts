/**
 * What a task or a stream holds leaves only once the trace that gets it is labelled with what its item gives (AZ-10); and what a task holds is
 * remembered for its trace once more (CI-08): it may be fetched long after it came.
 */
import { PASS, guard } from '../guard.ts';
import { labelled, remember } from '../trace-labels.ts';

export const labelledFirst = guard<void | null>({
  name: 'labelled-first',
  gather(call, { traces }) {
    const { task } = call.facts;
    if (task?.result) remember(call, traces, task.result);
    return labelled(call, traces);
  },
  decide: () => PASS,
});
