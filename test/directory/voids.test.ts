import { describe, expect, test } from 'vitest';
import { VOID_KINDS, voidIndex, voidOn, withVoids } from '../../src/directory/voids.ts';
import type { Void } from '../../src/directory/voids.ts';
import { callerLike } from '../support/caller.ts';

const AT = 1_800_000_000_000;
const voided = (kind: (typeof VOID_KINDS)[number], value: string, before = AT): Void => ({
  subject: { kind, value },
  before,
  reason: 'test',
  by: 'ada',
  until: before + 3_600_000,
});
const ISSUER = 'https://issuer.example';
const token = (iatMs: number) =>
  callerLike({
    issuedAt: Math.floor(iatMs / 1_000),
    grantId: 'g1',
    sessionId: 's1',
    clientId: 'agent-1',
    tokenId: 'j1',
  });

describe('R5: a token issued up to the moment of its void is refused, a later one is not', () => {
  test.each([
    ['person', 'dana'],
    ['person', `${ISSUER} user-1`],
    ['client', 'agent-1'],
    ['grant', `${ISSUER} g1`],
    ['session', `${ISSUER} s1`],
    ['token', `${ISSUER} j1`],
  ] as const)('by %s', (kind, value) => {
    const index = voidIndex([voided(kind, value)]);
    expect(voidOn(index, 'dana', token(AT - 600_000))).toBe(kind);
    // `iat` has whole seconds: the second of the void itself counts as before it.
    expect(voidOn(index, 'dana', token(AT))).toBe(kind);
    // What ends for good has no later tokens: an issuer whose clock is ahead must not revive it.
    const later = kind === 'person' || kind === 'client' ? null : kind;
    expect(voidOn(index, 'dana', token(AT + 1_000))).toBe(later);
  });

  test.each([
    ['another person', 'person', 'dora'],
    ['another identity', 'person', `${ISSUER} user-2`],
    ['another issuer’s grant', 'grant', 'https://other.example g1'],
    ['a session that begins alike', 'session', `${ISSUER} s`],
    ['a grant in place of a session', 'session', `${ISSUER} g1`],
  ] as const)('not for %s', (_what, kind, value) => {
    expect(voidOn(voidIndex([voided(kind, value)]), 'dana', token(AT - 1))).toBeNull();
  });
});

test('of two voids on one subject the later counts, in whatever order they come', () => {
  const index = withVoids(voidIndex([voided('person', 'dana', AT)]), [voided('person', 'dana', AT - 60_000)]);
  expect(voidOn(index, 'dana', token(AT - 1_000))).toBe('person');
  const later = withVoids(index, [voided('person', 'dana', AT + 60_000)]);
  expect(voidOn(later, 'dana', token(AT + 30_000))).toBe('person');
  expect(voidOn(index, 'dana', token(AT + 30_000))).toBeNull();
});
