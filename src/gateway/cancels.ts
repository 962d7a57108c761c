/**
 * `notifications/cancelled` that reaches another node than the call it is about. It is left in a topic of its session, and nodes look there
 * only for sessions with a request that has run for a second or more: who looks pays, and a call that is quick pays nothing.
 */
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import type { RequestId } from '../protocol/errors.ts';
import type { SealedExchange } from './exchange-box.ts';
import type { Inflight, InflightRegistry } from './inflight.ts';

export interface Cancels {
  /** Best effort, as the notification is. The session is the caller's own. */
  send(session: string, request: RequestId): void;
  close(): void;
}

const Cancelled = z.strictObject({ request: z.union([z.string(), z.number()]) });
const SWEEP_MS = 1_000;
const KEPT_MS = 120_000;
/** Cancellations of one session that are passed on in a minute; most arrive too late for anything. */
const PER_MINUTE = 60;

export function cancels(exchange: SealedExchange, inflight: InflightRegistry, clock: Clock): Cancels {
  const topicOf = (session: string) => exchange.topicOf(`cancel/${session}`, Cancelled);
  const sent = new LRUCache<string, { count: number }>({ max: 10_000, ttl: 60_000 });
  const watched = new Map<string, () => void>();
  let before = new Set<Inflight>();

  async function look(session: string): Promise<void> {
    for (let after = 0; ;) {
      const items = await topicOf(session).read(after, 100);
      if (items.length === 0) return;
      for (const { seq, value } of items) {
        after = seq;
        inflight.cancelRequest(session, value.request);
      }
    }
  }
  // Without the exchange nobody can be told: the call goes on, as it does when a notification is lost.
  const lookQuietly = (session: string): void => void look(session).catch(() => undefined);

  const sweeping = setInterval(() => {
    const running = new Set<Inflight>();
    const wanted = new Set<string>();
    for (const call of inflight.running()) {
      if (call.request === null) continue;
      running.add(call);
      if (before.has(call)) wanted.add(call.request.session);
    }
    before = running;
    for (const [session, unwatch] of watched) {
      if (wanted.has(session)) continue;
      unwatch();
      watched.delete(session);
    }
    for (const session of wanted) {
      if (watched.has(session)) continue;
      // Watched before it is read: what comes in between is seen.
      watched.set(
        session,
        topicOf(session).watch(() => lookQuietly(session)),
      );
      lookQuietly(session);
    }
  }, SWEEP_MS).unref();

  return {
    send(session, request) {
      const theirs = sent.get(session) ?? { count: 0 };
      if (theirs.count === 0) sent.set(session, theirs);
      if (++theirs.count > PER_MINUTE) return;
      topicOf(session)
        .append([{ request }], { expiresAt: clock.now() + KEPT_MS })
        .catch(() => undefined);
    },
    close() {
      clearInterval(sweeping);
      for (const unwatch of watched.values()) unwatch();
      watched.clear();
    },
  };
}
