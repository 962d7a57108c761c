/**
 * Questions this node has put to legacy clients and that wait for the posted answer. An id names the node that asked, so that an answer
 * that lands elsewhere can be sent on; it belongs to one session, and an answer from another one is as unknown as a made-up id (AZ-09).
 */
import { randomBytes } from 'node:crypto';
import type { UpstreamReply } from '../upstream/connection.ts';

export interface Waiting {
  readonly id: string;
  /** Null: no answer in time, or given up. Call once. */
  answer(signal: AbortSignal, withinMs: number): Promise<UpstreamReply | null>;
}

export interface AskDesk {
  put(session: string): Waiting;
  /** `unknown`: nobody asked that in this session, or not any more. A node id: ask there. */
  take(id: string, session: string, outcome: UpstreamReply): 'taken' | 'unknown' | { readonly node: string };
}

const ID = /^ask\.([A-Za-z0-9_-]{1,200})\.[A-Za-z0-9_-]{22}$/;

export function askDesk(node: string): AskDesk {
  const here = Buffer.from(node).toString('base64url');
  const waiting = new Map<
    string,
    { readonly session: string; readonly settle: (reply: UpstreamReply | null) => void }
  >();

  return {
    put(session) {
      const id = `ask.${here}.${randomBytes(16).toString('base64url')}`;
      const { promise, resolve } = Promise.withResolvers<UpstreamReply | null>();
      waiting.set(id, { session, settle: resolve });
      return {
        id,
        async answer(signal, withinMs) {
          const giveUp = (): void => resolve(null);
          const timer = setTimeout(giveUp, withinMs);
          if (signal.aborted) giveUp();
          signal.addEventListener('abort', giveUp, { once: true });
          try {
            return await promise;
          } finally {
            clearTimeout(timer);
            signal.removeEventListener('abort', giveUp);
            waiting.delete(id);
          }
        },
      };
    },
    take(id, session, outcome) {
      const [, origin] = ID.exec(id) ?? [];
      if (origin === undefined) return 'unknown';
      if (origin !== here) return { node: Buffer.from(origin, 'base64url').toString() };
      const one = waiting.get(id);
      if (one?.session !== session) return 'unknown';
      one.settle(outcome);
      return 'taken';
    },
  };
}
