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
 * - What has expired is not read, and is deleted before long. A topic expires as a whole, with its last item.
 * Texts are sealed by the gateway: this room never sees what they say.
 */
import { Fault } from '../lib/fault.ts';

export interface ExchangeItem {
  readonly seq: number;
  readonly text: string;
}

export interface Exchange {
  /**
   * @param expiresAt ms since the epoch; moves the end of the whole topic, never to an earlier time.
   * @returns the number of the last item written, or null when `expect` did not hold. @throws ExchangeFault
   */
  append(
    topic: string,
    texts: readonly string[],
    options: { readonly expiresAt: number; readonly expect?: number },
  ): Promise<number | null>;
  /** Items with seq > `after`, in order, at most `limit`. */
  read(topic: string, after: number, limit: number): Promise<readonly ExchangeItem[]>;
  latest(topic: string): Promise<ExchangeItem | null>;
  /** Returns the unsubscribe function. The listener is told that there may be something new, not what. */
  watch(topic: string, listener: () => void): () => void;
  remove(topic: string): Promise<void>;
  close(): Promise<void>;
}

/** A text may have at most this many bytes, a topic name 512. */
export const EXCHANGE_TEXT_BYTES = 16 * 1024 * 1024;

export type ExchangeFaultCode = 'exchange_unavailable' | 'exchange_closed' | 'exchange_invalid' | 'exchange_locked';
export class ExchangeFault extends Fault<ExchangeFaultCode> {}
