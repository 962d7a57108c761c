/**
 * The exchange as the gateway uses it: typed topics whose texts are sealed (AEAD), so that whoever reads the database learns sizes, times
 * and names of topics, and whoever writes to it can put nothing into a conversation and move nothing from one topic to another.
 * Not promised: against somebody who writes to the database, that items are complete, in order or new; nothing here decides a right.
 */
import type { z } from 'zod';
import { sealedBox } from '../lib/sealed-box.ts';
import type { Exchange } from '../store/exchange.ts';
import { EXCHANGE_TEXT_BYTES } from '../store/exchange.ts';

export interface TopicItem<T> {
  readonly seq: number;
  readonly value: T;
}

/** What cannot be opened, or does not fit the schema, reads as absent. Every method throws what the exchange throws. */
export interface Topic<T> {
  /**
   * As `Exchange.append`. The values are JSON that the schema reads back; not checked here.
   * @throws also Fault `sealed_too_large`: a value of more than about 12 MiB.
   */
  append(
    values: readonly T[],
    options: { readonly expiresAt: number; readonly expect?: number; readonly replaces?: boolean },
  ): Promise<number | null>;
  /** The newest item, or null; never an older one in its place. */
  latest(): Promise<TopicItem<T> | null>;
  /** As `Exchange.read`; the numbers have gaps where items are absent. None means that there are none after `after`. */
  read(after: number, limit: number): Promise<ReadonlyArray<TopicItem<T>>>;
  /** As `Exchange.watch`. */
  watch(listener: () => void): () => void;
  remove(): Promise<void>;
}

export interface SealedExchange {
  topicOf<T>(name: string, schema: z.ZodType<T>): Topic<T>;
}

/** @param keys 32 random bytes each, the same on all nodes that share the exchange; the first seals, all open. */
export function sealedExchange(exchange: Exchange, keys: readonly Uint8Array[]): SealedExchange {
  const box = sealedBox(keys, 'exchange', EXCHANGE_TEXT_BYTES);

  function topicOf<T>(name: string, schema: z.ZodType<T>): Topic<T> {
    function open({ seq, text }: { readonly seq: number; readonly text: string }): TopicItem<T> | null {
      const opened = box.open(text, name);
      // Sealed by us, perhaps by another release of us.
      const parsed = opened === null ? null : schema.safeParse(JSON.parse(opened));
      return parsed?.success === true ? { seq, value: parsed.data } : null;
    }

    return {
      async append(values, options) {
        const texts = values.map((value) => box.seal(JSON.stringify(value), name));
        return exchange.append(name, texts, options);
      },
      async latest() {
        const item = await exchange.latest(name);
        return item === null ? null : open(item);
      },
      async read(after, limit) {
        let from = after;
        for (;;) {
          const page = await exchange.read(name, from, limit);
          const items = page.map(open).filter((item) => item !== null);
          const last = page.at(-1);
          if (items.length > 0 || last === undefined) return items;
          from = last.seq; // a page of nothing but absent items is not the end
        }
      },
      watch: (listener) => exchange.watch(name, listener),
      remove: () => exchange.remove(name),
    };
  }
  return { topicOf };
}
