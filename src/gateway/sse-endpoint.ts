/**
 * HTTP+SSE for clients of 2024-11-05 (L16), for servers whose record offers it: a GET opens the only stream there is and names the address
 * to post to; every answer, question and notification goes out on that stream. The address carries a sealed session that says whose stream
 * it is and, like every session id, never who calls: each POST brings its token and passes the guards of its method like any other.
 * `initialize` opens a second session inside the first, with what was negotiated; the book of the first one knows it, on every node.
 * A POST may land anywhere: what is to be said is handed to the node that holds the stream through the exchange.
 */
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { invalidRequest } from '../protocol/errors.ts';
import type { WireError } from '../protocol/errors.ts';
import type { InboundMessage } from '../protocol/read-request.ts';
import { admitted, answer } from './answer.ts';
import { attend } from './attend.ts';
import type { Stream } from './attend.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { finish } from './entry-facts.ts';
import type { SealedExchange } from './exchange-box.ts';
import { LIST_NAMES } from './fan-out.ts';
import type { Subscription } from './fan-out.ts';
import { watchReadable } from './may-read.ts';
import type { HttpOutlet, Outlet } from './outlet.ts';
import { refuse, refuseWith } from './refuse.ts';
import type { SessionState } from './session-book.ts';
import { asMessage } from './wire.ts';
import type { Reply } from './wire.ts';

/** What streams of this kind are open on this node, and the way to those on others. */
export interface SseStreams {
  /** From now on messages for the stream are handed over, wherever they come from. Returns what ends that. */
  attend(nonce: string, take: (message: JsonObject) => void): () => void;
  say(nonce: string, message: JsonObject): void;
}

const KEPT_MS = 120_000;
const AGREED_WITHIN_MS = 1_000;
const PAGE = 50;

export function sseStreams(exchange: SealedExchange, clock: Clock, onFault: (error: unknown) => void): SseStreams {
  const here = new Map<string, (message: JsonObject) => void>();
  const Message = z.custom<JsonObject>((value) => isJsonObject(value));
  const topicOf = (nonce: string) => exchange.topicOf(`sse/${nonce}`, Message);

  return {
    attend(nonce, take) {
      here.set(nonce, take);
      const topic = topicOf(nonce);
      let after = 0;
      let work = Promise.resolve();
      const read = async (): Promise<void> => {
        for (;;) {
          const items = await topic.read(after, PAGE);
          if (items.length === 0) return;
          for (const { seq, value } of items) {
            after = seq;
            here.get(nonce)?.(value);
          }
        }
      };
      const unwatch = topic.watch(() => {
        work = work.then(read).catch(onFault);
      });
      // The topic must not begin anew while somebody reads it.
      const living = setInterval(() => {
        topic.append([], { expiresAt: clock.now() + 2 * KEPT_MS }).catch(onFault);
      }, KEPT_MS / 2).unref();
      return () => {
        here.delete(nonce);
        clearInterval(living);
        unwatch();
      };
    },
    say(nonce, message) {
      const take = here.get(nonce);
      if (take) take(message);
      else
        topicOf(nonce)
          .append([message], { expiresAt: clock.now() + KEPT_MS })
          .catch(onFault);
    },
  };
}

const notOffered = (call: Call): Denial => {
  const text = `This server does not serve HTTP+SSE: use Streamable HTTP at ${call.endpoint.resource}`;
  return { reason: 'message_refused', error: invalidRequest(null, text, 404) };
};

/** GET …/sse. Resolves when the stream is over; what it resolves to is written only if nothing was streamed. */
export async function openSse(call: Call, outlet: HttpOutlet, deps: AnswerDeps): Promise<Reply> {
  const measure = deps.telemetry.start('GET', null);
  try {
    const denial = await deps.pipeline.admit(call, 'hello', deps.ports);
    if (denial) return await refuse(call, denial, deps, measure);
    if (call.facts.server?.record.clientsOverSse !== true) return await refuse(call, notOffered(call), deps, measure);
    admitted(call);
    const done = await attend(call, deps, (stream) => open(call, outlet, stream, deps));
    if (done.kind === 'denied') return await refuse(call, done.denial, deps, measure, done.index);
    finish(call, measure, 'allow', done.why, deps);
    return { kind: 'accepted' };
  } finally {
    deps.inflight.close(call.inflight);
  }
}

async function open(call: Call, outlet: HttpOutlet, stream: Stream, deps: AnswerDeps): Promise<() => void> {
  const { book } = deps.ports;
  const { org, server } = call.endpoint;
  const { issuer, subject, clientId } = known(call, 'caller');
  const whose = { org, server, issuer, subject, clientId };
  const id = deps.sessions.seal({
    ...whose,
    version: '2024-11-05',
    capabilities: [],
    client: { name: '', version: '' },
  });
  const opened = deps.sessions.open(id);
  if (!opened.ok) throw new TypeError('a session that was just sealed opens');
  const { nonce } = opened.value;

  const say = (message: JsonObject): void => {
    stream.sent(message);
    outlet.put({ event: 'message', data: JSON.stringify(message) });
  };
  const closers = [deps.sse.attend(nonce, say)];
  let agreed = false;
  const follow = (state: SessionState): void => {
    if (state.ended) return stream.end('session_ended');
    if (state.agreed === null || agreed) return;
    agreed = true;
    hearChanges(call, state.agreed, say, stream, deps)
      .then((close) => (stream.signal.aborted ? close() : void closers.push(close)))
      .catch(() => stream.end('exchange_unavailable'));
  };
  closers.push(book.watch(nonce, follow));
  outlet.put({ event: 'endpoint', data: `/mcp/${org}/${server}/messages?session=${id}` });
  return () => {
    for (const close of closers) close();
    // Nothing can be said in it any more.
    book.change(nonce, (state) => ({ ...state, ended: true })).catch(() => undefined);
  };
}

/** Once `initialize` has agreed on something: what changes for this caller. */
async function hearChanges(
  call: Call,
  id: string,
  say: (message: JsonObject) => void,
  stream: Stream,
  deps: AnswerDeps,
): Promise<() => void> {
  const session = deps.sessions.open(id);
  if (!session.ok) return () => undefined;
  const { nonce } = session.value;
  call.facts.session = session.value;
  const subscription: Subscription = await deps.streams.fanOut.open({
    call,
    lists: new Set(LIST_NAMES),
    heard: null,
    tell: say,
    end: stream.end,
  });
  const watch = watchReadable(call, subscription.watch, deps);
  const unwatch = deps.ports.book.watch(nonce, ({ resources }) => {
    void watch(resources).catch(() => stream.end('unexpected'));
  });
  return () => {
    unwatch();
    subscription.close();
  };
}

/**
 * POST …/messages: whose stream it names is asked before the message is. `callFor` makes the call of a message under a session id.
 * What answers a request goes out on the stream; the POST itself is only accepted.
 */
export async function postSse(
  callFor: (message: InboundMessage | null, session: string | undefined, outlet: Outlet | null) => Call,
  session: string,
  read: InboundMessage | WireError,
  deps: AnswerDeps,
): Promise<Reply> {
  const first = callFor(null, session, null);
  let nonce: string;
  try {
    const denial = await deps.pipeline.admit(first, 'note', deps.ports);
    if (denial) return await refuseWith(first, denial, deps);
    if (first.facts.server?.record.clientsOverSse !== true) return await refuseWith(first, notOffered(first), deps);
    nonce = known(first, 'session').nonce;
  } finally {
    deps.inflight.close(first.inflight);
  }
  const refused = (error: WireError): Promise<Reply> => refuseWith(first, { reason: 'message_refused', error }, deps);
  if (!('kind' in read)) return refused(read);
  const id = read.kind === 'request' ? read.id : null;
  const begins = read.kind === 'request' && read.rule.family === 'initialize';
  const agreed = await agreedIn(nonce, begins, deps);
  if (read.era === 'modern') return refused(invalidRequest(id, 'HTTP+SSE is only for versions before 2026-07-28'));
  if (begins && agreed !== null) return refused(invalidRequest(id, 'This session is initialized already'));
  if (!begins && agreed === null) return refused(invalidRequest(id, 'Send initialize first'));

  const say = (message: JsonObject): void => deps.sse.say(nonce, message);
  const outlet: Outlet = { open: true, send: say, release: () => undefined, keepAlive: () => undefined };
  const message: InboundMessage = read.kind === 'request' ? { ...read, accepts: { json: true, sse: true } } : read;
  const call = callFor(message, agreed ?? undefined, outlet);
  const answering = answered(call, begins ? nonce : null, deps);
  if (read.kind !== 'request') return answering;
  void answering.then((reply) => say(asMessage(reply)));
  return { kind: 'accepted' };
}

/** Another node may have agreed on something a moment ago; its client knows, and this node is about to be told. */
async function agreedIn(nonce: string, begins: boolean, deps: AnswerDeps): Promise<string | null> {
  const { book } = deps.ports;
  const known = (await book.load(nonce)).agreed;
  if (known !== null || begins) return known;
  const { promise, resolve } = Promise.withResolvers<string | null>();
  const unwatch = book.watch(nonce, ({ agreed }) => {
    if (agreed !== null) resolve(agreed);
  });
  const timer = setTimeout(() => resolve(book.peek(nonce)?.agreed ?? null), AGREED_WITHIN_MS);
  return promise.finally(() => {
    unwatch();
    clearTimeout(timer);
  });
}

/** `begins`: nonce of the session in which this opens one. */
async function answered(call: Call, begins: string | null, deps: AnswerDeps): Promise<Reply> {
  try {
    const reply = await answer(call, deps);
    const agreed = reply.kind === 'result' ? reply.headers?.['Mcp-Session-Id'] : undefined;
    if (begins !== null && agreed !== undefined) {
      const kept = await deps.ports.book
        .change(begins, (state) => ({ ...state, agreed: state.agreed ?? agreed }))
        .catch(() => null);
      // A session that the next message would not find is not opened.
      if (kept?.agreed !== agreed)
        return await refuseWith(call, { reason: 'guard_failed', guard: 'session', fault: 'not_kept' }, deps);
    }
    return reply;
  } finally {
    if (!call.inflight.held) deps.inflight.close(call.inflight);
  }
}
