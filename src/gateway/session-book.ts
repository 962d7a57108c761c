/**
 * What a legacy session has said since it was opened: the log level, the resources it watches, that it is over. Sealed session ids
 * carry what was negotiated; this is the rest, kept in the exchange so that any node knows it. Read once per session and node,
 * then kept current by watching; a call never waits for it twice.
 */
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import type { SealedExchange, Topic } from './exchange-box.ts';

const SessionState = z.strictObject({
  level: z.string().nullable(),
  resources: z.array(z.string()),
  ended: z.boolean(),
  /** The stream it listens on (GET), wherever that is; a newer one takes its place. Null: none yet. */
  hearer: z.string().nullable(),
  /** HTTP+SSE: the session that `initialize` opened in this one. */
  agreed: z.string().nullable(),
});
export type SessionState = z.infer<typeof SessionState>;

const FRESH: SessionState = Object.freeze({ level: null, resources: [], ended: false, hearer: null, agreed: null });
/** How long a session id opens (protocol/session.ts): nothing said in a session outlives it. */
export const SESSION_MS = 24 * 3_600_000;
/** Resources one session may watch. */
export const MAX_WATCHED = 500;

export interface SessionBook {
  /** What is known without asking; undefined: `load` first. */
  peek(nonce: string): SessionState | undefined;
  load(nonce: string): Promise<SessionState>;
  /** @returns the new state, or null when it was changed elsewhere at the same moment too often. */
  change(nonce: string, edit: (state: SessionState) => SessionState): Promise<SessionState | null>;
  /** Called after a session's state changed, here or elsewhere, with what it is now. Returns the unsubscribe function. */
  watch(nonce: string, listener: (state: SessionState) => void): () => void;
}

interface Known {
  seq: number;
  state: SessionState;
  readonly unwatch: () => void;
}

export function sessionBook(exchange: SealedExchange, clock: Clock): SessionBook {
  const topics = (nonce: string): Topic<SessionState> => exchange.topicOf(`session/${nonce}`, SessionState);
  const loading = new Map<string, Promise<Known>>();
  const known = new LRUCache<string, Known>({ max: 10_000, dispose: ({ unwatch }) => unwatch() });

  async function fetchInto(nonce: string): Promise<Known> {
    // Watched before it is read: what is written in between is seen.
    let stale = false;
    const unwatch = topics(nonce).watch(() => {
      stale = true;
      void refresh(nonce);
    });
    try {
      let latest = await topics(nonce).latest();
      if (stale) latest = await topics(nonce).latest();
      const entry: Known = { seq: latest?.seq ?? 0, state: latest?.value ?? FRESH, unwatch };
      known.set(nonce, entry);
      return entry;
    } catch (fault) {
      unwatch();
      throw fault;
    }
  }

  async function refresh(nonce: string): Promise<void> {
    const entry = known.peek(nonce);
    if (!entry) return;
    const latest = await topics(nonce)
      .latest()
      .catch(() => null);
    if (latest && latest.seq > entry.seq) Object.assign(entry, { seq: latest.seq, state: latest.value });
  }

  function load(nonce: string): Promise<Known> {
    const entry = known.get(nonce);
    if (entry) return Promise.resolve(entry);
    let started = loading.get(nonce);
    if (!started) {
      started = fetchInto(nonce).finally(() => loading.delete(nonce));
      loading.set(nonce, started);
    }
    return started;
  }

  return {
    peek: (nonce) => known.get(nonce)?.state,
    load: async (nonce) => (await load(nonce)).state,
    async change(nonce, edit) {
      for (let tries = 0; tries < 5; tries++) {
        const entry = await load(nonce);
        const state = edit(entry.state);
        const expiresAt = clock.now() + SESSION_MS;
        const seq = await topics(nonce).append([state], { expiresAt, expect: entry.seq, replaces: true });
        if (seq !== null) {
          Object.assign(entry, { seq, state });
          return state;
        }
        await refresh(nonce);
      }
      return null;
    },
    watch: (nonce, listener) =>
      topics(nonce).watch(() => {
        refresh(nonce)
          .then(() => load(nonce))
          .then(
            ({ state }) => listener(state),
            () => undefined,
          );
      }),
  };
}
