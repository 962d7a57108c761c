/**
 * Requests that carry no readable message: a body that was refused, the GET of a legacy session, the DELETE that ends one.
 * Who sent it decides what happens: a stranger gets 401 and is counted, a known caller gets the true answer and an audit entry.
 */
import type { WireError } from '../protocol/errors.ts';
import { admitted } from './answer.ts';
import type { AnswerDeps } from './deps.ts';
import { refuseWith } from './refuse.ts';
import type { Call } from './call.ts';
import type { HttpOutlet } from './outlet.ts';
import { hearSession } from './session-stream.ts';
import type { Reply } from './wire.ts';

/** The body was refused before it became a message. */
export async function refuseUnread(call: Call, error: WireError, deps: AnswerDeps): Promise<Reply> {
  const denial = await deps.pipeline.admit(call, 'edge', deps.ports);
  deps.inflight.close(call.inflight);
  return refuseWith(call, denial ?? { reason: 'message_refused', error }, deps);
}

/**
 * GET opens the stream of the caller's own legacy session (L6, L7), DELETE ends it (L2). Both need a token like everything else (O3).
 * Without a session there is nothing to open: a modern client is told so by 405 (M26).
 */
export async function bodiless(
  call: Call,
  method: string,
  outlet: HttpOutlet | null,
  deps: AnswerDeps,
): Promise<Reply> {
  const hears = outlet !== null && call.headers['mcp-session-id'] !== undefined;
  try {
    const denial = await deps.pipeline.admit(call, hears ? 'hear' : method === 'DELETE' ? 'note' : 'edge', deps.ports);
    if (denial) return await refuseWith(call, denial, deps);
    admitted(call);
    if (hears) return await hearSession(call, outlet, deps);
    const { session } = call.facts;
    if (method === 'DELETE' && session) {
      await deps.ports.book.change(session.nonce, (state) => ({ ...state, ended: true }));
      return { kind: 'accepted' };
    }
    const error: WireError = { httpStatus: 405, id: null, code: -32600, message: 'Method not allowed: send POST' };
    return { kind: 'error', error, headers: { Allow: 'GET, POST, DELETE' } };
  } finally {
    deps.inflight.close(call.inflight);
  }
}
