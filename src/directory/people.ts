/**
 * People by what a verified token says of them: issuer and subject, within one organisation. Built once per snapshot.
 * A record that fits no schema, or two people under one key, stand for nobody: both mean that somebody's rights are not certain.
 */
import type { Organisation } from './records.ts';
import { personKey } from './records.ts';
import type { Person } from './records.ts';

export type KnownPerson = Person & { readonly id: string };

/** By `personKey`; null where the key is ambiguous. */
export type PeopleIndex = ReadonlyMap<string, KnownPerson | null>;

export function peopleIndex(people: Iterable<KnownPerson>): PeopleIndex {
  const index = new Map<string, KnownPerson | null>();
  for (const person of people) {
    const key = personKey(person.issuer, person.subject);
    index.set(key, index.has(key) ? null : person);
  }
  return index;
}

/** Whether tokens of this issuer may speak for people of this organisation. Compared byte for byte (RFC 8414 section 3.3). */
export function trustsIssuer(organisation: Organisation, issuer: string): boolean {
  return organisation.issuers.includes(issuer);
}
