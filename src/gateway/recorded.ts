/** What touches no server (hello, lists, sessions, looking at tasks): one entry, then the reply. Its column is asked again if the state moved meanwhile. */
import { callEntry } from '../audit/entries.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { isFault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { actorOf, callFacts, decisionFacts, finish, outcomeFacts, stamp } from './entry-facts.ts';
import { COLUMN_OF } from './pipeline.ts';
import { ledgerDenial, refuse } from './refuse.ts';
import type { CallMeasure } from './telemetry.ts';
import type { Reply } from './wire.ts';

export interface Done {
  readonly result: JsonObject;
  readonly digest?: Digest;
  readonly headers?: Readonly<Record<string, string>>;
}

export async function recorded(
  call: Call,
  message: InboundRequest,
  deps: AnswerDeps,
  measure: CallMeasure,
  work: () => Promise<Done | { readonly denial: Denial }>,
): Promise<Reply> {
  const done = await work().catch((fault: unknown) => ({
    denial: { reason: 'tool_unconfirmed', fault: isFault(fault) ? fault.code : 'unexpected' } as const,
  }));
  if ('denial' in done) return refuse(call, done.denial, deps, measure);
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
