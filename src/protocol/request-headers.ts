/**
 * What the reader of a posted message takes from HTTP headers: media types, the forms of answer a client takes, single values, and
 * `Mcp-Name` against the body. Headers never say more than the body: they are compared with it, or choose the form of the answer.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { type WireError, invalidRequest } from './errors.ts';
import { decodeHeaderValue, trimOws } from './header-codec.ts';
import type { MethodRule } from './methods.ts';
import type { Era } from './versions.ts';

/** What the client can take as an answer; at least one of them. Without an Accept header that is JSON (L8). */
export interface Accepts {
  readonly json: boolean;
  readonly sse: boolean;
  /** It takes both and names the stream first: with nothing else to go by, that is what it gets. */
  readonly streamFirst?: true;
}

/** Null: the body says it is plain JSON in UTF-8. Else a 415 without an id, for the body was not read. */
export function checkMediaType(headers: IncomingHttpHeaders): WireError | null {
  const [type = '', ...parameters] = (headers['content-type'] ?? '')
    .split(';')
    .map((part) => part.trim().toLowerCase());
  const charset = parameters
    .find((parameter) => parameter.startsWith('charset='))
    ?.slice(8)
    .replaceAll('"', '');
  if (type !== 'application/json' || (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8')) {
    return invalidRequest(null, 'Content-Type must be application/json in UTF-8', 415);
  }
  // Two readers of a compressed body can disagree on what it says; nobody in the field sends one.
  if ((headers['content-encoding'] ?? 'identity').trim().toLowerCase() !== 'identity') {
    return invalidRequest(null, 'Content-Encoding is not accepted: send the body as it is', 415);
  }
  return null;
}

const BOTH: Accepts = { json: true, sse: true };
const JSON_ONLY: Accepts = { json: true, sse: false };

/** The Accept header as a choice between our two forms. Quality values other than 0 are not weighed; of two equals the first counts. */
export function acceptable(accept: string | undefined): Accepts {
  if (accept === undefined) return JSON_ONLY;
  if (accept === 'application/json, text/event-stream') return BOTH;
  let json = false;
  let sse = false;
  let streamFirst = false;
  for (const range of accept.toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    if (parameters.some((parameter) => /^q=0(?:\.0{0,3})?$/.test(parameter))) continue;
    if (type === 'application/json' || type === '*/*' || type === 'application/*') json = true;
    if (type === 'text/event-stream' && !json) streamFirst = true;
    if (type === 'text/event-stream' || type === '*/*' || type === 'text/*') sse = true;
  }
  return streamFirst && json ? { json, sse, streamFirst } : { json, sse };
}

/** One value, trimmed; several lines of one header are one wrong value. */
export function header(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  if (value === undefined) return null;
  return trimOws(Array.isArray(value) ? value.join(', ') : value);
}

/** `Mcp-Name` equals the body. Required of modern requests that have a name; whoever sends it otherwise must not lie either. */
export function checkNameHeader(
  headers: IncomingHttpHeaders,
  name: string | null,
  rule: MethodRule,
  era: Era,
): string | null {
  const value = header(headers, 'mcp-name');
  if (value === null) return era === 'modern' && name !== null ? 'Mcp-Name is missing' : null;
  const decoded = decodeHeaderValue(value);
  if (decoded === null) return 'Mcp-Name has invalid characters or invalid Base64';
  if (name === null) return 'Mcp-Name was sent for a method that has no name';
  return decoded === name ? null : `Mcp-Name does not equal params.${rule.name}`;
}
