/**
 * Which of a server's connections a call uses. All share one while nothing tells callers apart. A call has a lane of its own as soon as
 * the server's record wants that, or an old server may ask something: such a server is told once, when it is opened, what can be asked
 * of whom, and its questions must reach the right person (PROTOCOL.md B, P5).
 */
import type { AskKind } from '../inventory/records.ts';
import { sha256Hex } from '../lib/bytes.ts';
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { capabilitiesFor } from '../protocol/asks.ts';
import type { Connection } from '../upstream/connection.ts';
import type { Lane } from '../upstream/target.ts';
import { asksOf } from './asking.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { whoOf } from './guards/state-is-theirs.ts';
import type { ServerEntry } from './snapshot.ts';

/** What a server is told that its caller can be asked. */
export function askCapabilities(call: Call, asks: ReadonlySet<AskKind>): JsonObject {
  const sampling = call.message.meta.clientCapabilities?.['sampling'];
  const samplingTools =
    call.message.era === 'modern'
      ? isJsonObject(sampling) && isJsonObject(sampling['tools'])
      : (call.facts.session?.capabilities.includes('sampling.tools') ?? false);
  return capabilitiesFor(asks, { samplingTools });
}

/** Null: the shared connection. */
export function laneOf(
  call: Call,
  shared: (server: ServerEntry) => Promise<Connection>,
): Lane | null | Promise<Lane | null> {
  const server = known(call, 'server');
  const { connections, asks: mayAsk } = server.record;
  if (connections === 'shared' && mayAsk.length === 0) return null;
  const asks = asksOf(call);
  if (connections === 'shared' && asks.size === 0) return null;
  const capabilities = askCapabilities(call, asks);
  const lane: Lane = {
    key: sha256Hex(JSON.stringify([whoOf(known(call, 'caller')), [...asks].toSorted(), capabilities])),
    capabilities,
  };
  if (connections === 'person') return lane;
  // A modern server is told with every request.
  return shared(server).then(({ identity }) => (identity.era === 'legacy' ? lane : null));
}
