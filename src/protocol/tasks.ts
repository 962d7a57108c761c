/**
 * Tasks as clients see them: the extension of 2026-07-28 (SEP-2663: flat, polled, questions inside) and the core feature of
 * 2025-11-25 (nested on creation, `tasks/result`, `tasks/list`). One set of facts, two wire forms; the facing decides which (M29, B).
 * Not done here: keeping tasks, who may see one, when it changes.
 */
import { Fault } from '../lib/fault.ts';
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Facing, type Page, complete } from './results.ts';
import type { Era } from './versions.ts';

export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks';
const RELATED_TASK = 'io.modelcontextprotocol/related-task';

export type TaskStatus = 'working' | 'input_required' | 'completed' | 'failed' | 'cancelled';

export interface TaskFacts {
  readonly taskId: string;
  readonly status: TaskStatus;
  readonly statusMessage: string | null;
  /** ms since the epoch. */
  readonly createdAt: number;
  readonly lastUpdatedAt: number;
  /** From creation on; null: for ever. */
  readonly ttlMs: number | null;
  readonly pollIntervalMs: number;
  /** It is completed with a tool's own failure, which 2025-11-25 calls `failed`. */
  readonly isError?: boolean;
}

/** What goes with a status: `result` with completed, `error` with failed, `inputRequests` with input_required. */
export interface TaskPayload {
  readonly result?: JsonObject;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: Json };
  readonly inputRequests?: JsonObject;
}

/** Whether a modern client can be given a task for this request. */
export function declaresTasks(capabilities: JsonObject | null): boolean {
  const extensions = capabilities?.['extensions'];
  return isJsonObject(extensions) && isJsonObject(extensions[TASKS_EXTENSION]);
}

/** What -32021 says is missing when it cannot. */
export const TASKS_REQUIRED: JsonObject = Object.freeze({ extensions: { [TASKS_EXTENSION]: {} } });

/** In place of the result of a `tools/call`. Durable before this leaves: the id must resolve (TASK). */
export function createTaskResult(facing: Facing, task: TaskFacts): JsonObject {
  return facing.era === 'modern'
    ? complete(facing, modernTask(task), {}, 'task')
    : complete(facing, { task: legacyTask(task) });
}

/** The answer to `tasks/get`. @throws Fault `task_payload` when a modern client would miss what its status promises. */
export function getTaskResult(facing: Facing, task: TaskFacts, payload: TaskPayload = {}): JsonObject {
  return complete(facing, facing.era === 'modern' ? detailedTask(task, payload) : legacyTask(task));
}

/** The answer to `tasks/cancel`: nothing in the modern era, where it is a wish, the task before. */
export function cancelTaskResult(facing: Facing, task: TaskFacts): JsonObject {
  return complete(facing, facing.era === 'modern' ? {} : legacyTask(task));
}

/** 2025-11-25: the answer to `tasks/list`. */
export function listTasksResult(
  facing: Facing,
  tasks: readonly TaskFacts[],
  page: Pick<Page, 'nextCursor'>,
): JsonObject {
  return complete(facing, {
    tasks: tasks.map(legacyTask),
    ...(page.nextCursor === null ? {} : { nextCursor: page.nextCursor }),
  });
}

/** 2025-11-25: whatever belongs to a task says so: the result of `tasks/result`, and every question asked for it. */
export function relatedToTask(object: JsonObject, taskId: string): JsonObject {
  const { _meta: meta } = object;
  return { ...object, _meta: { ...(isJsonObject(meta) ? meta : {}), [RELATED_TASK]: { taskId } } };
}

/** Says that a task changed, with the whole of it: what `tasks/get` would say at this moment. */
export function taskNotification(era: Era, task: TaskFacts, payload: TaskPayload = {}): JsonObject {
  return era === 'modern'
    ? { jsonrpc: '2.0', method: 'notifications/tasks', params: detailedTask(task, payload) }
    : { jsonrpc: '2.0', method: 'notifications/tasks/status', params: legacyTask(task) };
}

function detailedTask(task: TaskFacts, { result, error, inputRequests }: TaskPayload): JsonObject {
  const missing = (what: string): never => {
    throw new Fault('task_payload', `a task that is ${task.status} has no ${what}`);
  };
  const base = modernTask(task);
  if (task.status === 'completed') return { ...base, result: result ?? missing('result') };
  if (task.status === 'failed') return { ...base, error: { ...(error ?? missing('error')) } };
  if (task.status === 'input_required') return { ...base, inputRequests: inputRequests ?? missing('inputRequests') };
  return base;
}

function modernTask(task: TaskFacts): JsonObject {
  return { ...common(task), status: task.status, ttlMs: task.ttlMs, pollIntervalMs: task.pollIntervalMs };
}

function legacyTask(task: TaskFacts): JsonObject {
  const status = task.status === 'completed' && task.isError === true ? 'failed' : task.status;
  return { ...common(task), status, ttl: task.ttlMs, pollInterval: task.pollIntervalMs };
}

const common = ({ taskId, statusMessage, createdAt, lastUpdatedAt }: TaskFacts): JsonObject => ({
  taskId,
  ...(statusMessage === null ? {} : { statusMessage }),
  createdAt: new Date(createdAt).toISOString(),
  lastUpdatedAt: new Date(lastUpdatedAt).toISOString(),
});
