/**
 * A posted JSON-RPC response (L6): what somebody behind a legacy client says to a question of ours. The same rules as for requests:
 * nothing in it that is not read, and headers that do not say otherwise. Not checked here: whether we asked anything under that id,
 * and this session; whether the answer fits the question (`asks.ts`).
 */
import type { IncomingHttpHeaders } from 'node:http';
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { type RequestId, type WireError, headerMismatch, invalidRequest, shown } from './errors.ts';
import { type Envelope, NO_ENVELOPE } from './meta.ts';
import { header } from './request-headers.ts';
import { isLegacyVersion, isModernVersion } from './versions.ts';

/** Modern clients send none (M1). */
export interface InboundReply {
  readonly kind: 'reply';
  readonly era: 'legacy';
  /** Ours are strings. Whether we gave it out, and to this session, is for the gateway to find. */
  readonly id: string;
  readonly outcome: ReplyOutcome;
  readonly method: 'response';
  readonly rule: null;
  readonly params: JsonObject;
  readonly meta: Envelope;
  readonly protocolVersion: string | null;
}

export type ReplyOutcome =
  | { readonly kind: 'result'; readonly result: JsonObject }
  | {
      readonly kind: 'error';
      readonly error: { readonly code: number; readonly message: string; readonly data?: Json };
    };

const NO_PARAMS: JsonObject = Object.freeze({});
const REPLY_LEVEL: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'result', 'error']);
const ERROR_LEVEL: ReadonlySet<string> = new Set(['code', 'message', 'data']);

/** @param id as far as it is one; the errors carry it. */
export function readReply(
  message: JsonObject,
  id: RequestId | null,
  headers: IncomingHttpHeaders,
): Result<InboundReply, WireError> {
  const refused = (problem: string): Result<never, WireError> => err(invalidRequest(id, problem));
  const versionHeader = header(headers, 'mcp-protocol-version');
  if (versionHeader !== null && isModernVersion(versionHeader)) {
    return refused('Responses are not accepted: in this version the server sends no requests');
  }
  if (versionHeader !== null && !isLegacyVersion(versionHeader)) {
    return refused('MCP-Protocol-Version names no version this server supports');
  }
  if (header(headers, 'mcp-method') !== null || header(headers, 'mcp-name') !== null) {
    return err(headerMismatch(id, 'Mcp-Method and Mcp-Name were sent with a response'));
  }
  const unknown = Object.keys(message).find((key) => !REPLY_LEVEL.has(key));
  if (unknown !== undefined) {
    return refused(`Unknown member ${shown(unknown)}: a response has jsonrpc, id, and result or error`);
  }
  if (message['jsonrpc'] !== '2.0') return refused('jsonrpc must be "2.0"');
  if (typeof id !== 'string') return refused('The id of a response must be the one of a request of this server');
  const outcome = readOutcome(message);
  if (typeof outcome === 'string') return refused(outcome);
  return ok({
    kind: 'reply',
    era: 'legacy',
    id,
    outcome,
    method: 'response',
    rule: null,
    params: NO_PARAMS,
    meta: NO_ENVELOPE,
    protocolVersion: versionHeader,
  });
}

function readOutcome({ result, error }: JsonObject): ReplyOutcome | string {
  if ((result === undefined) === (error === undefined)) return 'A response has either a result or an error';
  if (result !== undefined) return isJsonObject(result) ? { kind: 'result', result } : 'result must be an object';
  if (!isJsonObject(error)) return 'error must be an object';
  const { code, message, data } = error;
  const unknown = Object.keys(error).find((key) => !ERROR_LEVEL.has(key));
  if (unknown !== undefined) return `Unknown member ${shown(unknown)}: an error has code, message and data`;
  if (!Number.isSafeInteger(code)) return 'error.code must be an integer';
  if (typeof message !== 'string') return 'error.message must be a string';
  return { kind: 'error', error: { code: code as number, message, ...(data === undefined ? {} : { data }) } };
}
