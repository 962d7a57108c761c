/**
 * From what came back of a dispatched call to what its caller gets and what the log says of it: errors told apart by whether
 * anything was sent, results inspected, withheld or put into the caller's revision. Everything in a reply is the server's word.
 */
import type { OutcomeStatus } from '../audit/entry.ts';
import { RESULT_LIMITS, inspectResult } from '../content/inspect.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import type { JsonObject } from '../lib/json.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { toolError, toolsCallResult } from '../protocol/results.ts';
import type { Facing } from '../protocol/results.ts';
import type { UpstreamReply } from '../upstream/connection.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { reasonCode } from './denial.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { facingOf } from './greeting.ts';

export type Sent =
  | { readonly kind: 'reply'; readonly reply: UpstreamReply }
  | { readonly kind: 'denied'; readonly denial: Denial }
  | { readonly kind: 'cancelled'; readonly by: string; readonly dispatched: boolean }
  | { readonly kind: 'fault'; readonly code: string; readonly dispatched: 'no' | 'unknown' };

export interface Settled {
  readonly status: OutcomeStatus;
  readonly detail: string | null;
  readonly digest: Digest | null;
  readonly inspected: readonly string[];
  readonly reply: JsonObject;
  readonly denial: Denial | null;
}

/** From what came back to what the caller gets and the log says. Pure but for the snapshot it re-reads. */
export function settle(call: Call, message: InboundRequest, sent: Sent, deps: AnswerDeps): Settled {
  const facing = facingOf(call, deps);
  const told = (text: string): JsonObject => toolError(facing, `${text} Reference: ${call.id}`);
  const bare = { digest: null, inspected: [], denial: null };

  if (sent.kind === 'denied') {
    return { ...bare, status: 'not_dispatched', detail: reasonCode(sent.denial), reply: {}, denial: sent.denial };
  }
  if (sent.kind === 'cancelled') {
    const status = sent.dispatched ? 'cancelled' : 'not_dispatched';
    return { ...bare, status, detail: sent.by, reply: stopped(facing, call, sent.by) };
  }
  if (sent.kind === 'fault') {
    const never = sent.dispatched === 'no';
    const text = never
      ? 'The server could not be reached; nothing was sent. Try again later.'
      : 'The server did not give a usable answer. Whether the call had an effect is unknown: check before you repeat it.';
    return { ...bare, status: never ? 'not_dispatched' : 'failed', detail: sent.code, reply: told(text) };
  }
  // ATTACKER-CONTROLLED from here: everything in the reply is the server's.
  const by = call.inflight.cancelledBy;
  if (by !== null) return { ...bare, status: 'withheld', detail: by, reply: stopped(facing, call, by) };
  if (sent.reply.kind === 'error') {
    const detail = `rpc:${sent.reply.error.code}`;
    return {
      ...bare,
      status: 'protocol_error',
      detail,
      reply: told(`The server answered with an error (code ${sent.reply.error.code}).`),
    };
  }
  const inspection = inspectResult(sent.reply.result, { ...RESULT_LIMITS, size: deps.maxResultBytes });
  if (inspection.verdict === 'withhold') {
    const reply = told('The result was withheld: it does not pass inspection. The call itself was made.');
    return {
      ...bare,
      status: 'withheld',
      detail: `inspection:${inspection.reason}`,
      inspected: inspection.inspected,
      reply,
    };
  }
  const outputSchema = known(call, 'tool').approved!.definition['outputSchema'] as JsonObject | undefined;
  const result = toolsCallResult(facing, inspection.result, outputSchema ? { outputSchema } : {});
  if (!result.ok) {
    const reply = told('The result was withheld: it is not one this gateway can pass on. The call itself was made.');
    return {
      ...bare,
      status: 'withheld',
      detail: `result:${result.error.reason}`,
      inspected: inspection.inspected,
      reply,
    };
  }
  const status = result.value['isError'] === true ? 'tool_error' : 'ok';
  const detail = inspection.verdict === 'redact' ? 'redacted' : null;
  return {
    status,
    detail,
    digest: digestOf(result.value),
    inspected: inspection.inspected,
    reply: result.value,
    denial: null,
  };
}

export function stopped(facing: Facing, call: Call, by: string): JsonObject {
  const why =
    by.startsWith('lock:') || by === 'standing'
      ? 'Access was withdrawn while the call ran'
      : 'The call was stopped before it ended';
  return toolError(facing, `${why}; whether it had an effect is unknown. Reference: ${call.id}`);
}
