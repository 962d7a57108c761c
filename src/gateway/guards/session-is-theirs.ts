/**
 * A legacy request names a session that was opened by this caller, on this endpoint, and is neither expired nor ended.
 * The session id proves nothing about who calls: the token did that. It only carries what was negotiated (PROTOCOL.md G5, L2).
 */
import type { SessionFacts } from '../../protocol/session.ts';
import { known } from '../call.ts';
import { PASS, deny, guard, learn } from '../guard.ts';

export const sessionIsTheirs = guard<SessionFacts | null>({
  name: 'session-is-theirs',
  gather(call, ports) {
    const id = call.headers['mcp-session-id'];
    if (typeof id !== 'string') return null;
    const opened = ports.sessions.open(id);
    if (!opened.ok) return null;
    const session = opened.value;
    const { book } = ports;
    // Whether it was ended elsewhere is asked once per session; after that this node is told.
    const said = book.peek(session.nonce);
    if (said) return said.ended ? null : session;
    return book.load(session.nonce).then(({ ended }) => (ended ? null : session));
  },
  decide(call, session) {
    if (call.message.era === 'modern' || call.message.method === 'initialize') return PASS;
    // A client may ping before it initializes, and only that (L1). Whoever names a session must own it all the same.
    if (call.message.rule?.family === 'ping' && call.headers['mcp-session-id'] === undefined) return PASS;
    if (!session) return deny({ reason: 'session_unknown' });
    const caller = known(call, 'caller');
    const theirs =
      session.org === call.endpoint.org &&
      session.server === call.endpoint.server &&
      session.issuer === caller.issuer &&
      session.subject === caller.subject &&
      session.clientId === caller.clientId;
    return theirs ? learn({ session }) : deny({ reason: 'session_of_another', owner: session.subject });
  },
});
