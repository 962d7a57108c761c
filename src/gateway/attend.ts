/**
 * A long stream from its record to its end: a place for it, its intent durable before the first message leaves, its outcome when it is over.
 * It is over when its client is gone, when standing or session is lost (the call's own signal), with the token it was opened with, with
 * this node, or when it has nothing more to say. The deadline of calls does not count for it.
 */
import { isFault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Denial } from './denial.ts';
import type { AnswerDeps } from './deps.ts';
import { outcomeFacts, tally } from './entry-facts.ts';
import { intentOf, recordEnd } from './perform.ts';
import { STREAMS_PER_PERSON } from './places.ts';
import { barredFromLeaving } from './recorded.ts';
import { ledgerDenial } from './refuse.ts';
import { REMIT_CODES } from './wire.ts';

export interface Stream {
  /** Fires when it is over, whatever the reason. */
  readonly signal: AbortSignal;
  /** Counts a message that left, for the record. */
  sent(message: JsonObject): void;
  end(why: string): void;
}

export type Attended =
  | { readonly kind: 'denied'; readonly denial: Denial; readonly index: number | undefined }
  | { readonly kind: 'ended'; readonly why: string };

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** `begin` opens the stream and answers with what closes it; it is not called when the stream is over before it began. */
export async function attend(
  call: Call,
  deps: AnswerDeps,
  begin: (stream: Stream) => Promise<() => void>,
): Promise<Attended> {
  const person = known(call, 'person').id;
  const { places } = deps.streams;
  const place = places.enter(person);
  if (place !== 'taken') return { kind: 'denied', denial: noPlace(call, place), index: undefined };
  const goOn = deps.inflight.pause(call.inflight);
  try {
    return await recorded(call, deps, begin);
  } finally {
    goOn();
    places.leave(person);
  }
}

async function recorded(
  call: Call,
  deps: AnswerDeps,
  begin: (stream: Stream) => Promise<() => void>,
): Promise<Attended> {
  const intent = intentOf(call, deps);
  const barred = await barredFromLeaving(call, intent, 'hear', deps);
  if (barred) return { kind: 'denied', ...barred };
  const prev = intent.index;
  // CRASH: nobody says when the stream ended: restart reports it as "in flight, outcome unknown".

  const over = new AbortController();
  const ended = Promise.withResolvers<string>();
  const end = (why: string): void => {
    over.abort(why);
    ended.resolve(why);
  };
  const stopped = (): void => end(call.inflight.cancelledBy ?? 'stopped');
  const { signal } = call.inflight;
  if (signal.aborted) stopped();
  signal.addEventListener('abort', stopped, { once: true });
  const leftMs = known(call, 'caller').expiresAt * 1000 - deps.ports.clock.now();
  const expiry = setTimeout(end, Math.min(Math.max(leftMs, 0), LONGEST_TIMER_MS), 'token_expired');

  const events = tally();
  let close: (() => void) | null = null;
  let failed = false;
  try {
    if (!over.signal.aborted) close = await begin({ signal: over.signal, sent: events.add, end });
  } catch (fault) {
    failed = true;
    deps.log('error', { ref: call.id, error: String(fault) }, 'a stream could not be opened');
    end(isFault(fault) ? fault.code : 'unexpected');
  }
  const why = await ended.promise;
  clearTimeout(expiry);
  signal.removeEventListener('abort', stopped);
  close?.();

  const withdrawn = why.startsWith('lock') || why === 'standing';
  const outcome = {
    ...outcomeFacts(call, deps, failed ? 'failed' : withdrawn ? 'cancelled' : 'ok', why, null, []),
    ...events.facts(),
  };
  try {
    await recordEnd(call, deps, prev, outcome);
  } catch (fault) {
    return { kind: 'denied', denial: ledgerDenial(fault, true), index: prev };
  }
  return failed
    ? { kind: 'denied', denial: { reason: 'guard_failed', guard: 'stream', fault: why }, index: prev }
    : { kind: 'ended', why };
}

function noPlace(call: Call, full: 'person_full' | 'node_full'): Denial {
  const id = call.message.kind === 'request' ? call.message.id : null;
  const theirs = full === 'person_full';
  const message = theirs
    ? `You have ${STREAMS_PER_PERSON} streams open here, and that is the limit. Close one first.`
    : 'This gateway has as many streams open as it can hold. Try again later.';
  return {
    reason: 'message_refused',
    error: {
      httpStatus: theirs ? 429 : 503,
      id,
      code: theirs ? REMIT_CODES.tooMany : REMIT_CODES.unavailable,
      message,
    },
  };
}
