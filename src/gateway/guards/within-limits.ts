/** There is room for this person (RL-01). The key is a verified identity. */
import { known } from '../call.ts';
import { PASS, deny, guard } from '../guard.ts';
import type { Room } from '../limits.ts';

export const withinLimits = guard<Room>({
  name: 'within-limits',
  gather: (call, ports) => ports.limits.take(known(call, 'person').id),
  decide: (_call, room) =>
    room.ok ? PASS : deny({ reason: 'rate_limited', on: room.on, retryAfterSeconds: room.retryAfterSeconds }),
});
