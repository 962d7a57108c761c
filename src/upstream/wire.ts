/**
 * One way to a server, before anything is agreed on it: requests go out, replies come back, and what the server says
 * besides goes to the request it belongs to or, when that cannot be told, to one place for all ("loose"). Three
 * implementations: Streamable HTTP, HTTP+SSE, stdio. A Connection is a wire plus what was agreed (`link.ts`).
 */
import type { JsonObject } from '../lib/json.ts';
import { type Ask, type Era, type UpstreamReply, UpstreamFault } from './connection.ts';

export type OnNotification = (method: string, params: JsonObject) => void;

/** Answers what a legacy server asks; null: nobody can. `signal`: the server took its question back. A rejection is answered as an error. */
export type Answerer = (ask: Ask, signal: AbortSignal) => Promise<UpstreamReply> | null;

/** What reaches one request before its reply. Nothing is called after the exchange has settled. */
export interface Hearing {
  /** Progress and log lines on its own stream; for `subscriptions/listen` everything of that subscription. */
  readonly onNotification?: OnNotification;
  readonly onAsk?: Answerer;
  /** Legacy HTTP: the stream was closed and will be resumed in so many ms. */
  readonly onPolling?: (retryMs: number) => void;
}

export interface WireRequest {
  readonly method: string;
  /** Complete: with the envelope of the era. */
  readonly params: JsonObject;
  /** HTTP only: fields beyond those every request has. */
  readonly headers?: ReadonlyArray<readonly [name: string, value: string]>;
  /** HTTP only: not sent again in a new session. */
  readonly once?: boolean;
  readonly hearing?: Hearing | undefined;
}

/** What belongs to no request that the wire could name. */
export interface Loose {
  readonly onNotification: OnNotification;
  readonly onAsk: Answerer;
}

/** `unsupported` ends all trying. `retryMs`: how long the server wants us to stay away, if it said so. */
export type HearEnd = 'unsupported' | { readonly retryMs: number | null };

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
  /** A stream on which the server may speak unasked, until it ends; `opened` when it is there. Null: the wire has one of its own. */
  readonly hear: ((signal: AbortSignal, opened: () => void) => Promise<HearEnd>) | null;
  onLoose(loose: Loose): void;
  readonly closed: Promise<{ readonly reason: string }>;
  close(reason: string): Promise<void>;
}

export const NOBODY: Loose = { onNotification: () => {}, onAsk: () => null };

/** The fault of a request that was given up, by what its signal says. */
export function givenUp(signal: AbortSignal, timedOut: boolean, dispatched: 'no' | 'unknown'): UpstreamFault {
  const reason: unknown = signal.reason;
  const late = timedOut || reason === 'deadline' || (reason instanceof DOMException && reason.name === 'TimeoutError');
  return late
    ? new UpstreamFault('upstream_timeout', 'the server did not answer in time', { dispatched })
    : new UpstreamFault('upstream_cancelled', 'the request was cancelled', { dispatched, cause: reason });
}
