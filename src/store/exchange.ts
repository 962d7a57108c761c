/**
 * What outlives one request and is neither governance state nor log (decision 0008): session state, resumable streams, tasks,
 * messages between nodes. Append-only topics of opaque texts that expire. Implemented by `store/sqlite` and `store/postgres`;
 * both pass `test/contracts/exchange.ts`.
 *
 * Promises of every implementation
 * - Items of a topic are numbered from 1 without gaps, in the order of `append`; `append` resolves once they are durable and readable.
 * - `expect` makes an append conditional on the number of the last item: of two who expect the same, one gets null.
 * - After `append` every `watch` of that topic is called soon, on every node; a call may be late, doubled or for nothing, never missing
 *   for longer than `pollMs` (PostgreSQL: NOTIFY, and polling of watched topics behind it).
 * - What has expired is not read, and is deleted before long. A topic expires as a whole, with its last item; an append after that
 *   begins it anew at 1. The clock is the one of the node that asks.
 * - Durable is less than in the ledger: an embedded database may lose the newest appends in a power failure (store/sqlite/exchange.ts).
 * Texts are sealed by the gateway: this room never sees what they say.
 */
import { Fault } from '../lib/fault.ts';

export interface ExchangeItem {
  readonly seq: number;
  readonly text: string;
}

export interface Exchange {
  /**
   * @param texts All or none of them. Without any, only the end of a topic that is there moves.
   * @param expiresAt ms since the epoch; moves the end of the whole topic, never to an earlier time.
   * @param expect 0: the topic must not be there, or have expired.
   * @param replaces What stood in the topic before goes: of such a topic only `latest` is read, and it does not grow with every change.
   * @returns the number of the last item of the topic, or null when `expect` did not hold. @throws ExchangeFault
   */
  append(
    topic: string,
    texts: readonly string[],
    options: { readonly expiresAt: number; readonly expect?: number; readonly replaces?: boolean },
  ): Promise<number | null>;
  /**
   * Items with seq > `after`, in order, at most `limit` and at most 1000; fewer when they are large, but never none while there are some.
   * Whoever wants all reads until nothing comes.
   */
  read(topic: string, after: number, limit: number): Promise<readonly ExchangeItem[]>;
  latest(topic: string): Promise<ExchangeItem | null>;
  /** Returns the unsubscribe function. The listener is told that there may be something new, not what. */
  watch(topic: string, listener: () => void): () => void;
  remove(topic: string): Promise<void>;
  close(): Promise<void>;
}

/** A text may have at most this many bytes, a topic name 512. */
export const EXCHANGE_TEXT_BYTES = 16 * 1024 * 1024;
/** The texts of one append together. */
export const EXCHANGE_APPEND_BYTES = 2 * EXCHANGE_TEXT_BYTES;
export const EXCHANGE_APPEND_TEXTS = 1000;

export type ExchangeFaultCode = 'exchange_unavailable' | 'exchange_closed' | 'exchange_invalid' | 'exchange_locked';
export class ExchangeFault extends Fault<ExchangeFaultCode> {}
