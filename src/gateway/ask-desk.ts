/**
 * Questions this node has put to legacy clients and that wait for the posted answer. An id is sealed and names the node that asked, so that
 * an answer that lands elsewhere can be sent on; it belongs to one session, and an answer from another one, or to an id that no node of ours
 * gave out, is unknown before anything is sent anywhere (AZ-09).
 */
import { sealedBox } from '../lib/sealed-box.ts';
import type { UpstreamReply } from '../upstream/connection.ts';

export interface Waiting {
  readonly id: string;
  /** Null: no answer in time, or given up. Call once. */
  answer(signal: AbortSignal, withinMs: number): Promise<UpstreamReply | null>;
}

export interface AskDesk {
  put(session: string): Waiting;
  /** Where this was asked in this session: `unknown` is nowhere, or not any more; a node id: there, if anywhere. */
  find(id: string, session: string): 'here' | 'unknown' | { readonly node: string };
  /** False: nobody here asked that in this session, or not any more. */
  take(id: string, session: string, outcome: UpstreamReply): boolean;
}

const PREFIX = 'ask.';
const MAX_LENGTH = 1_024;

/** @param keys 32 random bytes each, the same on all nodes; the first seals, all open. */
export function askDesk(node: string, keys: readonly Uint8Array[]): AskDesk {
  const box = sealedBox(keys, 'ask', MAX_LENGTH);
  const waiting = new Map<
    string,
    { readonly session: string; readonly settle: (reply: UpstreamReply | null) => void }
  >();

  return {
    put(session) {
      // Sealed with a random beginning: no two are alike.
      const id = PREFIX + box.seal(node, session);
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
    find(id, session) {
      const asked = id.startsWith(PREFIX) ? box.open(id.slice(PREFIX.length), session) : null;
      if (asked === null) return 'unknown';
      if (asked !== node) return { node: asked };
      return waiting.has(id) ? 'here' : 'unknown';
    },
    take(id, session, outcome) {
      const one = waiting.get(id);
      if (one?.session !== session) return false;
      waiting.delete(id);
      one.settle(outcome);
      return true;
    },
  };
}
