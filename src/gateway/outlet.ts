/**
 * The way to the client while its request is being answered: progress, log lines and questions go out as server-sent events on the
 * request's own response, which becomes a stream with the first of them (PROTOCOL.md M12, L6). Who takes no events gets none.
 * Nothing leaves before the call's intent is durable: `durableOutlet` holds messages back until it is, and drops them if it never is.
 */
import type { ServerResponse } from 'node:http';
import type { JsonObject } from '../lib/json.ts';
import { SSE_HEADERS, SSE_KEEP_ALIVE, sseEvent } from '../protocol/sse.ts';
import type { SseEvent } from '../protocol/sse.ts';

/** Events of one stream, kept so that its client can go on reading them elsewhere. Ids are unique within the session. */
export interface EventLog {
  /** Keeps an event and gives its id. `data` empty: the priming event. */
  append(data: string): string;
  end(): void;
}

export interface Outlet {
  /** Whether a message could reach the client now or by resuming. */
  readonly open: boolean;
  /** Sends one message that is not the reply. Nothing happens when the way is closed. */
  send(message: JsonObject): void;
  /** Lets the client come back for the rest after so many ms (2025-11-25); only streams that can be resumed. */
  release(retryMs: number): void;
  /** A comment, so that nobody takes a long silence for the end; opens the stream if it must. */
  keepAlive(): void;
}

export interface HttpOutlet extends Outlet {
  /** True once the response is a stream: the reply must be an event, too. */
  readonly streaming: boolean;
  /** The reply, last event of a stream. */
  finish(message: JsonObject): void;
  /** An event as it is, with the id it has in a log. Only for outlets without a log of their own. */
  put(event: SseEvent & { readonly retryMs?: number }): void;
  /** Resolves when the client has read what was written, or is gone. */
  drained(): Promise<void>;
}

export const CLOSED: Outlet = Object.freeze({
  open: false,
  send: () => undefined,
  release: () => undefined,
  keepAlive: () => undefined,
});

/** A slow reader may leave this many bytes unread before the stream is closed for it: of one reply, and of a stream without an end. */
export const MAX_UNREAD = { reply: 4 * 1_048_576, endless: 262_144 } as const;
const RETRY_MS = 1_000;

/** `log` is asked for once, with the first event, and only of clients that can resume. */
export function httpOutlet(
  response: ServerResponse,
  options: {
    readonly headers: Readonly<Record<string, string>>;
    readonly log: (() => EventLog | null) | null;
    /** 2025-11-25: the first event only says where to resume. Asked when there is a log. */
    readonly primes: () => boolean;
    /** Bytes. */
    readonly maxUnread: () => number;
  },
): HttpOutlet {
  let streaming = false;
  let gone = false;
  let finished = false;
  let log: EventLog | null = null;

  const write = (text: string): void => {
    if (gone || response.destroyed || response.writableEnded) return;
    if (response.writableLength > options.maxUnread()) {
      gone = true;
      response.destroy();
      return;
    }
    response.write(text);
  };
  const event = (data: string, retryMs?: number): void => {
    const id = log?.append(data);
    write(
      `${retryMs === undefined ? '' : `retry: ${retryMs}\n`}${sseEvent({ data, ...(id !== undefined && { id }) })}`,
    );
  };
  const begin = (): void => {
    if (streaming) return;
    streaming = true;
    log = options.log?.() ?? null;
    if (!response.headersSent && !response.destroyed)
      response.writeHead(200, { ...SSE_HEADERS, 'x-content-type-options': 'nosniff', ...options.headers });
    if (log && options.primes()) event('', RETRY_MS);
  };
  // After the reply nothing follows (M15), wherever the reply was written.
  const over = (): boolean => gone || response.destroyed || response.writableEnded;
  const reachable = (): boolean => !finished && (log !== null || !over());

  return {
    get open() {
      return reachable();
    },
    get streaming() {
      return streaming;
    },
    send(message) {
      if (!reachable()) return;
      begin();
      event(JSON.stringify(message));
    },
    release(retryMs) {
      if (finished || over() || options.log === null || !options.primes()) return;
      begin();
      if (log === null) return;
      write(`retry: ${Math.max(0, Math.trunc(retryMs))}\n\n`);
      gone = true;
      response.end();
    },
    keepAlive() {
      if (finished || over()) return;
      begin();
      write(SSE_KEEP_ALIVE);
    },
    finish(message) {
      event(JSON.stringify(message));
      finished = true;
      log?.end();
      if (!gone) response.end();
    },
    put(one) {
      begin();
      write(sseEvent(one));
    },
    drained: () =>
      new Promise((resolve) => {
        if (!response.writableNeedDrain || response.destroyed) return resolve();
        const done = (): void => {
          response.off('drain', done);
          response.off('close', done);
          resolve();
        };
        response.once('drain', done);
        response.once('close', done);
      }),
  };
}

/** Messages of a call held back while its intent is being written: a server that floods before that is cut off. */
const MAX_HELD = 100;

export interface DurableOutlet extends Outlet {
  /** Resolves when nothing is held any more. */
  flushed(): Promise<void>;
}

/**
 * Passes messages on once `record` resolved and while `may` says so: what a lock stops does not leave afterwards (R4).
 * `sent` hears of what went out; counts and digests are the caller's. CRASH: what was held was never sent.
 */
export function durableOutlet(
  outlet: Outlet,
  record: () => Promise<unknown>,
  may: () => boolean,
  sent: (message: JsonObject) => void,
): DurableOutlet {
  let state: 'untouched' | 'recording' | 'open' | 'shut' = 'untouched';
  let recording: Promise<void> = Promise.resolve();
  let held: Array<() => void> = [];

  const pass = (work: () => void): void => {
    if (state === 'open') return work();
    if (state === 'shut' || held.length >= MAX_HELD) return;
    held.push(work);
    if (state === 'recording') return;
    state = 'recording';
    recording = record()
      .then(
        () => true,
        () => false,
      )
      .then((recorded) => {
        state = recorded ? 'open' : 'shut';
        const ready = held;
        held = [];
        if (recorded) for (const one of ready) one();
        return undefined;
      });
  };
  return {
    get open() {
      return state !== 'shut' && outlet.open;
    },
    send: (message) =>
      pass(() => {
        if (!outlet.open || !may()) return;
        sent(message);
        outlet.send(message);
      }),
    release: (retryMs) => pass(() => outlet.release(retryMs)),
    keepAlive: () => outlet.keepAlive(),
    flushed: () => recording,
  };
}
