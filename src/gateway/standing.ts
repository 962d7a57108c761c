/**
 * Which lock falls on the organisation, a person, agent, token, server or tool at this moment, over the snapshot's index.
 * INVARIANT: an unreadable lock record (index null) counts as a lock on everything; the first guard has refused by then.
 */
import { lockedBy } from '../inventory/locks.ts';
import type { HeldLock, LockSubjects } from '../inventory/locks.ts';
import type { Snapshot } from './snapshot.ts';

const NOBODY: LockSubjects = {
  organisation: null,
  person: null,
  agent: '',
  server: null,
  tool: null,
  credential: null,
  token: '',
};

export function lockOn(
  snapshot: Snapshot,
  subjects: Partial<LockSubjects>,
  now: number,
): Pick<HeldLock, 'id' | 'subject'> | null {
  if (snapshot.locks === null) return { id: 'unreadable', subject: { kind: 'server', value: subjects.server ?? '' } };
  return lockedBy(snapshot.locks, { ...NOBODY, organisation: snapshot.org, ...subjects }, now);
}
