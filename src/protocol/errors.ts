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

export type ErrorCode = (typeof CODES)[keyof typeof CODES];
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
