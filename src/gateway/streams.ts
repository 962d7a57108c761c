/** What long streams of a node share: who hears of what, the events kept for resuming, and how many there may be. */
import type { Call } from './call.ts';
import { newStream } from './event-log.ts';
import type { EventLogs } from './event-log.ts';
import type { FanOut } from './fan-out.ts';
import type { EventLog } from './outlet.ts';
import type { Places } from './places.ts';

export interface Streams {
  readonly fanOut: FanOut;
  readonly logs: EventLogs;
  readonly places: Places;
}

/** The log of the stream that answers a request of a legacy session; null: nobody could resume it. */
export function callLog(call: Call, { logs }: Streams): EventLog | null {
  const { session, tool } = call.facts;
  if (!session || call.message.kind !== 'request') return null;
  return logs.open(session.nonce, newStream('call'), { server: call.subject.server, tool: tool?.key ?? null });
}
