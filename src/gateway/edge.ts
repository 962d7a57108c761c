/**
 * Requests that carry no readable message: a body that was refused, a GET, the DELETE that ends a legacy session.
 * Who sent it decides what happens: a stranger gets 401 and is counted, a known caller gets the true answer and an audit entry.
 */
import type { WireError } from '../protocol/errors.ts';
import type { AnswerDeps } from './deps.ts';
import { refuseWith } from './refuse.ts';
import type { Call } from './call.ts';
import type { Reply } from './wire.ts';

export interface EdgeDeps extends AnswerDeps {
  readonly sessionsEnded: { add(nonce: string): void };
}

/** The body was refused before it became a message. */
export async function refuseUnread(call: Call, error: WireError, deps: AnswerDeps): Promise<Reply> {
  const denial = await deps.pipeline.admit(call, 'edge', deps.ports);
  deps.inflight.close(call.inflight);
  return refuseWith(call, denial ?? { reason: 'message_refused', error }, deps);
}

/** GET is not served yet; DELETE ends the caller's own legacy session (L2). Both need a token like everything else (O3). */
export async function endSession(call: Call, method: string, deps: EdgeDeps): Promise<Reply> {
  const denial = await deps.pipeline.admit(call, method === 'DELETE' ? 'note' : 'edge', deps.ports);
  deps.inflight.close(call.inflight);
  if (denial) return refuseWith(call, denial, deps);
  if (method === 'DELETE' && call.facts.session) {
    deps.sessionsEnded.add(call.facts.session.nonce);
    return { kind: 'accepted' };
  }
  const error: WireError = { httpStatus: 405, id: null, code: -32600, message: 'Method not allowed: send POST' };
  return { kind: 'error', error, headers: { Allow: 'POST, DELETE' } };
}
