/** signatures first; the ladder follows in the next commit */
import type { IncomingHttpHeaders } from 'node:http';
import type { JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import type { RequestId, WireError } from './errors.ts';
import type { Envelope } from './meta.ts';
import type { MethodRule } from './methods.ts';
import type { Era } from './versions.ts';

export interface ReadLimits {
  readonly maxBytes: number;
  readonly maxDepth: number;
  readonly maxMembers?: number;
}

export interface InboundRequest {
  readonly kind: 'request';
  readonly era: Era;
  readonly id: RequestId;
  readonly method: string;
  readonly rule: MethodRule;
  readonly params: JsonObject;
  readonly meta: Envelope;
  /** The name this request is about (`params.name` of tools/call), equal to the `Mcp-Name` header; null when its method has none. */
  readonly name: string | null;
  /** Modern: the claimed version. Legacy: the `MCP-Protocol-Version` header, null when absent (the session knows, else 2025-03-26). */
  readonly protocolVersion: string | null;
  /** What the client takes: one SSE event instead of JSON only when it accepts nothing else. */
  readonly replyAs: 'json' | 'sse';
}

export interface InboundNotification {
  readonly kind: 'notification';
  readonly era: Era;
  readonly method: string;
  /** null: not in the table. Answer 202 and drop it (M28); it is never relayed. */
  readonly rule: MethodRule | null;
  readonly params: JsonObject;
  readonly meta: Envelope;
  readonly protocolVersion: string | null;
}

export type InboundMessage = InboundRequest | InboundNotification;

export type ReadMessage = (
  body: Uint8Array,
  headers: IncomingHttpHeaders,
  limits: ReadLimits,
) => Result<InboundMessage, WireError>;
