/**
 * Browser sessions of the admin listener: which cookie stands for which tokens. In memory of this process only; a restart signs everybody
 * out, and with several nodes people must come back to the one they signed in at. Promises: a cookie value is 256 random bits and known here
 * by its hash alone; sessions end when they are idle, when they are old, and when there are too many of one person.
 * Knows nothing of standing: whoever uses a token verifies it.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { sameText, sha256Hex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';

export interface Tokens {
  readonly access: string;
  readonly refresh: string | null;
  /** ms since the epoch. */
  readonly expiresAt: number;
}

export interface Session {
  readonly key: string;
  /** Issuer and subject: a session never changes hands, whatever a refresh brings. */
  readonly owner: string;
  tokens: Tokens;
  /** A refresh under way. */
  renewing: Promise<boolean> | null;
  readonly openedAt: number;
  usedAt: number;
  /** What a form of this session must carry. */
  formToken(purpose: string): string;
  isFormToken(token: string, purpose: string): boolean;
}

export interface Sessions {
  /** A new session and the cookie value for it. */
  open(owner: string, tokens: Tokens): { readonly session: Session; readonly cookie: string };
  /** Null: unknown, or over. */
  find(cookie: string | null): Session | null;
  /** Whether it was there. */
  end(session: Session): boolean;
}

export interface SessionLimits {
  readonly idleMs: number;
  /** However often it is used. */
  readonly maxMs: number;
  /** Default 5,000: the one that was unused longest goes. */
  readonly sessions?: number;
  /** Default 10. */
  readonly perPerson?: number;
}

export function openSessions(clock: Clock, limits: SessionLimits): Sessions {
  const { idleMs, maxMs, perPerson = 10 } = limits;
  const known = new LRUCache<string, Session>({ max: limits.sessions ?? 5_000 });
  const isOver = ({ usedAt, openedAt }: Session): boolean => {
    const now = clock.now();
    return now - usedAt >= idleMs || now - openedAt >= maxMs;
  };
  return {
    open(owner, tokens) {
      const cookie = randomBytes(32).toString('base64url');
      const formKey = randomBytes(32);
      const now = clock.now();
      const tokenOf = (purpose: string): string =>
        createHmac('sha256', formKey).update(`form ${purpose}`).digest('base64url');
      const session: Session = {
        key: sha256Hex(cookie),
        owner,
        tokens,
        renewing: null,
        openedAt: now,
        usedAt: now,
        formToken: tokenOf,
        isFormToken: (token, purpose) => sameText(token, tokenOf(purpose)),
      };
      const theirs = [...known.values()].filter((other) => other.owner === owner);
      for (const old of theirs.sort((a, b) => b.usedAt - a.usedAt).slice(perPerson - 1)) known.delete(old.key);
      known.set(session.key, session);
      return { session, cookie };
    },
    find(cookie) {
      if (cookie === null) return null;
      const session = known.get(sha256Hex(cookie));
      if (session === undefined) return null;
      if (isOver(session)) {
        known.delete(session.key);
        return null;
      }
      session.usedAt = clock.now();
      return session;
    },
    end: (session) => known.delete(session.key),
  };
}
