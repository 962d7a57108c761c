import { describe, expect, test } from 'vitest';
import type { HeldLock, LockSubjects } from '../../src/inventory/locks.ts';
import { lockedBy, lockIndex } from '../../src/inventory/locks.ts';
import type { LockSubject } from '../../src/inventory/records.ts';

const AT = 1_800_000_000_000;
const call: LockSubjects = {
  organisation: 'org-1',
  person: 'person_a',
  agent: 'client-a',
  server: 'files',
  tool: 'read',
  credential: 'cred_1',
  token: 'jti-1',
};
const lock = (subject: LockSubject, until: number | null = null, id = 'lock_1'): HeldLock => ({
  id,
  subject,
  reason: 'because',
  by: 'person_admin',
  until,
});

describe('a lock stops', () => {
  test.each<[LockSubject, boolean]>([
    [{ kind: 'organisation', value: 'org-1' }, true],
    [{ kind: 'organisation', value: 'org-2' }, false],
    [{ kind: 'credential', value: 'cred_1' }, true],
    [{ kind: 'credential', value: 'cred_2' }, false],
    [{ kind: 'user', value: 'person_a' }, true],
    [{ kind: 'user', value: 'person_b' }, false],
    [{ kind: 'agent', value: 'client-a' }, true],
    [{ kind: 'agent', value: 'person_a' }, false],
    [{ kind: 'server', value: 'files' }, true],
    [{ kind: 'server', value: 'file' }, false],
    [{ kind: 'tool', value: 'files/read' }, true],
    [{ kind: 'tool', value: 'read' }, false],
    [{ kind: 'tool', value: 'mail/read' }, false],
    [{ kind: 'token', value: 'jti-1' }, true],
    [{ kind: 'token', value: 'jti-2' }, false],
  ])('%o: %s', (subject, stops) => {
    expect(lockedBy(lockIndex([lock(subject)], AT), call, AT) !== null).toBe(stops);
  });
  test('a list of a server, which has no tool, by the server and not by a tool', () => {
    const list = { ...call, tool: null };
    expect(lockedBy(lockIndex([lock({ kind: 'tool', value: 'files/read' })], AT), list, AT)).toBeNull();
    expect(lockedBy(lockIndex([lock({ kind: 'server', value: 'files' })], AT), list, AT)).toMatchObject({
      id: 'lock_1',
    });
  });
});

test('a lock ends on its own, at that moment and not before, without a new index', () => {
  const index = lockIndex([lock({ kind: 'user', value: 'person_a' }, AT + 10)], AT);
  expect([AT, AT + 9, AT + 10].map((at) => lockedBy(index, call, at)?.id ?? null)).toEqual(['lock_1', 'lock_1', null]);
});

test('of two locks on one subject the longer one counts, in any order', () => {
  const locks = [
    lock({ kind: 'user', value: 'person_a' }, null, 'for-ever'),
    lock({ kind: 'user', value: 'person_a' }, AT + 1, 'short'),
  ];
  for (const order of [locks, locks.toReversed()]) {
    expect(lockedBy(lockIndex(order, AT), call, AT + 5)).toMatchObject({ id: 'for-ever' });
  }
});

test('the person is named before the tool', () => {
  const locks = [
    lock({ kind: 'tool', value: 'files/read' }, null, 'tool'),
    lock({ kind: 'user', value: 'person_a' }, null, 'user'),
  ];
  expect(lockedBy(lockIndex(locks, AT), call, AT)).toMatchObject({ id: 'user' });
});
