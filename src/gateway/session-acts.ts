/**
 * What a legacy session says beside its calls: how much log it wants, which resources it watches, and what its person answered.
 * All of it is kept in the session's book or handed to whoever asked; nothing here reaches a server.
 */
import { inspectText } from '../content/inspect.ts';
import { invalidParams, invalidRequest } from '../protocol/errors.ts';
import { isLogLevel } from '../protocol/meta.ts';
import type { InboundReply } from '../protocol/read-reply.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { emptyResult } from '../protocol/results.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { facingOf } from './facing.ts';
import type { Done } from './recorded.ts';
import { refuseWith } from './refuse.ts';
import { MAX_WATCHED } from './session-book.ts';
import type { Reply } from './wire.ts';

type Acted = Promise<Done | { readonly denial: Denial }>;

const refused = (call: Call, message: InboundRequest, text: string): { readonly denial: Denial } => ({
  denial: { reason: 'message_refused', error: invalidParams(message.id, call.message.era, text) },
});
const BUSY = { denial: { reason: 'guard_failed', guard: 'session', fault: 'changed_elsewhere' } } as const;

export async function setLevel(call: Call, message: InboundRequest, deps: AnswerDeps): Acted {
  const { level } = message.params;
  if (typeof level !== 'string' || !isLogLevel(level))
    return refused(call, message, 'level must be one of the log levels of the specification');
  const { nonce } = known(call, 'session');
  const changed = await deps.ports.book.change(nonce, (state) => ({ ...state, level }));
  return changed ? { result: emptyResult(facingOf(call, deps)) } : BUSY;
}

/** `resources/subscribe` and `resources/unsubscribe`: the guards have decided that the resource is theirs. */
export async function subscribe(call: Call, message: InboundRequest, deps: AnswerDeps): Acted {
  const uri = message.params['uri'] as string;
  const { nonce } = known(call, 'session');
  const wanted = message.method === 'resources/subscribe';
  let full = false;
  const changed = await deps.ports.book.change(nonce, (state) => {
    const others = state.resources.filter((one) => one !== uri);
    full = wanted && others.length >= MAX_WATCHED;
    return { ...state, resources: wanted && !full ? [...others, uri] : others };
  });
  if (full) return refused(call, message, `a session can watch at most ${MAX_WATCHED} resources`);
  return changed ? { result: emptyResult(facingOf(call, deps)) } : BUSY;
}

/** What somebody behind the client answered to a question of ours. It counts only in the session that was asked (AZ-09). */
export async function takeAnswer(call: Call, message: InboundReply, deps: AnswerDeps): Promise<Reply> {
  const { nonce } = known(call, 'session');
  const { outcome } = message;
  const reply =
    outcome.kind === 'result'
      ? outcome
      : {
          kind: 'error' as const,
          error: { code: outcome.error.code, message: inspectText(outcome.error.message).text },
        };
  const taken = deps.desk.take(message.id, nonce, reply);
  if (taken === 'taken') return { kind: 'accepted' };
  if (taken !== 'unknown' && (await deps.relayAnswer(taken.node, message.id, nonce, reply)))
    return { kind: 'accepted' };
  const error = invalidRequest(message.id, 'This answers no question of this server, or not any more');
  return refuseWith(call, { reason: 'message_refused', error }, deps);
}
