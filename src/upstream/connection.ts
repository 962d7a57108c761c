/**
 * A connection to one MCP server, whatever its transport and era. Implemented by `upstream/http`, `upstream/sse` and `upstream/stdio`;
 * all pass `test/contracts/connection.ts`.
 *
 * Promises
 * - Request ids and progress tokens on the wire are ours, unique per connection; what the caller used never leaves.
 * - `request` settles exactly once, no later than the deadline: with the server's reply, or with an UpstreamFault.
 *   While the server waits for answers (`onAsk`) the server's own time limit does not run; the caller's signal does.
 * - The reply is strictly parsed plain JSON within the size limits; it is not otherwise inspected here. The same holds for
 *   notifications and asks, which are handed over only while their request is unsettled, in order.
 * - Cancelling: HTTP closes the response stream, legacy HTTP and stdio send `notifications/cancelled` (PROTOCOL.md C10).
 * - Nothing is retried that may have reached the server. A legacy event stream that broke is resumed, which sends nothing again.
 * - A task of the server is bounded by the caller's signal, each step of it by the server's own limit.
 * - A question or log line that came on no request's own stream (stdio, HTTP+SSE, a GET stream) goes to the only request that can be
 *   meant; a log line of a legacy server that came there goes to nobody.
 * Listeners that are handed in must not throw.
 */
import type { JsonObject } from '../lib/json.ts';
import { Fault } from '../lib/fault.ts';

export type Era = 'modern' | 'legacy';

/** One thing a server wants to know: `elicitation/create`, `sampling/createMessage` or `roots/list`. */
export interface Ask {
  readonly method: string;
  readonly params: JsonObject;
}

/** Called with at least one ask. An error in the answers declines that ask; a rejection gives the whole request up. */
export type OnAsk = (
  asks: ReadonlyMap<string, Ask>,
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, UpstreamReply>>;

export interface ServerNotification {
  readonly method: string;
  readonly params: JsonObject;
}

export interface UpstreamRequest {
  readonly method: string;
  /** Without `_meta` envelope keys: the connection adds what its era needs. */
  readonly params: JsonObject;
  /** For tools/call: the pinned input schema, from which `Mcp-Param-*` headers are mirrored. */
  readonly inputSchema?: JsonObject;
  /** Instead of the server's own time limit. */
  readonly timeoutMs?: number;
  /** Never sent in another session than the one it was meant for: `upstream_session_lost`, not dispatched, once there is a new one. */
  readonly once?: boolean;
  /** Modern servers: what to declare for this request. Legacy servers were told when the lane was opened. Default: nothing. */
  readonly capabilities?: JsonObject;
  /** The least severe log line wanted. Default: none are asked for. */
  readonly logLevel?: string;
  /** Progress (asked for only if this is given; without its token) and, with `logLevel`, log lines of this request, and nothing else. */
  readonly onNotification?: (notification: ServerNotification) => void;
  /** Without it nothing may be asked: a legacy server is refused, a modern one's question is a protocol violation unless `inputRequired` is `return`. */
  readonly onAsk?: OnAsk;
  /** What to do with a modern server's `input_required`: ask and go on (default), or hand the result over as it is. */
  readonly inputRequired?: 'follow' | 'return';
  /** The server closed the stream of this request and wants to be asked again in so many ms (2025-11-25). The connection does that by itself. */
  readonly onPolling?: (retryMs: number) => void;
  /** The server may run this as a task of its own; the connection polls it to its end. `required`: the server will take it no other way. */
  readonly task?: 'optional' | 'required';
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

/** What a server said changed. A hint: look again. `uri` is a resource that `watch` named. */
export type ServerChange =
  | { readonly what: 'tools' | 'prompts' | 'resources' }
  | { readonly what: 'resource'; readonly uri: string };

export interface Connection {
  readonly identity: UpstreamIdentity;
  /** @throws UpstreamFault */
  request(request: UpstreamRequest, signal: AbortSignal): Promise<UpstreamReply>;
  onChange(listener: (change: ServerChange) => void): () => void;
  /**
   * From now on, the resources whose updates are wanted; replaces the set before. Best effort: a server that cannot
   * subscribe is not asked. After a gap in hearing every watched resource is reported once.
   */
  watch(uris: ReadonlySet<string>): void;
  /** Resolves when the connection is gone (process exit, protocol violation, close). */
  readonly closed: Promise<{ readonly reason: string }>;
  close(): Promise<void>;
}

export type UpstreamFaultCode =
  | 'upstream_unreachable'
  | 'upstream_refused_address' // the dialler would not connect there
  | 'upstream_identity' // another key or another package than the pinned one (TD-07, TD-08)
  | 'upstream_auth' // 401/403 from the server: our credential, not the caller's
  | 'upstream_unlinked' // the person has linked no account of theirs
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
  /** The server is left alone for so long, ms; left out: this says nothing about that. */
  readonly retryAfterMs?: number;

  constructor(
    code: UpstreamFaultCode,
    message: string,
    options: { dispatched: 'no' | 'unknown'; cause?: unknown; retryAfterMs?: number },
  ) {
    super(code, message, options);
    this.dispatched = options.dispatched;
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs;
  }
}
