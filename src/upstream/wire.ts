/**
 * One way to a server, before anything is agreed on it: requests go out, replies come back. Two implementations,
 * stdio and HTTP. A Connection is a wire plus what was agreed (`link.ts`).
 */
import type { JsonObject } from '../lib/json.ts';
import { type Era, type UpstreamReply, UpstreamFault } from './connection.ts';

export interface WireRequest {
  readonly method: string;
  /** Complete: with the envelope of the era. */
  readonly params: JsonObject;
  /** HTTP only: fields beyond those every request has. */
  readonly headers?: ReadonlyArray<readonly [name: string, value: string]>;
  /** HTTP only: not sent again in a new session. */
  readonly once?: boolean;
}

export interface Wire {
  /**
   * Sends without waiting for anything first, settles once. `timeoutMs` null: until the signal or the end of the wire.
   * @throws UpstreamFault
   */
  exchange(request: WireRequest, signal: AbortSignal, timeoutMs: number | null): Promise<UpstreamReply>;
  notify(method: string, params: JsonObject): Promise<void>;
  /** After the handshake: what every later message must carry, and who may speak when. */
  agree(era: Era, protocolVersion: string): void;
  /** Repeats the handshake when the server has forgotten us (legacy HTTP sessions). */
  onForgotten(restore: () => Promise<void>): void;
  /** Where notifications outside of any answer arrive, until the stream ends. Null: they come by themselves. `unsupported` ends all trying. */
  readonly hear: ((signal: AbortSignal) => Promise<'ended' | 'unsupported'>) | null;
  onNotification(listener: (method: string) => void): void;
  readonly closed: Promise<{ readonly reason: string }>;
  close(reason: string): Promise<void>;
}

/** The fault of a request that was given up, by what its signal says. */
export function givenUp(signal: AbortSignal, timedOut: boolean, dispatched: 'no' | 'unknown'): UpstreamFault {
  const reason: unknown = signal.reason;
  const late = timedOut || reason === 'deadline' || (reason instanceof DOMException && reason.name === 'TimeoutError');
  return late
    ? new UpstreamFault('upstream_timeout', 'the server did not answer in time', { dispatched })
    : new UpstreamFault('upstream_cancelled', 'the request was cancelled', { dispatched, cause: reason });
}
