/**
 * Legacy sessions that their client ended. Session ids are sealed, not stored, so an ended one must be remembered until it
 * would have expired by itself. Bounded: past the bound the oldest is forgotten, which lets its own owner go on using it, nobody else.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';

export interface EndedSessions {
  add(nonce: string): void;
  has(nonce: string): boolean;
}

const REMEMBER_MS = 24 * 3_600_000;

export function endedSessions(clock: Clock): EndedSessions {
  const ended = new LRUCache<string, true>({ max: 50_000, ttl: REMEMBER_MS, perf: { now: () => clock.now() } });
  return { add: (nonce) => void ended.set(nonce, true), has: (nonce) => ended.has(nonce) };
}
