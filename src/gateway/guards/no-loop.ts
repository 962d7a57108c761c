/** This agent has not made exactly this call too often just now (RL-07). */
import { PASS, deny, guard } from '../guard.ts';
import { LOOP_MS } from '../loops.ts';

export const noLoop = guard<number | null>({
  name: 'no-loop',
  gather: (call, { limits }) => limits.loops.again(call),
  decide: (_call, times) =>
    times === null ? PASS : deny({ reason: 'loop_stopped', times, pauseSeconds: LOOP_MS / 1_000 }),
});
