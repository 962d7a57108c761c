/**
 * The HTTP+SSE transport of 2024-11-05 (basic/transports): one GET stream on which the server names the address for our
 * messages (`endpoint`, same origin only) and answers; a stream that ends takes everything in flight with it.
 * Same dialler, headers and bounds as Streamable HTTP.
 */
import type { Dispatcher } from 'undici';
import type { JsonObject } from '../lib/json.ts';
import { has, isLegacyVersion } from '../protocol/versions.ts';
import { channel } from './channel.ts';
import { UpstreamFault } from './connection.ts';
import { credentialFinder } from './credentials.ts';
import { HttpStatusFault, transportFault, violation } from './http-rules.ts';
import { atStart, mediaOf, streamTaker } from './http-stream.ts';
import type { HttpOptions } from './http.ts';
import { serverPace } from './pace.ts';
import { type RoundTrip, roundTrip } from './round-trip.ts';
import { type Wire, givenUp } from './wire.ts';

const POST_TIMEOUT_MS = 30_000;
const MAX_STRAYS = 10;
const ENDED = new Error('the stream is over');

/** Opens the stream and waits for its `endpoint`. @throws UpstreamFault */
export async function sseWire(options: HttpOptions, signal: AbortSignal, timeoutMs: number): Promise<Wire> {
  const { url, dispatcher, maxBytes, account } = options;
  const fixed = Object.fromEntries(options.headers);
  const fixedCredential = credentialFinder(options.headers.map(([, value]) => value));
  const pace = serverPace();
  const posts = new Set<RoundTrip>();
  let version: string | null = null;
  let endpoint: string | null = null;
  let strays = 0;
  let end: { reason: string } | null = null;
  let finish: (end: { reason: string }) => void = () => {};
  const closed = new Promise<{ reason: string }>((resolve) => (finish = resolve));
  let named: () => void = () => {};
  const opened = new Promise<void>((resolve) => (named = resolve));

  const { exchange, notify, agree, onLoose, take, fail, failAll } = channel({
    send: (message, id) => void post(message, id),
    refusal: () => (end === null ? null : new UpstreamFault('upstream_closed', end.reason, { dispatched: 'no' })),
  });

  function dispatch(method: 'GET' | 'POST', path: string, headers: Record<string, string>, body: string | null) {
    const request: Dispatcher.DispatchOptions = { origin: url.origin, path, method, headers, body };
    return { ...request, headersTimeout: 0, bodyTimeout: 0 };
  }

  async function post(message: JsonObject, id: number | null): Promise<void> {
    const versioned = version !== null && isLegacyVersion(version) && has(version, 'versionHeader');
    const headers = {
      ...fixed,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(versioned && { 'MCP-Protocol-Version': version as string }),
    };
    // What a server writes as the body of a 202 says nothing.
    const body = JSON.stringify(message);
    const to = url.origin + endpoint;
    let trip: RoundTrip | null = null;
    const timer = setTimeout(() => trip?.abort(ENDED), POST_TIMEOUT_MS);
    const once = async (): Promise<{ status: number; again: boolean }> => {
      const pass = account === null ? null : await account.pass('POST', to);
      if (trip !== null) posts.delete(trip);
      const request = dispatch('POST', endpoint ?? '', { ...headers, ...pass?.headers }, body);
      posts.add((trip = roundTrip(dispatcher, request, maxBytes, pace, () => () => true)));
      const answer = await trip.answer;
      const again = pass !== null && (await account!.judge(pass, to, answer.status, answer.headers));
      return { status: answer.status, again };
    };
    try {
      let { status, again } = await once();
      // Refused for its token, so not processed.
      if (again && end === null) ({ status } = await once());
      if (status >= 300) throw new HttpStatusFault(status);
    } catch (error) {
      const fault = transportFault(error);
      if (id !== null) fail(id, fault);
      // It no longer knows our stream: nothing will ever be answered here.
      if (fault instanceof HttpStatusFault && fault.status === 404) over('the server forgot the stream');
    } finally {
      clearTimeout(timer);
      if (trip !== null) posts.delete(trip);
    }
  }

  function over(reason: string, fault?: UpstreamFault): void {
    if (end !== null) return;
    end = { reason };
    failAll(fault ?? new UpstreamFault('upstream_closed', reason, { dispatched: 'unknown' }));
    stream.abort(ENDED);
    for (const one of posts) one.abort(ENDED);
    finish(end);
    void dispatcher.destroy();
  }

  const pass = account === null ? null : await account.pass('GET', url.href);
  const headers = { ...fixed, ...pass?.headers, accept: 'text/event-stream' };
  const request = dispatch('GET', url.pathname + url.search, headers, null);
  const stream = roundTrip(dispatcher, request, maxBytes, pace, (status, received) => {
    // A token that is refused here is gone when the connection is tried again.
    if (pass !== null) void account!.judge(pass, url.href, status, received).catch(() => undefined);
    if (status !== 200) throw new HttpStatusFault(status);
    if (mediaOf(received) !== 'text/event-stream') throw violation('the answer is no event stream');
    return streamTaker({
      maxBytes,
      ownCredential: (bytes) => fixedCredential(bytes) || account?.repeats(bytes) === true,
      pace,
      position: atStart(),
      onMessage: (message) => {
        const problem = take(message);
        // As on stdio: a stray answer is forgiven, a habit is not.
        if (problem !== null && ++strays > MAX_STRAYS) throw violation(problem);
        return false;
      },
      onOther: ({ event, data }) => {
        if (event !== 'endpoint' || endpoint !== null) return;
        endpoint = endpointOf(data, url);
        named();
      },
    });
  });
  const lost = stream.answer.then(
    () => {
      const fault = new UpstreamFault('upstream_closed', 'the server ended the stream', { dispatched: 'unknown' });
      over(fault.message, fault);
      throw fault;
    },
    (error: unknown) => {
      const fault = transportFault(error);
      over(fault.message, fault);
      throw fault;
    },
  );
  lost.catch(() => undefined);

  let timedOut = false;
  const onAbort = (): void => over('given up');
  const late = setTimeout(() => {
    timedOut = true;
    onAbort();
  }, timeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.race([opened, lost]);
  } catch (error) {
    if (signal.aborted || timedOut) throw givenUp(signal, timedOut, 'no');
    throw error;
  } finally {
    clearTimeout(late);
    signal.removeEventListener('abort', onAbort);
  }

  return {
    closed,
    exchange,
    notify,
    onLoose,
    hear: null,
    onForgotten: () => {},
    agree: (era, agreed) => {
      version = agreed;
      agree(era);
    },
    close: async (reason) => {
      over(reason);
      await dispatcher.destroy();
    },
  };
}

/** ATTACKER-CONTROLLED: our messages, with the credentials of this server, go where this says. Never to another origin. */
function endpointOf(text: string, base: URL): string {
  const at = URL.parse(text, base.href);
  if (at === null || at.origin !== base.origin || at.username !== '' || at.password !== '')
    throw violation('the stream names an address for messages that is not of its own origin');
  return at.pathname + at.search;
}
