/**
 * Notifications as we send them to clients: whole JSON-RPC messages with closed lists of members, so that nothing a server added
 * rides along. And the filter of `subscriptions/listen`, read strictly (M16). Not done here: inspection of texts, who may hear what,
 * rates and order.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import type { RequestId } from './errors.ts';
import { LOG_LEVELS, META, isLogLevel } from './meta.ts';

const message = (method: string, params?: JsonObject): JsonObject => ({
  jsonrpc: '2.0',
  method,
  ...(params === undefined ? {} : { params }),
});

/** @param token the client's own. @param params a server's progress, of which progress, total and message pass. */
export function progress(token: RequestId, params: JsonObject): JsonObject {
  const { progress: value, total, message: text } = params;
  return message('notifications/progress', {
    progressToken: token,
    progress: typeof value === 'number' ? value : 0,
    ...(typeof total === 'number' ? { total } : {}),
    ...(typeof text === 'string' ? { message: text } : {}),
  });
}

/** @param params a server's log line, of which level, logger and data pass. A level nobody defined becomes `info`. */
export function log(params: JsonObject): JsonObject {
  const { level, logger, data } = params;
  return message('notifications/message', {
    level: typeof level === 'string' && isLogLevel(level) ? level : 'info',
    ...(typeof logger === 'string' ? { logger } : {}),
    data: data ?? null,
  });
}

/** Whether a log line of this level is wanted by who asked for `floor` and worse (M14). A level nobody defined is not. */
export function isAtLeast(level: Json | undefined, floor: string): boolean {
  const severity = typeof level === 'string' ? LOG_LEVELS.indexOf(level) : -1;
  return severity >= 0 && severity >= LOG_LEVELS.indexOf(floor);
}

export const listChanged = (what: 'tools' | 'prompts' | 'resources'): JsonObject =>
  message(`notifications/${what}/list_changed`);

export const resourceUpdated = (uri: string): JsonObject => message('notifications/resources/updated', { uri });

/** @param id of the request that the other side may stop working on. */
export const cancelled = (id: RequestId, reason?: string): JsonObject =>
  message('notifications/cancelled', { requestId: id, ...(reason === undefined ? {} : { reason }) });

/** 2025-11-25 only: the visit to a URL is over (L15). */
export const elicitationComplete = (elicitationId: string): JsonObject =>
  message('notifications/elicitation/complete', { elicitationId });

/** What a listener hears says which listen request it answers, with the id as the client wrote it (M16). */
export function subscribed(notification: JsonObject, id: RequestId): JsonObject {
  const params = isJsonObject(notification['params']) ? notification['params'] : {};
  const meta = isJsonObject(params['_meta']) ? params['_meta'] : {};
  return { ...notification, params: { ...params, _meta: { ...meta, [META.subscriptionId]: id } } };
}

/** What a listener wants to hear, or is told it will. */
export interface SubscriptionFilter {
  readonly toolsListChanged: boolean;
  readonly promptsListChanged: boolean;
  readonly resourcesListChanged: boolean;
  readonly resourceSubscriptions: readonly string[];
  /** Tasks extension. */
  readonly taskIds: readonly string[];
}

const CHANGES = ['toolsListChanged', 'promptsListChanged', 'resourcesListChanged'] as const;
const MAX_SUBSCRIPTIONS = 1000;

/** The `notifications` member of a listen request. The error names the member. Kinds nobody defined are not honoured, hence not acknowledged. */
export function readFilter(notifications: JsonObject): Result<SubscriptionFilter, string> {
  for (const key of CHANGES) {
    const value = notifications[key];
    if (value !== undefined && typeof value !== 'boolean') return err(`notifications.${key} must be a boolean`);
  }
  for (const key of ['resourceSubscriptions', 'taskIds'] as const) {
    const value = notifications[key];
    if (value === undefined) continue;
    if (!Array.isArray(value) || value.some((one) => typeof one !== 'string')) {
      return err(`notifications.${key} must be an array of strings`);
    }
    if (value.length > MAX_SUBSCRIPTIONS) return err(`notifications.${key} has more than ${MAX_SUBSCRIPTIONS} entries`);
  }
  const texts = (key: string): string[] => [...new Set((notifications[key] as readonly string[] | undefined) ?? [])];
  return ok({
    toolsListChanged: notifications['toolsListChanged'] === true,
    promptsListChanged: notifications['promptsListChanged'] === true,
    resourcesListChanged: notifications['resourcesListChanged'] === true,
    resourceSubscriptions: texts('resourceSubscriptions'),
    taskIds: texts('taskIds'),
  });
}

/** The first message on a listen stream: the part of the filter that is honoured (M16). */
export function acknowledged(id: RequestId, honoured: SubscriptionFilter): JsonObject {
  const { resourceSubscriptions, taskIds } = honoured;
  const notifications = {
    ...Object.fromEntries(CHANGES.filter((key) => honoured[key]).map((key) => [key, true])),
    ...(resourceSubscriptions.length === 0 ? {} : { resourceSubscriptions }),
    ...(taskIds.length === 0 ? {} : { taskIds }),
  };
  return subscribed(message('notifications/subscriptions/acknowledged', { notifications }), id);
}
