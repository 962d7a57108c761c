/**
 * One request that uses an item, as its client sees it: performed to its end, or up to a question that only the client can answer, or
 * begun as a task. Each request is a leg with entries of its own: what a client is asked and what a server is answered leave only
 * after this leg's intent is durable, and the reply only after its outcome is.
 */
import { outcomeEntry } from '../audit/entries.ts';
import { isJsonObject } from '../lib/json.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { inputRequiredResult } from '../protocol/input-required.ts';
import { createTaskResult } from '../protocol/tasks.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Ask } from '../upstream/connection.ts';
import { giveBack } from './budgets.ts';
import { ANSWER_WITHIN_MS, askBox, asksOf, streamAsker, askingOf } from './asking.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { AnswerDeps } from './deps.ts';
import { actorOf, callFacts, finish, outcomeFacts, stamp } from './entry-facts.ts';
import { facingOf } from './facing.ts';
import { whoOf } from './guards/state-is-theirs.ts';
import { crowded, keysOf } from './limits.ts';
import type { Parked } from './parking.ts';
import { intentOf, perform } from './perform.ts';
import type { Intent, Performed, Ways } from './perform.ts';
import { barredFromLeaving } from './recorded.ts';
import { endIntent, ledgerDenial, refuse } from './refuse.ts';
import { stopped, told } from './settle.ts';
import type { SettledReply } from './settle.ts';
import { factsOf, isTaskId } from './kept-task.ts';
import { beginTask } from './task-run.ts';
import type { AskedFirst } from './task-run.ts';
import { runsAsTask, theirTask, tooManyAnswers } from './tasks.ts';
import type { CallMeasure } from './telemetry.ts';
import type { Reply } from './wire.ts';

export async function useItem(
  call: Call,
  message: InboundRequest,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  const { limits } = deps.ports;
  const person = known(call, 'person').id;
  const keys = keysOf(call);
  const full = limits.enter(keys, known(call, 'server').record.limits);
  if (full !== null) {
    giveBack(call, deps.ports);
    return refuse(call, crowded(full), deps, measure);
  }
  try {
    const { resumed } = call.facts;
    if (resumed?.park && isTaskId(resumed.park.id))
      return await takeUpTask(call, message, resumed.park.id, deps, measure);
    if (resumed?.park) return await takeUp(call, message, resumed.park, deps, measure);
    const task = runsAsTask(call, deps);
    if (task.kind === 'refused') {
      giveBack(call, deps.ports);
      return await refuse(call, task.denial, deps, measure);
    }
    if (task.kind === 'task') {
      const begun = await beginTask(call, message, task, deps, measure);
      if (begun.kind === 'asked') return await replyTo(call, message, begun, deps, measure);
      // Refused before anything ran: once the task is there, its end settles what was taken.
      if (begun.kind === 'error') giveBack(call, deps.ports);
      return begun.kind === 'asked_in_task' ? await askFirst(call, message, begun, deps, measure) : begun;
    }
    const ways = waysOf(call, message, deps, task.upstream);
    if (message.era === 'modern' && call.facts.lane && asksOf(call).size > 0)
      return await performParkable(call, message, ways, deps, measure, person);
    return await replyTo(call, message, await perform(call, deps, measure, ways), deps, measure);
  } finally {
    limits.leave(keys);
  }
}

/** What this client can be told and asked before its reply. */
export function waysOf(call: Call, message: InboundRequest, deps: AnswerDeps, task: Ways['task']): Ways {
  const { session } = call.facts;
  const { outlet } = call;
  const level = session ? (deps.ports.book.peek(session.nonce)?.level ?? 'info') : message.meta.logLevel;
  const legacyAsks = session !== undefined && outlet.open && asksOf(call).size > 0;
  return {
    outlet,
    logLevel: outlet.open ? level : null,
    asker: legacyAsks ? (way) => streamAsker(call, askingOf(call, deps), way, deps.desk, deps.inflight) : null,
    handsOver: message.era === 'modern' && asksOf(call).size > 0,
    task,
  };
}

async function replyTo(
  call: Call,
  message: InboundRequest,
  done: Performed,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  switch (done.kind) {
    case 'denied':
      return refuse(call, done.denial, deps, measure, done.index);
    case 'settled':
      return asReply(message, done.reply);
    case 'asked':
      return asking(call, message, done.asks, { upstream: done.state, park: null }, deps);
  }
}

export function asReply({ id }: InboundRequest, reply: SettledReply): Reply {
  if (reply.kind === 'result') return { kind: 'result', id, result: reply.result };
  const { kind: _kind, ...error } = reply;
  return { kind: 'error', error: { ...error, id } };
}

/** `input_required`, with everything the retry must prove sealed into its state. */
function asking(
  call: Call,
  message: InboundRequest,
  asks: ReadonlyMap<string, Ask>,
  where: { readonly upstream: string | null; readonly park: { readonly node: string; readonly id: string } | null },
  deps: AnswerDeps,
): Reply {
  const { resumed, approval } = call.facts;
  const asked = Object.fromEntries([...asks].map(([key, { method, params }]) => [key, { method, params }]));
  const state = deps.ports.states.seal({
    who: whoOf(known(call, 'caller')),
    org: call.endpoint.org,
    server: known(call, 'server').id,
    method: message.method,
    item: call.subject.name ?? '',
    args: known(call, 'argumentsDigest'),
    exp: deps.ports.clock.now() + ANSWER_WITHIN_MS,
    round: (resumed?.round ?? 0) + 1,
    upstream: where.upstream,
    park: where.park,
    asked,
    approval: approval ?? resumed?.approval ?? null,
  });
  const requests = asks.size === 0 ? null : (asked as JsonObject);
  const result = inputRequiredResult(facingOf(call, deps), requests, state, { 'remit/reference': call.id });
  return { kind: 'result', id: message.id, result };
}

/** A call to an old server that may ask: its run goes on when the request that began it is answered with a question. */
async function performParkable(
  call: Call,
  message: InboundRequest,
  ways: Ways,
  deps: AnswerDeps,
  measure: CallMeasure,
  person: string,
): Promise<Reply> {
  const box = askBox(askingOf(call, deps));
  const intent = intentOf(call, deps);
  const asker: Ways['asker'] = () => async (asks, signal) => {
    const resume = deps.inflight.pause(call.inflight);
    try {
      return await box.ask(asks, signal);
    } finally {
      resume();
    }
  };
  const run = perform(call, deps, measure, { ...ways, asker, handsOver: false }, intent);
  const first = await Promise.race([run.then(() => 'done' as const), box.asked().then(() => 'asked' as const)]);
  if (first === 'done') return replyTo(call, message, await run, deps, measure);
  const parked = deps.parking.open(call, person, box, run);
  if (!parked) {
    deps.inflight.cancel(call.inflight, 'too_many_parked');
    return replyTo(call, message, await run, deps, measure);
  }
  call.inflight.held = true;
  return handBack(call, message, parked, intent, deps, measure);
}

/** The retry: its answers go to the waiting server, and it waits for what comes of them. */
export async function takeUp(
  call: Call,
  message: InboundRequest,
  park: { readonly node: string; readonly id: string },
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  const parked = park.node === deps.node ? deps.parking.take(park.id) : null;
  if (!parked) {
    if (park.node !== deps.node) {
      const forwarded = await deps.relayRetry(call, message, park);
      if (forwarded) {
        const late = call.inflight.cancelledBy;
        finish(call, measure, 'allow', late ?? 'forwarded', deps);
        return late === null ? forwarded : asReply(message, stopped(call, deps, late));
      }
    }
    return lost(call, message, deps, measure);
  }
  const intent = intentOf(call, deps, parked.prev);
  const barred = await barredFromLeaving(call, intent, 'call', deps);
  if (barred) {
    deps.parking.leave(parked, false);
    return refuse(call, barred.denial, deps, measure, barred.index);
  }
  // M13: whoever leaves while listening gives the call up.
  const onAbort = (): void => deps.inflight.cancel(parked.call.inflight, call.inflight.cancelledBy ?? 'client_gone');
  call.inflight.signal.addEventListener('abort', onAbort, { once: true });
  if (call.inflight.cancelledBy !== null) onAbort();
  const answers = message.params['inputResponses'];
  if (isJsonObject(answers)) parked.box.answer(answers);
  try {
    const next = await Promise.race([
      parked.run.then(() => 'done' as const),
      parked.box.asked().then(() => 'asked' as const),
    ]);
    return next === 'asked'
      ? await handBack(call, message, parked, intent, deps, measure)
      : await handOver(call, message, parked, intent, deps, measure);
  } finally {
    call.inflight.signal.removeEventListener('abort', onAbort);
  }
}

/** The end of a parked call, told by the retry that waited for it. */
async function handOver(
  call: Call,
  message: InboundRequest,
  parked: Parked,
  intent: Intent,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  try {
    const done = await parked.run;
    const refused = await recordLeg(call, intent, done.kind === 'settled' ? 'ok' : 'withheld', deps);
    if (refused) return await refuse(call, refused, deps, measure, intent.index);
    const late = call.inflight.cancelledBy;
    finish(call, measure, 'allow', late, deps);
    // A lock that fell on the retry while this was written keeps the answer here (R4), whatever the parked call came to.
    if (late !== null && late !== 'deadline') return asReply(message, stopped(call, deps, late));
    return await replyTo(call, message, done, deps, measure);
  } finally {
    deps.parking.leave(parked, true);
  }
}

/** Back to the client with what its server asks; the run waits. */
async function handBack(
  call: Call,
  message: InboundRequest,
  parked: Parked,
  intent: Intent,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  // Only the request that made the call leaves something open at the server; a retry that is asked again is over.
  const refused = await recordLeg(call, intent, call === parked.call ? 'parked' : 'asked_again', deps);
  const late = call.inflight.cancelledBy;
  if (refused || late !== null) {
    deps.inflight.cancel(parked.call.inflight, late ?? 'unrecorded');
    deps.parking.leave(parked, true);
    return refused
      ? refuse(call, refused, deps, measure, intent.index)
      : asReply(message, stopped(call, deps, late ?? ''));
  }
  parked.prev = intent.index;
  if (call !== parked.call) finish(call, measure, 'allow', null, deps);
  const reply = asking(
    call,
    message,
    parked.box.open(),
    { upstream: null, park: { node: deps.node, id: parked.id } },
    deps,
  );
  deps.parking.leave(parked, false);
  return reply;
}

/** What an old server asks before its caller knows that there is a task. */
async function askFirst(
  call: Call,
  message: InboundRequest,
  { asks, id, intent }: Extract<AskedFirst, { kind: 'asked_in_task' }>,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  const refused = await recordLeg(call, intent, 'parked', deps);
  if (refused) {
    await deps.ports.tasks.cancel(id);
    return refuse(call, refused, deps, measure, intent.index);
  }
  return asking(call, message, asks, { upstream: null, park: { node: deps.node, id } }, deps);
}

/** The retry to that, on whatever node: its answers go to the task, of which its client learns now. */
async function takeUpTask(
  call: Call,
  message: InboundRequest,
  id: string,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  const task = await theirTask(call, id, deps);
  if (task === null) return lost(call, message, deps, measure);
  const intent = intentOf(call, deps);
  const barred = await barredFromLeaving(call, intent, 'call', deps);
  if (barred) return refuse(call, barred.denial, deps, measure, barred.index);
  const answers = message.params['inputResponses'];
  if (isJsonObject(answers) && !(await deps.ports.tasks.answer(id, { responses: answers, declined: [] }))) {
    const denial = { reason: 'message_refused', error: tooManyAnswers(message) } as const;
    return refuse(call, denial, deps, measure, await endIntent(call, denial, intent.index, deps));
  }
  const refused = await recordLeg(call, intent, 'ok', deps);
  if (refused) return refuse(call, refused, deps, measure, intent.index);
  finish(call, measure, 'allow', null, deps);
  const now = (await deps.ports.tasks.read(id)) ?? task;
  return { kind: 'result', id: message.id, result: createTaskResult(facingOf(call, deps), factsOf(id, now)) };
}

/** The outcome of this leg; null when it is durable. */
async function recordLeg(
  call: Call,
  intent: Intent,
  end: 'ok' | 'withheld' | 'parked' | 'asked_again',
  deps: AnswerDeps,
): Promise<ReturnType<typeof ledgerDenial> | null> {
  const asked = end === 'parked' || end === 'asked_again';
  const outcome = asked
    ? outcomeFacts(call, deps, 'input_required', end, null, [])
    : outcomeFacts(call, deps, end, 'taken_up', null, []);
  try {
    const prev = await intent.write();
    await deps.audit.record(
      outcomeEntry(stamp(call, deps), { actor: actorOf(call)!, call: callFacts(call), outcome, prev }),
    );
    return null;
  } catch (fault) {
    return ledgerDenial(fault, true);
  }
}

/** What the retry belongs to is not here: the node ended, the time was up, or it was taken up already. It is not made again. */
async function lost(call: Call, message: InboundRequest, deps: AnswerDeps, measure: CallMeasure): Promise<Reply> {
  const text =
    'The call that waited for this answer is gone. Do not assume that it was not carried out: check before you repeat it.';
  const intent = intentOf(call, deps);
  const refused = await recordLeg(call, intent, 'withheld', deps);
  if (refused) return refuse(call, refused, deps, measure);
  finish(call, measure, 'allow', 'park_lost', deps);
  return asReply(message, told(call, deps, text));
}
