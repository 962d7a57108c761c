/**
 * Identifiers: a prefix that says the kind, 48 bits of time so that they sort, 80 random bits so that nobody guesses them.
 * Example: `call_01k9z3m8e2f7q4w6r1t5y9a0bc`. Letters are Crockford base32 in lower case.
 */
import { randomFillSync } from 'node:crypto';
import type { Clock } from './clock.ts';
import { systemClock } from './clock.ts';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

export type IdPrefix =
  | 'call'
  | 'apr'
  | 'lock'
  | 'sess'
  | 'ref'
  | 'ent'
  | 'person'
  | 'group'
  | 'agent'
  | 'void'
  | 'node'
  | 'tok'
  | 'grant'
  | 'cred'
  | 'ver'
  | 'review';

export function newId<P extends IdPrefix>(prefix: P, clock: Clock = systemClock): `${P}_${string}` {
  let time = clock.now();
  let head = '';
  for (let i = 0; i < 10; i++) {
    head = ALPHABET[time % 32] + head;
    time = Math.floor(time / 32);
  }
  let tail = '';
  if (spent === POOL.length) {
    randomFillSync(POOL);
    spent = 0;
  }
  for (const end = spent + 16; spent < end; spent++) tail += ALPHABET[POOL[spent]! & 31];
  return `${prefix}_${head}${tail}`;
}

/** Asking the system for 16 bytes costs as much as asking for four thousand. Each byte is used once. */
const POOL = new Uint8Array(4096);
let spent = POOL.length;
