/**
 * Who and what a provisioning connection knows, by the names it asks for, and who is in a group. Built once from this node's picture and moved
 * with it, so that no request looks at everybody. It holds names and ids; what a person or a group says is read from the snapshot.
 * INVARIANT: it is moved in the same step as the snapshot, so both are true at one revision.
 */
import type { KnownPerson } from '../../directory/people.ts';
import type { Group } from '../../directory/records.ts';
import type { AdminContext } from '../context.ts';
import { manyMap, type ManyMap } from './many-map.ts';

export type Kind = 'person' | 'group';
/** What is found by equality. Names without regard to case are stored in lower case. */
export type Field = 'userName' | 'externalId' | 'displayName';

export interface DirectoryIndex {
  /** Ids of one connection's people or groups, sorted. */
  ids(connection: string, kind: Kind): readonly string[];
  find(connection: string, kind: Kind, field: Field, value: string): readonly string[];
  /** Ids of the people in a group, of whatever connection. */
  members(group: string): readonly string[];
  close(): void;
}

interface Shelf {
  readonly person: string[];
  readonly group: string[];
  /** `kind field value` -> ids. */
  readonly fields: ManyMap;
}

export const fieldKey = (kind: Kind, field: Field, value: string): string =>
  `${kind} ${field} ${field === 'externalId' ? value : value.toLowerCase()}`;

/** The fields of a record and their values. */
export function fieldsOf(
  kind: Kind,
  { name, provisioned }: KnownPerson | Group,
): ReadonlyArray<readonly [Field, string]> {
  const fields: Array<readonly [Field, string]> = [];
  if (provisioned?.externalId !== undefined) fields.push(['externalId', provisioned.externalId]);
  if (kind === 'person' && provisioned?.userName !== undefined) fields.push(['userName', provisioned.userName]);
  if (kind === 'group') fields.push(['displayName', name]);
  return fields;
}

export function directoryIndex(ctx: Pick<AdminContext, 'org' | 'follower' | 'snapshot'>): DirectoryIndex {
  const shelves = new Map<string, Shelf>();
  const members = manyMap();
  /** As they were when they were put in: what must be taken out again. */
  const known = { person: new Map<string, KnownPerson>(), group: new Map<string, Group>() };

  function shelf(connection: string): Shelf {
    let found = shelves.get(connection);
    if (found === undefined) shelves.set(connection, (found = { person: [], group: [], fields: manyMap() }));
    return found;
  }

  function file(kind: Kind, id: string, record: KnownPerson | Group, before: KnownPerson | Group | undefined): void {
    const connection = record.provisioned?.connection;
    if (connection === undefined) return;
    const { fields, [kind]: ids } = shelf(connection);
    if (before?.provisioned?.connection !== connection) insert(ids, id);
    for (const [field, value] of fieldsOf(kind, record)) fields.add(fieldKey(kind, field, value), id);
  }

  function unfile(kind: Kind, id: string, record: KnownPerson | Group, after: KnownPerson | Group | undefined): void {
    const connection = record.provisioned?.connection;
    if (connection === undefined) return;
    const { fields, [kind]: ids } = shelf(connection);
    if (after?.provisioned?.connection !== connection) remove(ids, id);
    for (const [field, value] of fieldsOf(kind, record)) fields.remove(fieldKey(kind, field, value), id);
  }

  function movePerson(id: string): void {
    const before = known.person.get(id);
    const after = ctx.snapshot().people.byId(id);
    if (before === after) return;
    const now = new Set(after?.groups);
    const then = new Set(before?.groups);
    for (const group of then) if (!now.has(group)) members.remove(group, id);
    for (const group of now) if (!then.has(group)) members.add(group, id);
    if (before !== undefined) unfile('person', id, before, after);
    if (after !== undefined) file('person', id, after, before);
    if (after === undefined) known.person.delete(id);
    else known.person.set(id, after);
  }

  function moveGroup(id: string): void {
    const before = known.group.get(id);
    const after = ctx.snapshot().groups.get(id);
    if (before === after) return;
    if (before !== undefined) unfile('group', id, before, after);
    if (after !== undefined) file('group', id, after, before);
    if (after === undefined) known.group.delete(id);
    else known.group.set(id, after);
  }

  for (const { id } of ctx.snapshot().people.all()) movePerson(id);
  for (const id of ctx.snapshot().groups.keys()) moveGroup(id);
  const close = ctx.follower.onAdvance((changed) => {
    for (const { kind, org, id } of changed) {
      if (org !== ctx.org) continue;
      if (kind === 'person') movePerson(id);
      else if (kind === 'group') moveGroup(id);
    }
  });

  return {
    ids: (connection, kind) => shelves.get(connection)?.[kind] ?? [],
    find: (connection, kind, field, value) => shelves.get(connection)?.fields.get(fieldKey(kind, field, value)) ?? [],
    members: (group) => members.get(group),
    close,
  };
}

/** New ids sort behind the old ones, so this is nearly always a push. */
function insert(sorted: string[], id: string): void {
  const last = sorted.at(-1);
  if (last === undefined || last < id) sorted.push(id);
  else sorted.splice(placeOf(sorted, id), 0, id);
}

function remove(sorted: string[], id: string): void {
  const at = placeOf(sorted, id);
  if (sorted[at] === id) sorted.splice(at, 1);
}

/** Where `id` stands or would stand. */
function placeOf(sorted: readonly string[], id: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < id) low = middle + 1;
    else high = middle;
  }
  return low;
}
