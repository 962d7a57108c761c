/**
 * Bringing what happened to one receiver, in order, until each is taken: security event tokens (RFC 8935) for both our processes, and
 * notifications. Promises: the next one leaves only after the last one was taken or refused; what the receiver cannot take now is tried
 * again with growing pauses. Durability is the source's: it hands the same event out until it was settled.
 */
import type { Clock } from '../lib/clock.ts';
import { isFault } from '../lib/fault.ts';
import { isJsonObject } from '../lib/json.ts';
import { parseStrictJson } from '../lib/strict-json.ts';
import type { DialRule } from './dial.ts';
import { guardedRequest } from './dial.ts';

export interface Outgoing {
  /** ms since the epoch: when it came to be, so that somebody can tell how late it is. */
  readonly at: number;
}

export interface OutgoingEvent extends Outgoing {
  /** Signed anew at each try, so that a rotated key is no trouble. */
  sign(): Promise<string>;
}

export interface EventSource<E extends Outgoing> {
  /** The oldest that was not settled; null: nothing to tell. */
  next(): Promise<E | null>;
  /** Durable before it resolves, or the event comes again, which its receiver must bear. */
  settled(event: E, outcome: 'taken' | 'refused'): Promise<void>;
}

export interface EventReceiver {
  readonly url: string;
  readonly rule: DialRule;
  /** Asked for each try: a replaced secret needs no restart. */
  readonly token: () => Promise<string>;
}

export interface DeliveryStatus {
  /** Since when the oldest event waits; null: nothing waits. */
  readonly waitingSince: number | null;
  readonly lastTakenAt: number | null;
  /** Code of the last failure, null after a success. */
  readonly problem: string | null;
  readonly taken: number;
  readonly refused: number;
}

export interface EventDelivery {
  /** There may be something to tell. */
  wake(): void;
  status(): DeliveryStatus;
  /** A try under way is given up; what it brought comes again. */
  close(): Promise<void>;
}

export type Answer =
  | { readonly kind: 'taken' }
  | { readonly kind: 'refused'; readonly code: string }
  | { readonly kind: 'later'; readonly code: string };

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
/** Nobody wakes us when another process wrote. */
const LOOK_EVERY_MS = 1_000;

interface Delivering<E extends Outgoing> {
  readonly source: EventSource<E>;
  readonly clock: Clock;
  readonly onRefused: (event: E, code: string) => void;
  /** It is not taken now; once for each outage. */
  readonly onLater: (code: string) => void;
  /** A failure that is not the receiver's: the source or the key. */
  readonly onFault: (fault: unknown) => void;
}

/** Security event tokens; an answer is read to 16 KiB. */
export function deliverEvents<E extends OutgoingEvent>({
  receiver,
  ...options
}: Delivering<E> & { readonly receiver: EventReceiver }): EventDelivery {
  return deliver({ ...options, send: async (event, signal) => push(receiver, await event.sign(), signal) });
}

/** `send` rejects only for what is no answer of the receiver's. */
export function deliver<E extends Outgoing>(
  options: Delivering<E> & { readonly send: (event: E, signal: AbortSignal) => Promise<Answer> },
): EventDelivery {
  const { source, clock, send } = options;
  const closed = new AbortController();
  let wakeUp: () => void = () => undefined;
  let woken = false;
  let waitingSince: number | null = null;
  let lastTakenAt: number | null = null;
  let problem: string | null = null;
  let taken = 0;
  let refused = 0;

  const pause = async (ms: number, untilWoken: boolean): Promise<void> => {
    if (closed.signal.aborted || (untilWoken && woken)) return;
    const over = Promise.withResolvers<void>();
    const timer = setTimeout(over.resolve, ms);
    if (untilWoken) wakeUp = over.resolve;
    closed.signal.addEventListener('abort', () => over.resolve(), { once: true });
    await over.promise;
    clearTimeout(timer);
    wakeUp = () => undefined;
  };

  async function run(): Promise<void> {
    let failures = 0;
    while (!closed.signal.aborted) {
      woken = false;
      try {
        const event = await source.next();
        if (event === null) {
          waitingSince = null;
          failures = 0;
          await pause(LOOK_EVERY_MS, true);
          continue;
        }
        waitingSince ??= event.at;
        const answer = await send(event, closed.signal);
        if (answer.kind === 'later') {
          problem = answer.code;
          if (failures === 0) options.onLater(answer.code);
        } else {
          await source.settled(event, answer.kind);
          waitingSince = null;
          failures = 0;
          lastTakenAt = clock.now();
          problem = answer.kind === 'refused' ? answer.code : null;
          if (answer.kind === 'taken') taken++;
          else {
            refused++;
            options.onRefused(event, answer.code);
          }
          continue;
        }
      } catch (fault) {
        if (closed.signal.aborted) return;
        problem = isFault(fault) ? fault.code : 'unexpected';
        if (failures === 0) options.onFault(fault);
      }
      await pause(Math.min(FIRST_PAUSE_MS * 2 ** Math.min(failures++, 10), LONGEST_PAUSE_MS), false);
    }
  }
  const running = run();

  return {
    wake() {
      woken = true;
      wakeUp();
    },
    status: () => ({ waitingSince, lastTakenAt, problem, taken, refused }),
    async close() {
      closed.abort();
      await running;
    },
  };
}

/** They do not know us as we are yet: somebody can put that right, and no event may be lost until then. */
const CONFIGURATION: ReadonlySet<string> = new Set([
  'authentication_failed',
  'access_denied',
  'invalid_key',
  'invalid_issuer',
  'invalid_audience',
]);

/** RFC 8935 section 2: 202 takes it, 400 refuses it for good, everything else is for later. */
async function push(receiver: EventReceiver, set: string, signal: AbortSignal): Promise<Answer> {
  try {
    const { status, body } = await guardedRequest(receiver.url, {
      rule: receiver.rule,
      method: 'POST',
      headers: {
        authorization: `Bearer ${await receiver.token()}`,
        'content-type': 'application/secevent+jwt',
        accept: 'application/json',
      },
      body: set,
      timeoutMs: 10_000,
      maxBytes: 16_384,
      signal,
    });
    if (status === 202) return { kind: 'taken' };
    if (status !== 400) return { kind: 'later', code: `status_${status}` };
    const code = errorCode(body);
    return CONFIGURATION.has(code) ? { kind: 'later', code } : { kind: 'refused', code };
  } catch (fault) {
    return { kind: 'later', code: isFault(fault) ? fault.code : 'unexpected' };
  }
}

/** ATTACKER-CONTROLLED: the answer. A word of letters or nothing. */
function errorCode(body: Uint8Array): string {
  const parsed = parseStrictJson(body, { maxBytes: 16_384, maxDepth: 4 });
  const code = parsed.ok && isJsonObject(parsed.value) ? parsed.value['err'] : null;
  return typeof code === 'string' && /^[a-z_]{1,40}$/.test(code) ? code : 'unreadable';
}
