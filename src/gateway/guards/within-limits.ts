/** There is room for this person, agent, server and tool, and in the organisation (RL-01). The keys are verified identities. */
import { PASS, deny, guard } from '../guard.ts';
import { keysOf } from '../limits.ts';
import type { Room } from '../limits.ts';

export const withinLimits = guard<Room>({
  name: 'within-limits',
  gather: (call, ports) => ports.limits.take(keysOf(call), call.facts.server?.record.limits),
  decide: (_call, room) =>
    room.ok ? PASS : deny({ reason: 'rate_limited', on: room.on, retryAfterSeconds: room.retryAfterSeconds }),
});
