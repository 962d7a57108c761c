import { describe, expect, test } from 'vitest';
import type { KnownPerson } from '../../src/directory/people.ts';
import { peopleIndex, trustsIssuer } from '../../src/directory/people.ts';
import { personStanding } from '../../src/directory/standing.ts';

const anna: KnownPerson = {
  id: 'person_a',
  issuer: 'https://idp.example',
  subject: 'anna',
  name: 'Anna',
  state: 'active',
  roles: ['developer'],
};

describe('byIdentity', () => {
  const index = peopleIndex([anna]);
  test('finds a person by issuer and subject together', () => {
    expect(index.byIdentity('https://idp.example', 'anna')).toEqual(anna);
  });
  test.each([
    ['another issuer', 'https://evil.example', 'anna'],
    ['the issuer with a slash more', 'https://idp.example/', 'anna'],
    ['another subject', 'https://idp.example', 'Anna'],
    ['a subject that continues the issuer', 'https://idp.example anna', ''],
  ])('knows nobody under %s', (_what, issuer, subject) => {
    expect(index.byIdentity(issuer, subject)).toBeUndefined();
  });
  test('two people under one key are nobody', () => {
    const twins = peopleIndex([
      anna,
      { ...anna, id: 'person_b', roles: ['administrator'] },
      { ...anna, id: 'person_c' },
    ]);
    expect(twins.byIdentity(anna.issuer, anna.subject)).toBeUndefined();
  });
});

test.each([
  ['nobody', null, 'unknown'],
  ['an active person with a role', anna, 'active'],
  ['an inactive person with every right', { ...anna, state: 'inactive', roles: ['administrator'] }, 'inactive'],
  ['ID-03: an active person without a role', { ...anna, roles: [] }, 'without_role'],
] as const)('%s', (_who, person, standing) => {
  expect(personStanding(person as KnownPerson | null)).toBe(standing);
});

test('an issuer is compared byte for byte', () => {
  const organisation = { title: 'X', issuers: ['https://idp.example'] };
  expect(trustsIssuer(organisation, 'https://idp.example')).toBe(true);
  expect(trustsIssuer(organisation, 'https://idp.example/')).toBe(false);
  expect(trustsIssuer(organisation, 'https://IDP.example')).toBe(false);
});
