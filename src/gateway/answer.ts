/**
 * The way of one message after it was read: the guards of its column, then what its method family does. Reads that touch no server
 * (hello, list) are recorded in one entry before the reply leaves; a tools/call goes on in call-tool.ts (DESIGN.md section 4).
 */
import { callEntry } from '../audit/entries.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { isFault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import { methodNotFound } from '../protocol/errors.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { emptyResult } from '../protocol/results.ts';
import { callTool } from './call-tool.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { actorOf, callFacts, decisionFacts, finish, outcomeFacts, stamp } from './entry-facts.ts';
import { facingOf, listTools, openSession } from './greeting.ts';
import { COLUMN_OF } from './pipeline.ts';
import { ledgerDenial, refuse } from './refuse.ts';
import type { CallMeasure } from './telemetry.ts';
import type { Reply } from './wire.ts';

/** Never throws: whatever goes wrong becomes a reply, and a refusal where there is doubt. */
export async function answer(call: Call, deps: AnswerDeps): Promise<Reply> {
  const measure = deps.telemetry.start(call.message.method, call.message.meta.trace);
  call.trace = measure.traceId;
  try {
    return await wayOf(call, deps, measure);
  } catch (fault) {
    // A mistake of ours. Its text is for the operator; what the log holds of this call so far stays true.
    deps.log('error', { ref: call.id, error: String(fault) }, 'answering failed');
    const code = isFault(fault) ? fault.code : 'unexpected';
    return refuse(call, { reason: 'guard_failed', guard: 'answer', fault: code }, deps, measure);
  }
}

async function wayOf(call: Call, deps: AnswerDeps, measure: CallMeasure): Promise<Reply> {
  const { rule } = call.message;
  const column = rule ? COLUMN_OF[rule.family] : 'note';

  const denial = await deps.pipeline.admit(call, column, deps.ports);
  if (denial) return refuse(call, denial, deps, measure);

  const caller = known(call, 'caller');
  call.inflight.facts = {
    issuer: caller.issuer,
    subject: caller.subject,
    agent: caller.clientId,
    server: call.endpoint.server,
    tool: call.facts.tool?.name ?? null,
    token: caller.tokenId,
  };
  const { message } = call;
  if (message.kind !== 'request') return note(call, deps);
  if (call.facts.session) call.inflight.request = { session: call.facts.session.nonce, id: message.id };

  switch (column) {
    case 'edge':
    case 'note':
      return { kind: 'accepted' };
    case 'unserved':
      return refuse(call, { reason: 'message_refused', error: methodNotFound(message.id, message.era) }, deps, measure);
    case 'ping':
      return { kind: 'result', id: message.id, result: emptyResult(facingOf(call, deps)) };
    case 'hello':
      return recorded(call, deps, measure, () => Promise.resolve(openSession(call, message, deps)));
    case 'list':
      return recorded(call, deps, measure, () => listTools(call, deps));
    case 'call':
      return callTool(call, message, deps, measure);
  }
}

/** Notifications change nothing upstream. A cancellation reaches the caller's own call, nobody else's. */
function note(call: Call, deps: AnswerDeps): Reply {
  const { message } = call;
  const requestId = message.params['requestId'];
  if (
    message.rule?.family === 'cancelled' &&
    call.facts.session &&
    (typeof requestId === 'string' || typeof requestId === 'number')
  ) {
    deps.inflight.cancelRequest(call.facts.session.nonce, requestId);
  }
  return { kind: 'accepted' };
}

/** Reads that touch no server: one entry, then the reply. */
async function recorded(
  call: Call,
  deps: AnswerDeps,
  measure: CallMeasure,
  work: () => Promise<{
    readonly result: JsonObject;
    readonly digest?: Digest;
    readonly headers?: Record<string, string>;
  }>,
): Promise<Reply> {
  const message = call.message as InboundRequest;
  const done = await work().catch((fault: unknown): Denial => ({
    reason: 'tool_unconfirmed',
    fault: isFault(fault) ? fault.code : 'unexpected',
  }));
  if ('reason' in done) return refuse(call, done, deps, measure);
  const outcome = outcomeFacts(call, deps, 'ok', null, done.digest ?? digestOf(done.result), []);
  let index: number;
  try {
    const entry = callEntry(stamp(call, deps), {
      actor: actorOf(call)!,
      call: callFacts(call),
      decision: decisionFacts(call, null),
      outcome,
    });
    index = (await deps.audit.record(entry)).index;
  } catch (fault) {
    return refuse(call, ledgerDenial(fault), deps, measure);
  }
  if (deps.snapshot() !== call.snapshot) {
    // Who lost standing while this was made and recorded does not get it any more.
    call.snapshot = deps.snapshot();
    const denial = await deps.pipeline.readmit(call, COLUMN_OF[message.rule.family], deps.ports);
    if (denial) return refuse(call, denial, deps, measure, index);
  }
  finish(call, measure, 'allow', null, deps);
  return { kind: 'result', id: message.id, result: done.result, ...(done.headers && { headers: done.headers }) };
}
