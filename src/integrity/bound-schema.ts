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
const DATA = new Set(['const', 'enum', 'default', 'examples', 'example']);
/** Keywords whose members are named schemas. */
const NAMED = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependencies']);
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

/** How deep arguments may nest without one check costing more than the limit; Infinity for schemas that do not branch in recursion. */
export interface SchemaBound {
  readonly maxArgumentDepth: number;
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
  const unfold = (schema: Json, open: ReadonlySet<Json>, several: boolean): boolean => {
    if (!isJsonObject(schema)) return true;
    if (open.has(schema)) {
      if (several) branches++;
      return true;
    }
    if (++applications > SCHEMA_LIMITS.applications) return false;
    const inside = new Set(open).add(schema);
    const { $ref: reference } = schema;
    const target = typeof reference === 'string' ? resolveLocal(root, reference) : null;
    if (target && !unfold(target, inside, several)) return false;
    for (const sub of subschemas(schema)) {
      if (!NOT_APPLIED.has(sub.keyword) && !unfold(sub.schema, inside, several || SEVERAL.has(sub.keyword)))
        return false;
    }
    return true;
  };
  if (!unfold(root, new Set(), false)) {
    return err({
      code: 'schema_too_costly',
      path: '',
      message: `applies more than ${SCHEMA_LIMITS.applications} subschemas to one value`,
    });
  }
  const maxArgumentDepth =
    branches < 2 ? Number.POSITIVE_INFINITY : Math.max(4, Math.floor(Math.log(1e6) / Math.log(branches)));
  return ok({ maxArgumentDepth });
}
