/** Uses of items that run as tasks of the gateway (decision 0008), and the methods by which clients follow them. */
import type { InboundRequest } from '../protocol/read-request.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import type { Ways } from './perform.ts';
import { refuse } from './refuse.ts';
import type { CallMeasure } from './telemetry.ts';
import type { Reply } from './wire.ts';

export type TaskChoice =
  /** `upstream`: the server may or must run it as a task of its own; the connection waits for it. */
  | { readonly kind: 'plain'; readonly upstream: Ways['task'] }
  | { readonly kind: 'task'; readonly upstream: Ways['task']; readonly asked: JsonObject | null }
  | { readonly kind: 'refused'; readonly denial: Denial };

export function runsAsTask(_call: Call, _deps: AnswerDeps): TaskChoice {
  return { kind: 'plain', upstream: null };
}

export function beginTask(
  call: Call,
  _message: InboundRequest,
  _choice: Extract<TaskChoice, { kind: 'task' }>,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  return refuse(call, { reason: 'task_unknown' }, deps, measure);
}

export function answerTask(
  call: Call,
  _message: InboundRequest,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  return refuse(call, { reason: 'task_unknown' }, deps, measure);
}
