/** What a new picture ends of what was admitted under the old one. */
import { describe, expect, test } from 'vitest';
import { inflightRegistry } from '../../src/gateway/inflight.ts';
import type { InflightFacts } from '../../src/gateway/inflight.ts';
import { withdraw } from '../../src/gateway/withdraw.ts';
import type { StoredRecord } from '../../src/store/state.ts';
import { callerLike } from '../support/caller.ts';
import { BASE, ISSUER, NOW, lock, person, pictureOf, server } from './state.ts';

const CALLER = callerLike({ issuer: ISSUER, subject: 'dana@corp' });
const FACTS: InflightFacts = { caller: CALLER, server: 'notes', tool: 'read_note' };

/** What happened to a call, a verified token and the connections when `after` replaced the base. */
function move(after: readonly StoredRecord[], kinds: readonly string[], facts: InflightFacts | null = FACTS) {
  const before = pictureOf(BASE);
  const next = pictureOf(after, { previous: before, changed: kinds });
  const inflight = inflightRegistry();
  const call = inflight.open('c', 3_600_000);
  call.facts = facts;
  const forgotten: string[] = [];
  const closed: string[] = [];
  let tokenForgotten = false;
  withdraw(
    before,
    next,
    [...BASE, ...after].filter(({ kind }) => kinds.includes(kind)),
    {
      inflight,
      verifier: { forget: (match) => ((tokenForgotten = match(CALLER)), 0) },
      catalogue: { forget: (id) => void forgotten.push(id) },
      pool: { close: (id, why) => (closed.push(`${id}: ${why}`), Promise.resolve()) },
    },
    NOW,
  );
  inflight.close(call);
  return { cancelled: call.cancelledBy, tokenForgotten, forgotten, closed };
}
const KEPT = { cancelled: null, tokenForgotten: false, forgotten: [], closed: [] };
const replaced = (record: StoredRecord): readonly StoredRecord[] =>
  BASE.map((one) => (one.kind === record.kind && one.id === record.id ? record : one));

describe('a lock', () => {
  test.each<[string, string, object]>([
    ['user', 'dana', { ...KEPT, cancelled: 'lock:l1', tokenForgotten: true }],
    ['agent', 'agent-1', { ...KEPT, cancelled: 'lock:l1', tokenForgotten: true }],
    ['token', 'jti-1', { ...KEPT, cancelled: 'lock:l1', tokenForgotten: true }],
    ['tool', 'notes/read_note', { ...KEPT, cancelled: 'lock:l1' }],
    [
      'server',
      'notes',
      { ...KEPT, cancelled: 'lock:l1', forgotten: ['notes'], closed: ['notes: it is not in service'] },
    ],
    ['user', 'omar', KEPT],
    ['agent', 'agent-2', KEPT],
    ['tool', 'notes/write_note', KEPT],
    ['tool', 'other/read_note', KEPT],
    ['server', 'other', KEPT],
  ])('on %s %s', (kind, value, expected) => {
    expect(move([...BASE, lock('l1', kind, value)], ['lock'])).toEqual(expected);
  });

  test('that has ended already touches nothing', () => {
    expect(move([...BASE, lock('l1', 'user', 'dana', NOW - 1)], ['lock'])).toEqual(KEPT);
  });

  test('that cannot be read ends everything', () => {
    const after = move([...BASE, lock('l1', 'planet', 'earth')], ['lock']);
    expect(after).toMatchObject({ cancelled: 'lock:unreadable', tokenForgotten: true, forgotten: ['notes'] });
  });

  test('leaves a call alone that is not admitted yet: its guards will meet the lock', () => {
    expect(move([...BASE, lock('l1', 'user', 'dana')], ['lock'], null).cancelled).toBeNull();
  });
});

describe('a person or a server that no longer stands', () => {
  test.each<[string, readonly StoredRecord[], string, object]>([
    [
      'person made inactive',
      replaced(person('dana', ['developer'], { state: 'inactive' })),
      'person',
      { ...KEPT, cancelled: 'standing', tokenForgotten: true },
    ],
    [
      'person without a role',
      replaced(person('dana', [])),
      'person',
      { ...KEPT, cancelled: 'standing', tokenForgotten: true },
    ],
    [
      'person removed',
      BASE.filter(({ id }) => id !== 'dana'),
      'person',
      { ...KEPT, cancelled: 'standing', tokenForgotten: true },
    ],
    ['another person removed', BASE.filter(({ id }) => id !== 'omar'), 'person', KEPT],
    [
      'server suspended',
      replaced(server('notes', { state: 'suspended' }, 2)),
      'server',
      { ...KEPT, cancelled: 'standing', forgotten: ['notes'], closed: ['notes: it is not in service'] },
    ],
    [
      'server removed',
      BASE.filter(({ kind }) => kind !== 'server'),
      'server',
      { ...KEPT, cancelled: 'standing', forgotten: ['notes'], closed: ['notes: it is not in service'] },
    ],
    [
      'server defined anew',
      replaced(server('notes', { title: 'Renamed' }, 2)),
      'server',
      { ...KEPT, forgotten: ['notes'], closed: ['notes: its definition changed'] },
    ],
  ])('%s', (_title, after, kind, expected) => {
    expect(move(after, [kind])).toEqual(expected);
  });

  test('a change of policies or tools cancels nothing: the guards are asked again before dispatch', () => {
    expect(move(BASE, ['policy', 'tool'])).toEqual(KEPT);
  });
});
