/**
 * Protocol errors as values: JSON-RPC code, HTTP status, and the id of the request they answer (G3, M23).
 * Messages are for the caller: they name the field and the remedy and repeat nothing an attacker sent beyond short names.
 * Whether a refusal is an error, a challenge or an `isError` result is the gateway's decision, not made here.
 */
import type { Json } from '../lib/json.ts';
import type { Era } from './versions.ts';

export const CODES = {
  parseError: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internalError: -32603,
  headerMismatch: -32020,
  missingCapability: -32021,
  unsupportedVersion: -32022,
} as const;

/** Retired with 2026-07-28; never sent to a modern client (M23). */
export const LEGACY_CODES = {
  resourceNotFound: -32002,
  /** 2025-11-25 only. */
  urlElicitationRequired: -32042,
} as const;

export type ErrorCode = (typeof CODES)[keyof typeof CODES] | (typeof LEGACY_CODES)[keyof typeof LEGACY_CODES];
export type RequestId = string | number;

export interface WireError {
  readonly httpStatus: number;
  /** null: the id could not be read, or there is none (a notification). The member is left out on the wire. */
  readonly id: RequestId | null;
  readonly code: number;
  readonly message: string;
  readonly data?: Json;
}

const wire = (httpStatus: number, code: ErrorCode, id: RequestId | null, message: string, data?: Json): WireError =>
  data === undefined ? { httpStatus, id, code, message } : { httpStatus, id, code, message, data };

/** Legacy SDK clients read a JSON-RPC error only from a 200; the modern revision gives the status a meaning. */
const inBand = (era: Era, modernStatus: number): number => (era === 'modern' ? modernStatus : 200);

export const parseError = (message: string): WireError => wire(400, CODES.parseError, null, message);

export const invalidRequest = (id: RequestId | null, message: string, httpStatus = 400): WireError =>
  wire(httpStatus, CODES.invalidRequest, id, message);

export const methodNotFound = (id: RequestId | null, era: Era): WireError =>
  wire(inBand(era, 404), CODES.methodNotFound, id, 'Method not found');

export const invalidParams = (id: RequestId | null, era: Era, message: string): WireError =>
  wire(inBand(era, 400), CODES.invalidParams, id, message);

/** The envelope of a request is incomplete or malformed (M2). Always 400: the request claimed to be modern. */
export const invalidEnvelope = (id: RequestId | null, message: string): WireError =>
  wire(400, CODES.invalidParams, id, message);

export const internalError = (id: RequestId | null, message = 'Internal error', httpStatus = 200): WireError =>
  wire(httpStatus, CODES.internalError, id, message);

export const headerMismatch = (id: RequestId | null, message: string): WireError =>
  wire(400, CODES.headerMismatch, id, `Header mismatch: ${message}`);

/** `required` is a ClientCapabilities object keyed by what is missing, for example `{ sampling: {} }` (M22). */
export const missingCapability = (id: RequestId | null, required: Json): WireError =>
  wire(400, CODES.missingCapability, id, 'Missing required client capability', { requiredCapabilities: required });

export const unsupportedVersion = (id: RequestId | null, requested: string, supported: readonly string[]): WireError =>
  wire(400, CODES.unsupportedVersion, id, 'Unsupported protocol version', { supported: [...supported], requested });

/** A session that is unknown, ended or belongs to somebody else: all look the same (L2, PH-04). */
export const sessionNotFound = (id: RequestId | null): WireError =>
  wire(404, CODES.invalidRequest, id, 'Session not found: send initialize to start a new one');

export const sessionRequired = (id: RequestId | null): WireError =>
  wire(400, CODES.invalidRequest, id, 'Missing Mcp-Session-Id header: send initialize first');

/** There is no such resource for this caller (M24). */
export const resourceNotFound = (id: RequestId | null, era: Era): WireError =>
  era === 'modern'
    ? wire(400, CODES.invalidParams, id, 'Resource not found')
    : wire(200, LEGACY_CODES.resourceNotFound, id, 'Resource not found');

/**
 * A server's error code as this client may read it. What speaks of the hop between us and the server (versions, headers,
 * capabilities, our own malformed request) is our mistake and becomes -32603; retired and undefined codes of the reserved range never
 * pass (M22, M23, B). `isRead`: the request was `resources/read`, where eras name "not found" differently.
 */
export function upstreamError(
  code: number,
  era: Era,
  isRead = false,
): { readonly code: number; readonly httpStatus: number } {
  const said = Number.isSafeInteger(code) ? code : CODES.internalError;
  if (said === CODES.methodNotFound) return { code: said, httpStatus: inBand(era, 404) };
  if (said === CODES.invalidParams || said === LEGACY_CODES.resourceNotFound) {
    const legacy = isRead ? LEGACY_CODES.resourceNotFound : said;
    return era === 'modern' ? { code: CODES.invalidParams, httpStatus: 400 } : { code: legacy, httpStatus: 200 };
  }
  // -32000 to -32019 are the implementation's own: a legacy client may know its server's, a modern one is told none (M23).
  const own = said >= -32019 && said <= -32000;
  const reserved = said >= -32768 && said <= -32000 && !(own && era === 'legacy');
  return { code: reserved ? CODES.internalError : said, httpStatus: 200 };
}

/** A name from outside, fit to stand in an error message: short, printable, quoted. */
export function shown(key: string): string {
  return JSON.stringify(key.slice(0, 64)).replace(/[^\x20-\x7e]/g, '?');
}
