/**
 * Reads the event streams of the HTTP transports: bytes in, whole JSON-RPC messages out, within bounds. Remembers how far
 * it came (event id, `retry`), so that a broken stream can be resumed where that is allowed.
 * Not done here: what a message means.
 */
import { type SseEvent, sseReader } from '../protocol/sse.ts';
import { UpstreamFault } from './connection.ts';
import { repeated } from './credentials.ts';
import { floodGauge } from './flood.ts';
import { violation } from './http-rules.ts';
import { type FromServer, readFromServer } from './messages.ts';
import type { Pace } from './pace.ts';
import type { Answer, TakePiece } from './round-trip.ts';

/** How far a stream came. One per exchange; survives the connections it takes. */
export interface StreamPosition {
  /** Null: the server gave no ids, so the stream cannot be resumed. */
  lastId: string | null;
  /** How long the server wants us to wait before we come again, ms. */
  retryMs: number | null;
  /** Events so far: whether a connection brought anything. */
  events: number;
}

export const atStart = (): StreamPosition => ({ lastId: null, retryMs: null, events: 0 });

export interface StreamOptions {
  readonly maxBytes: number;
  /** Bytes of the whole stream; left out for one without end. */
  readonly maxStreamBytes?: number;
  readonly ownCredential: (body: Uint8Array) => boolean;
  readonly pace: Pace;
  readonly position: StreamPosition;
  /** Called per message; what it throws ends the stream. True: enough, nothing more is read. */
  readonly onMessage: (message: FromServer) => boolean;
  /** An event of another type than `message`. */
  readonly onOther?: (event: SseEvent) => void;
}

/** An id is sent back in a header. */
const EVENT_ID = /^[\x21-\x7e](?:[\x20-\x7e]{0,1022}[\x21-\x7e])?$/;

export function streamTaker(options: StreamOptions): TakePiece {
  const { maxBytes, maxStreamBytes, ownCredential, pace, position, onMessage, onOther } = options;
  const flooded = floodGauge(pace.now);
  let fault: unknown = null;
  let enough = false;

  function takeEvent(event: SseEvent): void {
    position.events++;
    if (event.id !== undefined) position.lastId = EVENT_ID.test(event.id) ? event.id : null;
    if (event.event !== undefined && event.event !== 'message') return onOther?.(event);
    if (event.data === '') return; // keep-alives, priming
    const since = pace.now();
    const bytes = Buffer.from(event.data);
    if (ownCredential(bytes)) throw repeated();
    const message = readFromServer(bytes, maxBytes);
    if (!message.ok) throw violation(message.error);
    if (message.value.kind === 'notification' && flooded(bytes.length))
      throw new UpstreamFault('upstream_too_large', 'the server floods its stream with notifications', {
        dispatched: 'unknown',
      });
    enough = onMessage(message.value);
    if (message.value.kind === 'reply') pace.spare(since);
  }

  const reader = sseReader({
    maxEventBytes: maxBytes,
    ...(maxStreamBytes !== undefined && { maxStreamBytes }),
    onRetry: (ms) => void (position.retryMs = ms),
    onEvent: (event) => {
      if (fault !== null || enough) return;
      try {
        takeEvent(event);
      } catch (error) {
        fault = error;
      }
    },
  });
  return (chunk) => {
    const fed = reader.feed(chunk);
    if (fault !== null) throw fault as Error;
    if (enough) return true;
    if (fed.ok) return false;
    if (fed.error === 'not_utf8') throw violation('the event stream is not UTF-8');
    throw new UpstreamFault('upstream_too_large', `the event stream exceeds ${maxBytes} bytes`, {
      dispatched: 'unknown',
    });
  };
}

export function mediaOf(headers: Answer['headers']): string | undefined {
  const type = headers['content-type'];
  return typeof type === 'string' ? type.split(';', 1)[0]?.trim().toLowerCase() : undefined;
}
