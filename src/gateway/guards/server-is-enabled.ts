/** The addressed server is registered, enabled and not locked. Nothing is forwarded to anything else (NH-02). */
import { deny, guard, learn } from '../guard.ts';
import { lockOn } from '../standing.ts';

export const serverIsEnabled = guard<number>({
  name: 'server-is-enabled',
  gather: (_call, ports) => ports.clock.now(),
  decide(call, now) {
    const server = call.snapshot.servers.get(call.endpoint.server);
    if (!server || call.endpoint.org !== call.snapshot.org) return deny({ reason: 'server_unknown' });
    if (server.record.state !== 'enabled') return deny({ reason: 'server_not_enabled', state: server.record.state });
    const lock = lockOn(call.snapshot, { server: server.id }, now);
    if (lock) return deny({ reason: 'locked', lock: lock.id, on: 'server' });
    return learn({ server });
  },
});
