/**
 * The Streamable HTTP transport of both eras (MCP basic/transports/streamable-http; 2025-11-25 basic/transports), through
 * a guarded dispatcher. Nothing of the caller reaches the request line or the headers: they are built here from the
 * server's record, its secrets and the message. Redirects are not followed, bodies and events are bounded. A legacy
 * stream that broke is resumed by GET when the server gave it ids; a request is never sent again.
 * Longer than a page because it is one closure over one session: send, read, resume, give up, restore, close.
 * Not done here: HTTP+SSE of 2024-11-05 (`sse.ts`).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { bag } from '../lib/bag.ts';
import type { Place } from '../lib/bag.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { cancelled } from '../protocol/notifications.ts';
import { has, isLegacyVersion } from '../protocol/versions.ts';
import { askDesk } from './ask-desk.ts';
import { type Era, UpstreamFault, type UpstreamReply } from './connection.ts';
import { credentialFinder, repeated } from './credentials.ts';
import { HttpStatusFault, UNREAD, sessionOf, transportFault, violation } from './http-rules.ts';
import { type StreamPosition, atStart, mediaOf, streamTaker } from './http-stream.ts';
import { type FromServer, readFromServer } from './messages.ts';
import type { Account } from './oauth/account.ts';
import { serverPace } from './pace.ts';
import { type Answer, type RoundTrip, roundTrip } from './round-trip.ts';
import { type HearEnd, type Hearing, type Loose, NOBODY, type Wire, type WireRequest, givenUp } from './wire.ts';

export interface HttpOptions {
  /** Passed `dialUrl`. */
  readonly url: URL;
  readonly dispatcher: Dispatcher;
  /** From the server's record, secrets resolved. */
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>;
  /** Largest message, bytes. */
  readonly maxBytes: number;
  /** Gives every request its token. Null: `headers` hold what the server takes. */
  readonly account: Account | null;
}

interface Part extends Place {
  abort(reason: Error): void;
}

interface Exchange {
  readonly id: number;
  /** Everything on the stream of a subscription is its own. */
  readonly listen: boolean;
  readonly hearing: Hearing | undefined;
  readonly position: StreamPosition;
  reply: UpstreamReply | null;
  /** The answer had an error status and no id: it speaks of the HTTP request, not of the call. */
  anonymous: boolean;
}

/** Notifications that belong to the request on whose stream they come. */
const OWN: ReadonlySet<string> = new Set(['notifications/progress', 'notifications/message']);
/** Connections in a row that bring nothing before a stream counts as lost. */
const VAIN_ATTEMPTS = 5;
const RETRY_MS = 1_000;

export function httpWire(options: HttpOptions): Wire {
  const { url, dispatcher, maxBytes, account } = options;
  const target = { origin: url.origin, path: url.pathname + url.search };
  /** What is under way and must end with this wire. */
  const live = bag<Part>();
  const pace = serverPace();
  let over = false;
  const fixed: Record<string, string> = {
    ...Object.fromEntries(options.headers),
    accept: 'application/json, text/event-stream',
  };
  const fixedCredential = credentialFinder(options.headers.map(([, value]) => value));
  const ownCredential = (body: Uint8Array): boolean => fixedCredential(body) || account?.repeats(body) === true;
  let nextId = 1;
  let era: Era | null = null;
  let version: string | null = null;
  let session: string | null = null;
  /** Of the stream on which the server speaks unasked. */
  let heard = atStart();
  let loose: Loose = NOBODY;
  const desk = askDesk((response) => void post(response, headersFor(null, JSON_BODY)));
  let restore: (() => Promise<void>) | null = null;
  let restoring: Promise<void> | null = null;
  let finish: (end: { reason: string }) => void = () => {};
  const closed = new Promise<{ reason: string }>((resolve) => (finish = resolve));

  function headersFor(method: string | null, extra: WireRequest['headers']): Record<string, string> {
    const headers = { ...fixed };
    if (method !== null) headers['content-type'] = 'application/json';
    const modern = era === 'modern' || method === 'server/discover';
    if (modern) headers['MCP-Protocol-Version'] = '2026-07-28';
    else if (version !== null && isLegacyVersion(version) && has(version, 'versionHeader'))
      headers['MCP-Protocol-Version'] = version;
    if (modern && method !== null) headers['Mcp-Method'] = method;
    if (!modern && session !== null && method !== 'initialize') headers['Mcp-Session-Id'] = session;
    for (const [name, value] of extra ?? []) headers[name] = value;
    return headers;
  }

  /** Starts a request; `exchange` null for a stream that the server may speak on unasked. */
  function send(
    method: 'POST' | 'GET' | 'DELETE',
    headers: Record<string, string>,
    message: Json | null,
    exchange: Exchange | null,
    opened?: () => void,
  ): RoundTrip {
    const body = message === null ? null : JSON.stringify(message);
    // The caller's signal, the server's time limit and the end of this wire bound the whole; undici's own timers would only cost.
    const request = { ...target, method, headers, body, headersTimeout: 0, bodyTimeout: 0 };
    return roundTrip(dispatcher, request, maxBytes, pace, (status, received) => {
      if (UNREAD(status)) return () => true;
      if (received['content-encoding'] !== undefined && received['content-encoding'] !== 'identity')
        throw violation('the server compressed its answer although it was not asked to');
      if (mediaOf(received) !== 'text/event-stream') return null;
      if (status === 200) opened?.();
      return streamTaker({
        maxBytes,
        // A listen stream has no end; any other answer is bounded as a whole, notifications included.
        ...(exchange !== null && !exchange.listen && { maxStreamBytes: maxBytes * 4 }),
        ownCredential,
        pace,
        position: exchange?.position ?? heard,
        onMessage: (taken) => takeMessage(taken, exchange),
      });
    });
  }

  /** The answer to `exchange` out of a gathered body. */
  function takeJson({ status, headers, body }: Answer, exchange: Exchange): void {
    if (mediaOf(headers) !== 'application/json') throw violation('the answer is neither JSON nor an event stream');
    if (body && ownCredential(body)) throw repeated();
    const message = readFromServer(body ?? Buffer.alloc(0), maxBytes);
    if (!message.ok) throw violation(message.error);
    // An error status without id still answers this request: nothing else was sent on this connection.
    const anonymous = status >= 400 && message.value.kind === 'reply' && message.value.id === null;
    if (message.value.kind !== 'reply' || (message.value.id !== exchange.id && !anonymous))
      throw violation('the answer belongs to another request');
    exchange.reply = message.value.reply;
    exchange.anonymous = anonymous;
  }

  /** True: the answer to `exchange` is there. */
  function takeMessage(message: FromServer, exchange: Exchange | null): boolean {
    switch (message.kind) {
      case 'notification': {
        const { method, params } = message;
        if (method === 'notifications/cancelled') desk.takenBack(params);
        else if (exchange !== null && (exchange.listen || OWN.has(method)))
          exchange.hearing?.onNotification?.(method, params);
        else loose.onNotification(method, params);
        return false;
      }
      case 'request':
        if (era === 'modern') throw violation('a modern server sent a request');
        desk.take(message, true, exchange === null ? loose.onAsk : exchange.hearing?.onAsk);
        return false;
      case 'reply':
        if (exchange === null || message.id !== exchange.id) throw violation('an answer belongs to another request');
        exchange.reply = message.reply;
        return true;
    }
  }

  /**
   * Sends with a token of ours where the server takes one. A request that was refused for its token was not processed,
   * so it is sent again with a new one, at most `MAX_REFUSALS` times. `given`: gives up while a token is being asked for.
   */
  async function withPass(
    method: 'POST' | 'GET',
    start: (pass: Readonly<Record<string, string>>) => RoundTrip,
    given?: (trip: RoundTrip) => void,
  ): Promise<Answer> {
    if (account === null) return start(NO_PASS).answer;
    for (let refusals = 0; ; refusals++) {
      const asking = account.pass(method, url.href);
      const pass = await new Promise<Awaited<typeof asking>>((resolve, reject) => {
        given?.({ answer: NEVER, abort: reject });
        asking.then(resolve, reject);
      });
      const answer = await start(pass.headers).answer;
      const again = await account.judge(pass, url.href, answer.status, answer.headers);
      if (!again || over || refusals >= MAX_REFUSALS) return answer;
    }
  }

  /** A message without an answer: best effort, bounded. */
  async function post(message: JsonObject, headers: Record<string, string>): Promise<number | null> {
    if (over) return null;
    let trip: RoundTrip | null = null;
    const part: Part = { at: -1, abort: (reason) => trip?.abort(reason) };
    const timer = setTimeout(() => part.abort(GIVEN_UP), 10_000);
    live.add(part);
    try {
      const { status } = await withPass(
        'POST',
        (pass) => (trip = send('POST', { ...headers, ...pass }, message, null)),
      );
      return status;
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
      live.remove(part);
    }
  }

  /** One attempt; `forgotten` when the server no longer knows our session. */
  async function attempt(
    id: number,
    { method, params, headers, hearing }: WireRequest,
    started: (trip: RoundTrip) => void,
  ): Promise<UpstreamReply | 'forgotten'> {
    const listen = method === 'subscriptions/listen';
    const exchange: Exchange = { id, listen, hearing, position: atStart(), reply: null, anonymous: false };
    const sentSession = era === 'legacy' && method !== 'initialize' ? session : null;
    const message = { jsonrpc: '2.0', id, method, params };
    const start = (pass: Readonly<Record<string, string>>): RoundTrip => {
      const trip = send('POST', { ...headersFor(method, headers), ...pass }, message, exchange);
      started(trip);
      return trip;
    };
    let polled = true;
    try {
      const answer = await withPass('POST', start, started);
      const { status } = answer;
      if (UNREAD(status)) throw new HttpStatusFault(status);
      if (status >= 300) {
        try {
          if (answer.body !== null) takeJson(answer, exchange);
        } catch (error) {
          if (!(error instanceof UpstreamFault)) throw error;
        }
        // A session that is gone is said by 404, and a request in it was not processed (2025-11-25 transports, session management).
        if (status === 404 && sentSession !== null && (exchange.reply === null || exchange.anonymous))
          return 'forgotten';
        if (exchange.reply === null) throw new HttpStatusFault(status);
        return exchange.reply;
      }
      if (method === 'initialize') session = sessionOf(answer.headers['mcp-session-id']);
      if (answer.body !== null) takeJson(answer, exchange);
      if (exchange.reply !== null) return exchange.reply;
      if (!resumable(exchange))
        throw new UpstreamFault('upstream_closed', 'the stream ended before the answer', { dispatched: 'unknown' });
    } catch (error) {
      const fault = error instanceof UpstreamFault ? error : transportFault(error);
      if (error === GIVEN_UP || fault.code !== 'upstream_closed' || !resumable(exchange)) throw fault;
      polled = false;
    }
    return resume(exchange, polled, started);
  }

  const resumable = ({ position }: Exchange): boolean => era === 'legacy' && !over && position.lastId !== null;

  /**
   * Goes on with a legacy stream that ended before its answer, as often as it brings something (2025-11-25 transports,
   * resumability). `polled`: the server closed it in good order. The server's time limit runs on, so this has an end.
   */
  async function resume(
    exchange: Exchange,
    polled: boolean,
    started: (trip: RoundTrip) => void,
  ): Promise<UpstreamReply> {
    const { position } = exchange;
    for (let vain = 0; vain < VAIN_ATTEMPTS; vain++) {
      const { events } = position;
      const pauseMs = position.retryMs ?? RETRY_MS * 2 ** vain;
      if (polled) exchange.hearing?.onPolling?.(pauseMs);
      const pause = new AbortController();
      started({ answer: NEVER, abort: (reason) => pause.abort(reason) });
      await sleep(pauseMs, undefined, { signal: pause.signal });
      const headers = { ...headersFor(null, []), accept: 'text/event-stream', 'Last-Event-ID': position.lastId ?? '' };
      const start = (pass: Readonly<Record<string, string>>): RoundTrip => {
        const trip = send('GET', { ...headers, ...pass }, null, exchange);
        started(trip);
        return trip;
      };
      try {
        const { status, body } = await withPass('GET', start, started);
        if (exchange.reply !== null) return exchange.reply;
        // The server does not resume: the answer is lost, and the call is not sent again.
        if (status !== 200 || body !== null) break;
        polled = true;
      } catch (error) {
        if (error === GIVEN_UP || error instanceof UpstreamFault) throw error;
        polled = false;
      }
      if (position.events > events) vain = -1;
      if (!resumable(exchange)) break;
    }
    throw new UpstreamFault('upstream_closed', 'the stream ended before the answer and could not be resumed', {
      dispatched: 'unknown',
    });
  }

  async function exchange(request: WireRequest, signal: AbortSignal, timeoutMs: number | null): Promise<UpstreamReply> {
    if (over) throw new UpstreamFault('upstream_closed', 'the connection is closed', { dispatched: 'no' });
    if (signal.aborted) throw givenUp(signal, false, 'no');
    let why: 'caller' | 'time' | 'closed' | null = null;
    let trip: RoundTrip | null = null;
    const giveUp = (reason: 'caller' | 'time' | 'closed'): void => {
      why ??= reason;
      trip?.abort(GIVEN_UP);
    };
    const started = (next: RoundTrip): void => {
      trip = next;
      if (why !== null) next.abort(GIVEN_UP);
    };
    const part: Part = { at: -1, abort: () => giveUp('closed') };
    const onCaller = (): void => giveUp('caller');
    const timer = timeoutMs === null ? undefined : setTimeout(giveUp, timeoutMs, 'time');
    signal.addEventListener('abort', onCaller, { once: true });
    live.add(part);
    let id = nextId++;
    try {
      if (restoring !== null && request.method !== 'initialize') {
        await restoring;
        if (request.once) throw sessionLost();
      }
      const sentSession = session;
      let reply = await attempt(id, request, started);
      if (reply === 'forgotten') {
        await again(sentSession);
        if (request.once) throw sessionLost();
        id = nextId++;
        reply = await attempt(id, request, started);
      }
      if (reply === 'forgotten') throw new HttpStatusFault(404);
      return reply;
    } catch (error) {
      const given = why as 'caller' | 'time' | 'closed' | null;
      if (given === null) throw error;
      if (given === 'closed')
        throw new UpstreamFault('upstream_closed', 'the connection was closed', { dispatched: 'unknown' });
      // Modern: closing the stream was the cancellation. Legacy: it must be said (C10), though never of a handshake.
      if (era === 'legacy' && request.method !== 'initialize') {
        void post(cancelled(id, 'cancelled'), headersFor('notifications/cancelled', []));
      }
      throw givenUp(signal, given === 'time', 'unknown');
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onCaller);
      live.remove(part);
    }
  }

  /** Single flight: many requests learn that one session is gone, some of them after there is another. */
  async function again(lost: string | null): Promise<void> {
    if (restore === null) throw new HttpStatusFault(404);
    if (restoring === null && session === lost) {
      session = null;
      heard = atStart();
      restoring = restore()
        .catch((error: unknown) => {
          // What it is now is unknown: whoever opens the next connection asks again (C6).
          void close('the server forgot the session and did not grant another');
          throw error;
        })
        .finally(() => (restoring = null));
    }
    await restoring;
  }

  async function hear(signal: AbortSignal, opened: () => void): Promise<HearEnd> {
    if (era === 'modern') return 'unsupported';
    const position = heard;
    const resuming = position.lastId === null ? {} : { 'Last-Event-ID': position.lastId };
    const headers = { ...headersFor(null, []), accept: 'text/event-stream', ...resuming };
    let trip: RoundTrip | null = null;
    const part: Part = { at: -1, abort: (reason) => trip?.abort(reason) };
    const onAbort = (): void => part.abort(GIVEN_UP);
    const start = (pass: Readonly<Record<string, string>>): RoundTrip => {
      trip = send('GET', { ...headers, ...pass }, null, null, opened);
      if (signal.aborted || over) onAbort();
      return trip;
    };
    signal.addEventListener('abort', onAbort, { once: true });
    live.add(part);
    try {
      const { status, body } = await withPass('GET', start);
      if (NO_STREAM.has(status)) return 'unsupported';
      if (status !== 200) throw new HttpStatusFault(status);
      if (body !== null) throw violation('the answer is no event stream');
      return { retryMs: position.retryMs };
    } catch (error) {
      throw error instanceof UpstreamFault ? error : transportFault(error);
    } finally {
      signal.removeEventListener('abort', onAbort);
      live.remove(part);
    }
  }

  async function close(reason: string): Promise<void> {
    if (over) return;
    const ending = session;
    over = true;
    for (const part of live) part.abort(GIVEN_UP);
    finish({ reason });
    if (ending !== null) {
      const headers = { ...headersFor(null, []), 'Mcp-Session-Id': ending };
      // C13: tell the server, but do not wait for it beyond reason.
      const said = async (): Promise<void> => {
        const pass = await account?.pass('DELETE', url.href);
        const trip = send('DELETE', { ...headers, ...pass?.headers }, null, null);
        timer = setTimeout(() => trip.abort(GIVEN_UP), 2_000);
        await trip.answer;
      };
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([said().catch(() => undefined), sleep(2_500, undefined, { ref: false })]);
      clearTimeout(timer);
    }
    await dispatcher.destroy();
  }

  return {
    closed,
    exchange,
    hear,
    agree: (agreed, protocolVersion) => {
      era = agreed;
      version = protocolVersion;
    },
    onForgotten: (again) => void (restore = again),
    onLoose: (listener) => void (loose = listener),
    notify: async (method, params) => {
      const status = await post({ jsonrpc: '2.0', method, params }, headersFor(method, []));
      if (status === null || status >= 300)
        throw new UpstreamFault('upstream_protocol', `${method} was not accepted`, { dispatched: 'unknown' });
    },
    close,
  };
}

/** 404 says that the request was not processed, so whoever sent it may look at the server and send it again. */
const sessionLost = (): UpstreamFault =>
  new UpstreamFault('upstream_session_lost', 'the server forgot the session; there is a new one', { dispatched: 'no' });

/** 405 by the specification, the others by servers that do not expect the question. */
const NO_STREAM: ReadonlySet<number> = new Set([400, 405, 406, 501]);
const NO_PASS = {};
/** A nonce that was missing, a token that had ended, a scope that was not enough. */
const MAX_REFUSALS = 3;
const JSON_BODY = [['content-type', 'application/json']] as const;
const GIVEN_UP = new Error('given up');
const NEVER = new Promise<never>(() => {});
