/**
 * Which of a server's connections a call uses. All share one while nothing tells callers apart. A call has a lane of its own as soon as
 * the server's record wants that, or an old server may ask something: such a server is told once, when it is opened, what can be asked
 * of whom, and its questions must reach the right person (PROTOCOL.md B, P5).
 */
import { sha256Hex } from '../lib/bytes.ts';
import { capabilitiesFor } from '../protocol/asks.ts';
import type { Connection } from '../upstream/connection.ts';
import type { Lane } from '../upstream/target.ts';
import { termsOf } from './asking.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { whoOf } from './guards/state-is-theirs.ts';
import type { ServerEntry } from './snapshot.ts';

/** Null: the shared connection. */
export function laneOf(
  call: Call,
  deps: { readonly version: string },
  shared: (server: ServerEntry) => Promise<Connection>,
): Lane | null | Promise<Lane | null> {
  const server = known(call, 'server');
  const { connections, asks: mayAsk } = server.record;
  if (connections === 'shared' && mayAsk.length === 0) return null;
  const terms = termsOf(call, deps);
  if (connections === 'shared' && terms.kinds.size === 0) return null;
  const capabilities = capabilitiesFor(terms.kinds, terms);
  const lane: Lane = {
    key: sha256Hex(JSON.stringify([whoOf(known(call, 'caller')), [...terms.kinds].toSorted(), capabilities])),
    capabilities,
  };
  if (connections === 'person') return lane;
  // A modern server is told with every request.
  return shared(server).then(({ identity }) => (identity.era === 'legacy' ? lane : null));
}
