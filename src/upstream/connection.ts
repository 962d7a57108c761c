/**
 * A connection to one MCP server, whatever its transport and era. Implemented by `upstream/http` and `upstream/stdio`;
 * both pass `test/contracts/connection.ts`.
 *
 * Promises
 * - Request ids on the wire are ours, unique per connection; what the caller used never leaves.
 * - `request` settles exactly once, no later than the deadline: with the server's reply, or with an UpstreamFault.
 * - The reply is strictly parsed plain JSON within the size limits; it is not otherwise inspected here.
 * - Cancelling: HTTP closes the response stream, legacy HTTP and stdio send `notifications/cancelled` (PROTOCOL.md C10).
 * - Nothing is retried that may have reached the server.
 */
import type { JsonObject } from '../lib/json.ts';
import { Fault } from '../lib/fault.ts';

export type Era = 'modern' | 'legacy';

export interface UpstreamRequest {
  readonly method: string;
  /** Without `_meta` envelope keys: the connection adds what its era needs. */
  readonly params: JsonObject;
  /** For tools/call: the pinned input schema, from which `Mcp-Param-*` headers are mirrored. */
  readonly inputSchema?: JsonObject;
  /** Never sent in another session than the one it was meant for: `upstream_session_lost`, not dispatched, once there is a new one. */
  readonly once?: boolean;
}

export type UpstreamReply =
  | { readonly kind: 'result'; readonly result: JsonObject }
  | {
      readonly kind: 'error';
      readonly error: { readonly code: number; readonly message: string; readonly data?: unknown };
    };

export interface UpstreamIdentity {
  readonly era: Era;
  readonly protocolVersion: string;
  readonly serverInfo: JsonObject;
  readonly instructions: string | null;
  readonly capabilities: JsonObject;
}

export interface Connection {
  readonly identity: UpstreamIdentity;
  /** @throws UpstreamFault */
  request(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamReply>;
  /** The server said its tools changed. A hint: refresh. */
  onToolsChanged(listener: () => void): () => void;
  /** Resolves when the connection is gone (process exit, protocol violation, close). */
  readonly closed: Promise<{ readonly reason: string }>;
  close(): Promise<void>;
}

export type UpstreamFaultCode =
  | 'upstream_unreachable'
  | 'upstream_refused_address' // the dialler would not connect there
  | 'upstream_auth' // 401/403 from the server: our credential, not the caller's
  | 'upstream_timeout'
  | 'upstream_cancelled'
  | 'upstream_protocol' // what came back is not MCP
  | 'upstream_too_large'
  | 'upstream_closed' // process died or stream broke while waiting
  | 'upstream_session_lost' // a legacy server forgot us and has met us anew; only of requests marked `once`
  | 'upstream_sandbox'; // the isolation backend is missing or refused

/** `dispatched`: whether the request may have had an effect. `no` only when we know that not one byte was sent. */
export class UpstreamFault extends Fault<UpstreamFaultCode> {
  readonly dispatched: 'no' | 'unknown';

  constructor(code: UpstreamFaultCode, message: string, options: { dispatched: 'no' | 'unknown'; cause?: unknown }) {
    super(code, message, options);
    this.dispatched = options.dispatched;
  }
}
