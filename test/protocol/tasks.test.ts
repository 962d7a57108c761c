/** One task, two wire forms; the schemas of the SDK judge the older one, the codec of the extension's own package the newer one. */
import * as extension from '@modelcontextprotocol/ext-tasks/core/v2';
import * as legacy from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import type { Facing } from '../../src/protocol/results.ts';
import {
  type TaskFacts,
  type TaskPayload,
  TASKS_REQUIRED,
  cancelTaskResult,
  createTaskResult,
  declaresTasks,
  getTaskResult,
  listTasksResult,
  relatedToTask,
  taskNotification,
} from '../../src/protocol/tasks.ts';
import { MODERN } from '../../src/protocol/versions.ts';

const serverInfo = { name: 'remit', version: '0.1.0' };
const NEW: Facing = { era: 'modern', version: MODERN, serverInfo };
const OLD: Facing = { era: 'legacy', version: '2025-11-25', serverInfo };
const _meta = { 'io.modelcontextprotocol/serverInfo': serverInfo };

const at = Date.parse('2026-11-22T10:00:00.000Z');
const task: TaskFacts = {
  taskId: 'task_1',
  status: 'working',
  statusMessage: null,
  createdAt: at,
  lastUpdatedAt: at + 1500,
  ttlMs: 60_000,
  pollIntervalMs: 500,
};
const times = { createdAt: '2026-11-22T10:00:00.000Z', lastUpdatedAt: '2026-11-22T10:00:01.500Z' };
const newer = { taskId: 'task_1', ...times, status: 'working', ttlMs: 60_000, pollIntervalMs: 500 };
const older = { taskId: 'task_1', ...times, status: 'working', ttl: 60_000, pollInterval: 500 };

describe('a task that was just made', () => {
  test('is flat and says so by its result type in the modern era', () => {
    expect(createTaskResult(NEW, task)).toEqual({ ...newer, resultType: 'task', _meta });
    expect(extension.isCreateTaskResultV2(createTaskResult(NEW, task))).toBe(true);
  });

  test('is a member of its own in 2025-11-25', () => {
    expect(createTaskResult(OLD, { ...task, ttlMs: null, statusMessage: 'Waiting' })).toEqual({
      task: { ...older, ttl: null, statusMessage: 'Waiting' },
    });
    expect(legacy.CreateTaskResultSchema.safeParse(createTaskResult(OLD, task)).success).toBe(true);
  });

  test('carries no question and no state of MRTR', () => {
    const asking = createTaskResult(NEW, { ...task, status: 'input_required' });
    expect(asking).not.toHaveProperty('inputRequests');
    expect(asking).not.toHaveProperty('requestState');
  });
});

const result = { content: [{ type: 'text', text: 'done' }], isError: false };
const inputRequests = { q: { method: 'roots/list', params: {} } };
const error = { code: -32603, message: 'broken', data: [1] };

describe('a task that is asked for', () => {
  test.each<[TaskFacts['status'], TaskPayload, JsonObject]>([
    ['working', {}, {}],
    ['input_required', { inputRequests }, { inputRequests }],
    ['completed', { result }, { result }],
    ['failed', { error }, { error }],
    ['cancelled', {}, {}],
    ['working', { result, error, inputRequests }, {}],
  ])('%s carries what belongs to it and nothing else', (status, payload, carried) => {
    const shown = getTaskResult(NEW, { ...task, status }, payload);
    expect(shown).toEqual({ ...newer, status, ...carried, resultType: 'complete', _meta });
    expect(extension.isDetailedTaskV2(shown)).toBe(true);
    const told = getTaskResult(OLD, { ...task, status }, payload);
    expect(told).toEqual({ ...older, status });
    expect(legacy.GetTaskResultSchema.safeParse(told).success).toBe(true);
  });

  test.each(['completed', 'failed', 'input_required'] as const)(
    '%s without its payload is a fault of ours',
    (status) => {
      expect(() => getTaskResult(NEW, { ...task, status })).toThrow(
        expect.objectContaining({
          code: 'task_payload',
          message: expect.stringContaining(`a task that is ${status} has no`),
        }),
      );
    },
  );

  test('a tool’s own failure is completed in the modern era and failed in 2025-11-25', () => {
    const failed: TaskFacts = { ...task, status: 'completed', isError: true };
    expect(getTaskResult(NEW, failed, { result })).toMatchObject({ status: 'completed' });
    expect(getTaskResult(OLD, failed, { result })).toMatchObject({ status: 'failed' });
  });
});

test('cancelling is acknowledged with nothing, or with the task', () => {
  expect(cancelTaskResult(NEW, { ...task, status: 'cancelled' })).toEqual({ resultType: 'complete', _meta });
  const shown = cancelTaskResult(OLD, { ...task, status: 'cancelled' });
  expect(shown).toEqual({ ...older, status: 'cancelled' });
  expect(legacy.CancelTaskResultSchema.safeParse(shown).success).toBe(true);
});

test('a list of tasks', () => {
  const page = listTasksResult(OLD, [task], { nextCursor: 'c' });
  expect(page).toEqual({ tasks: [older], nextCursor: 'c' });
  expect(listTasksResult(OLD, [], { nextCursor: null })).toEqual({ tasks: [] });
  expect(legacy.ListTasksResultSchema.safeParse(page).success).toBe(true);
});

test('what belongs to a task says so beside what it says already', () => {
  const related = { 'io.modelcontextprotocol/related-task': { taskId: 'task_1' } };
  expect(relatedToTask(result, 'task_1')).toEqual({ ...result, _meta: related });
  expect(relatedToTask({ _meta: { 'com.example/x': 1 } }, 'task_1')).toEqual({
    _meta: { 'com.example/x': 1, ...related },
  });
});

test('a notification holds what asking would have told', () => {
  const done: TaskFacts = { ...task, status: 'completed' };
  expect(taskNotification('modern', done, { result })).toEqual({
    jsonrpc: '2.0',
    method: 'notifications/tasks',
    params: { ...newer, status: 'completed', result },
  });
  const told = taskNotification('legacy', done, { result });
  expect(told).toEqual({
    jsonrpc: '2.0',
    method: 'notifications/tasks/status',
    params: { ...older, status: 'completed' },
  });
  expect(legacy.TaskStatusNotificationSchema.safeParse(told).success).toBe(true);
});

test.each<[string, JsonObject | null, boolean]>([
  ['nothing', null, false],
  ['no extensions', {}, false],
  ['another extension', { extensions: { 'io.modelcontextprotocol/ui': {} } }, false],
  ['the old capability', { tasks: {} }, false],
  ['the extension', TASKS_REQUIRED, true],
])('a client that declares %s', (_title, capabilities, takesTasks) => {
  expect(declaresTasks(capabilities)).toBe(takesTasks);
});
