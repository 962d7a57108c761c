/**
 * The addressed server is registered, enabled, not switched off and not locked. Nothing is forwarded to anything else (NH-02).
 * On the aggregate a message that names no server passes here without one: lists ask every server, an item without a server is unknown.
 */
import { known } from '../call.ts';
import { PASS, deny, guard, learn } from '../guard.ts';
import { lockOn } from '../standing.ts';

export const serverIsEnabled = guard<number>({
  name: 'server-is-enabled',
  gather: (_call, ports) => ports.clock.now(),
  decide(call, now) {
    const { subject, endpoint, snapshot } = call;
    if (endpoint.org !== snapshot.org) return deny({ reason: 'server_unknown' });
    const lock = lockOn(snapshot, { server: subject.server }, now);
    if (lock && lock.subject.kind === 'organisation')
      return deny({ reason: 'locked', lock: lock.id, on: 'organisation' });
    if (subject.server === null) return PASS;
    const server = snapshot.servers.get(subject.server);
    // On the aggregate the prefix is part of a name: whether such a server exists is nobody's to try out.
    if (!server) return deny({ reason: endpoint.server === null ? 'tool_unknown' : 'server_unknown' });
    if (server.record.state !== 'enabled') return deny({ reason: 'server_not_enabled', state: server.record.state });
    // AZ-14: one of three switches, as if the server were out of service.
    if (!server.inService) return deny({ reason: 'server_switched_off' });
    if (lock) return deny({ reason: 'locked', lock: lock.id, on: 'server' });
    // AN-13: a token that anybody could have taken opens nothing here. Where names carry the server there is then no such name.
    if (server.record.tokens === 'dpop' && !known(call, 'caller').keyThumbprint)
      return deny({ reason: endpoint.server === null ? 'tool_unknown' : 'proof_required' });
    return learn({ server });
  },
});
