/** What a task or a stream holds leaves only once the trace that gets it is labelled with what its item gives (AZ-10). */
import { PASS, guard } from '../guard.ts';
import { labelled } from '../trace-labels.ts';

export const labelledFirst = guard<void | null>({
  name: 'labelled-first',
  gather: (call, { traces }) => labelled(call, traces),
  decide: () => PASS,
});
