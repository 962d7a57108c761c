/**
 * Whether a JSON Schema from a server may be compiled at all (TD-06, PROTOCOL.md G8): no reference leaves the document, nothing
 * is fetched, and size, depth, number of subschemas and the work that one validation can cost are bounded.
 * ATTACKER-CONTROLLED: everything here is what an upstream server sent.
 */
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';

const SCHEMA_LIMITS = { depth: 40, subschemas: 2000, patternLength: 1000, applications: 20_000 } as const;

export interface SchemaProblem {
  readonly code:
    | 'schema_external_reference'
    | 'schema_nested_id'
    | 'schema_dialect'
    | 'schema_too_deep'
    | 'schema_too_large'
    | 'schema_too_costly'
    | 'schema_reference_missing'
    | 'schema_pattern'
    | 'schema_invalid';
  /** JSON Pointer inside the schema. */
  readonly path: string;
  readonly message: string;
}

/** Keywords whose value is data, not schema. */
export const DATA: ReadonlySet<string> = new Set(['const', 'enum', 'default', 'examples', 'example']);
/** Keywords whose members are named schemas. */
export const NAMED: ReadonlySet<string> = new Set([
  'properties',
  'patternProperties',
  '$defs',
  'definitions',
  'dependentSchemas',
  'dependencies',
]);
const NOT_APPLIED = new Set(['$defs', 'definitions']);
/** Keywords under which one value is checked by several schemas. */
const SEVERAL = new Set([
  'allOf',
  'anyOf',
  'oneOf',
  'not',
  'if',
  'then',
  'else',
  'patternProperties',
  'dependentSchemas',
  'contains',
]);

export const pointerPart = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

/** The direct subschemas of a schema, with the keyword they stand under. */
function* subschemas(schema: JsonObject): Generator<{ keyword: string; path: string; schema: Json }> {
  for (const [keyword, value] of Object.entries(schema)) {
    if (DATA.has(keyword)) continue;
    if (NAMED.has(keyword) && isJsonObject(value)) {
      for (const [name, sub] of Object.entries(value)) {
        yield { keyword, path: `/${pointerPart(keyword)}/${pointerPart(name)}`, schema: sub };
      }
    } else if (Array.isArray(value)) {
      for (const [index, sub] of (value as readonly Json[]).entries()) {
        if (isJsonObject(sub)) yield { keyword, path: `/${pointerPart(keyword)}/${index}`, schema: sub };
      }
    } else if (isJsonObject(value)) {
      yield { keyword, path: `/${pointerPart(keyword)}`, schema: value };
    }
  }
}

/** The schema that a local reference names; null when it names none. */
export function resolveLocal(root: JsonObject, reference: string): JsonObject | null {
  if (reference === '#') return root;
  if (!reference.startsWith('#/')) return null;
  let value: Json | undefined = root;
  for (const part of reference.slice(2).split('/')) {
    if (typeof value !== 'object' || value === null) return null;
    let name: string;
    try {
      name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    } catch {
      return null;
    }
    if (!Object.hasOwn(value, name)) return null;
    value = (value as JsonObject)[name];
  }
  return isJsonObject(value) ? value : null;
}

export interface SchemaBound {
  /** How deep arguments may nest without one check costing more than the limit; Infinity for schemas that do not branch in recursion. */
  readonly maxArgumentDepth: number;
  /** How many values arguments may hold, so that a check of all of them stays under `WORK`: about 50 ms on a slow machine. */
  readonly maxArgumentNodes: number;
}

/** Comparisons that one check may cost. */
const WORK = 2_000_000;

/** What a schema compares one value with, beside its subschemas. */
function ownWork({ enum: values, required, pattern }: JsonObject): number {
  const listed = Array.isArray(values) ? values.length : 0;
  const names = Array.isArray(required) ? required.length : 0;
  return 1 + listed + names + (typeof pattern === 'string' ? Math.ceil(pattern.length / 8) : 0);
}

/** Keywords whose subschemas check what is inside a value, whichever part it is. */
const INSIDE: ReadonlySet<string> = new Set([
  'items',
  'prefixItems',
  'additionalItems',
  'additionalProperties',
  'unevaluatedItems',
  'unevaluatedProperties',
  'patternProperties',
  'propertyNames',
  'contains',
]);

/** The most that one value can be compared with: per depth, what checks any part plus what checks the part of one name. */
function perValue(work: ReadonlyMap<string, number>): number {
  const any = new Map<number, number>();
  const named = new Map<number, number>();
  for (const [place, cost] of work) {
    const depth = place.split('\n').length;
    if (place.includes('\n*')) any.set(depth, (any.get(depth) ?? 0) + cost);
    else named.set(depth, Math.max(named.get(depth) ?? 0, cost));
  }
  return Math.max(
    1,
    ...[...any.keys(), ...named.keys()].map((depth) => (any.get(depth) ?? 0) + (named.get(depth) ?? 0)),
  );
}

/** All rules, first offence. */
export function boundSchema(root: JsonObject): Result<SchemaBound, SchemaProblem> {
  let count = 0;
  const inspect = (schema: Json, path: string, depth: number): SchemaProblem | null => {
    if (!isJsonObject(schema)) return null;
    if (depth > SCHEMA_LIMITS.depth)
      return { code: 'schema_too_deep', path, message: `nests deeper than ${SCHEMA_LIMITS.depth} levels` };
    if (++count > SCHEMA_LIMITS.subschemas)
      return { code: 'schema_too_large', path, message: `has more than ${SCHEMA_LIMITS.subschemas} subschemas` };
    const own = ownProblem(root, schema, path);
    if (own) return own;
    for (const sub of subschemas(schema)) {
      const problem = inspect(sub.schema, path + sub.path, depth + 1);
      if (problem) return problem;
    }
    return null;
  };
  const problem = inspect(root, '', 0);
  if (problem) return err(problem);
  return boundWork(root);
}

function ownProblem(root: JsonObject, schema: JsonObject, path: string): SchemaProblem | null {
  for (const keyword of ['$ref', '$dynamicRef', '$recursiveRef']) {
    const reference = schema[keyword];
    if (typeof reference !== 'string') continue;
    const at = `${path}/${keyword}`;
    if (!reference.startsWith('#')) {
      return {
        code: 'schema_external_reference',
        path: at,
        message: 'refers outside itself; references are never fetched',
      };
    }
    if (keyword !== '$recursiveRef' && !resolveLocal(root, reference)) {
      return {
        code: 'schema_reference_missing',
        path: at,
        message: 'refers to nothing in the schema (use a JSON Pointer such as #/$defs/name)',
      };
    }
  }
  if (path !== '' && typeof schema['$id'] === 'string') {
    return {
      code: 'schema_nested_id',
      path: `${path}/$id`,
      message: 'a nested $id would change what references mean; remove it',
    };
  }
  const patterns = [
    schema['pattern'],
    ...(isJsonObject(schema['patternProperties']) ? Object.keys(schema['patternProperties']) : []),
  ];
  if (patterns.some((pattern) => typeof pattern === 'string' && pattern.length > SCHEMA_LIMITS.patternLength)) {
    return {
      code: 'schema_pattern',
      path,
      message: `has a pattern longer than ${SCHEMA_LIMITS.patternLength} characters`,
    };
  }
  return null;
}

/**
 * References can make a small schema do exponential work: two branches that both refer onward, again and again. Counted by
 * unfolding every reference once; where the unfolding meets itself under a keyword that checks one value several times,
 * each level of the arguments may multiply the work, so their depth is limited instead.
 */
function boundWork(root: JsonObject): Result<SchemaBound, SchemaProblem> {
  let applications = 0;
  let branches = 0;
  const work = new Map<string, number>();
  const unfold = (schema: Json, open: ReadonlySet<Json>, several: boolean, place: string): boolean => {
    if (!isJsonObject(schema)) return true;
    if (open.has(schema)) {
      if (several) branches++;
      return true;
    }
    if (++applications > SCHEMA_LIMITS.applications) return false;
    work.set(place, (work.get(place) ?? 0) + ownWork(schema));
    const inside = new Set(open).add(schema);
    const { $ref: reference } = schema;
    const target = typeof reference === 'string' ? resolveLocal(root, reference) : null;
    if (target && !unfold(target, inside, several, place)) return false;
    for (const sub of subschemas(schema)) {
      if (NOT_APPLIED.has(sub.keyword)) continue;
      const below =
        sub.keyword === 'properties' ? `${place}\n${sub.path}` : INSIDE.has(sub.keyword) ? `${place}\n*` : place;
      if (!unfold(sub.schema, inside, several || SEVERAL.has(sub.keyword), below)) return false;
    }
    return true;
  };
  if (!unfold(root, new Set(), false, '')) {
    return err({
      code: 'schema_too_costly',
      path: '',
      message: `applies more than ${SCHEMA_LIMITS.applications} subschemas to one value`,
    });
  }
  const maxArgumentDepth =
    branches < 2 ? Number.POSITIVE_INFINITY : Math.max(4, Math.floor(Math.log(1e6) / Math.log(branches)));
  return ok({ maxArgumentDepth, maxArgumentNodes: Math.max(100, Math.floor(WORK / perValue(work))) });
}
