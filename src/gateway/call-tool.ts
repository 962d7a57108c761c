/**
 * One admitted tools/call: approval, intent, dispatch, outcome, reply. One fixed sequence; every step says what is true if we crash there.
 * Nothing leaves before its record is durable: the request of a side-effecting call waits for its intent, every reply waits for its outcome.
 */
import { callEntry, intentEntry, outcomeEntry } from '../audit/entries.ts';
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject } from '../lib/json.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { UpstreamFault } from '../upstream/connection.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { AnswerDeps } from './deps.ts';
import { actorOf, callFacts, decisionFacts, finish, outcomeFacts, stamp } from './entry-facts.ts';
import { facingOf } from './greeting.ts';
import { ledgerDenial, refuse } from './refuse.ts';
import { settle, stopped } from './settle.ts';
import type { Sent } from './settle.ts';
import type { CallMeasure } from './telemetry.ts';
import type { Reply } from './wire.ts';

export async function callTool(
  call: Call,
  message: InboundRequest,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  const { ports } = deps;
  const person = known(call, 'person').id;
  if (!ports.limits.enter(person)) return refuse(call, { reason: 'overloaded' }, deps, measure);
  try {
    const tool = known(call, 'tool');
    const sideEffects = tool.facts!.risk !== 'read';

    if (call.facts.approval && !(await ports.approvals.use(call.facts.approval.id, call.facts.approval.call))) {
      return await refuse(call, { reason: 'approval_lost', approval: call.facts.approval.id }, deps, measure);
    }
    // CRASH before here: nothing was promised, nothing was sent. A used approval stays used.

    let intent: number | undefined;
    if (sideEffects) {
      try {
        const entry = intentEntry(stamp(call, deps), {
          actor: actorOf(call)!,
          call: callFacts(call),
          decision: decisionFacts(call, null),
        });
        intent = (await deps.audit.record(entry)).index;
      } catch (fault) {
        return await refuse(call, ledgerDenial(fault), deps, measure);
      }
      // CRASH: the intent is durable and nothing was sent; restart reports this call as "in flight, outcome unknown".
    }

    const sent = await dispatch(call, deps, measure);
    const settled = settle(call, message, sent, deps);
    const stoppedBefore = call.inflight.cancelledBy;
    const outcome = outcomeFacts(call, deps, settled.status, settled.detail, settled.digest, settled.inspected);
    const facts = { actor: actorOf(call)!, call: callFacts(call), outcome };
    let index: number;
    try {
      const entry =
        intent === undefined
          ? callEntry(stamp(call, deps), { ...facts, decision: decisionFacts(call, settled.denial) })
          : outcomeEntry(stamp(call, deps), { ...facts, prev: intent });
      index = (await deps.audit.record(entry)).index;
    } catch (fault) {
      // The effect may have happened; its intent, if any, says so. The answer is withheld because its record is not durable.
      const denial = ledgerDenial(fault, settled.status !== 'not_dispatched');
      return await refuse(call, denial, deps, measure, intent);
    }
    // CRASH: the outcome is durable and the caller did not hear it; the log says what happened.
    if (settled.denial) return await refuse(call, settled.denial, deps, measure, index);

    // What stopped the call earlier stands in that outcome already.
    const late = stoppedBefore === null ? call.inflight.cancelledBy : null;
    if (late) {
      // A lock fell while the outcome was being written: the answer stays here, and the log gets that too. If it cannot, it still stays.
      const withheld = {
        ...facts,
        outcome: { ...outcome, status: 'withheld' as const, detail: late, result: null },
        prev: index,
      };
      await deps.audit.record(outcomeEntry(stamp(call, deps), withheld)).catch(() => undefined);
    }
    finish(call, measure, 'allow', late ?? settled.detail, deps);
    const meta = { 'remit/receipt': { log: deps.audit.origin, index }, 'remit/reference': call.id };
    const reply = late ? stopped(facingOf(call, deps), call, late) : settled.reply;
    return { kind: 'result', id: message.id, result: withMeta(reply, meta) };
  } finally {
    ports.limits.leave(person);
  }
}

/**
 * Connects, asks the reading guards again if the state or what the server shows moved meanwhile, and sends.
 * Between that last look and the first byte there is no await. A server that forgot our session may be another one now:
 * it is looked at and the guards are asked once more, and only then, once, the call is sent again.
 */
async function dispatch(call: Call, deps: AnswerDeps, measure: CallMeasure, retry = false): Promise<Sent> {
  const tool = known(call, 'tool');
  const { catalogue } = deps.ports;
  try {
    const connection = await deps.connect(known(call, 'server'));
    if (retry) {
      const looked = await catalogue.confirm(known(call, 'server'), 0, call.inflight.signal).catch(() => null);
      if (looked === null) return { kind: 'denied', denial: { reason: 'tool_unconfirmed', fault: 'session_lost' } };
    }
    let { seen } = call.facts;
    for (let tries = 0; deps.snapshot() !== call.snapshot || catalogue.seen(tool.server)?.tools !== seen; tries++) {
      if (tries === 5)
        return {
          kind: 'denied',
          denial: { reason: 'guard_failed', guard: 'readmission', fault: 'state_keeps_moving' },
        };
      call.snapshot = deps.snapshot();
      seen = catalogue.seen(tool.server)?.tools;
      const denial = await deps.pipeline.readmit(call, 'call', deps.ports);
      if (denial) return { kind: 'denied', denial };
    }
    if (deps.ports.snapshotAgeMs() > deps.ports.freshnessLimitMs) {
      return { kind: 'denied', denial: { reason: 'snapshot_stale', ageMs: deps.ports.snapshotAgeMs() } };
    }
    if (call.inflight.cancelledBy !== null)
      return { kind: 'cancelled', by: call.inflight.cancelledBy, dispatched: false };

    const params = {
      name: tool.name,
      arguments: known(call, 'arguments'),
      ...(measure.traceparent && { _meta: { traceparent: measure.traceparent } }),
    };
    const inputSchema = tool.approved!.definition['inputSchema'] as JsonObject | undefined;
    const reply = await connection.request(
      { method: 'tools/call', params, once: true, ...(inputSchema && { inputSchema }) },
      call.inflight.signal,
    );
    return { kind: 'reply', reply };
  } catch (error) {
    // What is no fault of the upstream room is a mistake of ours, and then nobody knows how far the call came.
    const { code, dispatched } =
      error instanceof UpstreamFault ? error : ({ code: 'unexpected', dispatched: 'unknown' } as const);
    if (code === 'unexpected') deps.log('error', { ref: call.id, error: String(error) }, 'dispatch failed');
    const by = call.inflight.cancelledBy;
    if (by !== null && by !== 'deadline') return { kind: 'cancelled', by, dispatched: dispatched !== 'no' };
    if (code === 'upstream_session_lost' && !retry) return dispatch(call, deps, measure, true);
    return { kind: 'fault', code, dispatched };
  }
}

function withMeta(result: JsonObject, meta: JsonObject): JsonObject {
  const own = result['_meta'];
  return { ...result, _meta: { ...(isJsonObject(own) ? own : {}), ...meta } };
}
