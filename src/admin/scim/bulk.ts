/**
 * Bulk (RFC 7644 section 3.7) in one commit: either every operation is done or none. An operation that names another's `bulkId` runs after it,
 * wherever it stands. `failOnErrors` says after how many errors the rest is not even tried; what was tried is not kept in either case,
 * and says 424. Circular references are refused.
 */
import { attempt, bad, problemBody, quoted, refuse, type ScimProblem } from '../../directory/scim/problem.ts';
import { etagOf } from '../../directory/scim/resources.ts';
import { GROUPS, USERS } from '../../directory/scim/schemas.ts';
import { checkSchemas, objectOf } from '../../directory/scim/values.ts';
import type { Json, JsonObject } from '../../lib/json.ts';
import type { Draft } from './draft.ts';
import { GROUP_OPERATIONS, USER_OPERATIONS } from './operations.ts';

const BULK_REQUEST = 'urn:ietf:params:scim:api:messages:2.0:BulkRequest';
const BULK_RESPONSE = 'urn:ietf:params:scim:api:messages:2.0:BulkResponse';
export const MAX_BULK_OPERATIONS = 1_000;
const BULK_ID = 'bulkId:';
const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE'] as const;

interface BulkOperation {
  readonly method: (typeof METHODS)[number];
  readonly path: string;
  readonly bulkId: string | null;
  readonly version: string | undefined;
  readonly data: Json;
  /** bulkIds that it names. */
  readonly needs: ReadonlySet<string>;
}

export interface Bulk {
  readonly operations: readonly BulkOperation[];
  /** Infinity: try all. */
  readonly failOnErrors: number;
}

export interface BulkDone {
  readonly operation: BulkOperation;
  readonly outcome: { readonly kind: 'User' | 'Group'; readonly id: string } | ScimProblem;
}

export function readBulk(body: Json): Bulk {
  const sent = objectOf(body, 'The bulk request');
  checkSchemas(sent, BULK_REQUEST);
  const list = sent['Operations'];
  if (!Array.isArray(list) || list.length === 0) return bad('invalidSyntax', 'Operations must be a list.');
  if (list.length > MAX_BULK_OPERATIONS)
    refuse({ status: 413, scimType: 'tooMany', detail: `A bulk has at most ${MAX_BULK_OPERATIONS} operations.` });
  const limit = sent['failOnErrors'];
  if (limit !== undefined && !(typeof limit === 'number' && Number.isInteger(limit) && limit >= 1))
    bad('invalidValue', 'failOnErrors must be a whole number from 1.');
  const operations = (list as readonly Json[]).map(readOperation);
  const ids = operations.flatMap(({ bulkId }) => bulkId ?? []);
  if (new Set(ids).size !== ids.length) bad('invalidValue', 'A bulkId is given twice.');
  return { operations, failOnErrors: typeof limit === 'number' ? limit : Number.POSITIVE_INFINITY };
}

function readOperation(sent: Json): BulkOperation {
  const operation = objectOf(sent, 'An operation');
  const text = (name: string): string | null => {
    const value = operation[name];
    if (value === undefined || value === null) return null;
    return typeof value === 'string' && value !== '' ? value : bad('invalidSyntax', `${name} must be a text.`);
  };
  const method = METHODS.find((known) => known === text('method')?.toUpperCase());
  if (method === undefined) return bad('invalidSyntax', 'method must be POST, PUT, PATCH or DELETE.');
  const path = text('path') ?? bad('invalidSyntax', 'An operation needs a path.');
  const bulkId = text('bulkId');
  if (method === 'POST' && bulkId === null) bad('invalidSyntax', 'A POST in a bulk needs a bulkId.');
  const data = operation['data'] ?? null;
  const needs = new Set<string>();
  for (const name of referencesIn([path.split('/').at(-1) ?? '', data])) needs.add(name);
  return { method, path, bulkId, version: text('version') ?? undefined, data, needs };
}

function* referencesIn(value: Json): Generator<string> {
  if (typeof value === 'string') {
    if (value.startsWith(BULK_ID)) yield value.slice(BULK_ID.length);
  } else if (typeof value === 'object' && value !== null) {
    for (const member of Object.values<Json>(value)) yield* referencesIn(member);
  }
}

const resolvedText = (text: string, ids: ReadonlyMap<string, string>): string =>
  text.startsWith(BULK_ID) ? (ids.get(text.slice(BULK_ID.length)) ?? text) : text;

function resolved(value: Json, ids: ReadonlyMap<string, string>): Json {
  if (typeof value === 'string') return resolvedText(value, ids);
  if (Array.isArray(value)) return (value as readonly Json[]).map((one) => resolved(one, ids));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value as JsonObject).map(([name, member]) => [name, resolved(member, ids)]));
}

const NOT_DONE: ScimProblem = { status: 424, detail: 'Nothing was changed, because another operation failed.' };

/** Runs all operations on the draft. If one failed, the draft must be thrown away: `failed` says so. */
export function runBulk(
  draft: Draft,
  { operations, failOnErrors }: Bulk,
  base: string,
): {
  readonly failed: boolean;
  readonly done: readonly BulkDone[];
} {
  const outcomes = new Map<BulkOperation, BulkDone['outcome']>();
  const ids = new Map<string, string>();
  const coming = new Set(operations.flatMap(({ bulkId }) => bulkId ?? []));
  let errors = 0;
  let waiting: readonly BulkOperation[] = operations;

  while (waiting.length > 0 && errors < failOnErrors) {
    const later: BulkOperation[] = [];
    for (const operation of waiting) {
      if (errors >= failOnErrors) break;
      if ([...operation.needs].some((name) => coming.has(name))) {
        later.push(operation);
        continue;
      }
      const result = attempt(() => runOne(draft, operation, ids, base));
      if (operation.bulkId !== null) {
        coming.delete(operation.bulkId);
        if (result.ok) ids.set(operation.bulkId, result.value.id);
      }
      outcomes.set(operation, result.ok ? result.value : result.error);
      if (!result.ok) errors++;
    }
    if (later.length === waiting.length) {
      errors++;
      for (const operation of later)
        outcomes.set(operation, { status: 409, scimType: 'invalidValue', detail: 'Operations refer to one another.' });
      break;
    }
    waiting = later;
  }
  const failed = errors > 0;
  const done = operations.map((operation) => {
    const outcome = outcomes.get(operation) ?? NOT_DONE;
    return { operation, outcome: failed && !('status' in outcome) ? NOT_DONE : outcome };
  });
  return { failed, done };
}

function runOne(
  draft: Draft,
  { method, path, data, version, needs }: BulkOperation,
  ids: ReadonlyMap<string, string>,
  base: string,
): { readonly kind: 'User' | 'Group'; readonly id: string } {
  for (const name of needs)
    if (!ids.has(name)) bad('invalidValue', `No operation of this bulk made ${quoted(`${BULK_ID}${name}`)}.`);
  const parts = /^\/(Users|Groups)(?:\/([^/?]+))?$/.exec(path);
  if (parts === null) return bad('invalidPath', `A bulk knows no path ${quoted(path)}.`);
  const kind = parts[1] === 'Users' ? 'User' : 'Group';
  const operations = kind === 'User' ? USER_OPERATIONS : GROUP_OPERATIONS;
  const target = parts[2] === undefined ? undefined : resolvedText(parts[2], ids);
  const body = resolved(data, ids);
  if (method === 'POST') {
    if (target !== undefined) bad('invalidPath', 'POST goes to /Users or /Groups.');
    return { kind, id: operations.create(draft, body) };
  }
  if (target === undefined) return bad('invalidPath', `${method} needs the id of a resource.`);
  if (method === 'PUT') operations.replace(draft, target, body, version);
  else if (method === 'PATCH') operations.patch(draft, target, body, version, base);
  else operations.remove(draft, target, version);
  return { kind, id: target };
}

/** `revisionOf`: of a resource after the commit. */
export function bulkResponse(
  done: readonly BulkDone[],
  base: string,
  revisionOf: (kind: 'User' | 'Group', id: string) => number | undefined,
): JsonObject {
  return {
    schemas: [BULK_RESPONSE],
    Operations: done.map(({ operation: { method, bulkId, path }, outcome }): JsonObject => {
      const named = { method, ...(bulkId === null ? {} : { bulkId }) };
      if ('status' in outcome) {
        const place = method === 'POST' || path.includes(BULK_ID) ? {} : { location: `${base}${path}` };
        return { ...named, ...place, status: String(outcome.status), response: problemBody(outcome) };
      }
      const { kind, id } = outcome;
      const revision = revisionOf(kind, id);
      return {
        ...named,
        location: `${base}${(kind === 'User' ? USERS : GROUPS).endpoint}/${id}`,
        ...(revision === undefined ? {} : { version: etagOf(revision) }),
        status: method === 'POST' ? '201' : method === 'DELETE' ? '204' : '200',
      };
    }),
  };
}
