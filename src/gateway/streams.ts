/** What is heard for a long time: `subscriptions/listen`, the stream of a legacy session, and the events kept for resuming. */
import { methodNotFound } from '../protocol/errors.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import type { SessionFacts } from '../protocol/session.ts';
import type { Call } from './call.ts';
import type { AnswerDeps } from './deps.ts';
import type { EventLog } from './outlet.ts';
import { refuse, refuseWith } from './refuse.ts';
import type { CallMeasure } from './telemetry.ts';
import type { Reply } from './wire.ts';

/** Modern: the reply ends the stream; the outlet carries everything before it. */
export function listen(call: Call, message: InboundRequest, deps: AnswerDeps, measure: CallMeasure): Promise<Reply> {
  const error = methodNotFound(message.id, message.era);
  return refuse(call, { reason: 'message_refused', error }, deps, measure);
}

/** Legacy GET, admitted in column `hear`: resolves when the stream is over; what it resolves to is written only if nothing was streamed. */
export function hearSession(call: Call, deps: AnswerDeps): Promise<Reply> {
  const error = { httpStatus: 405, id: null, code: -32600, message: 'Method not allowed: send POST' };
  return refuseWith(call, { reason: 'message_refused', error }, deps);
}

/** Keeps the events of one stream of a session, so that they can be read again with `Last-Event-ID` on any node. */
export function eventLog(_session: SessionFacts, _deps: AnswerDeps): EventLog | null {
  return null;
}
