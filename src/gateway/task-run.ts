/**
 * One use of a tool that goes on as a task: its intent and the task are durable before anything is sent or the client hears of it.
 * The task is in flight like any call: locks and departures end it, its time limit rests while it waits for answers. What the server
 * asks becomes `input_required`; a modern server gets its answers in a leg of its own, with entries of its own and the guards asked anew.
 *
 * Input before the task (SEP-2663: questions that come first SHOULD be settled before there is a task): a modern client that calls a
 * `required` tool and can be asked waits a moment for the server's first word. A question is then passed on as `input_required` of the
 * call itself (MRTR), and the client meets the task with its retry: a modern server's is called again then, and the task before that never
 * was; an old server goes on waiting in a task that nobody was told of. An answer, or silence for FIRST_WORD_MS, makes it a task.
 * An `optional` tool is a task at once, and whatever it asks is asked inside the task.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isFault } from '../lib/fault.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import type { RequestState } from '../protocol/request-state.ts';
import { createTaskResult } from '../protocol/tasks.ts';
import type { OnAsk } from '../upstream/connection.ts';
import { askBox, asksOf, askingOf } from './asking.ts';
import type { AskBox } from './asking.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { AnswerDeps } from './deps.ts';
import type { Inflight } from './inflight.ts';
import { facingOf } from './facing.ts';
import { whoOf } from './guards/state-is-theirs.ts';
import { ownerOf } from './guards/task-is-theirs.ts';
import { CLOSED } from './outlet.ts';
import { intentOf, perform } from './perform.ts';
import type { Intent, Performed, Ways } from './perform.ts';
import { endIntent, ledgerDenial, refuse } from './refuse.ts';
import { factsOf } from './kept-task.ts';
import type { TaskChange } from './kept-task.ts';
import type { RunningTask } from './task-book.ts';
import type { CallMeasure } from './telemetry.ts';
import { REMIT_CODES } from './wire.ts';
import type { Reply } from './wire.ts';

type Asked = Extract<Performed, { kind: 'asked' }>;

/** A question that comes before the client has the task. */
export type AskedFirst =
  | Asked
  /** Of an old server, which waits in the task `id`. */
  | { readonly kind: 'asked_in_task'; readonly asks: Asked['asks']; readonly id: string; readonly intent: Intent };

/** What the client said of the task it wants, and what the server would need. */
export interface TaskWish {
  readonly upstream: Ways['task'];
  /** Its definition says `required`. */
  readonly required: boolean;
  /** 2025-11-25: `params.task`. */
  readonly asked: JsonObject | null;
}

/** How long the call of a `required` tool waits for a question that comes before the task. */
const FIRST_WORD_MS = 2_000;
/** Times a modern server may want the request again. */
const MAX_ROUNDS = 10;

/** @returns the reply, or a question that comes before it. */
export async function beginTask(
  call: Call,
  message: InboundRequest,
  wish: TaskWish,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply | AskedFirst> {
  const { inflight } = deps;
  const { tasks } = deps.ports;
  const person = known(call, 'person').id;
  if (!tasks.enter(person))
    return refuse(call, { reason: 'rate_limited', on: 'tasks', retryAfterSeconds: 60 }, deps, measure);
  const own = inflight.open(call.id, tasks.timeLimitMs);
  own.facts = call.inflight.facts;
  const leave = (): void => {
    inflight.close(own);
    tasks.leave(person);
  };
  // What ended the request before this, or ends it until its client has the task, ends the task.
  const follow = (): void => inflight.cancel(own, call.inflight.cancelledBy ?? 'client_gone');
  call.inflight.signal.addEventListener('abort', follow, { once: true });
  if (call.inflight.cancelledBy !== null) follow();

  const job: Call = { ...call, inflight: own, outlet: CLOSED };
  const intent = intentOf(job, deps);
  try {
    await intent.write();
  } catch (fault) {
    leave();
    return refuse(call, ledgerDenial(fault), deps, measure);
  }
  const box = askBox(askingOf(call, deps));
  let task: RunningTask;
  const show = (): Promise<unknown> => task.change(statusOf(box));
  try {
    task = await tasks.begin(ownerOf(call), itemOf(call), ttlOf(wish), {
      stop: (why) => inflight.cancel(own, why),
      async answer({ responses, declined }) {
        box.answer(responses);
        for (const key of declined) box.decline(key);
        // Whoever brought the answers does not see the questions again.
        await show();
      },
    });
  } catch (fault) {
    leave();
    const code = isFault(fault) ? fault.code : 'unexpected';
    const denial = { reason: 'guard_failed', guard: 'tasks', fault: code } as const;
    return refuse(call, denial, deps, measure, await endIntent(call, denial, intent.index, deps));
  }
  // CRASH: the intent and the task are durable, nothing was sent; once its lease is over the task reads as lost.

  const ask = askInside(own, box, show, deps);
  const waits = wish.required && message.era === 'modern' && call.facts.resumed === undefined && asksOf(call).size > 0;
  const stage: Stage = { given: !waits, asked: false };
  const run = toItsEnd(job, { task, ask, intent, stage, upstream: wish.upstream }, deps, measure).finally(leave);
  tasks.follow(run);
  try {
    if (waits) {
      const first = await Promise.race([run, silence(own.signal), box.asked()]);
      if (first) return first;
      if (stage.asked) return (await run)!;
      stage.given = true;
      const asks = box.open();
      if (asks.size > 0) return { kind: 'asked_in_task', asks, id: task.id, intent };
    }
    const result = createTaskResult(facingOf(call, deps), factsOf(task.id, task.kept));
    return { kind: 'result', id: message.id, result };
  } finally {
    call.inflight.signal.removeEventListener('abort', follow);
  }
}

/** Questions of a server inside a task: its time rests while it waits for answers. */
export function askInside(own: Inflight, box: AskBox, show: () => Promise<unknown>, deps: AnswerDeps): OnAsk {
  const { inflight } = deps;
  return async (asks, signal) => {
    const resume = inflight.pause(own);
    const timer = setTimeout(() => inflight.cancel(own, 'nobody_answered'), deps.ports.tasks.timeLimitMs).unref();
    try {
      const answers = box.ask(asks, signal);
      await show();
      return await answers;
    } finally {
      clearTimeout(timer);
      resume();
      void show();
    }
  };
}

/** What a task is about, and the W3C trace in which it begins. */
export const itemOf = (call: Call) => {
  const { trace } = call.message.meta;
  return { server: known(call, 'server').id, tool: known(call, 'tool').name, ...(trace && { trace: trace.traceId }) };
};

export function ttlOf({ asked }: Pick<TaskWish, 'asked'>): number | null {
  const ttl = asked?.['ttl'];
  return typeof ttl === 'number' && Number.isFinite(ttl) ? Math.trunc(ttl) : null;
}

export function statusOf(box: AskBox): TaskChange {
  const open = [...box.open()].map(([key, { method, params }]) => [key, { method, params }] as const);
  return open.length === 0
    ? { status: 'working' }
    : { status: 'input_required', inputRequests: Object.fromEntries(open) };
}

/** Resolves after a while, or when there is nothing to wait for any more. */
function silence(signal: AbortSignal): Promise<void> {
  return sleep(FIRST_WORD_MS, undefined, { signal, ref: false }).catch(() => undefined);
}

interface Stage {
  /** The client has the task, or is about to: what the server asks from now on is asked inside it. */
  given: boolean;
  /** The server asked before that, and the task was taken back. */
  asked: boolean;
}

interface Run {
  readonly task: RunningTask;
  readonly ask: OnAsk;
  readonly intent: Intent;
  readonly stage: Stage;
  readonly upstream: Ways['task'];
}

/** Never rejects for what a peer does. @returns a question that comes before the task; null when the task is over. */
export async function toItsEnd(
  job: Call,
  { task, ask, intent: first, stage, upstream }: Run,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Asked | null> {
  const canAsk = asksOf(job).size > 0;
  const ways: Ways = {
    outlet: CLOSED,
    logLevel: null,
    asker: canAsk ? () => ask : null,
    handsOver: canAsk,
    task: upstream,
    background: {
      timeoutMs: deps.ports.tasks.timeLimitMs,
      keeps: (result) => task.keeps(known(job, 'person').id, result),
    },
  };
  let leg = job;
  let intent = first;
  try {
    for (let round = 1; ; round++) {
      // Every leg but the first is measured on its own.
      const legMeasure = round === 1 ? measure : deps.telemetry.start(job.message.method, null);
      const done = await perform(leg, deps, legMeasure, ways, intent);
      if (done.kind !== 'asked' || round === MAX_ROUNDS) {
        await task.change(await endOf(job, done, deps, legMeasure));
        return null;
      }
      if (!stage.given) {
        stage.asked = true;
        await task.forget();
        return done;
      }
      const answers = await answersOf(done, ask, round, job.inflight.signal);
      leg = nextLeg(job, done, answers, round);
      intent = intentOf(leg, deps, done.index);
      // Answers of a person leave only after a record of it is durable, whatever the risk class.
      await intent.write();
    }
  } catch (fault) {
    deps.log('error', { ref: job.id, error: String(fault) }, 'a task broke off');
    const error = { code: REMIT_CODES.unavailable, message: `${LOST} Reference: ${job.id}` };
    await task.change({ status: 'failed', error });
    return null;
  }
}

const LOST =
  'The gateway could not go on with this task. Whether it had an effect is unknown: check before you repeat it.';

/** Fitting answers by the server's keys. Without a question the server only wants the request again, after a while. */
async function answersOf(done: Asked, ask: OnAsk, round: number, signal: AbortSignal): Promise<JsonObject> {
  if (done.asks.size === 0) {
    await sleep(100 * 2 ** round, null, { signal }).catch(() => null);
    return {};
  }
  const answers: Record<string, Json> = {};
  for (const [key, reply] of await ask(done.asks, signal)) if (reply.kind === 'result') answers[key] = reply.result;
  return answers;
}

/** The same call once more, with answers to what a modern server asked and the state it gave: as if a client had sent its retry. */
function nextLeg(job: Call, done: Asked, inputResponses: JsonObject, round: number): Call {
  const { approval, resumed } = job.facts;
  const state: RequestState = {
    who: whoOf(known(job, 'caller')),
    org: job.endpoint.org,
    server: known(job, 'server').id,
    method: job.message.method,
    item: job.subject.name ?? '',
    args: known(job, 'argumentsDigest'),
    exp: 0,
    // Goes on from the legs before the task: each round of an approved call counts once (perform.ts).
    round: (resumed?.round ?? 0) + round,
    upstream: done.state,
    park: null,
    asked: Object.fromEntries([...done.asks].map(([key, { method, params }]) => [key, { method, params }])),
    approval: approval ?? resumed?.approval ?? null,
  };
  const message = { ...job.message, params: { ...job.message.params, inputResponses } };
  return { ...job, message, facts: { ...job.facts, resumed: state } };
}

/** What the task is in the end. Whoever was shut out meanwhile gets no result, whatever it was. */
async function endOf(job: Call, done: Performed, deps: AnswerDeps, measure: CallMeasure): Promise<TaskChange> {
  const by = job.inflight.cancelledBy;
  const cancelled = (statusMessage: string): TaskChange => ({ status: 'cancelled', statusMessage });
  if (by === 'task_cancelled') return cancelled('The task was cancelled by request.');
  if (by === 'nobody_answered') return cancelled('Nobody answered in time.');
  if (by !== null && by !== 'deadline' && by !== 'shutdown')
    return cancelled('Access was withdrawn while the task ran; whether it had an effect is unknown.');
  if (done.kind === 'asked')
    return { status: 'failed', error: { code: -32603, message: `The server asks without end. Reference: ${job.id}` } };
  if (done.kind === 'settled') {
    const { reply } = done;
    if (reply.kind === 'result') return { status: 'completed', result: reply.result };
    const { code, message, data } = reply;
    return { status: 'failed', error: { code, message, ...(data !== undefined && { data }) } };
  }
  const refused = await refuse(job, done.denial, deps, measure, done.index);
  if (refused.kind === 'result') return { status: 'completed', result: refused.result };
  const { code, message, data } =
    refused.kind === 'error' ? refused.error : { code: REMIT_CODES.unavailable, message: LOST, data: undefined };
  return { status: 'failed', error: { code, message, ...(data !== undefined && { data }) } };
}
