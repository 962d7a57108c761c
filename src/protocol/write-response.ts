/**
 * One answer as status, headers and body: JSON, or a single SSE event for a client that takes nothing else.
 * Pure; the listener writes it. What stands in the result or error was decided before.
 */
import type { Json, JsonObject } from '../lib/json.ts';
import type { RequestId, WireError } from './errors.ts';
import { SSE_HEADERS, sseEvent } from './sse.ts';

export interface WireResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export type ReplyForm = 'json' | 'sse';

const SECURITY_HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;
const JSON_HEADERS = { 'content-type': 'application/json', ...SECURITY_HEADERS } as const;
const EVENT_HEADERS = { ...SSE_HEADERS, 'x-content-type-options': 'nosniff' } as const;

export function wireResponse(id: RequestId, result: JsonObject, form: ReplyForm = 'json'): WireResponse {
  return written(200, { jsonrpc: '2.0', id, result }, form);
}

/** An id that could not be read is left out (BASE, Error Responses). An error status is always plain JSON. */
export function wireError(error: WireError, form: ReplyForm = 'json'): WireResponse {
  const { httpStatus, id, code, message, data } = error;
  const body = {
    jsonrpc: '2.0',
    ...(id === null ? {} : { id }),
    error: { code, message, ...(data === undefined ? {} : { data }) },
  };
  return written(httpStatus, body, httpStatus === 200 ? form : 'json');
}

/** A notification was taken (or dropped): nothing to say. */
export function wireAccepted(): WireResponse {
  return { status: 202, headers: SECURITY_HEADERS, body: '' };
}

function written(status: number, message: Json, form: ReplyForm): WireResponse {
  const text = JSON.stringify(message);
  return form === 'sse'
    ? { status, headers: EVENT_HEADERS, body: sseEvent({ event: 'message', data: text }) }
    : { status, headers: JSON_HEADERS, body: text };
}
