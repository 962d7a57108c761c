/**
 * Tasks as clients meet them (decision 0008, "Tasks are the gateway's"): which calls become tasks, and the methods that follow them,
 * of the extension (2026-07-28) and of 2025-11-25. Each of them finds a task only for whom it belongs to: for everybody else it is as
 * unknown as a made-up id (AZ-09); and what it holds leaves only while its server and tool still stand for that person (AZ-04).
 * Long because it is the whole table of those methods.
 */
import { Fault } from '../lib/fault.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { invalidParams, methodNotFound } from '../protocol/errors.ts';
import type { WireError } from '../protocol/errors.ts';
import type { InboundRequest } from '../protocol/read-request.ts';
import { emptyResult } from '../protocol/results.ts';
import {
  TASKS_REQUIRED,
  cancelTaskResult,
  declaresTasks,
  getTaskResult,
  listTasksResult,
  relatedToTask,
  taskNotification,
} from '../protocol/tasks.ts';
import type { TaskFacts } from '../protocol/tasks.ts';
import { ANSWER_WITHIN_MS } from './asking.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { keepsTasks } from './capabilities.ts';
import { PASSING, reasonCode } from './denial.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { facingOf } from './facing.ts';
import { whoOf } from './guards/state-is-theirs.ts';
import { isTheirs, ownerOf } from './guards/task-is-theirs.ts';
import { recorded } from './recorded.ts';
import type { Done } from './recorded.ts';
import { refuse } from './refuse.ts';
import { factsOf, isOver, payloadOf } from './kept-task.ts';
import type { KeptTask } from './kept-task.ts';
import { INBOX_ANSWERS } from './task-book.ts';
import type { TaskWish } from './task-run.ts';
import type { CallMeasure } from './telemetry.ts';
import { REMIT_CODES } from './wire.ts';
import type { Reply } from './wire.ts';

export type TaskChoice =
  /** `upstream`: the server may or must run it as a task of its own; the connection waits for it. */
  | { readonly kind: 'plain'; readonly upstream: TaskWish['upstream'] }
  | ({ readonly kind: 'task' } & TaskWish)
  | { readonly kind: 'refused'; readonly denial: Denial };

/** Decided by the approved definition and by what this client said it can follow, never by the server on the spot. */
export function runsAsTask(call: Call, deps: AnswerDeps): TaskChoice {
  const { message } = call;
  if (message.rule?.family !== 'call' || message.kind !== 'request') return { kind: 'plain', upstream: null };
  const approved = known(call, 'tool').approved!;
  const { execution } = approved.definition;
  const declared = isJsonObject(execution) ? execution['taskSupport'] : undefined;
  // What its server would need for a task of its own; whether the gateway makes one is the reviewer's word, if there is one.
  const upstream = declared === 'required' || declared === 'optional' ? declared : null;
  const support = approved.tasks ?? declared;
  const required = support === 'required';
  const supported = required || support === 'optional';

  if (message.era === 'modern') {
    if (!supported) return { kind: 'plain', upstream };
    if (declaresTasks(message.meta.clientCapabilities)) return { kind: 'task', upstream, required, asked: null };
    return required
      ? { kind: 'refused', denial: { reason: 'capability_missing', required: TASKS_REQUIRED } }
      : { kind: 'plain', upstream };
  }
  const asked = message.params['task'];
  if (asked === undefined || !keepsTasks(facingOf(call, deps).version)) return { kind: 'plain', upstream };
  if (supported && isJsonObject(asked)) return { kind: 'task', upstream, required, asked };
  const error = supported
    ? invalidParams(message.id, message.era, 'task must be an object')
    : methodNotFound(message.id, message.era);
  return { kind: 'refused', denial: { reason: 'message_refused', error } };
}

/** tasks/get, tasks/update, tasks/cancel; of 2025-11-25 also tasks/result and tasks/list. */
export async function answerTask(
  call: Call,
  message: InboundRequest,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  if (message.method === 'tasks/list')
    return recorded(call, message, deps, measure, () => listTasks(call, message, deps));

  const id = message.params['taskId'] as string;
  const task = known(call, 'task');
  const about = aboutItem(call, task);
  const denial = await deps.pipeline.admit(about, 'kept', deps.ports);
  if (denial) return refuse(about, denial, deps, measure);
  // From here on a lock on the tool ends this request, too.
  if (call.inflight.facts) call.inflight.facts = { ...call.inflight.facts, server: task.server, tool: task.tool };

  if (message.method === 'tasks/result') return answerResult(call, message, id, deps, measure);
  const act = ACTS[message.method]!;
  // Answers of a person leave only after a record of it is durable.
  const leaves = message.method === 'tasks/update';
  return guarded(call, message, task, deps, measure, (who) => act({ call: who, message, id, task, deps }), leaves);
}

/** Null: it is not there, or somebody else's, which reads the same. @throws what the exchange throws. */
export async function theirTask(call: Call, id: string, deps: AnswerDeps): Promise<KeptTask | null> {
  const task = await deps.ports.tasks.read(id);
  return task && isTheirs(call, task) ? task : null;
}

/** The same call, about the tool of the task, with nothing learned about any tool yet. */
function aboutItem(call: Call, { server, tool }: KeptTask): Call {
  return { ...call, subject: { server, kind: 'tool', name: tool }, facts: { ...call.facts }, stoppedBy: null };
}

/** One entry, then the reply, which stays here if the tool was withdrawn while it was made and recorded. */
async function guarded(
  call: Call,
  message: InboundRequest,
  task: KeptTask,
  deps: AnswerDeps,
  measure: CallMeasure,
  work: (about: Call) => Promise<Done | { readonly denial: Denial }>,
  leaves = false,
): Promise<Reply> {
  const about = aboutItem(call, task);
  const { snapshot } = about;
  const reply = await recorded(about, message, deps, measure, () => work(about), leaves);
  if (reply.kind !== 'result' || (about.snapshot === snapshot && deps.snapshot() === snapshot)) return reply;
  const again = aboutItem({ ...call, snapshot: deps.snapshot() }, task);
  const denial = await deps.pipeline.admit(again, 'kept', deps.ports);
  return denial ? refuse(again, denial, deps, measure) : reply;
}

/** The node that runs the task is another one, and its inbox is full. */
export const tooManyAnswers = ({ id, era }: InboundRequest): WireError =>
  invalidParams(
    id,
    era,
    `inputResponses: this task was given ${INBOX_ANSWERS} answers already and takes no more; wait for its end or cancel it`,
  );

interface Act {
  readonly call: Call;
  readonly message: InboundRequest;
  readonly id: string;
  readonly task: KeptTask;
  readonly deps: AnswerDeps;
}

const ACTS: Readonly<Record<string, (act: Act) => Promise<Done | { readonly denial: Denial }>>> = {
  'tasks/get': async ({ call, id, task, deps }) => ({
    result: getTaskResult(facingOf(call, deps), factsOf(id, task), payloadOf(task)),
  }),

  'tasks/update': async ({ call, message, id, task, deps }) => {
    const responses = message.params['inputResponses'] as JsonObject;
    // The tool may have been withdrawn while this was recorded.
    const denial = await deps.pipeline.admit(
      aboutItem({ ...call, snapshot: deps.snapshot() }, task),
      'kept',
      deps.ports,
    );
    if (denial) return { denial };
    // Answers to what is not asked are ignored; those that do not fit stay open.
    const taken = task.status !== 'input_required' || (await deps.ports.tasks.answer(id, { responses, declined: [] }));
    if (!taken) return { denial: { reason: 'message_refused', error: tooManyAnswers(message) } };
    return { result: emptyResult(facingOf(call, deps)) };
  },

  'tasks/cancel': async ({ call, message, id, task, deps }) => {
    const facing = facingOf(call, deps);
    if (isOver(task) && message.era === 'legacy') {
      const error = invalidParams(message.id, message.era, `The task is ${task.status} already`);
      return { denial: { reason: 'message_refused', error } };
    }
    const ended = await deps.ports.tasks.cancel(id);
    return { result: cancelTaskResult(facing, factsOf(id, ended ?? task)) };
  },
};

/** A sign that nothing was missed: also finds a task whose node is gone. */
const LOOK_EVERY_MS = 10_000;

/** Blocks until the task is over; what is asked meanwhile is asked on this stream. The deadline of the request rests: the task has one. */
async function answerResult(
  call: Call,
  message: InboundRequest,
  id: string,
  deps: AnswerDeps,
  measure: CallMeasure,
): Promise<Reply> {
  // A place among streams, not among calls: a task may wait for people for an hour.
  const { places } = deps.streams;
  const person = known(call, 'person').id;
  if (places.enter(person) !== 'taken') return refuse(call, { reason: 'overloaded' }, deps, measure);
  const resume = deps.inflight.pause(call.inflight);
  const questions = new AbortController();
  let task: KeptTask | null;
  try {
    task = await untilOver(call, id, deps, questions.signal);
  } finally {
    questions.abort();
    resume();
    places.leave(person);
  }
  if (task === null) return refuse(call, { reason: 'task_unknown' }, deps, measure);
  if (!isOver(task)) {
    // Ended before the task was: what ended it says why.
    const about = aboutItem({ ...call, snapshot: deps.snapshot() }, task);
    const denial =
      (await deps.pipeline.readmit(about, 'task', deps.ports)) ??
      (await deps.pipeline.admit(about, 'kept', deps.ports));
    const fault = call.inflight.cancelledBy ?? 'unexpected';
    return refuse(about, denial ?? { reason: 'guard_failed', guard: 'tasks', fault }, deps, measure);
  }
  if (!isOver(known(call, 'task'))) {
    // The wait may have been longer than a label lasts: what the task gives is received now (AZ-10).
    const about = aboutItem({ ...call, snapshot: deps.snapshot(), facts: { ...call.facts, task } }, task);
    const denial = await deps.pipeline.admit(about, 'kept', deps.ports);
    if (denial) return refuse(about, denial, deps, measure);
  }
  const result = relatedToTask(task.result ?? { error: errorOf(task) }, id);
  const reply = await guarded(call, message, task, deps, measure, () => Promise.resolve({ result }));
  if (reply.kind !== 'result' || task.result) return reply;
  return { kind: 'error', error: { httpStatus: 200, id: message.id, ...errorOf(task) } };
}

/** What the call itself would have been answered with. */
function errorOf({ error, statusMessage }: KeptTask): { code: number; message: string; data?: Json } {
  if (error) return error as { code: number; message: string; data?: Json };
  return { code: REMIT_CODES.unavailable, message: statusMessage ?? 'The task was cancelled.' };
}

/** Null: it is gone. Not over: this request was ended meanwhile, or the tool withdrawn. */
async function untilOver(call: Call, id: string, deps: AnswerDeps, done: AbortSignal): Promise<KeptTask | null> {
  const asked = new Set<string>();
  let wake = (): void => undefined;
  const unwatch = deps.ports.tasks.watch(id, () => wake());
  const onAbort = (): void => wake();
  call.inflight.signal.addEventListener('abort', onAbort);
  try {
    for (;;) {
      const changed = new Promise<void>((resolve) => (wake = resolve));
      const task = await theirTask(call, id, deps);
      if (task === null || isOver(task) || call.inflight.cancelledBy !== null) return task;
      if (deps.snapshot() !== call.snapshot) {
        call.snapshot = deps.snapshot();
        const denied =
          (await deps.pipeline.readmit(call, 'task', deps.ports)) ??
          (await deps.pipeline.admit(aboutItem(call, task), 'kept', deps.ports));
        if (denied) return task;
      }
      if (call.outlet.open) askOnStream(call, id, task, asked, deps, done);
      const timer = setTimeout(() => wake(), LOOK_EVERY_MS);
      await changed;
      clearTimeout(timer);
    }
  } finally {
    unwatch();
    call.inflight.signal.removeEventListener('abort', onAbort);
  }
}

/** The task's intent is durable since before it began, so its questions may leave. Each is asked once on one stream; the first answer counts. */
function askOnStream(
  call: Call,
  id: string,
  { inputRequests }: KeptTask,
  asked: Set<string>,
  deps: AnswerDeps,
  done: AbortSignal,
): void {
  const session = known(call, 'session').nonce;
  for (const [key, question] of Object.entries(inputRequests ?? {})) {
    if (asked.has(key)) continue;
    asked.add(key);
    const { method, params } = question as { readonly method: string; readonly params: JsonObject };
    const waiting = deps.desk.put(session);
    call.outlet.send({ jsonrpc: '2.0', id: waiting.id, method, params: relatedToTask(params, id) });
    void waiting
      .answer(done, ANSWER_WITHIN_MS)
      .then(async (outcome) => {
        if (outcome === null) return null;
        const responses = outcome.kind === 'result' ? { [key]: outcome.result } : {};
        const taken = await deps.ports.tasks.answer(id, { responses, declined: [key] });
        return taken ? null : deps.log('warn', { ref: call.id }, 'an answer was lost: the task was given too many');
      })
      .catch((fault: unknown) => deps.log('warn', { ref: call.id, fault: String(fault) }, 'an answer was lost'));
  }
}

const PAGE = 50;

/** The caller's own, oldest first, as far as their tools still stand for them. */
async function listTasks(
  call: Call,
  message: InboundRequest,
  deps: AnswerDeps,
): Promise<Done | { readonly denial: Denial }> {
  const scope = { list: `${call.endpoint.server ?? ''} tasks`, who: whoOf(known(call, 'caller')) };
  const { cursor } = message.params;
  const after = typeof cursor === 'string' ? deps.cursors.open(cursor, scope) : '';
  if (after === null) {
    const error = invalidParams(message.id, message.era, 'cursor is not one of this list: begin without it');
    return { denial: { reason: 'message_refused', error } };
  }
  const found: TaskFacts[] = [];
  let last = '';
  let nextCursor: string | null = null;
  for await (const { id, place } of deps.ports.tasks.list(ownerOf(call), after)) {
    if (found.length === PAGE) {
      nextCursor = deps.cursors.seal({ ...scope, after: last });
      break;
    }
    last = place;
    const task = await theirTask(call, id, deps);
    if (task === null || (await deps.pipeline.admit(aboutItem(call, task), 'kept', deps.ports)) !== null) continue;
    found.push(factsOf(id, task));
  }
  return { result: listTasksResult(facingOf(call, deps), found, { nextCursor }) };
}

export interface WatchedTask {
  /**
   * What to tell its owner of it now; null: nothing any more (it is gone, or its tool withdrawn). Not recorded.
   * @throws Fault `undecided`: whether it may be told cannot be known now. Ask again.
   */
  notification(): Promise<JsonObject | null>;
  /** Calls back when it may have changed. Returns the unsubscribe function. */
  watch(listener: () => void): () => void;
}

/**
 * For streams that tell of tasks. `call` is the admitted request that listens; whether its client may hear of tasks at all
 * (`declaresTasks`) is not checked here. Null: there is no such task for this caller, or its tool was withdrawn.
 */
export async function watchTask(call: Call, id: string, deps: AnswerDeps): Promise<WatchedTask | null> {
  const notification = async (): Promise<JsonObject | null> => {
    const task = await theirTask(call, id, deps);
    if (task === null) return null;
    const now = aboutItem({ ...call, snapshot: deps.snapshot() }, task);
    const denial =
      (await deps.pipeline.readmit(now, 'hear', deps.ports)) ?? (await deps.pipeline.admit(now, 'kept', deps.ports));
    if (denial && PASSING.has(denial.reason)) throw new Fault('undecided', reasonCode(denial));
    return denial === null ? taskNotification(call.message.era, factsOf(id, task), payloadOf(task)) : null;
  };
  if ((await notification()) === null) return null;
  return { notification, watch: (listener) => deps.ports.tasks.watch(id, listener) };
}
