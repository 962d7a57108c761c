/**
 * Reads what a client posted. One fixed ladder, so that every check comes before authorization, routing and limits
 * see a field, and the first rung that fails answers (PROTOCOL.md G3, G4, L3, L4, M1-M5, M7; CONTROLS PH-01, PH-02, PH-06):
 *   media type, size, strict JSON, shape, era (from the body, never from a header), envelope, version,
 *   headers equal body, method known, members of params, name header. A batch is the same ladder for each of its elements.
 * Long because it is that one sequence. Not checked here: who calls, the session, whether its version has batches, whether a
 * response answers anything we asked, arguments against the tool's schema, `Mcp-Param-*` headers (`param-headers.ts`).
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
  shown,
  unsupportedVersion,
} from './errors.ts';
import { lookalikesOf } from './key-fold.ts';
import { type Envelope, META, readEnvelope } from './meta.ts';
import { type MemberRule, type MethodRule, methodRule, methodRules } from './methods.ts';
import { type InboundReply, readReply } from './read-reply.ts';
import { type Accepts, acceptable, checkMediaType, checkNameHeader, header } from './request-headers.ts';
import { type Era, MODERN, MODERN_VERSIONS, isLegacyVersion, isModernVersion } from './versions.ts';

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
  readonly accepts: Accepts;
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

export type InboundMessage = InboundRequest | InboundNotification | InboundReply;

/** Legacy only, and of those only 2025-03-26 (L4): the session knows. */
export interface InboundBatch {
  readonly kind: 'batch';
  readonly accepts: Accepts;
  /** In the order they were sent, each read by the whole ladder; one that fails does not touch the others. */
  readonly elements: readonly Result<InboundMessage, WireError>[];
}

const MAX_ID = 256;
const MAX_METHOD = 256;
/** Members of `params` and of `_meta`, which are compared key by key before we know who calls. Arguments have only the JSON limits. */
const MAX_MEMBERS = 100;
/** Messages in one batch. */
const MAX_BATCH = 50;
const TOP_LEVEL: ReadonlySet<string> = new Set(['jsonrpc', 'id', 'method', 'params']);
const NO_MEMBERS: JsonObject = Object.freeze({});

/**
 * Promises: what it returns is plain data, every field with a meaning has been checked once, and headers say what the body says.
 * The error carries the request id whenever one was readable. The body is parsed once.
 */
export function readBody(
  body: Uint8Array,
  headers: IncomingHttpHeaders,
  limits: ReadLimits,
): Result<InboundMessage | InboundBatch, WireError> {
  const mediaProblem = checkMediaType(headers);
  if (mediaProblem !== null) return err(mediaProblem);
  const parsed = parseStrictJson(body, limits);
  if (!parsed.ok) return err(jsonError(parsed.error, limits));
  const accepts = acceptable(headers.accept);
  return Array.isArray(parsed.value)
    ? readBatch(parsed.value as readonly Json[], headers, accepts)
    : readMessage(parsed.value, headers, accepts);
}

/** The modern era has no batches, and headers that speak of one message cannot speak of many. */
function readBatch(
  elements: readonly Json[],
  headers: IncomingHttpHeaders,
  accepts: Accepts,
): Result<InboundBatch, WireError> {
  const versionHeader = header(headers, 'mcp-protocol-version');
  if (versionHeader !== null && isModernVersion(versionHeader)) {
    return err(invalidRequest(null, `Send one message per request: version ${versionHeader} has no batches`));
  }
  if (header(headers, 'mcp-method') !== null || header(headers, 'mcp-name') !== null) {
    return err(headerMismatch(null, 'Mcp-Method and Mcp-Name were sent with a batch'));
  }
  if (elements.length === 0 || elements.length > MAX_BATCH) {
    return err(invalidRequest(null, `A batch has 1 to ${MAX_BATCH} messages`));
  }
  const ids = elements.flatMap((element) => {
    const id = isJsonObject(element) && Object.hasOwn(element, 'method') ? readableId(element['id']) : null;
    return id === null ? [] : [id];
  });
  // Two answers with one id: nobody could say which is which.
  if (new Set(ids).size !== ids.length) return err(invalidRequest(null, 'A batch has two requests with the same id'));
  return ok({ kind: 'batch', accepts, elements: elements.map((element) => readElement(element, headers, accepts)) });
}

function readElement(element: Json, headers: IncomingHttpHeaders, accepts: Accepts): Result<InboundMessage, WireError> {
  const read = readMessage(element, headers, accepts);
  if (!read.ok) return read;
  const { kind, era, method } = read.value;
  const id = kind === 'request' ? read.value.id : null;
  if (era === 'modern') return err(invalidRequest(id, `Version ${MODERN} has no batches`));
  if (method === 'initialize') return err(invalidRequest(id, 'initialize cannot be part of a batch'));
  return read;
}

function readMessage(message: Json, headers: IncomingHttpHeaders, accepts: Accepts): Result<InboundMessage, WireError> {
  if (!isJsonObject(message)) return err(invalidRequest(null, 'The body must be one JSON-RPC message object'));
  const id = readableId(message['id']);
  if (Object.hasOwn(message, 'result') || Object.hasOwn(message, 'error')) return readReply(message, id, headers);

  const shapeProblem = checkShape(message);
  if (shapeProblem !== null) return err(invalidRequest(id, shapeProblem));
  const method = message['method'] as string;
  const params = (message['params'] ?? NO_MEMBERS) as JsonObject;
  const isRequest = Object.hasOwn(message, 'id');
  if (isRequest && id === null) {
    return err(invalidRequest(null, `id must be a string of at most ${MAX_ID} characters or an integer, not null`));
  }
  if (isRequest && !accepts.json && !accepts.sse) {
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
  return ok({ kind: 'request', era, id: id as RequestId, method, rule, params, meta, name, protocolVersion, accepts });
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

/** A request or notification of JSON-RPC 2.0 as MCP narrows it, without other members. */
function checkShape(message: JsonObject): string | null {
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
