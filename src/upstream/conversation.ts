/**
 * One request that is more than a question and its reply: the server may speak and ask before it answers, ask and want
 * the request again (MRTR), or make a task of it. Whatever happens between, the caller gets one reply or one fault.
 * A plain request does not come here (`link.ts`).
 * One fixed sequence over one closure; its parts stand in patience.ts, input-required.ts and tasks.ts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { isAtLeast } from '../protocol/notifications.ts';
import {
  type Ask,
  type UpstreamIdentity,
  type UpstreamReply,
  type UpstreamRequest,
  UpstreamFault,
} from './connection.ts';
import { violation } from './http-rules.ts';
import { declares, readAsks, writeAnswers } from './input-required.ts';
import { paramsFor } from './messages.ts';
import { mirrored } from './mirrored.ts';
import { patience } from './patience.ts';
import { TASKS, type TaskDriver, asLegacyTask, followLegacyTask, followModernTask, keepsTasks } from './tasks.ts';
import { type Answerer, type OnNotification, type Wire, givenUp } from './wire.ts';

/** Times a modern server may say `input_required` to one request. */
const MAX_ROUNDS = 10;
/** Before a request is repeated for which nothing had to be asked. Doubles. */
const IDLE_ROUND_MS = 100;
const CANCEL_TIMEOUT_MS = 5_000;
export const PROGRESS = 'notifications/progress';
export const LOG = 'notifications/message';
const MAY_ASK: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);

/** What the conversations of one connection share. */
export interface Shared {
  readonly wire: Wire;
  readonly identity: UpstreamIdentity;
  readonly timeoutMs: number;
  /** What a legacy server was told at `initialize`. */
  readonly declared: JsonObject;
  /** By progress token; whose stream a notification came on does not matter, the token is ours. */
  readonly progress: Map<number, OnNotification>;
  /** Who may be meant by a question that came on no request's stream. */
  readonly asking: Set<Answerer>;
  /** Who may be meant by a log line that came on no request's stream. */
  readonly logging: Set<OnNotification>;
  nextToken(): number;
  /** Before anything is sent: the server may speak, and about what. */
  prepare(request: UpstreamRequest): Promise<void>;
}

/** @throws UpstreamFault */
export async function converse(request: UpstreamRequest, signal: AbortSignal, shared: Shared): Promise<UpstreamReply> {
  const { wire, identity, declared } = shared;
  const timeoutMs = request.timeoutMs ?? shared.timeoutMs;
  const { method, inputSchema, onAsk } = request;
  const modern = identity.era === 'modern';
  const asTask = request.task !== undefined && method === 'tools/call' && keepsTasks(identity);
  const capabilities = asTask && modern ? withTasks(request.capabilities) : request.capabilities;
  const limit = onAsk !== undefined || asTask ? patience(timeoutMs, signal) : null;
  const run = limit?.signal ?? signal;
  const progressToken = request.onNotification === undefined ? undefined : shared.nextToken();
  const own = { capabilities, progressToken, logLevel: request.logLevel };
  let settled = false;
  let began = false;
  let answered = false;
  let asked = 0;

  const onNotification: OnNotification = (kind, params) => {
    if (settled) return;
    if (kind === PROGRESS && params['progressToken'] === progressToken) {
      const { progressToken: _, ...rest } = params;
      request.onNotification?.({ method: kind, params: rest });
    } else if (kind === LOG && request.logLevel !== undefined && isAtLeast(params['level'], request.logLevel))
      request.onNotification?.({ method: kind, params });
  };

  /** While the answers are gathered the server's time does not run. */
  async function ask(asks: ReadonlyMap<string, Ask>, until: AbortSignal): Promise<ReadonlyMap<string, UpstreamReply>> {
    limit?.pause();
    try {
      return await orAborted(onAsk!(asks, until), until);
    } catch (error) {
      // Unless the server itself no longer wants to know.
      if (run.aborted || !until.aborted) limit?.giveUp(error);
      throw error;
    } finally {
      limit?.resume();
    }
  }

  const onLegacyAsk: Answerer = (question, takenBack) => {
    if (settled || !declares(declared, question.method)) return null;
    const key = `ask-${++asked}`;
    return ask(new Map([[key, question]]), AbortSignal.any([run, takenBack])).then(
      (answers): UpstreamReply => answers.get(key) ?? { kind: 'error', error: { code: -32603, message: 'No answer' } },
    );
  };

  const hearing = {
    ...(request.onNotification !== undefined && { onNotification }),
    ...(onAsk !== undefined && !modern && { onAsk: onLegacyAsk }),
    ...(request.onPolling !== undefined && { onPolling: request.onPolling }),
  };

  async function exchange(step: string, params: JsonObject, schema?: JsonObject): Promise<UpstreamReply> {
    const headers = modern ? mirrored(step, params, schema) : [];
    const message = {
      method: step,
      params: paramsFor(identity.era, params, own),
      headers,
      once: request.once ?? false,
    };
    began = true;
    const reply = await wire.exchange({ ...message, hearing }, run, limit === null ? timeoutMs : null);
    answered = true;
    return reply;
  }

  async function answersTo(inputRequests: unknown, skip?: Set<string>): Promise<JsonObject | null> {
    const asks = new Map([...readAsks(inputRequests, capabilities)].filter(([key]) => !skip?.has(key)));
    for (const key of asks.keys()) skip?.add(key);
    if (asks.size === 0) return null;
    if (onAsk === undefined) throw violation('the server asks although nobody can answer');
    return writeAnswers(asks, await ask(asks, run));
  }

  async function rest(ms: number): Promise<void> {
    limit?.pause();
    await sleep(ms, undefined, { signal: run });
    limit?.resume();
  }

  const driver: TaskDriver = {
    exchange: async (step, params, open = false) => {
      limit?.renew();
      if (!open) return outcome(await exchange(step, params));
      limit?.pause();
      return exchange(step, params).finally(() => limit?.resume());
    },
    answer: answersTo,
    rest,
    cancel: (taskId) => {
      const params = { taskId };
      const headers = modern ? mirrored('tasks/cancel', params, undefined) : [];
      const message = { method: 'tasks/cancel', params: paramsFor(identity.era, params, own), headers, once: true };
      wire.exchange(message, new AbortController().signal, CANCEL_TIMEOUT_MS).catch(() => undefined);
    },
  };

  const outcome = (reply: UpstreamReply): UpstreamReply => {
    if (modern && reply.kind === 'result' && reply.result['resultType'] !== 'complete') throw unknownOutcome();
    return reply;
  };

  async function modernRounds(): Promise<UpstreamReply> {
    let { params } = request;
    for (let round = 0; ; round++) {
      const reply = await exchange(method, params, inputSchema);
      if (reply.kind === 'error') return reply;
      const { resultType, inputRequests, requestState } = reply.result;
      if (resultType === 'task' && asTask) return followModernTask(reply.result, driver);
      if (resultType !== 'input_required') return outcome(reply);
      if (!MAY_ASK.has(method)) throw violation(`the server asks for input to ${method}`);
      if (request.inputRequired === 'return') return reply;
      if (onAsk === undefined) throw violation('the server asks although nobody can answer');
      if (round === MAX_ROUNDS) throw violation(`the server asked for input more than ${MAX_ROUNDS} times`);
      if (requestState !== undefined && typeof requestState !== 'string')
        throw violation('`requestState` is not a string');
      if (inputRequests === undefined && requestState === undefined)
        throw violation('the server wants the request again and does not say why');
      const inputResponses = inputRequests === undefined ? null : await answersTo(inputRequests);
      if (inputResponses === null) await sleep(IDLE_ROUND_MS * 2 ** round, undefined, { signal: run });
      // Byte by byte what the server gave, and only if it gave one (C8).
      params = {
        ...request.params,
        ...(inputResponses !== null && { inputResponses }),
        ...(requestState !== undefined && { requestState }),
      };
    }
  }

  try {
    if (!modern) await orAborted(shared.prepare(request), run);
    if (progressToken !== undefined) shared.progress.set(progressToken, onNotification);
    if (request.logLevel !== undefined) shared.logging.add(onNotification);
    if (onAsk !== undefined && !modern) shared.asking.add(onLegacyAsk);
    if (modern) return await modernRounds();
    if (!asTask || request.task !== 'required') return await exchange(method, request.params);
    return await followLegacyTask(await exchange(method, asLegacyTask(request.params)), driver);
  } catch (error) {
    const dispatched = began ? 'unknown' : 'no';
    const fault = error instanceof UpstreamFault ? error : run.aborted ? givenUp(run, false, dispatched) : error;
    // What came before may have had its effect, whatever became of the last step.
    if (answered && fault instanceof UpstreamFault && fault.dispatched === 'no') {
      const code = fault.code === 'upstream_session_lost' ? 'upstream_closed' : fault.code;
      throw new UpstreamFault(code, fault.message, { dispatched: 'unknown', cause: fault });
    }
    throw fault;
  } finally {
    settled = true;
    if (progressToken !== undefined) shared.progress.delete(progressToken);
    shared.logging.delete(onNotification);
    shared.asking.delete(onLegacyAsk);
    limit?.stop();
  }
}

const withTasks = (capabilities: JsonObject = {}): JsonObject => {
  const { extensions } = capabilities;
  return { ...capabilities, extensions: { ...(isJsonObject(extensions) && extensions), [TASKS]: {} } };
};

export const unknownOutcome = (): UpstreamFault => violation('a result names no known outcome (resultType)');

/** Ends when `signal` does, even if `work` does not care. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
