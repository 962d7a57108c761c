/**
 * JSON-RPC 2.0 with a server: what we write, and a strict reading of what comes back. Shared by both transports.
 * Not done here: correlating replies, and any judgement of a result beyond its era's outer form.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { parseStrictJson } from '../lib/strict-json.ts';
import { META, isReservedKey } from '../protocol/meta.ts';
import { MODERN } from '../protocol/versions.ts';
import type { Era, UpstreamReply } from './connection.ts';

export const MAX_DEPTH = 128;
export const CLIENT_INFO: JsonObject = { name: 'remit', title: 'Remit gateway', version: '0.1.0' };

export type FromServer =
  | { readonly kind: 'reply'; readonly id: string | number | null; readonly reply: UpstreamReply }
  | { readonly kind: 'notification'; readonly method: string; readonly params: JsonObject }
  | { readonly kind: 'request'; readonly id: string | number; readonly method: string; readonly params: JsonObject };

/** The error is one sentence without any of the server's text in it. */
export function readFromServer(bytes: Uint8Array, maxBytes: number): Result<FromServer, string> {
  const parsed = parseStrictJson(bytes, { maxBytes, maxDepth: MAX_DEPTH });
  if (!parsed.ok) return err(`a message is not strict JSON (${parsed.error.tag})`);
  const message = parsed.value;
  if (!isJsonObject(message) || message['jsonrpc'] !== '2.0') return err('a message is not a JSON-RPC 2.0 object');
  const { id, method, params, result, error } = message;
  if (id !== undefined && id !== null && typeof id !== 'string' && !Number.isSafeInteger(id))
    return err('an id is neither text nor integer');

  if (method !== undefined) {
    if (typeof method !== 'string' || result !== undefined || error !== undefined)
      return err('a message is both call and answer');
    if (params !== undefined && !isJsonObject(params)) return err('params is not an object');
    if (id === undefined) return ok({ kind: 'notification', method, params: params ?? {} });
    if (id === null) return err('a request has the id null');
    return ok({ kind: 'request', id: id as string | number, method, params: params ?? {} });
  }
  const answered = (id ?? null) as string | number | null;
  if (result !== undefined) {
    if (error !== undefined || !isJsonObject(result)) return err('a result is not an object, or comes with an error');
    return ok({ kind: 'reply', id: answered, reply: { kind: 'result', result } });
  }
  if (!isJsonObject(error)) return err('a message is neither call nor answer');
  const { code, message: text, data } = error;
  if (!Number.isSafeInteger(code) || typeof text !== 'string') return err('an error has no code or no message');
  const reply = { code: code as number, message: text, ...(data !== undefined && { data }) };
  return ok({ kind: 'reply', id: answered, reply: { kind: 'error', error: reply } });
}

const TRACE: ReadonlySet<string> = new Set([META.traceparent, META.tracestate]);
const NOTHING: JsonObject = {};

/** What a request's `_meta` carries beyond what the caller put there. */
export interface OwnMeta {
  /** Modern: what we can do for this request. Left out: nothing, and a server that needs something must say so instead of asking. */
  readonly capabilities?: JsonObject | undefined;
  readonly progressToken?: number | undefined;
  /** Modern. */
  readonly logLevel?: string | undefined;
}

/** Params as this hop's era wants them. Reserved `_meta` keys of an earlier hop are dropped, except trace context. */
export function paramsFor(era: Era, params: JsonObject, own?: OwnMeta): JsonObject {
  const given = params['_meta'];
  const kept: Record<string, Json> = {};
  if (isJsonObject(given)) {
    for (const key of Object.keys(given)) if (!isReservedKey(key) || TRACE.has(key)) kept[key] = given[key] as Json;
  }
  if (own?.progressToken !== undefined) kept[META.progressToken] = own.progressToken;
  if (era === 'modern') {
    kept[META.protocolVersion] = MODERN;
    kept[META.clientCapabilities] = own?.capabilities ?? NOTHING;
    kept[META.clientInfo] = CLIENT_INFO;
    if (own?.logLevel !== undefined) kept[META.logLevel] = own.logLevel;
    return { ...params, _meta: kept };
  }
  if (Object.keys(kept).length > 0) return { ...params, _meta: kept };
  if (given === undefined) return params;
  const { _meta: _, ...rest } = params;
  return rest;
}
