/**
 * Server-sent events (WHATWG HTML 9.2), both ways. The writer makes one event; the reader takes bytes as they come, however they
 * are split, and hands over whole events: no code point is ever decoded from two halves apart, no event beyond the cap is kept.
 * Not done here: reconnecting, and any reading of what an event says.
 */
import { createParser } from 'eventsource-parser';
import { type Result, err, ok } from '../lib/result.ts';

export const SSE_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, no-store, no-transform',
  'x-accel-buffering': 'no',
} as const;

export interface SseEvent {
  readonly data: string;
  readonly event?: string;
  readonly id?: string;
}

/**
 * @param retryMs asks the client to wait this long before it reconnects.
 * @throws RangeError when `event` or `id` has a line break: that would end the field and begin another.
 */
export function sseEvent({ data, event, id, retryMs }: SseEvent & { readonly retryMs?: number }): string {
  if (/[\r\n\0]/.test(`${event ?? ''}${id ?? ''}`))
    throw new RangeError('an SSE field cannot hold a line break or NUL');
  let text = event === undefined ? '' : `event: ${event}\n`;
  if (id !== undefined) text += `id: ${id}\n`;
  if (retryMs !== undefined) text += `retry: ${Math.max(0, Math.trunc(retryMs))}\n`;
  for (const line of data.split(/\r\n|\r|\n/)) text += `data: ${line}\n`;
  return `${text}\n`;
}

/** The first event of a stream that can be resumed (L7): says where, and nothing else. Never for clients before 2025-11-25. */
export const primingEvent = (id: string, retryMs: number): string => sseEvent({ data: '', id, retryMs });

/** Keeps idle connections open; carries nothing. */
export const SSE_KEEP_ALIVE = ':\n\n';

export type SseProblem = 'not_utf8' | 'event_too_large' | 'stream_too_large';

export interface SseReader {
  /** After an error every later chunk gets the same error; events before it were delivered. */
  feed(chunk: Uint8Array): Result<void, SseProblem>;
  /** The stream is over. An event without its blank line is not an event; half a code point is an error. */
  end(): Result<void, SseProblem>;
}

export interface SseReaderOptions {
  readonly onEvent: (event: SseEvent) => void;
  /** The server asks to wait this long before reconnecting, ms. */
  readonly onRetry?: (ms: number) => void;
  /** Bytes of `data` of one event. */
  readonly maxEventBytes: number;
  /** Bytes of the whole stream, comments and all. Left out: no end in sight (a listen stream). */
  readonly maxStreamBytes?: number;
}

export function sseReader(options: SseReaderOptions): SseReader {
  const { onEvent, onRetry, maxEventBytes, maxStreamBytes = Number.POSITIVE_INFINITY } = options;
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let problem: SseProblem | null = null;
  let bytes = 0;

  const parser = createParser({
    // The parser counts code units of a whole unfinished event: lines and field names take a little more than the data.
    maxBufferSize: maxEventBytes + 1024,
    onEvent: ({ data, event, id }) => {
      if (problem !== null) return;
      if (Buffer.byteLength(data) > maxEventBytes) problem = 'event_too_large';
      else onEvent({ data, ...(event === undefined ? {} : { event }), ...(id === undefined ? {} : { id }) });
    },
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') problem ??= 'event_too_large';
    },
    ...(onRetry === undefined ? {} : { onRetry }),
  });

  const take = (decode: () => string): Result<void, SseProblem> => {
    if (problem === null) {
      let text: string | null = null;
      try {
        text = decode();
      } catch {
        problem = 'not_utf8';
      }
      if (text !== null && text !== '') parser.feed(text);
    }
    return problem === null ? ok(undefined) : err(problem);
  };

  return {
    feed: (chunk) => {
      bytes += chunk.byteLength;
      if (bytes > maxStreamBytes) problem ??= 'stream_too_large';
      return take(() => decoder.decode(chunk, { stream: true }));
    },
    end: () => take(() => decoder.decode()),
  };
}
