/**
 * How much of the disk the finished tasks of one person may take: bytes counted until they expire, per person and node, in memory.
 * Counted is what was allowed, not what was written in the end; after a restart of the node it begins anew, and then the bound of the
 * exchange itself stands behind it (store/exchange-room.ts).
 */
import type { Clock } from '../lib/clock.ts';

/** What a finished task takes without its result, roughly: many tiny ones fill the quota, too. */
const RECORD_BYTES = 1024;

export interface KeptBytes {
  /** False: there is no room for `bytes` until `expiresAt` (ms since the epoch), and nothing was counted. */
  take(person: string, bytes: number, expiresAt: number): boolean;
}

export function keptBytes(perPerson: number, clock: Clock): KeptBytes {
  const kept = new Map<string, Array<{ readonly bytes: number; readonly expiresAt: number }>>();
  return {
    take(person, bytes, expiresAt) {
      const now = clock.now();
      const live = (kept.get(person) ?? []).filter((one) => one.expiresAt > now);
      const held = live.reduce((sum, one) => sum + one.bytes, 0);
      const needs = bytes + RECORD_BYTES;
      const fits = held + needs <= perPerson;
      if (fits) live.push({ bytes: needs, expiresAt });
      if (live.length > 0) kept.set(person, live);
      else kept.delete(person);
      return fits;
    },
  };
}
