/** Well-formed requests of both eras, to be broken one field at a time. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import type { Result } from '../../src/lib/result.ts';
import type { WireError } from '../../src/protocol/errors.ts';
import { META } from '../../src/protocol/meta.ts';
import { type InboundMessage, READ_LIMITS, readBody } from '../../src/protocol/read-request.ts';
import { MODERN } from '../../src/protocol/versions.ts';

export const ENVELOPE: JsonObject = {
  [META.protocolVersion]: MODERN,
  [META.clientInfo]: { name: 'client', version: '1' },
  [META.clientCapabilities]: {},
};

export const BASE_HEADERS: IncomingHttpHeaders = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
};

export const CALL_HEADERS: IncomingHttpHeaders = {
  ...BASE_HEADERS,
  'mcp-protocol-version': MODERN,
  'mcp-method': 'tools/call',
  'mcp-name': 'read_file',
};

/** A `tools/call` as the modern era sends it. */
export function modernCall(params: JsonObject = {}, message: JsonObject = {}): JsonObject {
  return {
    jsonrpc: '2.0',
    id: 7,
    method: 'tools/call',
    params: { name: 'read_file', arguments: { path: 'a.txt' }, _meta: ENVELOPE, ...params },
    ...message,
  };
}

export function legacyCall(params: JsonObject = {}, message: JsonObject = {}): JsonObject {
  return {
    jsonrpc: '2.0',
    id: 7,
    method: 'tools/call',
    params: { name: 'read_file', arguments: { path: 'a.txt' }, ...params },
    ...message,
  };
}

export function readPosted(body: Json | string | Uint8Array, headers: IncomingHttpHeaders = BASE_HEADERS) {
  const bytes = body instanceof Uint8Array ? body : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return readBody(bytes, headers, READ_LIMITS);
}

/** One message; a batch, where none was sent, is a mistake of the test. */
export function read(
  body: Json | string | Uint8Array,
  headers: IncomingHttpHeaders = BASE_HEADERS,
): Result<InboundMessage, WireError> {
  const posted = readPosted(body, headers);
  if (posted.ok && posted.value.kind === 'batch') throw new Error('a batch was sent');
  return posted as Result<InboundMessage, WireError>;
}
