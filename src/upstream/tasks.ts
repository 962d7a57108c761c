/**
 * A server's own task, polled to its end, so that the caller only sees the reply: 2025-11-25 (basic/utilities/tasks) and the
 * modern extension (SEP-2663). Each question to the server has the server's time limit; the task as a whole only the
 * caller's. Whoever gives up cancels the task.
 */
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { type UpstreamIdentity, type UpstreamReply, UpstreamFault } from './connection.ts';
import { violation } from './http-rules.ts';

export const TASKS = 'io.modelcontextprotocol/tasks';
const POLL_MS = 1_000;
const SHORTEST_POLL_MS = 50;
const LONGEST_POLL_MS = 60_000;
/** How long a legacy server should keep the task: longer than any caller waits. */
const KEEP_MS = 3_600_000;

export interface TaskDriver {
  /** `open`: without the server's time limit, because it waits for us. */
  exchange(method: string, params: JsonObject, open?: boolean): Promise<UpstreamReply>;
  /** Asks what is in `inputRequests` and was not asked before; null when there is nothing new. */
  answer(inputRequests: unknown, asked: Set<string>): Promise<JsonObject | null>;
  rest(ms: number): Promise<void>;
  /** In the background, whatever became of the request. */
  cancel(taskId: string): void;
}

/** Whether this server keeps tasks for tool calls. */
export function keepsTasks({ era, protocolVersion, capabilities }: UpstreamIdentity): boolean {
  const { extensions, tasks } = capabilities;
  if (era === 'modern') return isJsonObject(extensions) && isJsonObject(extensions[TASKS]);
  const requests = isJsonObject(tasks) ? tasks['requests'] : undefined;
  const tools = isJsonObject(requests) ? requests['tools'] : undefined;
  return protocolVersion === '2025-11-25' && isJsonObject(tools) && isJsonObject(tools['call']);
}

export const asLegacyTask = (params: JsonObject): JsonObject => ({ ...params, task: { ttl: KEEP_MS } });

/** `created`: the result of the call. One without a task is the answer already. @throws UpstreamFault */
export async function followLegacyTask(created: UpstreamReply, driver: TaskDriver): Promise<UpstreamReply> {
  if (created.kind === 'error' || created.result['task'] === undefined) return created;
  return untilOver(created.result['task'], 'pollInterval', driver, async ({ status }, taskId) => {
    // Both block until the task is over; the questions of an `input_required` one come on that stream.
    if (status === 'completed' || status === 'failed') return driver.exchange('tasks/result', { taskId });
    if (status === 'input_required') return driver.exchange('tasks/result', { taskId }, true);
    return null;
  });
}

/** `created`: a result of type `task`. @throws UpstreamFault */
export function followModernTask(created: JsonObject, driver: TaskDriver): Promise<UpstreamReply> {
  const asked = new Set<string>();
  return untilOver(created, 'pollIntervalMs', driver, async (task, taskId) => {
    if (task['status'] === 'completed') return completed(task['result']);
    if (task['status'] === 'failed') return failed(task['error']);
    if (task['status'] !== 'input_required' || task['inputRequests'] === undefined) return null;
    const inputResponses = await driver.answer(task['inputRequests'], asked);
    if (inputResponses !== null) await driver.exchange('tasks/update', { taskId, inputResponses });
    return null;
  });
}

async function untilOver(
  seed: unknown,
  interval: 'pollInterval' | 'pollIntervalMs',
  driver: TaskDriver,
  step: (task: JsonObject, taskId: string) => Promise<UpstreamReply | null>,
): Promise<UpstreamReply> {
  if (!isJsonObject(seed)) throw violation('the created task is not an object');
  let task = seed;
  const { taskId } = task;
  if (typeof taskId !== 'string' || taskId === '') throw violation('the created task has no `taskId`');
  try {
    for (let first = true; ; first = false) {
      // What a modern server creates carries neither result nor questions yet.
      const done = first ? null : await step(task, taskId);
      if (done !== null) return done;
      if (task['status'] === 'cancelled')
        throw new UpstreamFault('upstream_cancelled', 'the server cancelled its task', { dispatched: 'unknown' });
      const pollMs = task[interval];
      const wanted = typeof pollMs === 'number' ? pollMs : POLL_MS;
      if (!first || task['status'] === 'working')
        await driver.rest(Math.min(Math.max(wanted, SHORTEST_POLL_MS), LONGEST_POLL_MS));
      const reply = await driver.exchange('tasks/get', { taskId });
      if (reply.kind === 'error') throw violation(`the server lost its task (error ${reply.error.code})`);
      task = reply.result;
    }
  } catch (error) {
    if (task['status'] !== 'cancelled') driver.cancel(taskId);
    throw error;
  }
}

function completed(result: unknown): UpstreamReply {
  if (!isJsonObject(result)) throw violation('a completed task has no result');
  const { resultType = 'complete', ...rest } = result;
  if (resultType !== 'complete') throw violation('the result of a task is not complete');
  return { kind: 'result', result: { resultType, ...rest } };
}

function failed(error: unknown): UpstreamReply {
  if (!isJsonObject(error)) throw violation('a failed task has no error');
  const { code, message, data } = error;
  if (typeof code !== 'number' || !Number.isSafeInteger(code) || typeof message !== 'string')
    throw violation('the error of a task has no code or no message');
  return { kind: 'error', error: { code, message, ...(data !== undefined && { data }) } };
}
