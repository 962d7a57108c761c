/**
 * What uses no item (hello, lists, sessions, looking at tasks): one entry, then the reply. Its column is asked again if the state moved meanwhile.
 * What makes something leave towards a server (a subscription, an answer) has an intent before that, and its column is asked again before it, too.
 */
import { digestOf } from '../lib/canonical-json.ts';
import type { Digest } from '../lib/canonical-json.ts';
import { isFault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { finish, outcomeFacts } from './entry-facts.ts';
import { intentOf, recordEnd } from './perform.ts';
import type { Intent } from './perform.ts';
import { COLUMN_OF } from './pipeline.ts';
import type { Column } from './pipeline.ts';
import { endIntent, ledgerDenial, refuse } from './refuse.ts';
import type { CallMeasure } from './telemetry.ts';
import type { Reply } from './wire.ts';

export interface Done {
  readonly result: JsonObject;
  readonly digest?: Digest;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Asks the reading rows again if the state moved since they were asked; null: they still pass. `call.snapshot` is the newest then. */
export async function stillAdmitted(call: Call, column: Column, deps: AnswerDeps): Promise<Denial | null> {
  while (deps.snapshot() !== call.snapshot) {
    call.snapshot = deps.snapshot();
    const denial = await deps.pipeline.readmit(call, column, deps.ports);
    if (denial) return denial;
  }
  return null;
}

export interface Barred {
  readonly denial: Denial;
  /** Of the entry that says so already; undefined: there is none. */
  readonly index: number | undefined;
}

/**
 * The gate before anything leaves: the intent durable, and the reading rows of the column passed as the state is then. Null: it may leave.
 * CRASH behind it: the intent is durable and nothing has left.
 */
export async function barredFromLeaving(
  call: Call,
  intent: Intent,
  column: Column,
  deps: AnswerDeps,
): Promise<Barred | null> {
  try {
    await intent.write();
  } catch (fault) {
    return { denial: ledgerDenial(fault), index: undefined };
  }
  const denial = await stillAdmitted(call, column, deps);
  return denial && { denial, index: await endIntent(call, denial, intent.index, deps) };
}

/** `leaves`: the work makes something leave towards a server, so a record of it comes first. */
export async function recorded(
  call: Call,
  message: InboundRequest,
  deps: AnswerDeps,
  measure: CallMeasure,
  work: () => Promise<Done | { readonly denial: Denial }>,
  leaves = false,
): Promise<Reply> {
  const column = COLUMN_OF[message.rule.family];
  const intent = leaves ? intentOf(call, deps) : null;
  const barred = intent && (await barredFromLeaving(call, intent, column, deps));
  if (barred) return refuse(call, barred.denial, deps, measure, barred.index);
  let broke = false;
  const done = await work().catch((fault: unknown) => {
    broke = true;
    return { denial: { reason: 'tool_unconfirmed', fault: isFault(fault) ? fault.code : 'unexpected' } as const };
  });
  if ('denial' in done) {
    const status = broke ? 'failed' : 'not_dispatched';
    return refuse(call, done.denial, deps, measure, await endIntent(call, done.denial, intent?.index, deps, status));
  }
  const outcome = outcomeFacts(call, deps, 'ok', null, done.digest ?? digestOf(done.result), []);
  let index: number;
  try {
    index = await recordEnd(call, deps, intent?.index, outcome);
  } catch (fault) {
    return refuse(call, ledgerDenial(fault, leaves), deps, measure, intent?.index);
  }
  // Who lost standing while this was made and recorded does not get it any more.
  const denial = await stillAdmitted(call, column, deps);
  if (denial) return refuse(call, denial, deps, measure, index);
  finish(call, measure, 'allow', null, deps);
  return { kind: 'result', id: message.id, result: done.result, ...(done.headers && { headers: done.headers }) };
}
