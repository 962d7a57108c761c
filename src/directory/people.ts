/**
 * People by what a verified token says of them: issuer and subject, within one organisation. Grows with the state, one change at a time.
 * A record that fits no schema, or two people under one identity, stand for nobody: both mean that somebody's rights are not certain.
 */
import { layeredMap } from '../lib/layered-map.ts';
import type { LayeredMap } from '../lib/layered-map.ts';
import type { Organisation, Person } from './records.ts';
import { personKey } from './records.ts';

export type KnownPerson = Person & { readonly id: string };

export interface PeopleIndex {
  byId(id: string): KnownPerson | undefined;
  /** undefined for anybody who is not known for certain. */
  byIdentity(issuer: string, subject: string): KnownPerson | undefined;
  all(): Iterable<KnownPerson>;
  readonly size: number;
  /** The next index; null removes a person. */
  with(changes: Iterable<readonly [string, KnownPerson | null]>): PeopleIndex;
}

export function peopleIndex(people: Iterable<KnownPerson>): PeopleIndex {
  const ids = [...people].map((person) => [person.id, person] as const);
  const keys = new Map<string, string[]>();
  for (const [id, person] of ids) {
    for (const key of keysOf(person)) {
      const holders = keys.get(key);
      if (holders) holders.push(id);
      else keys.set(key, [id]);
    }
  }
  return indexOver(layeredMap(ids), layeredMap([...keys].map(([key, holders]) => [key, folded(holders)!] as const)));
}

/** Who holds an identity: one id, or several, and then it is nobody's. */
type Holders = string | readonly string[];

function indexOver(people: LayeredMap<KnownPerson>, identities: LayeredMap<Holders>): PeopleIndex {
  return {
    byId: (id) => people.get(id),
    byIdentity(issuer, subject) {
      const holder = identities.get(personKey(issuer, subject));
      return typeof holder === 'string' ? people.get(holder) : undefined;
    },
    *all() {
      for (const [, person] of people.entries()) yield person;
    },
    get size() {
      return people.size;
    },
    with(changes) {
      const list = [...changes];
      const touched = new Map<string, Set<string>>();
      const holdersOf = (key: string): Set<string> => {
        let holders = touched.get(key);
        if (!holders) touched.set(key, (holders = new Set([identities.get(key) ?? []].flat())));
        return holders;
      };
      for (const [id, person] of list) {
        for (const key of keysOf(people.get(id))) holdersOf(key).delete(id);
        for (const key of keysOf(person)) holdersOf(key).add(id);
      }
      return indexOver(
        people.with(list.map(([id, person]) => [id, person ?? undefined] as const)),
        identities.with([...touched].map(([key, holders]) => [key, folded([...holders])] as const)),
      );
    },
  };
}

const folded = (holders: readonly string[]): Holders | undefined => (holders.length < 2 ? holders[0] : holders);

function keysOf(person: Person | null | undefined): Set<string> {
  if (!person) return new Set();
  const identities = [person, ...(person.also ?? [])];
  return new Set(identities.map(({ issuer, subject }) => personKey(issuer, subject)));
}

/** Whether tokens of this issuer may speak for people of this organisation. Compared byte for byte (RFC 8414 section 3.3). */
export function trustsIssuer(organisation: Organisation, issuer: string): boolean {
  return organisation.issuers.includes(issuer);
}
