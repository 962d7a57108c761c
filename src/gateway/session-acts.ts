/**
 * What a legacy session says beside its calls: how much log it wants, which resources it watches, and what its person answered.
 * All of it is kept in the session's book or handed to whoever asked; nothing here reaches a server.
 */
import { callEntry } from '../audit/entries.ts';
import { inspectText } from '../content/inspect.ts';
import { digestOf } from '../lib/canonical-json.ts';
import { invalidParams, invalidRequest } from '../protocol/errors.ts';
import { isLogLevel } from '../protocol/meta.ts';
import type { InboundReply } from '../protocol/read-reply.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { emptyResult } from '../protocol/results.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { actorOf, callFacts, decisionFacts, finish, outcomeFacts, stamp } from './entry-facts.ts';
import { facingOf } from './facing.ts';
import { stillAdmitted } from './recorded.ts';
import type { Done } from './recorded.ts';
import { ledgerDenial, refuse, refuseWith } from './refuse.ts';
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

/** What somebody behind the client answered to a question of ours. It counts only in the session that was asked (AZ-09), and once it is recorded. */
export async function takeAnswer(call: Call, message: InboundReply, deps: AnswerDeps): Promise<Reply> {
  const { nonce } = known(call, 'session');
  const said = message.outcome;
  const reply =
    said.kind === 'result'
      ? said
      : { kind: 'error' as const, error: { code: said.error.code, message: inspectText(said.error.message).text } };
  const error = invalidRequest(message.id, 'This answers no question of this server, or not any more');
  const unasked: Denial = { reason: 'message_refused', error };
  const asked = deps.desk.find(message.id, nonce);
  if (asked === 'unknown') return refuseWith(call, unasked, deps);

  const measure = deps.telemetry.start(message.method, null);
  let index: number;
  try {
    const outcome = outcomeFacts(call, deps, 'ok', null, digestOf(reply), []);
    const facts = { actor: actorOf(call)!, call: callFacts(call), decision: decisionFacts(call, null), outcome };
    index = (await deps.audit.record(callEntry(stamp(call, deps), facts))).index;
  } catch (fault) {
    return refuse(call, ledgerDenial(fault), deps, measure);
  }
  // CRASH: the record is durable and the server heard nothing.
  const denial = await stillAdmitted(call, 'reply', deps);
  if (denial) return refuse(call, denial, deps, measure, index);
  const taken =
    asked === 'here'
      ? deps.desk.take(message.id, nonce, reply)
      : await deps.relayAnswer(asked.node, message.id, nonce, reply);
  if (!taken) return refuse(call, unasked, deps, measure, index);
  finish(call, measure, 'allow', null, deps);
  return { kind: 'accepted' };
}
