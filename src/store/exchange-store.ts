/**
 * The Exchange port over a backend: refuses what is malformed, groups appends, wakes watchers, sweeps what has expired, closes in order.
 * A backend is the queries on one engine (sqlite/exchange.ts, postgres/exchange.ts); here stands what must not differ between them.
 * In memory are only the watchers and the appends that wait for the database.
 */
import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { acceptedWork } from './accepted-work.ts';
import type { Exchange, ExchangeItem } from './exchange.ts';
import { EXCHANGE_APPEND_BYTES, EXCHANGE_APPEND_TEXTS, EXCHANGE_TEXT_BYTES, ExchangeFault } from './exchange.ts';
import { appendQueue } from './exchange-appends.ts';
import type { PendingAppend } from './exchange-queries.ts';
import { SWEPT_TOPICS } from './exchange-queries.ts';
import { DEFAULT_MAX_BYTES, exchangeRoom } from './exchange-room.ts';
import type { Watchers } from './exchange-watch.ts';
import { watchers } from './exchange-watch.ts';

/** Everything rejects with an ExchangeFault. */
export interface ExchangeBackend {
  append(
    appends: readonly PendingAppend[],
    now: number,
  ): Promise<{ readonly numbers: readonly (number | null)[]; readonly changed: readonly string[] }>;
  read(topic: string, after: number, limit: number, now: number): Promise<readonly ExchangeItem[]>;
  latest(topic: string, now: number): Promise<ExchangeItem | null>;
  remove(topic: string): Promise<void>;
  /** Deletes some topics that have expired; how many. SWEPT_TOPICS: there may be more. */
  sweep(now: number): Promise<number>;
  /** Bytes in use, without what was freed and is used again. `atMost`: below it a rough figure is enough. */
  size(atMost: number): Promise<number>;
  close(): Promise<void>;
}

export interface ExchangeOptions {
  readonly clock?: Clock;
  /** How often what has expired is deleted. Default 10,000. */
  readonly sweepMs?: number;
  /** Above this, measured with every sweep, appends without `replaces` are refused. Default 4 GiB. */
  readonly maxBytes?: number;
}

const TOPIC_BYTES = 512;
/** The items of one `read`, at most. */
const READ_ITEMS = 1000;

export function exchangeOver(
  backend: ExchangeBackend,
  options: ExchangeOptions,
): { readonly exchange: Exchange; readonly watching: Watchers } {
  const clock = options.clock ?? systemClock;
  const watching = watchers();
  const { run, close } = acceptedWork(closedFault);
  let closed = false;

  const enqueue = appendQueue(async (appends) => {
    const { numbers, changed } = await backend.append(appends, clock.now());
    watching.wake(changed);
    return numbers;
  });

  const room = exchangeRoom(options.maxBytes ?? DEFAULT_MAX_BYTES, (atMost) => backend.size(atMost));
  // What cannot be measured now is measured with the next sweep.
  run(() => room.measure()).catch(() => undefined);

  let sweeping = false;
  const sweeper = setInterval(() => {
    if (sweeping) return;
    sweeping = true;
    // What could not be deleted now is not read either, and the next sweep finds it again.
    run(sweep)
      .catch(() => undefined)
      .finally(() => (sweeping = false));
  }, options.sweepMs ?? 10_000);
  sweeper.unref();

  /** One short transaction after the other, so that appends pass between them. */
  async function sweep(): Promise<void> {
    for (;;) {
      if (closed) return;
      if ((await backend.sweep(clock.now())) < SWEPT_TOPICS) return room.measure();
    }
  }

  const exchange: Exchange = {
    append: (topic, texts, { expiresAt, expect, replaces = false }) =>
      run(() => {
        checkTopic(topic);
        const bytes = checkTexts(texts);
        checkWhole('expiresAt', expiresAt, 0);
        if (expect !== undefined) checkWhole('expect', expect, 0);
        // What only moves an end, or takes the place of what stood there, goes on: tasks come to their end and sessions are closed.
        if (texts.length > 0 && !replaces) room.check();
        const append = { topic, texts, expiresAt, expect: expect ?? null, replaces };
        return room.count(bytes, () => enqueue(append, bytes));
      }),
    read: (topic, after, limit) =>
      run(async () => {
        checkTopic(topic);
        checkWhole('after', after, 0);
        checkWhole('limit', limit, 1);
        return backend.read(topic, after, Math.min(limit, READ_ITEMS), clock.now());
      }),
    latest: (topic) =>
      run(async () => {
        checkTopic(topic);
        return backend.latest(topic, clock.now());
      }),
    watch(topic, listener) {
      if (closed) throw closedFault();
      checkTopic(topic);
      return watching.watch(topic, listener);
    },
    remove: (topic) =>
      run(async () => {
        checkTopic(topic);
        return backend.remove(topic);
      }),
    close: () =>
      close(async (settled) => {
        closed = true;
        clearInterval(sweeper);
        await settled();
        watching.clear();
        await backend.close();
      }),
  };
  return { exchange, watching };
}

const closedFault = (): ExchangeFault => new ExchangeFault('exchange_closed', 'the exchange is closed');
const invalid = (message: string): ExchangeFault => new ExchangeFault('exchange_invalid', message);

/** PostgreSQL cannot store U+0000, and half a surrogate pair has no UTF-8 form. */
const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed();

function checkTopic(topic: string): void {
  if (topic.length > 0 && topic.length <= TOPIC_BYTES && Buffer.byteLength(topic) <= TOPIC_BYTES && isStorable(topic))
    return;
  throw invalid(`the name of a topic has 1 to ${TOPIC_BYTES} bytes of well-formed Unicode without U+0000`);
}

/** @returns their size in bytes. */
function checkTexts(texts: readonly string[]): number {
  if (texts.length > EXCHANGE_APPEND_TEXTS) throw invalid(`one append has at most ${EXCHANGE_APPEND_TEXTS} texts`);
  let bytes = 0;
  for (const text of texts) {
    const size = text.length > EXCHANGE_TEXT_BYTES ? Infinity : Buffer.byteLength(text);
    if (size > EXCHANGE_TEXT_BYTES) throw invalid(`a text has at most ${EXCHANGE_TEXT_BYTES} bytes`);
    if (!isStorable(text)) throw invalid('a text is well-formed Unicode without U+0000');
    bytes += size;
  }
  if (bytes > EXCHANGE_APPEND_BYTES) {
    throw invalid(`the texts of one append have together at most ${EXCHANGE_APPEND_BYTES} bytes`);
  }
  return bytes;
}

function checkWhole(name: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least) throw invalid(`${name} is a whole number from ${least}`);
}
