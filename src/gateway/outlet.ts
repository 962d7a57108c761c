/**
 * The way to the client while its request is being answered: progress, log lines and questions go out as server-sent events on the
 * request's own response, which becomes a stream with the first of them (PROTOCOL.md M12, L6). Who takes no events gets none.
 * Nothing leaves before the call's intent is durable: `durableOutlet` holds messages back until it is, and drops them if it never is.
 */
import type { ServerResponse } from 'node:http';
import type { JsonObject } from '../lib/json.ts';
import { SSE_HEADERS, SSE_KEEP_ALIVE, primingEvent, sseEvent } from '../protocol/sse.ts';
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

export interface HttpOutletOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** Asked for once, with the first event, and only of clients that can resume. */
  readonly log: (() => EventLog | null) | null;
  /** 2025-11-25: the first event only says where to resume. Asked when there is a log. */
  readonly primes: () => boolean;
  /** Bytes. */
  readonly maxUnread: () => number;
}

export const httpOutlet = (response: ServerResponse, options: HttpOutletOptions): HttpOutlet =>
  new ResponseOutlet(response, options);

/*
 * Two classes, because `open` is an accessor: in a literal that is made for every call it would give each object a hidden class of its
 * own, and V8 lets go of those, and of all that their closures hold (the call, its request, its response), only with a full collection.
 */
class ResponseOutlet implements HttpOutlet {
  readonly #response: ServerResponse;
  readonly #options: HttpOutletOptions;
  #streaming = false;
  #gone = false;
  #finished = false;
  #log: EventLog | null = null;

  constructor(response: ServerResponse, options: HttpOutletOptions) {
    this.#response = response;
    this.#options = options;
  }

  get open(): boolean {
    return !this.#finished && (this.#log !== null || !this.#over());
  }

  get streaming(): boolean {
    return this.#streaming;
  }

  send(message: JsonObject): void {
    if (!this.open) return;
    this.#begin();
    this.#event(JSON.stringify(message));
  }

  release(retryMs: number): void {
    if (this.#finished || this.#over() || this.#options.log === null || !this.#options.primes()) return;
    this.#begin();
    if (this.#log === null) return;
    this.#write(`retry: ${Math.max(0, Math.trunc(retryMs))}\n\n`);
    this.#gone = true;
    this.#response.end();
  }

  keepAlive(): void {
    if (this.#finished || this.#over()) return;
    this.#begin();
    this.#write(SSE_KEEP_ALIVE);
  }

  finish(message: JsonObject): void {
    this.#begin();
    this.#event(JSON.stringify(message));
    this.#finished = true;
    this.#log?.end();
    if (!this.#gone) this.#response.end();
  }

  put(event: SseEvent & { readonly retryMs?: number }): void {
    this.#begin();
    this.#write(sseEvent(event));
  }

  drained(): Promise<void> {
    const response = this.#response;
    return new Promise((resolve) => {
      if (!response.writableNeedDrain || response.destroyed) return resolve();
      const done = (): void => {
        response.off('drain', done);
        response.off('close', done);
        resolve();
      };
      response.once('drain', done);
      response.once('close', done);
    });
  }

  /** After the reply nothing follows (M15), wherever the reply was written. */
  #over(): boolean {
    return this.#gone || this.#response.destroyed || this.#response.writableEnded;
  }

  #begin(): void {
    if (this.#streaming) return;
    this.#streaming = true;
    const { log, headers, primes } = this.#options;
    const response = this.#response;
    this.#log = log?.() ?? null;
    if (!response.headersSent && !response.destroyed)
      response.writeHead(200, { ...SSE_HEADERS, 'x-content-type-options': 'nosniff', ...headers });
    if (this.#log && primes()) this.#write(primingEvent(this.#log.append(''), RETRY_MS));
  }

  #event(data: string): void {
    const id = this.#log?.append(data);
    this.#write(sseEvent({ data, ...(id !== undefined && { id }) }));
  }

  #write(text: string): void {
    if (this.#over()) return;
    if (this.#response.writableLength > this.#options.maxUnread()) {
      this.#gone = true;
      this.#response.destroy();
      return;
    }
    this.#response.write(text);
  }
}

/** Messages of a call held back while its intent is being written: a server that floods before that is cut off. */
const MAX_HELD = 100;
const NOTHING_HELD: Promise<void> = Promise.resolve();

export interface DurableOutlet extends Outlet {
  /** Resolves when nothing is held any more. */
  flushed(): Promise<void>;
}

/**
 * Passes messages on once `record` resolved and while `may` says so: what a lock stops does not leave afterwards (R4).
 * `sent` hears of what went out; counts and digests are the caller's. CRASH: what was held was never sent.
 */
export const durableOutlet = (
  outlet: Outlet,
  record: () => Promise<unknown>,
  may: () => boolean,
  sent: (message: JsonObject) => void,
): DurableOutlet => new RecordedOutlet(outlet, record, may, sent);

class RecordedOutlet implements DurableOutlet {
  readonly #outlet: Outlet;
  readonly #record: () => Promise<unknown>;
  readonly #may: () => boolean;
  readonly #sent: (message: JsonObject) => void;
  #state: 'untouched' | 'recording' | 'open' | 'shut' = 'untouched';
  #recording: Promise<void> = NOTHING_HELD;
  #held: Array<() => void> = [];

  constructor(outlet: Outlet, record: () => Promise<unknown>, may: () => boolean, sent: (message: JsonObject) => void) {
    this.#outlet = outlet;
    this.#record = record;
    this.#may = may;
    this.#sent = sent;
  }

  get open(): boolean {
    return this.#state !== 'shut' && this.#outlet.open;
  }

  send(message: JsonObject): void {
    this.#pass(() => {
      if (!this.#outlet.open || !this.#may()) return;
      this.#sent(message);
      this.#outlet.send(message);
    });
  }

  release(retryMs: number): void {
    this.#pass(() => this.#outlet.release(retryMs));
  }

  keepAlive(): void {
    this.#outlet.keepAlive();
  }

  flushed(): Promise<void> {
    return this.#recording;
  }

  #pass(work: () => void): void {
    if (this.#state === 'open') return work();
    if (this.#state === 'shut' || this.#held.length >= MAX_HELD) return;
    this.#held.push(work);
    if (this.#state === 'recording') return;
    this.#state = 'recording';
    this.#recording = this.#record()
      .then(
        () => true,
        () => false,
      )
      .then((recorded) => {
        this.#state = recorded ? 'open' : 'shut';
        const ready = this.#held;
        this.#held = [];
        if (recorded) for (const one of ready) one();
        return undefined;
      });
  }
}
