import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { peopleIndex } from '../../src/directory/people.ts';
import type { KnownPerson } from '../../src/directory/people.ts';

const ISSUER = 'https://idp.example';
const person = (id: string, subject: string, also: readonly string[] = []): KnownPerson => ({
  id,
  issuer: ISSUER,
  subject,
  name: id,
  state: 'active',
  roles: ['developer'],
  ...(also.length > 0 && { also: also.map((name) => ({ issuer: 'https://as.example', subject: name })) }),
});

test('a person is found under each of their identities', () => {
  const index = peopleIndex([person('a', 'anna', ['corp|1'])]);
  expect(index.byIdentity(ISSUER, 'anna')?.id).toBe('a');
  expect(index.byIdentity('https://as.example', 'corp|1')?.id).toBe('a');
  expect(index.byIdentity('https://as.example', 'anna')).toBeUndefined();
});

test('ID-01: an identity that two people claim, as their own or as a further one, is nobody until one gives it up', () => {
  const before = peopleIndex([person('a', 'anna', ['corp|1']), person('b', 'bert')]);
  const contested = before.with([['b', person('b', 'bert', ['corp|1'])]]);
  expect(contested.byIdentity('https://as.example', 'corp|1')).toBeUndefined();
  expect(contested.byIdentity(ISSUER, 'anna')?.id).toBe('a');
  expect(before.byIdentity('https://as.example', 'corp|1')?.id).toBe('a');
  expect(contested.with([['a', null]]).byIdentity('https://as.example', 'corp|1')?.id).toBe('b');
});

test('grown step by step it says the same as built at once', () => {
  const change = fc.record({
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    subject: fc.constantFrom('s1', 's2', 's3'),
    also: fc.subarray(['s1', 'x', 'y']),
    gone: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(fc.array(change, { maxLength: 3 }), { maxLength: 12 }), (steps) => {
      let grown = peopleIndex([]);
      const live = new Map<string, KnownPerson>();
      for (const step of steps) {
        const changes = new Map(
          step.map(({ id, subject, also, gone }) => [id, gone ? null : person(id, subject, also)]),
        );
        grown = grown.with(changes);
        for (const [id, one] of changes) {
          if (one) live.set(id, one);
          else live.delete(id);
        }
      }
      const built = peopleIndex(live.values());
      expect(grown.size).toBe(built.size);
      for (const issuer of [ISSUER, 'https://as.example'])
        for (const subject of ['s1', 's2', 's3', 'x', 'y'])
          expect(grown.byIdentity(issuer, subject)).toEqual(built.byIdentity(issuer, subject));
    }),
    { seed: 9, numRuns: 300 },
  );
});
