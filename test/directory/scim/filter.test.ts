/** Filters mean what RFC 7644 says, and nothing that is sent as one gets anywhere else. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileFilter } from '../../../src/directory/scim/filter.ts';
import { attempt } from '../../../src/directory/scim/problem.ts';
import { ENTERPRISE, GROUPS, USERS } from '../../../src/directory/scim/schemas.ts';
import { copyOf, type Values } from '../../../src/directory/scim/values.ts';

const ANN: Values = copyOf({
  id: 'person_1',
  userName: 'Ann@Example.com',
  externalId: 'Ext-1',
  active: true,
  name: { givenName: 'Ann', familyName: "O'Hara" },
  emails: [
    { value: 'ann@work.example', type: 'work', primary: true },
    { value: 'ann@home.example', type: 'home' },
  ],
  [ENTERPRISE]: { department: 'R&D', manager: { value: 'person_9' } },
  meta: { created: '2026-01-02T03:04:05.000Z' },
});
const holds = (filter: string): boolean => compileFilter(USERS, filter).test(ANN);

describe('a filter', () => {
  test.each([
    ['userName eq "ann@example.com"', true], // case does not count
    ['USERNAME EQ "ann@example.com"', true],
    ['externalId eq "ext-1"', false], // case counts
    ['externalId eq "Ext-1"', true],
    ['active eq true', true],
    ['active eq "True"', true],
    ['active ne true', false],
    ['name.familyName co "hara"', true],
    ['name.familyName sw "O\'"', true],
    ['name.familyName ew "x"', false],
    ['title pr', false],
    ['emails pr', true],
    ['emails eq "ann@home.example"', true],
    ['emails.type eq "home"', true],
    ['emails[type eq "work" and value co "work"]', true],
    ['emails[type eq "home" and value co "work"]', false],
    // One element must meet both: another's address must not do.
    ['emails[type eq "home"].value eq "ann@work.example"', false],
    ['emails[type eq "home"].value eq "ann@home.example"', true],
    ['userName eq "x" or emails[type eq "home"].value eq "ann@home.example"', true],
    ['emails[type eq "home"].value eq "ann@home.example" and active eq false', false],
    ['not (active eq true)', false],
    ['userName eq "x" or active eq true and title pr', false],
    ['(userName eq "x" or active eq true) and emails pr', true],
    [`${ENTERPRISE}:department eq "r&d"`, true],
    [`${ENTERPRISE}:manager.value eq "person_9"`, true],
    ['urn:ietf:params:scim:schemas:core:2.0:User:userName eq "ann@example.com"', true],
    ['meta.created gt "2026-01-01T00:00:00Z"', true],
    ['meta.created lt "2026-01-01T00:00:00Z"', false],
    ['title eq null', true],
    ['userName eq null', false],
    ['userName ne null', true],
    ['displayName eq "constructor and __proto__"', false], // inside quotes it is a text like any other
  ])('%s is %s', (filter, expected) => {
    expect(holds(filter)).toBe(expected);
  });

  test.each([
    ['__proto__.x eq 1', 'The filter names an attribute that does not exist.'],
    ['constructor.prototype.x eq 1', 'The filter names an attribute that does not exist.'],
    ['emails[__proto__.x eq 1]', 'The filter names an attribute that does not exist.'],
    ['remit__same.value eq "x"', 'The filter names an attribute that does not exist.'],
    ['toString eq "x"', 'There is no attribute "toString".'],
    ['name eq "x"', '"name" has no value of its own to compare.'],
    ['password eq "x"', 'There is no attribute "password".'],
    ['active gt true', 'active is true or false; gt means nothing.'],
    ['userName eq', 'The filter cannot be read: "userName eq".'],
    ['userName eq "a" and', 'The filter cannot be read: "userName eq \\"a\\" and".'],
    ['', 'The filter cannot be read: "".'],
    [`userName eq "${'x'.repeat(1_100)}"`, 'The filter is longer than 1024 characters.'],
    [Array.from({ length: 70 }, () => 'title pr').join(' or '), 'The filter has more than 64 clauses.'],
  ])('%s is refused', (filter, detail) => {
    expect(attempt(() => compileFilter(USERS, filter))).toEqual({
      ok: false,
      error: { status: 400, scimType: 'invalidFilter', detail },
    });
  });

  test('what must be equal is told apart for the index', () => {
    expect(compileFilter(USERS, 'userName eq "a" and active eq true').pins).toEqual([{ name: 'userName', value: 'a' }]);
    expect(compileFilter(USERS, 'userName eq "a" or active eq true').pins).toEqual([]);
    expect(compileFilter(USERS, 'not (userName eq "a")').pins).toEqual([]);
    expect(compileFilter(GROUPS, 'id eq "g" and members eq "p"').pins).toEqual([
      { name: 'id', value: 'g' },
      { name: 'members.value', value: 'p' },
    ]);
    expect(compileFilter(GROUPS, 'members[value eq "p"]').pins).toEqual([{ name: 'members.value', value: 'p' }]);
  });
});

test('no text makes the filter crash, take long or reach a prototype', () => {
  const word = fc.constantFrom(
    'userName',
    'emails',
    'emails[',
    ']',
    '].',
    'value',
    'eq',
    'co',
    'pr',
    'not',
    '(',
    ')',
    'and',
    'or',
    '"x"',
    '"',
    '\\',

    '__proto__',
    'constructor',
    'prototype',
    'name.',
    '.',
    'true',
    'null',
    '1',
    '1e9',
    'urn:',
    ENTERPRISE,
    'toString',
  );
  const text = fc.oneof(
    fc.string({ maxLength: 200 }),
    fc.array(word, { maxLength: 60 }).map((words) => words.join(' ')),
  );
  fc.assert(
    fc.property(text, (filter) => {
      const compiled = attempt(() => compileFilter(USERS, filter));
      if (compiled.ok) expect(typeof compiled.value.test(ANN)).toBe('boolean');
      else expect([400, 'invalidFilter']).toEqual([compiled.error.status, compiled.error.scimType]);
      expect(Object.keys(Object.prototype)).toEqual([]);
      expect(({} as Record<string, unknown>)['x']).toBeUndefined();
    }),
    { seed: 7644, numRuns: 3_000 },
  );
});
