/**
 * Reads one message that a client posted. One fixed ladder, so that every check comes before authorization, routing and limits
 * see a field, and the first rung that fails answers (PROTOCOL.md G3, G4, L3, M1-M5, M7; CONTROLS PH-01, PH-02, PH-06):
 *   media type, size, strict JSON, one message, shape, era (from the body, never from a header), envelope, version,
 *   headers equal body, method known, members of params, name header.
 * Long because it is that one sequence. Not checked here: who calls, the session, arguments against the tool's schema,
 * `Mcp-Param-*` headers (those need the tool: `param-headers.ts`).
 */
import type { IncomingHttpHeaders } from 'node:http';
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { type JsonProblem, parseStrictJson } from '../lib/strict-json.ts';
import {
  type RequestId,
  type WireError,
  headerMismatch,
  invalidEnvelope,
  invalidParams,
  invalidRequest,
  methodNotFound,
  parseError,
  unsupportedVersion,
} from './errors.ts';
import { decodeHeaderValue, trimOws } from './header-codec.ts';
import { lookalikesOf } from './key-fold.ts';
import { type Envelope, META, readEnvelope } from './meta.ts';
import { type MemberRule, type MethodRule, methodRule, methodRules } from './methods.ts';
import { type Era, MODERN_VERSIONS, isLegacyVersion, isModernVersion } from './versions.ts';

export interface ReadLimits {
  readonly maxBytes: number;
  readonly maxDepth: number;
  readonly maxMembers?: number;
}

/** 4 MiB is what the official SDK takes; 64 levels and 100,000 members are far beyond real arguments. */
export const READ_LIMITS: ReadLimits = { maxBytes: 4_194_304, maxDepth: 64, maxMembers: 100_000 };

export interface InboundRequest {
  readonly kind: 'request';
  readonly era: Era;
  readonly id: RequestId;
  readonly method: string;
  readonly rule: MethodRule;
  readonly params: JsonObject;
  readonly meta: Envelope;
  /** What this request is about (`params.name` of tools/call), equal to `Mcp-Name`; null when its method has no name. */
  readonly name: string | null;
  /** Modern: the claimed version. Legacy: the `MCP-Protocol-Version` header, null when absent (the session knows, else 2025-03-26). */
  readonly protocolVersion: string | null;
  /** `sse` only when the client takes nothing else: then the answer is one event. */
  readonly replyAs: 'json' | 'sse';
}

export interface InboundNotification {
  readonly kind: 'notification';
  readonly era: Era;
  readonly method: string;
  /** null: this era has no such notification. Answer 202 and drop it (M28); it is never relayed. */
  readonly rule: MethodRule | null;
  readonly params: JsonObject;
  readonly meta: Envelope;
  readonly protocolVersion: string | null;
}

export type InboundMessage = InboundRequest | InboundNotification;

const MAX_ID = 256;
const MAX_METHOD = 256;
/** Members of `params` and of `_meta`, which are compared key by key before we know who calls. Arguments have only the JSON limits. */
const MAX_MEMBERS = 100;
const TOP_LEVEL: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params']);
const NO_MEMBERS: JsonObject = Object.freeze({});

/**
 * Promises: what it returns is plain data, every field with a meaning has been checked once, and headers say what the body says.
 * The error carries the request id whenever one was readable.
 */
export function readMessage(
  body: Uint8Array,
  headers: IncomingHttpHeaders,
  limits: ReadLimits,
): Result<InboundMessage, WireError> {
  const mediaProblem = checkMediaType(headers);
  if (mediaProblem !== null) return err(mediaProblem);

  const parsed = parseStrictJson(body, limits);
  if (!parsed.ok) return err(jsonError(parsed.error, limits));
  const message = parsed.value;
  if (Array.isArray(message))
    return err(invalidRequest(null, 'Send one message per request: batches are not accepted'));
  if (!isJsonObject(message)) return err(invalidRequest(null, 'The body must be one JSON-RPC message object'));

  const id = readableId(message['id']);
  const shapeProblem = checkShape(message);
  if (shapeProblem !== null) return err(invalidRequest(id, shapeProblem));
  const method = message['method'] as string;
  const params = (message['params'] ?? NO_MEMBERS) as JsonObject;
  const isRequest = Object.hasOwn(message, 'id');
  if (isRequest && id === null) {
    return err(invalidRequest(null, `id must be a string of at most ${MAX_ID} characters or an integer, not null`));
  }
  const replyAs = isRequest ? acceptable(headers.accept) : 'json';
  if (replyAs === null) {
    return err(invalidRequest(id, 'Accept must allow application/json or text/event-stream', 406));
  }

  const rawMeta = params['_meta'] ?? NO_MEMBERS;
  if (!isJsonObject(rawMeta)) return err(invalidEnvelope(id, 'params._meta must be an object'));
  if (Object.keys(params).length > MAX_MEMBERS || Object.keys(rawMeta).length > MAX_MEMBERS) {
    return err(invalidRequest(id, `params and params._meta may have at most ${MAX_MEMBERS} members each`));
  }
  const imitated = metaLookalike(rawMeta);
  if (imitated !== null)
    return err(invalidEnvelope(id, `params._meta has a look-alike of a reserved key: ${shown(imitated)}`));

  const era: Era = Object.hasOwn(rawMeta, META.protocolVersion) ? 'modern' : 'legacy';
  const common = { era, id, isRequest, method, params, headers };
  const entry = era === 'modern' ? enterModern(common, rawMeta) : enterLegacy(common, rawMeta);
  if (!entry.ok) return entry;
  const { meta, protocolVersion } = entry.value;

  if (!isRequest) {
    // A notification with the modern header and no claim belongs to no era that has client notifications: it is dropped.
    const known = !(era === 'legacy' && protocolVersion !== null && isModernVersion(protocolVersion));
    const rule = (known && methodRule(method, era, 'notification')) || null;
    const problem = rule === null ? null : checkMembers(rule, method, params);
    if (problem !== null) return err(invalidParams(null, 'modern', problem));
    return ok({ kind: 'notification', era, method, rule, params, meta, protocolVersion });
  }

  const rule = methodRule(method, era, 'request');
  if (rule === undefined) return err(methodNotFound(id, era));
  const memberProblem = checkMembers(rule, method, params);
  if (memberProblem !== null) return err(invalidParams(id, era, memberProblem));
  const name = rule.name === null ? null : (params[rule.name] as string);
  const nameProblem = checkNameHeader(headers, name, rule, era);
  if (nameProblem !== null) return err(headerMismatch(id, nameProblem));
  return ok({ kind: 'request', era, id: id as RequestId, method, rule, params, meta, name, protocolVersion, replyAs });
}

interface Entry {
  readonly era: Era;
  readonly id: RequestId | null;
  readonly isRequest: boolean;
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
}

interface Entered {
  readonly meta: Envelope;
  readonly protocolVersion: string | null;
}

/** Envelope complete, version ours, and the two headers that every modern request carries equal the body (M2, M3, M4). */
function enterModern({ id, isRequest, method, headers }: Entry, rawMeta: JsonObject): Result<Entered, WireError> {
  const envelope = readEnvelope(rawMeta, 'modern');
  if (!envelope.ok) return err(invalidEnvelope(id, envelope.error));
  const claimed = envelope.value.protocolVersion as string;
  const versionHeader = header(headers, 'mcp-protocol-version');
  if (versionHeader !== null && versionHeader !== claimed) {
    return err(headerMismatch(id, 'MCP-Protocol-Version does not equal the version in params._meta'));
  }
  if (!isModernVersion(claimed)) return err(unsupportedVersion(id, claimed.slice(0, 64), MODERN_VERSIONS));
  const methodHeader = header(headers, 'mcp-method');
  if (isRequest && versionHeader === null) return err(headerMismatch(id, 'MCP-Protocol-Version is missing'));
  if (isRequest && methodHeader === null) return err(headerMismatch(id, 'Mcp-Method is missing'));
  if (methodHeader !== null && methodHeader !== method) {
    return err(headerMismatch(id, 'Mcp-Method does not equal the method of the body'));
  }
  return ok({ meta: envelope.value, protocolVersion: claimed });
}

/** No claim in the body, so legacy whatever the headers say; a header that says otherwise is refused, not obeyed (G4, L3). */
function enterLegacy({ id, isRequest, method, headers }: Entry, rawMeta: JsonObject): Result<Entered, WireError> {
  const versionHeader = header(headers, 'mcp-protocol-version');
  if (versionHeader !== null && isModernVersion(versionHeader)) {
    if (isRequest) {
      const missing = [META.protocolVersion, META.clientCapabilities].filter((key) => !Object.hasOwn(rawMeta, key));
      return err(
        invalidEnvelope(
          id,
          `MCP-Protocol-Version names ${versionHeader} but params._meta lacks ${missing.join(' and ')}`,
        ),
      );
    }
  } else if (versionHeader !== null && !isLegacyVersion(versionHeader) && method !== 'initialize') {
    return err(invalidRequest(id, 'MCP-Protocol-Version names no version this server supports'));
  }
  const envelope = readEnvelope(rawMeta, 'legacy');
  if (!envelope.ok) return err(invalidEnvelope(id, envelope.error));
  // Older clients never send this header. Whoever routes by it must not see another method than we do (PH-04).
  const methodHeader = header(headers, 'mcp-method');
  if (methodHeader !== null && methodHeader !== method) {
    return err(headerMismatch(id, 'Mcp-Method does not equal the method of the body'));
  }
  return ok({ meta: envelope.value, protocolVersion: versionHeader });
}

function checkMediaType(headers: IncomingHttpHeaders): WireError | null {
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

const JSON_TEXT: Readonly<Record<Exclude<JsonProblem['tag'], 'too_large'>, string>> = {
  not_utf8: 'is not well-formed UTF-8 text',
  syntax: 'is not valid JSON',
  duplicate_key: 'repeats a key',
  forbidden_key: 'has a forbidden key',
  too_deep: 'nests too deeply',
  too_many: 'has too many members',
  unsafe_integer: 'has a number that JSON readers do not agree on, send it as a string,',
};

function jsonError(problem: JsonProblem, limits: ReadLimits): WireError {
  if (problem.tag === 'too_large') return invalidRequest(null, `The body is larger than ${limits.maxBytes} bytes`, 413);
  const key = 'key' in problem ? ` ${shown(problem.key)}` : '';
  return parseError(`The body ${JSON_TEXT[problem.tag]}${key} at offset ${problem.at}`);
}

function readableId(id: Json | undefined): RequestId | null {
  if (typeof id === 'string') return id.length <= MAX_ID ? id : null;
  return Number.isSafeInteger(id) ? (id as number) : null;
}

/** JSON-RPC 2.0 as MCP narrows it: requests and notifications only, no other members. */
function checkShape(message: JsonObject): string | null {
  if (Object.hasOwn(message, 'result') || Object.hasOwn(message, 'error')) {
    return 'Responses are not accepted: this server sends no requests';
  }
  for (const key of Object.keys(message)) {
    if (!TOP_LEVEL.has(key)) return `Unknown member ${shown(key)}: a message has jsonrpc, id, method and params`;
  }
  if (message['jsonrpc'] !== '2.0') return 'jsonrpc must be "2.0"';
  const method = message['method'];
  if (typeof method !== 'string' || method.length === 0 || method.length > MAX_METHOD) {
    return `method must be a string of 1 to ${MAX_METHOD} characters`;
  }
  if (message['params'] !== undefined && !isJsonObject(message['params'])) return 'params must be an object';
  return null;
}

/** One answer for both eras: JSON if the client takes it, else one SSE event, else nothing fits (L8). */
function acceptable(accept: string | undefined): 'json' | 'sse' | null {
  if (accept === undefined || accept === 'application/json, text/event-stream') return 'json';
  let sse = false;
  for (const range of accept.toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim());
    if (parameters.some((parameter) => /^q=0(?:\.0{0,3})?$/.test(parameter))) continue;
    if (type === 'application/json' || type === '*/*' || type === 'application/*') return 'json';
    if (type === 'text/event-stream' || type === 'text/*') sse = true;
  }
  return sse ? 'sse' : null;
}

function header(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  if (value === undefined) return null;
  return trimOws(Array.isArray(value) ? value.join(', ') : value);
}

const metaLookalike = lookalikesOf(Object.values(META));
const MEMBER_LOOKALIKES = new Map(
  methodRules().map(([method, rule]) => [method, lookalikesOf(['_meta', ...Object.keys(rule.members)])]),
);

function checkMembers(rule: MethodRule, method: string, params: JsonObject): string | null {
  const imitated = MEMBER_LOOKALIKES.get(method)?.(params) ?? null;
  if (imitated !== null) return `params has a look-alike of a member of ${method}: ${shown(imitated)}`;
  for (const [key, member] of Object.entries(rule.members)) {
    const value = Object.hasOwn(params, key) ? params[key] : undefined;
    if (value === undefined) {
      if (member.required) return `params.${key} is missing`;
    } else if (!fits(value, member.type)) {
      return `params.${key} must be ${MEMBER_NOUN[member.type]}`;
    }
  }
  return null;
}

const MEMBER_NOUN = { string: 'a string', object: 'an object', id: 'a string or an integer', any: 'a value' } as const;

function fits(value: Json, type: MemberRule['type']): boolean {
  if (type === 'any') return true;
  if (type === 'string') return typeof value === 'string';
  if (type === 'object') return isJsonObject(value);
  return type === 'id' && readableId(value) !== null;
}

/** `Mcp-Name` equals the body. Required of modern requests that have a name; whoever sends it otherwise must not lie either. */
function checkNameHeader(headers: IncomingHttpHeaders, name: string | null, rule: MethodRule, era: Era): string | null {
  const value = header(headers, 'mcp-name');
  if (value === null) return era === 'modern' && name !== null ? 'Mcp-Name is missing' : null;
  const decoded = decodeHeaderValue(value);
  if (decoded === null) return 'Mcp-Name has invalid characters or invalid Base64';
  if (name === null) return 'Mcp-Name was sent for a method that has no name';
  return decoded === name ? null : `Mcp-Name does not equal params.${rule.name}`;
}

/** A name from outside, fit to stand in an error message: short, printable, quoted. */
function shown(key: string): string {
  return JSON.stringify(key.slice(0, 64)).replace(/[^\x20-\x7e]/g, '?');
}
