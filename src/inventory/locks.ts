/**
 * Which lock, if any, stands in the way of a call. The index is built once per snapshot; asking it costs five Map lookups,
 * however many locks there are. Time is asked at every call, so a lock ends on its own and a new one needs a new snapshot.
 */
import { plainUri } from '../lib/plain-uri.ts';
import type { Lock } from './records.ts';
import { LOCK_KINDS } from './records.ts';

export type HeldLock = Lock & { readonly id: string };

/** Locks by `kind value`, those on a resource also by `uri server plain-uri`; the longest-lasting one of each. */
export type LockIndex = ReadonlyMap<string, HeldLock>;

/** Who and what takes part in a call. null where there is none (a list has no tool). */
export interface LockSubjects {
  readonly organisation: string | null;
  /** Directory id. */
  readonly person: string | null;
  /** OAuth client id. */
  readonly agent: string;
  readonly server: string | null;
  /** Tool name without the server. */
  readonly tool: string | null;
  /** Its id; asked about where it is used, not for every call. */
  readonly credential: string | null;
  /** `jti`. */
  readonly token: string;
}

/** `at` drops locks that have already ended. */
export function lockIndex(locks: Iterable<HeldLock>, at: number): LockIndex {
  const index = new Map<string, HeldLock>();
  for (const lock of locks) {
    if (!inForce(lock, at)) continue;
    for (const key of keysOf(lock)) {
      const other = index.get(key);
      if (!other || endOf(lock) > endOf(other)) index.set(key, lock);
    }
  }
  return index;
}

const RESOURCE = /^([^/]+)\/resource (.+)$/s;

function keysOf({ subject: { kind, value } }: HeldLock): readonly string[] {
  const [, server, uri] = kind === 'tool' ? (RESOURCE.exec(value) ?? []) : [];
  const key = `${kind} ${value}`;
  return uri === undefined ? [key] : [key, `uri ${server} ${plainUri(uri)}`];
}

/** A lock in force on a resource of this server, however its URI is spelled. */
export function lockedUri(index: LockIndex, server: string, uri: string, at: number): HeldLock | null {
  const lock = index.size === 0 ? undefined : index.get(`uri ${server} ${plainUri(uri)}`);
  return lock && inForce(lock, at) ? lock : null;
}

/** The first lock in force, in the order of `LOCK_KINDS` (the organisation first, the token last); null when free. */
export function lockedBy(index: LockIndex, call: LockSubjects, at: number): HeldLock | null {
  if (index.size === 0) return null;
  const values = {
    organisation: call.organisation,
    user: call.person,
    agent: call.agent,
    server: call.server,
    tool: call.server !== null && call.tool !== null ? `${call.server}/${call.tool}` : null,
    credential: call.credential,
    token: call.token,
  };
  for (const kind of LOCK_KINDS) {
    const value = values[kind];
    const lock = value === null ? undefined : index.get(`${kind} ${value}`);
    if (lock && inForce(lock, at)) return lock;
  }
  return null;
}

const endOf = (lock: HeldLock): number => lock.until ?? Number.POSITIVE_INFINITY;
const inForce = (lock: HeldLock, at: number): boolean => endOf(lock) > at;
