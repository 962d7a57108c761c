/**
 * Old clients (2025-11-25) that were sent to a page with -32042 hear on the stream of their session when what they wait for there is over
 * (`notifications/elicitation/complete`); one that opens its stream a little later hears it then. On this node alone: whoever listens
 * elsewhere hears nothing, and may call again any time.
 */
import type { JsonObject } from '../lib/json.ts';

export interface Elicited {
  /** This session was sent to the page of this approval. */
  expect(session: string, approval: string): void;
  /** A stream of this session is open here. Returns the unsubscribe function. */
  listen(session: string, tell: (message: JsonObject) => void): () => void;
  /** These were decided, or are over. */
  over(approvals: Iterable<string>): void;
}

/** More than this at once: the oldest hear nothing. */
const MAX_EXPECTED = 10_000;
/** Sessions, and what is kept for each. */
const MAX_MISSED = 1_000;
const MISSED_EACH = 10;

export function elicited(): Elicited {
  const expected = new Map<string, Set<string>>();
  const listening = new Map<string, (message: JsonObject) => void>();
  /** Said to nobody yet, by session: a client opens its stream beside its first call, and people can be faster. */
  const missed = new Map<string, JsonObject[]>();
  const keep = (session: string, message: JsonObject): void => {
    missed.set(session, [...(missed.get(session) ?? []), message].slice(-MISSED_EACH));
    for (const oldest of missed.keys()) {
      if (missed.size <= MAX_MISSED) break;
      missed.delete(oldest);
    }
  };
  return {
    expect(session, approval) {
      const sessions = expected.get(approval) ?? new Set();
      sessions.add(session);
      expected.delete(approval);
      expected.set(approval, sessions);
      for (const oldest of expected.keys()) {
        if (expected.size <= MAX_EXPECTED) break;
        expected.delete(oldest);
      }
    },
    listen(session, tell) {
      listening.set(session, tell);
      for (const message of missed.get(session) ?? []) tell(message);
      missed.delete(session);
      return () => void (listening.get(session) === tell && listening.delete(session));
    },
    over(approvals) {
      for (const approval of approvals) {
        const sessions = expected.get(approval) ?? [];
        expected.delete(approval);
        const message = {
          jsonrpc: '2.0',
          method: 'notifications/elicitation/complete',
          params: { elicitationId: approval },
        };
        for (const session of sessions) {
          const tell = listening.get(session);
          if (tell) tell(message);
          else keep(session, message);
        }
      }
    },
  };
}
