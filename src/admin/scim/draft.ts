/**
 * One request's changes before they are made: this node's picture with what the request did so far laid over it. A request works on a draft
 * and either commits all of it at once or throws it away; that is why a half-applied PATCH or bulk changes nothing.
 * A draft sees its own connection alone: what another one provisions, and what is local, does not exist here (ID-05).
 */
import type { z } from 'zod';
import type { KnownPerson } from '../../directory/people.ts';
import type { Identity, ScimConnection } from '../../directory/records.ts';
import { Group, Person, personKey } from '../../directory/records.ts';
import { refuseNested, type MemberStep } from '../../directory/scim/members.ts';
import { bad, quoted, refuse } from '../../directory/scim/problem.ts';
import { memberValues, sameRecord, type Reference } from '../../directory/scim/resources.ts';
import type { JsonObject } from '../../lib/json.ts';
import type { Write } from '../../store/state.ts';
import type { AdminContext } from '../context.ts';
import { endingWrites, type Ending } from '../leaving.ts';
import { fieldKey, fieldsOf, type DirectoryIndex, type Field, type Kind } from './directory-index.ts';
import { manyMap } from './many-map.ts';

/** The store takes 10,000 writes in one commit; voids and held calls need room, too. */
const MAX_RECORDS = 9_000;
/**
 * How many members of groups one request looks at, over all its steps: about half a second, in which this node does nothing else.
 * ATTACKER-CONTROLLED: how often a request asks for the same large group.
 */
const MAX_LOOKED_AT = 500_000;
/** `Person.groups` takes no more. */
const MAX_GROUPS = 5_000;

interface Entry<T> {
  /** Null: it is new. */
  readonly before: T | null;
  /** Revision of `before`. */
  readonly revision: number | null;
  /** Null: it is gone. */
  after: T | null;
}

export interface Drafted {
  readonly writes: readonly Write[];
  readonly people: { readonly added: number; readonly changed: number; readonly removed: number };
  readonly groups: { readonly added: number; readonly changed: number; readonly removed: number };
  readonly membersAdded: readonly string[];
  readonly membersRemoved: readonly string[];
  readonly deactivated: readonly string[];
  /** Servers whose owner left with this (NH-05). */
  readonly orphaned: readonly string[];
}

export type Draft = ReturnType<typeof openDraft>;

export function openDraft(input: {
  readonly ctx: AdminContext;
  readonly index: DirectoryIndex;
  readonly connectionId: string;
  readonly connection: ScimConnection;
}) {
  const { ctx, index, connectionId, connection } = input;
  const view = ctx.snapshot();
  const now = ctx.clock.now();
  const people = new Map<string, Entry<Person>>();
  const groups = new Map<string, Entry<Group>>();
  /** Names that this draft gave: `kind field value`, `identity key`, `member group`. Looked at again before they count. */
  const given = manyMap();
  const membersAdded = new Set<string>();
  const membersRemoved = new Set<string>();
  /** Groups that get a new revision although they say the same. */
  const touched = new Set<string>();
  let lookedAt = 0;

  const revisionOf = (kind: Kind, id: string): number => ctx.follower.records.get(kind, ctx.org, id)?.revision ?? 0;

  /** A person as the draft has them, of whatever connection. */
  function anyPerson(id: string): Person | null {
    const entry = people.get(id);
    if (entry !== undefined) return entry.after;
    const known = view.people.byId(id);
    return known === undefined ? null : withoutId(known);
  }
  const ours = <T extends Person | Group>(record: T | null | undefined): T | null =>
    record?.provisioned?.connection === connectionId ? record : null;
  const person = (id: string): Person | null => ours(anyPerson(id));
  function group(id: string): Group | null {
    const entry = groups.get(id);
    return ours(entry === undefined ? view.groups.get(id) : entry.after);
  }

  function find(kind: Kind, field: Field, value: string): readonly string[] {
    const key = fieldKey(kind, field, value);
    const candidates = new Set([...index.find(connectionId, kind, field, value), ...given.get(key)]);
    return [...candidates].filter((id) => {
      const record = kind === 'person' ? person(id) : group(id);
      return (
        record !== null &&
        fieldsOf(kind, { ...record, id }).some(([name, text]) => name === field && fieldKey(kind, name, text) === key)
      );
    });
  }

  /** Whoever signs in under this identity, of whatever connection. */
  function holders(identity: Identity): readonly string[] {
    const key = personKey(identity.issuer, identity.subject);
    const known = view.people.byIdentity(identity.issuer, identity.subject);
    const candidates = new Set([...(known === undefined ? [] : [known.id]), ...given.get(`identity ${key}`)]);
    return [...candidates].filter((id) => keysOf(anyPerson(id)).includes(key));
  }

  function putPerson(id: string, after: Person): void {
    const entry = people.get(id);
    if (entry !== undefined) entry.after = after;
    else {
      const before = view.people.byId(id);
      if (before === undefined) people.set(id, { before: null, revision: null, after });
      else people.set(id, { before: withoutId(before), revision: revisionOf('person', id), after });
    }
    for (const [field, value] of fieldsOf('person', { ...after, id })) given.add(fieldKey('person', field, value), id);
    for (const key of keysOf(after)) given.add(`identity ${key}`, id);
  }

  function putGroup(id: string, after: Group | null): void {
    const entry = groups.get(id);
    if (entry !== undefined) entry.after = after;
    else {
      const before = view.groups.get(id) ?? null;
      groups.set(id, { before, revision: before === null ? null : revisionOf('group', id), after });
    }
    if (after !== null)
      for (const [field, value] of fieldsOf('group', after)) given.add(fieldKey('group', field, value), id);
  }

  /** A new revision for the group, which is its ETag, because its members changed. */
  function touch(id: string): void {
    const found = group(id);
    const provisioned = found?.provisioned;
    if (found === null || provisioned === undefined) return;
    putGroup(id, { ...found, provisioned: { ...provisioned, profile: { ...provisioned.profile, modified: now } } });
    touched.add(id);
  }

  function members(id: string): readonly string[] {
    const candidates = new Set([...index.members(id), ...given.get(`member ${id}`)]);
    return [...candidates].filter((member) => anyPerson(member)?.groups?.includes(id) === true);
  }

  function setMember(groupId: string, id: string, member: boolean): void {
    const found = person(id);
    if (found === null) {
      // Whom it does not know it cannot take out either; a directory that says so again is not wrong.
      if (!member) return;
      if (group(id) !== null) refuseNested();
      return bad('invalidValue', `members: there is no user ${quoted(id)}.`);
    }
    const before = found.groups ?? [];
    if (before.includes(groupId) === member) return;
    // Ids of groups that are gone go with the next change.
    const kept = before.filter(
      (one) => one !== groupId && ctx.follower.records.get('group', ctx.org, one) !== undefined,
    );
    if (member && kept.length >= MAX_GROUPS) bad('invalidValue', `A user is in at most ${MAX_GROUPS} groups.`);
    const { groups: _, ...rest } = found;
    const after = member ? [...kept, groupId] : kept;
    putPerson(id, after.length === 0 ? rest : { ...rest, groups: after });
    if (member) given.add(`member ${groupId}`, id);
    (member ? membersAdded : membersRemoved).add(id);
    touch(groupId);
  }

  function applyMembers(id: string, steps: readonly MemberStep[], base: string): void {
    const all = (): readonly string[] => {
      // Once too much was looked at, the rest of a bulk is not looked at either.
      const found = lookedAt > MAX_LOOKED_AT ? [] : members(id);
      lookedAt += found.length;
      return lookedAt > MAX_LOOKED_AT
        ? refuse({
            status: 413,
            scimType: 'tooMany',
            detail: 'Too many steps over too many members. Send fewer at once.',
          })
        : found;
    };
    for (const step of steps) {
      if (step.do === 'removeWhere') {
        for (const member of all()) {
          if (step.test(memberValues(member, base))) setMember(id, member, false);
        }
      } else if (step.do === 'replace') {
        const wanted = new Set(step.ids);
        for (const member of all()) if (!wanted.has(member)) setMember(id, member, false);
        for (const member of wanted) setMember(id, member, true);
      } else for (const member of step.ids) setMember(id, member, step.do === 'add');
      if (people.size > MAX_RECORDS) tooMany();
    }
  }

  function removePerson(id: string): void {
    const found = person(id);
    if (found === null) return;
    for (const one of found.groups ?? []) touch(one);
    putPerson(id, found);
    people.get(id)!.after = null;
  }

  /**
   * The group goes at once, and with it all it gave. Its members lose its id in the same commit, as many as that takes; who calls this
   * calls it again until `index.members` is empty.
   */
  function removeGroup(id: string): void {
    for (const member of members(id).slice(0, MAX_RECORDS - 1 - people.size - groups.size)) {
      const found = anyPerson(member);
      if (found?.groups === undefined) continue;
      const rest = found.groups.filter((one) => one !== id);
      const { groups: _, ...others } = found;
      putPerson(member, rest.length === 0 ? others : { ...others, groups: rest });
      membersRemoved.add(member);
    }
    if (group(id) !== null) putGroup(id, null);
  }

  /** Everything as writes of one commit. @throws a refusal when it is too much for one. */
  function drafted(reason: string): Drafted {
    const writes: Write[] = [];
    const endings: Ending[] = [];
    const count = { person: { added: 0, changed: 0, removed: 0 }, group: { added: 0, changed: 0, removed: 0 } };
    const deactivated: string[] = [];
    const ended = new Set<string>();
    const end = (value: string, why: string): void => {
      if (ended.has(value)) return;
      ended.add(value);
      endings.push({ subject: { kind: 'person', value }, reason: why, by: `scim:${connectionId}` });
    };

    for (const [id, { before, revision, after }] of people) {
      if (before === null && after === null) continue;
      if (before !== null && after !== null && sameRecord(before, after)) continue;
      count.person[before === null ? 'added' : after === null ? 'removed' : 'changed']++;
      writes.push({
        kind: 'person',
        org: ctx.org,
        id,
        ...(after === null ? {} : { key: personKey(after.issuer, after.subject) }),
        body: readable(Person, after),
        expectedRevision: revision,
      });
      if (before?.state === 'active' && after?.state !== 'active') deactivated.push(id);
      if (before !== null && (after === null || (before.state === 'active' && after.state !== 'active')))
        end(id, reason);
      // Tokens name somebody by identity. Whoever gets this one next, or makes it a record anew, must not get these tokens with it.
      const has = keysOf(after);
      for (const key of keysOf(before)) if (!has.includes(key)) end(key, 'the identity was given up');
    }
    for (const [id, { before, revision, after }] of groups) {
      if (before === null && after === null) continue;
      if (before !== null && after !== null && !touched.has(id) && sameRecord(before, after)) continue;
      count.group[before === null ? 'added' : after === null ? 'removed' : 'changed']++;
      writes.push({ kind: 'group', org: ctx.org, id, body: readable(Group, after), expectedRevision: revision });
    }
    if (writes.length > MAX_RECORDS) tooMany();
    const gone = new Set(deactivated);
    const orphaned =
      gone.size === 0
        ? []
        : [...view.servers.values()].filter(({ record }) => gone.has(record.owner)).map(({ id }) => id);
    return {
      writes: endings.length === 0 ? writes : [...writes, ...endingWrites(ctx, endings)],
      people: count.person,
      groups: count.group,
      membersAdded: [...membersAdded],
      membersRemoved: [...membersRemoved],
      deactivated,
      orphaned,
    };
  }

  /** Groups of a person that this connection may see. */
  function groupsOf({ groups: ids = [] }: Person): readonly Reference[] {
    return ids.flatMap((id) => {
      const found = group(id);
      return found === null ? [] : [{ id, name: found.name }];
    });
  }

  return {
    /** Throws everything away: there will be nothing to commit. */
    discard() {
      people.clear();
      groups.clear();
    },
    ctx,
    now,
    connectionId,
    connection,
    anyPerson,
    person,
    group,
    groupsOf,
    /** The revision that the record had when the draft began; null: the draft made it. */
    revision: (kind: Kind, id: string): number | null => {
      const entry = kind === 'person' ? people.get(id) : groups.get(id);
      return entry === undefined ? revisionOf(kind, id) : entry.revision;
    },
    find,
    holders,
    members,
    putPerson,
    putGroup,
    removePerson,
    removeGroup,
    applyMembers,
    drafted,
  };
}

function tooMany(): never {
  return refuse({
    status: 413,
    scimType: 'tooMany',
    detail: `One request changes at most ${MAX_RECORDS} users and groups. Send the members in several requests.`,
  });
}

/** INVARIANT: nothing is written that the next reader leaves out as unreadable: that would take somebody away without a word. */
function readable<T extends object>(schema: z.ZodType<T>, record: T | null): JsonObject | null {
  if (record === null) return null;
  const read = schema.safeParse(record);
  if (read.success) return record as JsonObject;
  const [issue] = read.error.issues;
  return bad('invalidValue', `The record would not be sound: ${issue?.path.join('.')}: ${issue?.message}.`);
}

function withoutId(known: KnownPerson): Person {
  const { id: _, ...person } = known;
  return person;
}

function keysOf(person: Person | null): string[] {
  if (person === null) return [];
  return [person, ...(person.also ?? [])].map(({ issuer, subject }) => personKey(issuer, subject));
}
