/**
 * `_meta`: the reserved keys, and the per-request envelope taken out of it (BASE section _meta, M2).
 * Reserved keys are set by us on each hop and never copied (G7); `rest` is what a caller attached for others.
 * What the envelope says about the client is self-reported: for display and audit, never for a decision.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';

export const META = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientInfo: 'io.modelcontextprotocol/clientInfo',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  logLevel: 'io.modelcontextprotocol/logLevel',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  progressToken: 'progressToken',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  baggage: 'baggage',
} as const;

const NAMED: ReadonlySet<string> = new Set(Object.values(META));
/** From the least severe to the most. */
export const LOG_LEVELS: readonly string[] = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
];

/** RFC 5424 names, as MCP has them. */
export const isLogLevel = (text: string): boolean => LOG_LEVELS.includes(text);

export interface TraceContext {
  /** 32 lower-case hexadecimal digits. */
  readonly traceId: string;
  /** 16 lower-case hexadecimal digits. */
  readonly parentId: string;
  readonly sampled: boolean;
}

export interface Envelope {
  /** The version claimed in the body; null in the legacy era. */
  readonly protocolVersion: string | null;
  readonly clientInfo: JsonObject | null;
  readonly clientCapabilities: JsonObject | null;
  readonly logLevel: string | null;
  readonly progressToken: string | number | null;
  readonly trace: TraceContext | null;
  /** Unreserved members, as sent. */
  readonly rest: JsonObject;
}

export const NO_ENVELOPE: Envelope = {
  protocolVersion: null,
  clientInfo: null,
  clientCapabilities: null,
  logLevel: null,
  progressToken: null,
  trace: null,
  rest: {},
};

/** Whether MCP reserves the key: its prefix has `modelcontextprotocol` or `mcp` as second label, or the specification names it. */
export function isReservedKey(key: string): boolean {
  if (NAMED.has(key)) return true;
  const slash = key.indexOf('/');
  if (slash < 0) return false;
  const second = key.slice(0, slash).split('.')[1];
  return second === 'modelcontextprotocol' || second === 'mcp';
}

/** The members of a `_meta` that are the sender's own: reserved keys are left out. */
export function unreserved(meta: JsonObject): JsonObject {
  const rest: Record<string, Json> = {};
  for (const key of Object.keys(meta)) if (!isReservedKey(key)) rest[key] = meta[key] as Json;
  return rest;
}

/**
 * Reads the envelope out of `params._meta`. The error is one sentence that names the key.
 * Required keys are the modern era's; a legacy `_meta` carries a progress token and trace context at most.
 * Not checked: whether the version is one we speak.
 */
export function readEnvelope(meta: JsonObject, era: 'modern' | 'legacy'): Result<Envelope, string> {
  const progressToken = meta[META.progressToken] ?? null;
  if (progressToken !== null && typeof progressToken !== 'string' && !Number.isSafeInteger(progressToken)) {
    return err(`_meta.${META.progressToken} must be a string or an integer`);
  }
  const common = {
    progressToken: progressToken as string | number | null,
    trace: traceContext(meta[META.traceparent]),
    rest: unreserved(meta),
  };
  if (era === 'legacy') return ok({ ...NO_ENVELOPE, ...common });

  const missing = [META.protocolVersion, META.clientCapabilities].filter((key) => meta[key] === undefined);
  if (missing.length > 0) return err(`_meta lacks the required ${missing.join(' and ')}`);
  const protocolVersion = meta[META.protocolVersion];
  if (typeof protocolVersion !== 'string') return err(`_meta ${META.protocolVersion} must be a string`);
  const clientCapabilities = meta[META.clientCapabilities];
  if (!isJsonObject(clientCapabilities)) return err(`_meta ${META.clientCapabilities} must be an object`);
  const clientInfo = meta[META.clientInfo] ?? null;
  if (clientInfo !== null && !isImplementation(clientInfo)) {
    return err(`_meta ${META.clientInfo} must be an object with a name and a version`);
  }
  const logLevel = meta[META.logLevel] ?? null;
  if (logLevel !== null && (typeof logLevel !== 'string' || !LOG_LEVELS.includes(logLevel))) {
    return err(`_meta ${META.logLevel} must be one of ${LOG_LEVELS.join(', ')}`);
  }
  return ok({ protocolVersion, clientCapabilities, clientInfo, logLevel, ...common });
}

function isImplementation(value: Json): value is JsonObject {
  return isJsonObject(value) && typeof value['name'] === 'string' && typeof value['version'] === 'string';
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** W3C Trace Context 3.2: what is not valid is ignored, and a new trace begins. */
export function traceContext(value: unknown): TraceContext | null {
  if (typeof value !== 'string' || value.length > 256) return null;
  const match = TRACEPARENT.exec(value);
  if (match === null) return null;
  const [, version, traceId = '', parentId = '', flags = '', more] = match;
  if (version === 'ff' || (version === '00' && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return null;
  return { traceId, parentId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}
