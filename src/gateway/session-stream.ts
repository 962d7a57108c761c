/**
 * GET of a legacy session (L6, L7). Without `Last-Event-ID`, or with one of an earlier stream of this kind: what changed for this session,
 * lists always and resources it subscribed to. With the id of an event of a call's stream: the rest of that stream, and its end.
 * A session listens in one place: a newer stream, on any node, ends the older one, because every message goes out once and the older
 * connection may be dead without anybody having noticed. A stream that goes on says what changed while nobody listened.
 */
import { itemOf } from '../integrity/records.ts';
import { isFault } from '../lib/fault.ts';
import { invalidRequest } from '../protocol/errors.ts';
import { attend } from './attend.ts';
import type { Stream } from './attend.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { reasonCode } from './denial.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { finish } from './entry-facts.ts';
import { newStream, readEventId } from './event-log.ts';
import type { StreamName } from './event-log.ts';
import { LIST_NAMES } from './fan-out.ts';
import type { Heard } from './fan-out.ts';
import { watchReadable } from './may-read.ts';
import type { HttpOutlet } from './outlet.ts';
import { refuse } from './refuse.ts';
import { SESSION_MS } from './session-book.ts';
import type { SessionState } from './session-book.ts';
import type { Reply } from './wire.ts';

const RETRY_MS = 1_000;
/** A stream whose writer is gone without a word is taken over after so long. */
const TAKE_OVER_MS = 2_000;
/** As long as events are kept: a call that says nothing for longer cannot be resumed any more. */
const CALL_IDLE_MS = 600_000;
/** What a stream knows that lost everything: whatever is true now is news. */
const UNKNOWN: Heard = { tools: '', prompts: '', resources: '' };

/** Admitted in column `hear`. Resolves when the stream is over; what it resolves to is written only if nothing was streamed. */
export async function hearSession(call: Call, outlet: HttpOutlet, deps: AnswerDeps): Promise<Reply> {
  const measure = deps.telemetry.start('GET', null);
  const refused = (text: string, httpStatus: number): Promise<Reply> =>
    refuse(call, { reason: 'message_refused', error: invalidRequest(null, text, httpStatus) }, deps, measure);

  if (!takesEvents(call.headers.accept)) return refused('Accept must allow text/event-stream', 406);
  const { nonce } = known(call, 'session');
  const last = call.headers['last-event-id'];
  const from = typeof last === 'string' ? readEventId(last) : null;
  let about: Awaited<ReturnType<typeof deps.streams.logs.find>> = null;
  try {
    about = from && (await deps.streams.logs.find(nonce, from.stream));
  } catch (fault) {
    const code = isFault(fault) ? fault.code : 'unexpected';
    return refuse(call, { reason: 'guard_failed', guard: 'stream', fault: code }, deps, measure);
  }
  if (last !== undefined && (from === null || (about === null && from.kind === 'call')))
    return refused('Last-Event-ID names no event of this session that is still kept', 400);
  const item = from?.kind === 'call' && about?.tool ? { server: about.server, tool: about.tool } : null;
  if (item) {
    const denial = await withdrawn(call, item, deps);
    if (denial) return refuse(call, denial, deps, measure);
    call.inflight.facts = { ...call.inflight.facts!, ...item };
  }

  const done = await attend(call, deps, (stream) =>
    from?.kind === 'call'
      ? resume(call, from, item, outlet, stream, deps)
      : hear(call, from, about !== null, outlet, stream, deps),
  );
  if (done.kind === 'denied') return refuse(call, done.denial, deps, measure, done.index);
  finish(call, measure, 'allow', done.why, deps);
  return { kind: 'accepted' };
}

function takesEvents(accept: string | readonly string[] | undefined): boolean {
  return /(?:^|[\s,])(?:text\/event-stream|text\/\*|\*\/\*)(?=$|[\s,;])/i.test(String(accept ?? ''));
}

/** What the stream of a call is about, its item by its key. */
interface About {
  readonly server: string | null;
  readonly tool: string;
}

/** What an item answered leaves only while it and its server stand for this caller, as what a task holds does (AZ-04). */
function withdrawn(call: Call, { server, tool }: About, deps: AnswerDeps): Promise<Denial | null> {
  const about = { ...call, snapshot: deps.snapshot(), subject: { server, ...itemOf(tool) }, facts: { ...call.facts } };
  return deps.pipeline.admit(about, 'kept', deps.ports);
}

/** The rest of the stream of a call, whichever node it runs on. */
async function resume(
  call: Call,
  from: StreamName,
  item: About | null,
  outlet: HttpOutlet,
  stream: Stream,
  deps: AnswerDeps,
): Promise<() => void> {
  const { nonce } = known(call, 'session');
  outlet.keepAlive();
  const unwatch = deps.ports.book.watch(nonce, ({ ended }) => {
    if (ended) stream.end('session_ended');
  });
  let under = deps.snapshot();
  const next: typeof replay = async (kept, id, ...to) => {
    if (item && deps.snapshot() !== under) {
      under = deps.snapshot();
      const denial = await withdrawn(call, item, deps);
      if (denial) stream.end(reasonCode(denial));
    }
    if (!stream.signal.aborted) await replay(kept, id, ...to);
  };
  deps.streams.logs
    .follow(nonce, from, (kept, id) => next(kept, id, outlet, stream), stream.signal, CALL_IDLE_MS)
    .then(stream.end, () => stream.end('exchange_unavailable'));
  return unwatch;
}

async function replay(
  item: { readonly kind: 'event'; readonly data: string } | { readonly kind: 'heard' },
  id: string,
  outlet: HttpOutlet,
  stream: Stream,
): Promise<void> {
  if (item.kind !== 'event') return;
  stream.sent({ id, data: item.data });
  outlet.put({ data: item.data, id });
  await outlet.drained();
}

async function hear(
  call: Call,
  from: StreamName | null,
  kept: boolean,
  outlet: HttpOutlet,
  stream: Stream,
  deps: AnswerDeps,
): Promise<() => void> {
  const { book } = deps.ports;
  const { logs, fanOut } = deps.streams;
  const session = known(call, 'session');
  const { nonce } = session;
  const name = newStream('session');
  outlet.keepAlive();

  const closers: Array<() => void> = [];
  const close = (): void => {
    for (const one of closers) one();
  };
  let current: SessionState | null = null;
  let apply: (state: SessionState) => void = () => undefined;
  closers.push(
    book.watch(nonce, (state) => {
      if (state.ended) stream.end('session_ended');
      else if (current !== null && state.hearer !== name) stream.end('replaced');
      else apply(state);
    }),
  );
  const livesMs = session.createdAt + SESSION_MS - deps.ports.clock.now();
  const expiry = setTimeout(() => stream.end('session_expired'), Math.max(0, livesMs)).unref();
  closers.push(() => clearTimeout(expiry));
  try {
    // From here on an older stream of this session ends, and with it what it keeps.
    current = await book.change(nonce, (state) => ({ ...state, hearer: name }));
    if (current === null) {
      stream.end('session_busy');
      return close;
    }
    const heard = from === null ? null : kept ? await goOn(nonce, from, outlet, stream, deps) : UNKNOWN;

    const log = logs.open(nonce, name, { server: call.endpoint.server, tool: null });
    closers.push(() => log.end());
    if (session.version === '2025-11-25') outlet.put({ data: '', id: log.append(''), retryMs: RETRY_MS });
    const subscription = await fanOut.open({
      call,
      lists: new Set(LIST_NAMES),
      heard,
      tell(notification, knows) {
        stream.sent(notification);
        const data = JSON.stringify(notification);
        outlet.put({ data, id: log.append(data, knows) });
      },
      end: stream.end,
    });
    closers.push(() => subscription.close());
    closers.push(
      deps.elicited.listen(nonce, (notification) => {
        if (stream.signal.aborted) return;
        stream.sent(notification);
        const data = JSON.stringify(notification);
        outlet.put({ data, id: log.append(data) });
      }),
    );
    log.note(subscription.heard());
    const watch = watchReadable(call, subscription.watch, deps);
    apply = ({ resources }) => void watch(resources).catch(() => stream.end('unexpected'));
    await watch((book.peek(nonce) ?? current).resources);
    if (from !== null) subscription.doubt();
  } catch (fault) {
    close();
    throw fault;
  }
  return close;
}

/** Replays what an earlier stream of the session still has to say. Answers with what its listener knew in the end. */
async function goOn(
  nonce: string,
  from: StreamName,
  outlet: HttpOutlet,
  stream: Stream,
  deps: AnswerDeps,
): Promise<Heard> {
  let heard: Heard = UNKNOWN;
  await deps.streams.logs.follow(
    nonce,
    { stream: from.stream, seq: 0 },
    async (item, id) => {
      if (item.heard) heard = item.heard;
      if (Number(id.slice(id.lastIndexOf('.') + 1)) > from.seq) await replay(item, id, outlet, stream);
    },
    stream.signal,
    TAKE_OVER_MS,
  );
  return heard;
}
