/**
 * Lists and searches (RFC 7644 section 3.4.2). Without a filter a page is a slice of sorted ids; `eq` on a name or an id is answered by the
 * index; anything else is looked for among the connection's own, a few at a time, so that calls on this node go on meanwhile.
 * Order is by id unless asked otherwise: who is added while somebody pages comes behind what was already shown.
 */
import { setImmediate } from 'node:timers/promises';
import { compileFilter, type CompiledFilter, type Pin } from '../../directory/scim/filter.ts';
import { listResponse } from '../../directory/scim/discovery.ts';
import { attempt, bad, quoted } from '../../directory/scim/problem.ts';
import type { Projection } from '../../directory/scim/project.ts';
import { groupResource, userResource } from '../../directory/scim/resources.ts';
import { placeOf, USERS, type ResourceType } from '../../directory/scim/schemas.ts';
import { isValues, type Value, type Values } from '../../directory/scim/values.ts';
import type { JsonObject } from '../../lib/json.ts';
import type { DirectoryIndex } from './directory-index.ts';
import type { Draft } from './draft.ts';

export const MAX_RESULTS = 200;
const DEFAULT_RESULTS = 100;
/** Resources looked at before others get their turn. */
const SLICE = 250;
/** A page of groups ends when it has shown so many members. */
const MAX_MEMBERS = 20_000;
/** More than this is not sorted. */
const MAX_SORTED = 10_000;

export interface ListQuery {
  readonly filter: string | null;
  /** From 1. */
  readonly startIndex: number;
  readonly count: number;
  readonly sortBy: string | null;
  readonly descending: boolean;
}

/** Reads the parameters of a GET (texts) or of `.search` (JSON values). Unknown ones are ignored. */
export function readListQuery(sent: { readonly [name: string]: unknown }): ListQuery {
  const text = (name: string): string | null => {
    const value = sent[name];
    if (value === undefined || value === null || value === '') return null;
    return typeof value === 'string' ? value : bad('invalidValue', `${name} must be a text, once.`);
  };
  const number = (name: string, otherwise: number): number => {
    const value = sent[name];
    if (value === undefined || value === null || value === '') return otherwise;
    if (typeof value !== 'number' && !(typeof value === 'string' && /^-?\d{1,9}$/.test(value)))
      return bad('invalidValue', `${name} must be a whole number.`);
    return Math.trunc(Number(value));
  };
  return {
    filter: text('filter'),
    startIndex: Math.max(1, number('startIndex', 1)),
    count: Math.min(MAX_RESULTS, Math.max(0, number('count', DEFAULT_RESULTS))),
    sortBy: text('sortBy'),
    descending: text('sortOrder')?.toLowerCase() === 'descending',
  };
}

export interface Library {
  readonly type: ResourceType;
  readonly index: DirectoryIndex;
  readonly base: string;
  /** A fresh look at the state; what it shows is gathered within one turn of the event loop. */
  readonly look: () => Draft;
}

/** One resource as it stands; null: it does not exist for this connection. */
export function resourceOf({ type, base }: Library, draft: Draft, id: string, withMembers: boolean): Values | null {
  if (type === USERS) {
    const person = draft.person(id);
    if (person === null) return null;
    return userResource(person, draft.groupsOf(person), { id, revision: draft.revision('person', id) ?? 0, base });
  }
  const group = draft.group(id);
  if (group === null) return null;
  const members = withMembers ? draft.members(id).filter((member) => draft.person(member) !== null) : null;
  return groupResource(group, members, { id, revision: draft.revision('group', id) ?? 0, base });
}

export async function list(library: Library, query: ListQuery, shown: Projection): Promise<JsonObject> {
  return page([{ library, shown, ids: await matching(library, query) }], query);
}

/** At the root (RFC 7644 section 3.4.2.1): users, then groups. A filter over attributes of one type finds none of the other. */
export async function listAll(
  parts: ReadonlyArray<{ readonly library: Library; readonly shown: Projection }>,
  query: ListQuery,
): Promise<JsonObject> {
  const { filter } = query;
  const readable = parts.filter(
    ({ library }) => filter === null || attempt(() => compileFilter(library.type, filter)).ok,
  );
  if (readable.length === 0 && filter !== null) compileFilter(USERS, filter);
  const found = [];
  for (const part of readable) found.push({ ...part, ids: await matching(part.library, query) });
  return page(found, query);
}

function page(
  parts: ReadonlyArray<{ readonly library: Library; readonly shown: Projection; readonly ids: readonly string[] }>,
  { startIndex, count }: ListQuery,
): JsonObject {
  const resources: JsonObject[] = [];
  let total = 0;
  let members = 0;
  for (const { library, shown, ids } of parts) {
    const from = Math.max(0, startIndex - 1 - total);
    total += ids.length;
    const draft = library.look();
    for (const id of ids.slice(from, from + count - resources.length)) {
      const values = resourceOf(library, draft, id, shown.shows('members'));
      if (values === null) continue;
      members += Array.isArray(values['members']) ? values['members'].length : 0;
      if (members > MAX_MEMBERS && resources.length > 0) break;
      resources.push(shown.apply(values));
    }
  }
  return listResponse(resources, total, startIndex);
}

/** Ids in order. */
async function matching(library: Library, { filter, sortBy, descending }: ListQuery): Promise<readonly string[]> {
  const { type, index } = library;
  const compiled = filter === null ? null : compileFilter(type, filter);
  const sortKey = sortBy === null ? null : keyReader(type, sortBy);
  const kind = type === USERS ? 'person' : 'group';
  const { connectionId } = library.look();
  const candidates = (compiled && pinned(library, compiled)) ?? index.ids(connectionId, kind);
  if (compiled === null && sortKey === null) return candidates;

  const withMembers = `${filter ?? ''} ${sortBy ?? ''}`.toLowerCase().includes('member');
  const found: Array<readonly [string, string]> = [];
  let draft = library.look();
  // A copy: the list moves on while others have their turn.
  for (const [at, id] of [...candidates].entries()) {
    if (at % SLICE === SLICE - 1) {
      await setImmediate();
      draft = library.look();
    }
    const values = resourceOf(library, draft, id, withMembers);
    if (values !== null && (compiled === null || compiled.test(values))) found.push([id, sortKey?.(values) ?? '']);
  }
  if (sortKey !== null) {
    if (found.length > MAX_SORTED) bad('tooMany', `More than ${MAX_SORTED} results are not sorted. Use a filter.`);
    // RFC 7644 section 3.4.2.3: without a value comes last when ascending.
    const order = ([, a]: readonly [string, string], [, b]: readonly [string, string]): number =>
      a === b ? 0 : a === '' ? 1 : b === '' ? -1 : a < b ? -1 : 1;
    found.sort(descending ? (a, b) => order(b, a) : order);
  }
  return found.map(([id]) => id);
}

/** Whom an `eq` clause leaves; null: no index knows. The filter is asked of each of them all the same. */
function pinned({ type, index, look }: Library, { pins }: CompiledFilter): readonly string[] | null {
  const draft = look();
  const answer = ({ name, value }: Pin): readonly string[] | null => {
    const kind = type === USERS ? 'person' : 'group';
    if (name === 'id') return [value];
    if (name === 'externalId') return index.find(draft.connectionId, kind, 'externalId', value);
    if (type === USERS && name === 'userName') return index.find(draft.connectionId, kind, 'userName', value);
    if (type !== USERS && name === 'displayName') return index.find(draft.connectionId, kind, 'displayName', value);
    if (type === USERS && name === 'groups.value') return draft.group(value) === null ? [] : index.members(value);
    if (type !== USERS && name === 'members.value') return draft.person(value)?.groups ?? [];
    return null;
  };
  let best: readonly string[] | null = null;
  for (const pin of pins) {
    const ids = answer(pin);
    if (ids !== null && (best === null || ids.length < best.length)) best = ids;
  }
  return best === null ? null : best.toSorted();
}

function keyReader(type: ResourceType, sortBy: string): (values: Values) => string {
  const place = placeOf(type, sortBy);
  if (place === undefined || place === 'not_kept' || place.attribute === null)
    return bad('invalidValue', `There is no attribute ${quoted(sortBy)} to sort by.`);
  const { extension, attribute, sub } = place;
  const caseExact = (sub ?? attribute).caseExact;
  return (values) => {
    const holder = extension === null ? values : values[extension];
    let value: Value | undefined = isValues(holder) ? holder[attribute.name] : undefined;
    if (Array.isArray(value)) value = value.find((one) => isValues(one) && one['primary'] === true) ?? value[0];
    if (isValues(value)) value = value[sub?.name ?? 'value'];
    const text = value === undefined || isValues(value) || Array.isArray(value) ? '' : String(value);
    return caseExact ? text : text.toLowerCase();
  };
}
