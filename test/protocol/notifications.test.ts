/** Notifications to clients: exact members, and the SDKs' schemas. */
import * as modern from '@modelcontextprotocol/core';
import * as legacy from '@modelcontextprotocol/sdk/types.js';
import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import {
  acknowledged,
  cancelled,
  elicitationComplete,
  isAtLeast,
  listChanged,
  log,
  progress,
  readFilter,
  resourceUpdated,
  subscribed,
} from '../../src/protocol/notifications.ts';

const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';
const FILTER = {
  toolsListChanged: false,
  promptsListChanged: false,
  resourcesListChanged: false,
  resourceSubscriptions: [],
  taskIds: [],
};

test.each<[string, JsonObject, string, JsonObject | undefined]>([
  [
    'progress, with the client’s own token',
    progress(7, { progress: 1, total: 2, message: 'm', progressToken: 'theirs', _meta: { x: 1 }, more: 1 }),
    'notifications/progress',
    { progressToken: 7, progress: 1, total: 2, message: 'm' },
  ],
  [
    'progress without more',
    progress('t', { progress: 0.5, total: 'many', message: 1 }),
    'notifications/progress',
    { progressToken: 't', progress: 0.5 },
  ],
  [
    'a log line',
    log({ level: 'error', logger: 'l', data: { a: 1 }, _meta: {}, more: 1 }),
    'notifications/message',
    { level: 'error', logger: 'l', data: { a: 1 } },
  ],
  ['a log line of no level', log({ level: 'loud' }), 'notifications/message', { level: 'info', data: null }],
  ['a change of tools', listChanged('tools'), 'notifications/tools/list_changed', undefined],
  ['a change of prompts', listChanged('prompts'), 'notifications/prompts/list_changed', undefined],
  ['a change of resources', listChanged('resources'), 'notifications/resources/list_changed', undefined],
  ['an updated resource', resourceUpdated('x:y'), 'notifications/resources/updated', { uri: 'x:y' }],
  ['a cancelled request', cancelled('i', 'why'), 'notifications/cancelled', { requestId: 'i', reason: 'why' }],
  ['a cancelled request without a reason', cancelled(1), 'notifications/cancelled', { requestId: 1 }],
  ['a visit that is over', elicitationComplete('e'), 'notifications/elicitation/complete', { elicitationId: 'e' }],
])('%s', (_title, notification, method, params) => {
  expect(notification).toEqual({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) });
  expect(legacy.ServerNotificationSchema.safeParse(notification).success).toBe(true);
});

test('what a listener hears names its listen request, with the id as it was written', () => {
  expect(subscribed(listChanged('tools'), 0)).toEqual({
    jsonrpc: '2.0',
    method: 'notifications/tools/list_changed',
    params: { _meta: { [SUBSCRIPTION]: 0 } },
  });
  const twice = subscribed(subscribed(resourceUpdated('x:y'), 'a'), 'b');
  expect(twice['params']).toEqual({ uri: 'x:y', _meta: { [SUBSCRIPTION]: 'b' } });
});

test('the acknowledgement tells exactly what is honoured', () => {
  const honoured = { ...FILTER, toolsListChanged: true, resourceSubscriptions: ['x:y'], taskIds: ['t'] };
  const notification = acknowledged('s', honoured);
  expect(notification).toEqual({
    jsonrpc: '2.0',
    method: 'notifications/subscriptions/acknowledged',
    params: {
      notifications: { toolsListChanged: true, resourceSubscriptions: ['x:y'], taskIds: ['t'] },
      _meta: { [SUBSCRIPTION]: 's' },
    },
  });
  expect(modern.SubscriptionsAcknowledgedNotificationSchema.safeParse(notification).success).toBe(true);
  expect(acknowledged(1, FILTER)).toMatchObject({ params: { notifications: {} } });
});

describe('the filter of a listen request', () => {
  test('is read with every kind the protocol has; what nobody defined is not honoured', () => {
    const given = {
      promptsListChanged: true,
      toolsListChanged: false,
      resourceSubscriptions: ['a:b', 'a:b'],
      skills: true,
    };
    expect(readFilter(given)).toEqual({
      ok: true,
      value: { ...FILTER, promptsListChanged: true, resourceSubscriptions: ['a:b'] },
    });
  });

  test.each<[JsonObject, string]>([
    [{ toolsListChanged: 1 }, 'notifications.toolsListChanged must be a boolean'],
    [{ resourceSubscriptions: 'x:y' }, 'notifications.resourceSubscriptions must be an array of strings'],
    [{ taskIds: [1] }, 'notifications.taskIds must be an array of strings'],
    [
      { resourceSubscriptions: Array.from({ length: 1001 }, (_, i) => `x:${i}`) },
      'notifications.resourceSubscriptions has more than 1000 entries',
    ],
  ])('%j is refused', (given, error) => {
    expect(readFilter(given)).toEqual({ ok: false, error });
  });
});

test.each([
  ['debug', 'debug', true],
  ['info', 'warning', false],
  ['error', 'warning', true],
  ['emergency', 'debug', true],
  ['loud', 'debug', false],
  [undefined, 'debug', false],
])('a line of level %s for who wants %s and worse', (level, floor, wanted) => {
  expect(isAtLeast(level, floor)).toBe(wanted);
});
