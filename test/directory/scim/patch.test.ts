/** PATCH in the ways of the RFC, of Entra and of Okta; what it refuses; and that nothing sent as one reaches a prototype. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyPatch, readPatch } from '../../../src/directory/scim/patch.ts';
import { attempt } from '../../../src/directory/scim/problem.ts';
import { ENTERPRISE, GROUPS, USERS } from '../../../src/directory/scim/schemas.ts';
import { copyOf, type Values } from '../../../src/directory/scim/values.ts';
import type { Json } from '../../../src/lib/json.ts';

const before = (): Values =>
  copyOf({
    userName: 'ann',
    active: true,
    displayName: 'Ann',
    name: { givenName: 'Ann', familyName: 'Lee' },
    emails: [
      { value: 'a@work', type: 'work', primary: true },
      { value: 'a@home', type: 'home' },
    ],
  });

function patched(...operations: Json[]): unknown {
  const values = before();
  applyPatch(USERS, values, readPatch({ Operations: operations }));
  return JSON.parse(JSON.stringify(values));
}
const plain = (): Record<string, unknown> => JSON.parse(JSON.stringify(before())) as Record<string, unknown>;

describe('PATCH of a user', () => {
  test.each<[string, Json, Record<string, unknown>]>([
    ['replaces', { op: 'replace', path: 'displayName', value: 'B' }, { displayName: 'B' }],
    ['takes op in any case', { op: 'Replace', path: 'displayName', value: 'B' }, { displayName: 'B' }],
    ['takes names in any case', { op: 'ADD', path: 'DISPLAYNAME', value: 'B' }, { displayName: 'B' }],
    ['reads "False"', { op: 'Replace', path: 'active', value: 'False' }, { active: false }],
    [
      'reads false in an old shape',
      { op: 'Replace', path: 'active', value: [{ $ref: null, value: 'False' }] },
      { active: false },
    ],
    ['takes an object without a path', { op: 'replace', value: { active: false } }, { active: false }],
    [
      'takes dotted names without a path',
      { op: 'Add', value: { 'name.givenName': 'Bea', title: 'CTO' } },
      { name: { givenName: 'Bea', familyName: 'Lee' }, title: 'CTO' },
    ],
    [
      'takes full names without a path',
      {
        op: 'add',
        value: { [`${ENTERPRISE}:department`]: 'Ops', 'urn:ietf:params:scim:schemas:core:2.0:User:title': 'CTO' },
      },
      { title: 'CTO', [ENTERPRISE]: { department: 'Ops' } },
    ],
    [
      'takes an extension as an object',
      { op: 'add', value: { [ENTERPRISE]: { costCenter: '7' } } },
      { [ENTERPRISE]: { costCenter: '7' } },
    ],
    [
      'finds an attribute of the extension without its URN',
      { op: 'add', path: 'department', value: 'Ops' },
      { [ENTERPRISE]: { department: 'Ops' } },
    ],
    [
      'takes a bare manager',
      { op: 'Add', path: `${ENTERPRISE}:manager`, value: 'p9' },
      { [ENTERPRISE]: { manager: { value: 'p9' } } },
    ],
    [
      'takes a manager as an object',
      { op: 'add', path: `${ENTERPRISE}:manager`, value: { value: 'p9', displayName: 'x' } },
      { [ENTERPRISE]: { manager: { value: 'p9' } } },
    ],
    [
      'takes a member of a name',
      { op: 'replace', path: 'name.familyName', value: 'May' },
      { name: { givenName: 'Ann', familyName: 'May' } },
    ],
    [
      'keeps the members of a name that it does not name',
      { op: 'replace', path: 'name', value: { familyName: 'May' } },
      { name: { givenName: 'Ann', familyName: 'May' } },
    ],
    ['removes', { op: 'remove', path: 'displayName' }, { displayName: undefined }],
    ['removes a member', { op: 'Remove', path: 'name.givenName' }, { name: { familyName: 'Lee' } }],
    ['takes null for removal', { op: 'replace', path: 'displayName', value: null }, { displayName: undefined }],
    ['ignores the id that Okta sends', { op: 'replace', value: { id: 'x', displayName: 'B' } }, { displayName: 'B' }],
    ['throws a password away', { op: 'replace', path: 'password', value: 'secret' }, {}],
    [
      'changes one value of a list',
      { op: 'Replace', path: 'emails[type eq "work"].value', value: 'b@work' },
      {
        emails: [
          { value: 'b@work', type: 'work', primary: true },
          { value: 'a@home', type: 'home' },
        ],
      },
    ],
    [
      'makes a value that is not there yet',
      { op: 'Add', path: 'phoneNumbers[type eq "mobile"].value', value: '+1' },
      { phoneNumbers: [{ type: 'mobile', value: '+1' }] },
    ],
    [
      'makes it when it is asked to replace it, too',
      { op: 'Replace', path: 'addresses[type eq "work"].formatted', value: 'Here 1' },
      { addresses: [{ type: 'work', formatted: 'Here 1' }] },
    ],
    [
      'removes one value of a list',
      { op: 'remove', path: 'emails[type eq "home"]' },
      { emails: [{ value: 'a@work', type: 'work', primary: true }] },
    ],
    [
      'removes by value',
      { op: 'Remove', path: 'emails', value: [{ value: 'a@home' }] },
      { emails: [{ value: 'a@work', type: 'work', primary: true }] },
    ],
    ['removing what is not there is no error', { op: 'remove', path: 'emails[type eq "other"]' }, {}],
    [
      'a new primary value takes that from the old one',
      { op: 'add', path: 'emails', value: [{ value: 'c@x', primary: true }] },
      {
        emails: [
          { value: 'a@work', type: 'work', primary: false },
          { value: 'a@home', type: 'home' },
          { value: 'c@x', primary: true },
        ],
      },
    ],
    [
      'a value that is there already is not added twice',
      { op: 'add', path: 'emails', value: [{ value: 'a@home', type: 'home' }] },
      {},
    ],
  ])('%s', (_, operation, change) => {
    const expected: Record<string, unknown> = { ...plain(), ...change };
    for (const name of Object.keys(expected)) if (expected[name] === undefined) delete expected[name];
    expect(patched(operation)).toEqual(expected);
  });

  test.each<[string, Json, string, RegExp]>([
    [
      'an unknown attribute',
      { op: 'replace', path: 'shoeSize', value: 1 },
      'invalidPath',
      /no attribute "shoeSize".*mapping/,
    ],
    ['a read-only attribute', { op: 'replace', path: 'id', value: 'x' }, 'mutability', /"id" is read-only/],
    [
      'groups at the user',
      { op: 'add', path: 'groups', value: [{ value: 'g' }] },
      'mutability',
      /"groups" is read-only/,
    ],
    [
      'another operation',
      { op: 'move', path: 'title', value: 'x' },
      'invalidSyntax',
      /op must be add, remove or replace/,
    ],
    ['removal of everything', { op: 'remove' }, 'noTarget', /remove needs a path/],
    ['a number for a text', { op: 'add', path: 'title', value: 7 }, 'invalidValue', /title must be a text/],
    [
      'maybe for a boolean',
      { op: 'replace', path: 'active', value: 'maybe' },
      'invalidValue',
      /active must be true or false/,
    ],
    [
      'a value that only a guess could make',
      { op: 'add', path: 'emails[type ne "x" and value co "q"].display', value: 'x' },
      'noTarget',
      /No value of emails/,
    ],
    [
      'a prototype in the brackets',
      { op: 'add', path: 'emails[__proto__.x eq 1]', value: 'x' },
      'invalidPath',
      /does not exist/,
    ],
    ['a prototype in the path', { op: 'add', path: '__proto__.x', value: 'x' }, 'invalidPath', /no attribute/],
    [
      'brackets that do not close',
      { op: 'add', path: 'emails[type eq "work"', value: 'x' },
      'invalidPath',
      /cannot be read/,
    ],
    [
      'two primary values',
      {
        op: 'add',
        path: 'emails',
        value: [
          { value: 'a', primary: true },
          { value: 'b', primary: 'True' },
        ],
      },
      'invalidValue',
      /primary/,
    ],
  ])('%s is refused', (_, operation, scimType, detail) => {
    const result = attempt(() => patched(operation));
    expect(result).toMatchObject({ ok: false, error: { status: 400, scimType } });
    expect(result.ok ? '' : result.error.detail).toMatch(detail);
  });
});

describe('PATCH of members', () => {
  const steps = (...operations: Json[]): unknown =>
    applyPatch(GROUPS, copyOf({}), readPatch({ Operations: operations }));
  test.each<[string, Json, unknown]>([
    [
      'adds a list',
      { op: 'add', path: 'members', value: [{ value: 'a' }, { value: 'b', type: 'User' }] },
      { do: 'add', ids: ['a', 'b'] },
    ],
    ['adds one object', { op: 'Add', path: 'members', value: { value: 'a', display: 'A' } }, { do: 'add', ids: ['a'] }],
    ['adds without a path', { op: 'add', value: { members: [{ value: 'a' }] } }, { do: 'add', ids: ['a'] }],
    ['adds bare ids', { op: 'add', path: 'members', value: ['a'] }, { do: 'add', ids: ['a'] }],
    [
      'adds under the full name',
      { op: 'add', path: 'urn:ietf:params:scim:schemas:core:2.0:Group:members', value: [{ value: 'a' }] },
      { do: 'add', ids: ['a'] },
    ],
    ['removes by filter', { op: 'remove', path: 'members[value eq "a"]' }, { do: 'remove', ids: ['a'] }],
    [
      'removes by a longer filter',
      { op: 'remove', path: 'members[value eq "a" or value eq "b"]' },
      { do: 'remove', ids: ['a', 'b'] },
    ],
    ['removes by value', { op: 'Remove', path: 'members', value: [{ value: 'a' }] }, { do: 'remove', ids: ['a'] }],
    ['removes everybody', { op: 'remove', path: 'members' }, { do: 'replace', ids: [] }],
    ['replaces', { op: 'replace', path: 'members', value: [{ value: 'a' }] }, { do: 'replace', ids: ['a'] }],
    ['replaces by nobody', { op: 'replace', path: 'members', value: [] }, { do: 'replace', ids: [] }],
    ['replaces without a path', { op: 'replace', value: { id: 'g', members: null } }, { do: 'replace', ids: [] }],
  ])('%s', (_, operation, step) => {
    expect(steps(operation)).toEqual([step]);
  });

  test('groups within groups are refused in words that help', () => {
    expect(attempt(() => steps({ op: 'add', path: 'members', value: [{ value: 'g', type: 'Group' }] }))).toEqual({
      ok: false,
      error: {
        status: 400,
        scimType: 'invalidValue',
        detail:
          'Groups within groups are not supported. Assign the people themselves, or let the directory send the members of nested groups.',
      },
    });
  });
});

test('no operation makes PATCH crash or reach a prototype', () => {
  const path = fc.oneof(
    fc.constantFrom(
      'emails',
      'name',
      'active',
      'members',
      ENTERPRISE,
      `${ENTERPRISE}:manager`,
      '__proto__',
      'constructor.prototype',
      'emails[value eq "a"].value',
      'emails[',
      ']',
      'emails]x[',
      '.',
      'name.givenName.x',
      'meta.version',
    ),
    fc.string({ maxLength: 40 }),
  );
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom('True', [{ value: 'x' }], { __proto__: { x: 1 } }, { constructor: { x: 1 } }),
  );
  const operation = fc.record(
    { op: fc.constantFrom('add', 'Remove', 'replace', 'x'), path, value },
    { requiredKeys: ['op'] },
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 4 }), fc.constantFrom(USERS, GROUPS), (operations, type) => {
      const result = attempt(() => applyPatch(type, before(), readPatch({ Operations: operations as Json })));
      if (!result.ok) expect(result.error.status).toBe(400);
      expect(Object.keys(Object.prototype)).toEqual([]);
      expect(({} as Record<string, unknown>)['x']).toBeUndefined();
    }),
    { seed: 7643, numRuns: 3_000 },
  );
});
