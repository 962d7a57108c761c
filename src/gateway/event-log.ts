/**
 * Events of a legacy stream, kept in the exchange so that its client can go on reading them on any node (2025-11-25 transports,
 * "Resumability and Redelivery"). One topic per stream, under the nonce of its session: an id of another session's event finds nothing.
 * Event ids are `<stream>.<number>`, the number being that of the item in its topic.
 * INVARIANT: a topic has one writer, and no holes: after the first event that could not be kept nothing more is.
 * CRASH: events that reached the client and not the exchange are not replayed; the stream stays without an end until it expires.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import type { SealedExchange, Topic } from './exchange-box.ts';

const Heard = z.partialRecord(z.enum(['tools', 'prompts', 'resources']), z.string());

const Kept = z.discriminatedUnion('kind', [
  /** Always the first: what the stream is about, so that a lock on it also ends whoever resumes it. */
  z.strictObject({ kind: z.literal('open'), server: z.string().nullable(), tool: z.string().nullable() }),
  /** `heard`: what the listener knew after it, for the stream of a session. */
  z.strictObject({ kind: z.literal('event'), data: z.string(), heard: Heard.optional() }),
  z.strictObject({ kind: z.literal('heard'), heard: Heard }),
  z.strictObject({ kind: z.literal('end') }),
]);
export type Kept = z.infer<typeof Kept>;

/** `call`: the stream of one request, ends with its reply. `session`: the stream a session listens on, has no end of its own. */
export type StreamKind = 'call' | 'session';

export interface EventWriter {
  /** Keeps an event and gives its id. `data` empty: the priming event. */
  append(data: string, heard?: z.infer<typeof Heard>): string;
  /** Keeps what the listener knows, without telling anything. */
  note(heard: z.infer<typeof Heard>): void;
  end(): void;
}

export interface StreamName {
  readonly kind: StreamKind;
  readonly stream: string;
  readonly seq: number;
}

/** How long events can be read after the last sign of their stream. */
const KEPT_MS = 600_000;
/** A stream that says nothing says so this often. */
const SIGN_MS = 240_000;
/** What may wait for the database, in characters: of one stream, and of all. Beyond that a stream cannot be resumed. */
const MAX_WAITING = 8 * 1_048_576;
const MAX_WAITING_IN_ALL = 64 * 1_048_576;
/** What one stream keeps in all, in characters: more than anybody reads again. Beyond that it cannot be resumed. */
const MAX_KEPT = 16 * 1_048_576;
const BATCH = 4 * 1_048_576;
const PAGE = 50;
const LOOK_MS = 15_000;
const FIND_TRIES = 5;
const FIND_EVERY_MS = 50;

const ID = /^([cs][A-Za-z0-9_-]{16})\.(\d{1,9})$/;

/** ATTACKER-CONTROLLED: `Last-Event-ID`. Null: no id of ours. */
export function readEventId(id: string): StreamName | null {
  const [, stream, seq] = ID.exec(id) ?? [];
  if (stream === undefined) return null;
  return { kind: stream.startsWith('c') ? 'call' : 'session', stream, seq: Number(seq) };
}

export const newStream = (kind: StreamKind): string =>
  `${kind === 'call' ? 'c' : 's'}${randomBytes(12).toString('base64url')}`;

export interface EventLogs {
  open(
    session: string,
    stream: string,
    about: { readonly server: string | null; readonly tool: string | null },
  ): EventWriter;
  /** What the stream is about; null: unknown, expired, or of another session. */
  find(
    session: string,
    stream: string,
  ): Promise<{ readonly server: string | null; readonly tool: string | null } | null>;
  /**
   * Hands over the events after `seq`, in order, each when `take` is done with the one before, until the end of the stream, for `idleMs`
   * without anything new, or until the signal. `over`: it ended; `quiet`: nothing came for so long, or the stream expired.
   */
  follow(
    session: string,
    from: { readonly stream: string; readonly seq: number },
    take: (item: Exclude<Kept, { kind: 'open' | 'end' }>, id: string) => Promise<void>,
    signal: AbortSignal,
    idleMs: number,
  ): Promise<'over' | 'quiet' | 'stopped'>;
}

export function eventLogs(exchange: SealedExchange, clock: Clock): EventLogs {
  const topicOf = (session: string, stream: string): Topic<Kept> =>
    exchange.topicOf(`stream/${session}/${stream}`, Kept);
  let waitingInAll = 0;

  function open(session: string, stream: string, about: { server: string | null; tool: string | null }): EventWriter {
    const topic = topicOf(session, stream);
    let waiting: Array<{ readonly kept: Kept; readonly size: number }> = [];
    let size = 0;
    let inAll = 0;
    let count = 0;
    let written = 0;
    let state: 'open' | 'ended' | 'broken' = 'open';
    let writing = false;

    const put = (kept: Kept, length: number): void => {
      count++;
      if (state !== 'open') return;
      inAll += length;
      if (inAll > MAX_KEPT || size + length > MAX_WAITING || waitingInAll + length > MAX_WAITING_IN_ALL) return fail();
      waiting.push({ kept, size: length });
      size += length;
      waitingInAll += length;
      if (!writing) void write();
    };
    function fail(): void {
      state = 'broken';
      clearInterval(signs);
      for (const one of waiting) waitingInAll -= one.size;
      waiting = [];
      size = 0;
      void topic.remove().catch(() => undefined);
    }
    async function write(): Promise<void> {
      writing = true;
      // What comes in the same turn goes in one append.
      await Promise.resolve();
      while (waiting.length > 0) {
        let length = 0;
        let taken = 0;
        while (taken < waiting.length && taken < 500 && (taken === 0 || length + waiting[taken]!.size <= BATCH))
          length += waiting[taken++]!.size;
        const batch = waiting.splice(0, taken);
        const appended = await topic
          .append(
            batch.map(({ kept }) => kept),
            { expiresAt: clock.now() + KEPT_MS, expect: written },
          )
          .catch(() => null);
        size -= length;
        waitingInAll -= length;
        if (appended === null) {
          if (state !== 'broken') fail();
          break;
        }
        written += batch.length;
      }
      writing = false;
    }
    const signs = setInterval(() => {
      if (written > 0) void topic.append([], { expiresAt: clock.now() + KEPT_MS }).catch(() => undefined);
    }, SIGN_MS).unref();

    put({ kind: 'open', ...about }, 64);
    return {
      append(data, heard) {
        put({ kind: 'event', data, ...(heard && { heard }) }, data.length + 256);
        return `${stream}.${count}`;
      },
      note: (heard) => put({ kind: 'heard', heard }, 256),
      end() {
        put({ kind: 'end' }, 16);
        if (state === 'open') state = 'ended';
        clearInterval(signs);
      },
    };
  }

  return {
    open,
    async find(session, stream) {
      const topic = topicOf(session, stream);
      // Its first event may have reached the client a moment before the exchange.
      for (let tries = 0; ; tries++) {
        const [first] = await topic.read(0, 1);
        if (first?.value.kind === 'open') return { server: first.value.server, tool: first.value.tool };
        if (first !== undefined || tries === FIND_TRIES) return null;
        await sleep(FIND_EVERY_MS);
      }
    },
    async follow(session, from, take, signal, idleMs) {
      const topic = topicOf(session, from.stream);
      let { seq } = from;
      let news = Promise.withResolvers<void>();
      const wake = (): void => news.resolve();
      // Watched before it is read: what is written in between is seen.
      const unwatch = topic.watch(wake);
      signal.addEventListener('abort', wake, { once: true });
      try {
        for (let idleSince = performance.now(); ;) {
          if (signal.aborted) return 'stopped';
          news = Promise.withResolvers<void>();
          const items = await topic.read(seq, PAGE);
          for (const { seq: at, value } of items) {
            seq = at;
            if (value.kind === 'end') return 'over';
            if (signal.aborted) return 'stopped';
            if (value.kind !== 'open') await take(value, `${from.stream}.${at}`);
          }
          if (items.length > 0) {
            idleSince = performance.now();
            continue;
          }
          const left = idleSince + idleMs - performance.now();
          if (left <= 0) return 'quiet';
          let late = false;
          const timer = setTimeout(
            () => {
              late = true;
              wake();
            },
            Math.min(left, LOOK_MS),
          ).unref();
          await news.promise;
          clearTimeout(timer);
          if (late && (await topic.latest()) === null) return 'quiet';
        }
      } finally {
        unwatch();
        signal.removeEventListener('abort', wake);
      }
    },
  };
}
