/**
 * Letters between the nodes of a deployment, over the exchange: sealed, so that only nodes write and read them. A node reads those that
 * came after it started; a letter to a node that is gone is never read. What is asked is answered by two words: `taken` at once, so that
 * nobody waits long for the dead, and then the answer. A letter is taken once, however often somebody with the database puts it there.
 * Topics change with time, because a topic that is always written to would keep everything.
 * Not decided here: what a letter may bring about. Whoever takes it asks the guards of its own node (relay.ts).
 */
import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import type { JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { SealedExchange, Topic } from './exchange-box.ts';

// Sealed by a node of ours: what is in it was a value of ours.
const Body = z.custom<JsonObject>((value) => isJsonObject(value));
const Letter = z.strictObject({ id: z.string(), sentAt: z.number(), body: Body });
const Word = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('taken') }),
  z.strictObject({ kind: z.literal('answer'), body: Body }),
]);
type Letter = z.infer<typeof Letter>;
type Word = z.infer<typeof Word>;

/** Takes a letter for this node; what it answers with goes back to the sender, if that one asked. */
export type Take = (body: JsonObject, letter: string) => Promise<JsonObject | null>;

export interface Mail {
  /** Nobody hears whether it arrived. */
  tell(node: string, body: JsonObject): Promise<void>;
  /** Null: nobody there, not in time, or given up; then whoever took it is sent `{ kind: 'gone', letter }`. Never rejects. */
  ask(node: string, body: JsonObject, withinMs: number, signal: AbortSignal | null): Promise<JsonObject | null>;
  /** From now on letters to this node are taken, several at a time. Resolves when that is so. Returns what ends it. */
  attend(node: string, take: Take): Promise<() => void>;
}

/** A node that lives takes a letter within this time. */
const TAKEN_WITHIN_MS = 5_000;
/** How long one topic of letters is written to; clocks of nodes may differ by as much. */
const PERIOD_MS = 600_000;
const KEPT_MS = 120_000;
/** Letters older than this are not taken any more: nobody waits for them. */
const STALE_MS = 60_000;
const PAGE = 100;

export function mail(exchange: SealedExchange, clock: Clock, onFault: (error: unknown) => void): Mail {
  const box = (node: string, period: number): Topic<Letter> => exchange.topicOf(`node/${node}/${period}`, Letter);
  const words = (letter: string): Topic<Word> => exchange.topicOf(`answer/${letter}`, Word);
  const periodNow = (): number => Math.floor(clock.now() / PERIOD_MS);

  async function post(node: string, id: string, body: JsonObject): Promise<void> {
    const sentAt = clock.now();
    const expiresAt = sentAt + PERIOD_MS + KEPT_MS;
    await box(node, periodNow()).append([{ id, sentAt, body }], { expiresAt });
  }

  return {
    async tell(node, body) {
      await post(node, newLetter(), body).catch(onFault);
    },

    async ask(node, body, withinMs, signal) {
      const id = newLetter();
      const topic = words(id);
      let news = Promise.withResolvers<void>();
      const wake = (): void => news.resolve();
      const until = performance.now() + withinMs;
      let unwatch: (() => void) | null = null;
      signal?.addEventListener('abort', wake, { once: true });
      try {
        unwatch = topic.watch(wake);
        await post(node, id, body);
        let patience = performance.now() + Math.min(withinMs, TAKEN_WITHIN_MS);
        for (;;) {
          if (signal?.aborted) break;
          news = Promise.withResolvers<void>();
          const said = (await topic.read(0, PAGE)).map(({ value }) => value);
          for (const word of said) if (word.kind === 'answer') return word.body;
          if (said.length > 0) patience = until;
          const left = patience - performance.now();
          if (left <= 0) return null;
          const timer = setTimeout(wake, left);
          await news.promise;
          clearTimeout(timer);
        }
        // Whoever took it learns that nobody waits any more.
        await post(node, newLetter(), { kind: 'gone', letter: id });
        return null;
      } catch (error) {
        onFault(error);
        return null;
      } finally {
        unwatch?.();
        signal?.removeEventListener('abort', wake);
      }
    },

    async attend(node, take) {
      const taken = new LRUCache<string, true>({ max: 10_000, ttl: 2 * PERIOD_MS });
      const boxes = new Map<
        number,
        { after: number; reading: boolean; again: boolean; readonly unwatch: () => void }
      >();

      const takeOne = async ({ id, sentAt, body }: Letter): Promise<void> => {
        if (taken.has(id) || clock.now() - sentAt > STALE_MS) return;
        taken.set(id, true);
        const say = async (word: Word): Promise<void> => {
          await words(id).append([word], { expiresAt: clock.now() + KEPT_MS });
        };
        if (body['kind'] !== 'gone') await say({ kind: 'taken' });
        const answer = await take(body, id);
        if (answer) await say({ kind: 'answer', body: answer });
      };
      async function read(period: number): Promise<void> {
        const entry = boxes.get(period);
        if (!entry) return;
        entry.again = true;
        if (entry.reading) return;
        entry.reading = true;
        try {
          while (entry.again) {
            entry.again = false;
            const letters = await box(node, period).read(entry.after, PAGE);
            for (const { seq, value } of letters) {
              entry.after = seq;
              takeOne(value).catch(onFault);
            }
            if (letters.length > 0) entry.again = true;
          }
        } catch (error) {
          onFault(error);
        } finally {
          entry.reading = false;
        }
      }
      async function open(period: number): Promise<void> {
        if (boxes.has(period)) return;
        const entry = {
          after: 0,
          reading: true,
          again: false,
          unwatch: box(node, period).watch(() => void read(period)),
        };
        boxes.set(period, entry);
        // Letters to an earlier life of this node are not ours to take.
        if (starting) entry.after = (await box(node, period).latest())?.seq ?? 0;
        entry.reading = false;
        if (entry.again || !starting) await read(period);
      }
      let starting = true;
      const around = (): Promise<unknown> => {
        const now = periodNow();
        for (const [period, { unwatch }] of boxes) {
          if (Math.abs(period - now) <= 1) continue;
          unwatch();
          boxes.delete(period);
        }
        return Promise.all([now - 1, now, now + 1].map(open));
      };
      await around();
      starting = false;
      const moving = setInterval(() => void around().catch(onFault), PERIOD_MS / 10).unref();
      return () => {
        clearInterval(moving);
        for (const { unwatch } of boxes.values()) unwatch();
        boxes.clear();
      };
    },
  };
}

const newLetter = (): string => randomBytes(16).toString('base64url');
