/**
 * Compiled argument checks (CI-01, TD-06). A schema is bounded, closed and compiled once, off the call's path; a check is then a
 * few microseconds. Patterns run in linear time (re2js), references are never fetched, messages carry no text of the schema.
 * Dialects: 2020-12 (also when none is named) and 2019-09; draft-06 and draft-07 are read as 2019-09, which contains them.
 */
import { Ajv2019 } from 'ajv/dist/2019.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { ErrorObject, Options, ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { LRUCache } from 'lru-cache';
import { RE2JS } from 're2js';
import { digestOf } from '../lib/canonical-json.ts';
import { showHidden } from '../lib/hidden-text.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { SchemaBound, SchemaProblem } from './bound-schema.ts';
import { DATA, NAMED, boundSchema, pointerPart } from './bound-schema.ts';
import { closeSchema } from './close-schema.ts';

export type { SchemaProblem };

export interface ArgumentProblem {
  /** JSON Pointer into the arguments, at most 200 characters, hidden ones shown. */
  readonly field: string;
  /** The JSON Schema keyword that was not met, or `depth`. */
  readonly rule: string;
  /** Fixed wording; may be shown to the caller. */
  readonly message: string;
}

export interface ArgumentCheck {
  /** Never throws, changes nothing. Reports the first offence. */
  check(args: JsonObject): Result<void, readonly ArgumentProblem[]>;
}

type Kind = 'arguments' | 'result';
type Compiled = Result<ArgumentCheck, SchemaProblem>;

const byObject: Record<Kind, WeakMap<JsonObject, Compiled>> = { arguments: new WeakMap(), result: new WeakMap() };
const byDigest = new LRUCache<string, Compiled>({ max: 5000 });

/** The check for a pinned `inputSchema`. Costs some ms the first time; the same object again costs one lookup (it must not be changed meanwhile). */
export function compileArguments(schema: JsonObject): Result<ArgumentCheck, SchemaProblem> {
  return compiled('arguments', schema);
}

/** The check for an `outputSchema`: the same bounds, but objects stay as open as the schema leaves them. */
export function compileResult(schema: JsonObject): Result<ArgumentCheck, SchemaProblem> {
  return compiled('result', schema);
}

function compiled(kind: Kind, schema: JsonObject): Compiled {
  const known = byObject[kind].get(schema);
  if (known) return known;
  let made: Compiled;
  try {
    const key = `${kind} ${digestOf(schema)}`;
    made = byDigest.get(key) ?? compile(kind, schema);
    byDigest.set(key, made);
  } catch {
    made = err({ code: 'schema_invalid', path: '', message: 'is not plain JSON' });
  }
  byObject[kind].set(schema, made);
  return made;
}

function compile(kind: Kind, schema: JsonObject): Compiled {
  const bound = boundSchema(schema);
  if (!bound.ok) return bound;
  const dialect = dialectOf(schema);
  if (!dialect) {
    return err({
      code: 'schema_dialect',
      path: '/$schema',
      message: 'names a JSON Schema dialect that is not supported; use 2020-12, 2019-09 or draft-07',
    });
  }
  const { $schema: _dialect, ...rest } = boundUnique(kind === 'arguments' ? closeSchema(schema) : schema) as JsonObject;
  // ATTACKER-CONTROLLED: an `$id` of the server's choice could be what another schema refers to. All get the same one, in turn.
  const own = { ...rest, $id: 'remit:schema' };
  const ajv = engine(dialect);
  try {
    const validate = ajv.compile(own);
    return ok({ check: (args) => run(validate, bound.value, args) });
  } catch (cause) {
    const pattern = cause instanceof PatternRefused;
    const message = pattern ? cause.message : 'is not a valid schema of its dialect';
    return err({ code: pattern ? 'schema_pattern' : 'schema_invalid', path: '', message });
  } finally {
    // The function is kept by us; Ajv's own cache would keep it, and its id, for ever.
    ajv.removeSchema(own);
  }
}

/** Elements that are compared each with each. */
const MAX_UNIQUE = 256;
/** Elements of one simple type, which Ajv finds again by a table. */
const MAX_UNIQUE_SIMPLE = 10_000;

/** ATTACKER-CONTROLLED: 20 000 objects in a list that is to be unique take ten seconds. Such a list is bounded; one that says so itself, by that. */
function boundUnique(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return (value as readonly Json[]).map(boundUnique);
  const schema = value as JsonObject;
  // Not by assignment: a member called `__proto__` stays a member.
  const copy: Record<string, Json> = Object.fromEntries(
    Object.entries(schema).map(([key, sub]) => {
      if (DATA.has(key)) return [key, sub];
      // Names here are names, whatever they spell.
      if (NAMED.has(key) && isJsonObject(sub))
        return [key, Object.fromEntries(Object.entries(sub).map(([name, one]) => [name, boundUnique(one)]))];
      return [key, boundUnique(sub)];
    }),
  );
  if (schema['uniqueItems'] !== true) return copy;
  const { items, maxItems } = schema;
  const type = isJsonObject(items) ? items['type'] : undefined;
  const most = typeof type === 'string' && type !== 'object' && type !== 'array' ? MAX_UNIQUE_SIMPLE : MAX_UNIQUE;
  copy['maxItems'] = typeof maxItems === 'number' ? Math.min(maxItems, most) : most;
  return copy;
}

function run(
  validate: ValidateFunction,
  { maxArgumentDepth: maxDepth, maxArgumentNodes }: SchemaBound,
  args: JsonObject,
): Result<void, readonly ArgumentProblem[]> {
  if (left(args, maxArgumentNodes) < 0) {
    return err([
      {
        field: '',
        rule: 'size',
        message: `holds more than ${maxArgumentNodes} values, which this schema does not allow`,
      },
    ]);
  }
  if (maxDepth !== Number.POSITIVE_INFINITY && !within(args, maxDepth)) {
    return err([
      {
        field: '',
        rule: 'depth',
        message: `nests deeper than ${maxDepth} levels, which this recursive schema does not allow`,
      },
    ]);
  }
  try {
    if (validate(args)) return ok(undefined);
  } catch {
    // A reference that runs in a circle without consuming the value ends in a stack overflow; that is a no.
    return err([{ field: '', rule: '$ref', message: 'cannot be checked against the schema' }]);
  }
  return err((validate.errors ?? []).slice(-1).map(problemOf));
}

const DIALECTS: ReadonlyArray<readonly ['2019' | '2020', RegExp]> = [
  ['2020', /^https:\/\/json-schema\.org\/draft\/2020-12\/schema#?$/],
  ['2019', /^https:\/\/json-schema\.org\/draft\/2019-09\/schema#?$/],
  ['2019', /^https?:\/\/json-schema\.org\/draft-0[67]\/schema#?$/],
];

function dialectOf(schema: JsonObject): '2019' | '2020' | null {
  const named = schema['$schema'];
  if (named === undefined) return '2020';
  return DIALECTS.find(([, uri]) => typeof named === 'string' && uri.test(named))?.[0] ?? null;
}

class PatternRefused extends Error {}

/** Server patterns never reach the native engine: `^(a+)+$` takes it minutes, and this one microseconds. Lookaround and backreferences are refused. */
const linearRegExp = Object.assign(
  (pattern: string): { test: (text: string) => boolean; toString: () => string } => {
    let expression: RE2JS;
    try {
      expression = RE2JS.compile(RE2JS.translateRegExp(pattern));
    } catch {
      throw new PatternRefused(
        'has a pattern that cannot run in linear time (lookaround, backreference) or is not valid',
      );
    }
    // INVARIANT: Ajv tells patterns apart by their text; without it every pattern would be the first one it saw.
    return { test: (text) => expression.test(text), toString: () => `/${pattern}/linear` };
  },
  { code: 'linearRegExp' },
);

const OPTIONS: Options = {
  strict: false,
  allErrors: false, // ATTACKER-CONTROLLED: a caller must not choose how many errors we collect
  ownProperties: true, // `required: ["toString"]` is not met by the prototype
  validateFormats: true,
  logger: false,
  code: { regExp: linearRegExp },
};

/** Ajv's code generator remembers every literal it has seen, so an engine is replaced after this many schemas. */
const COMPILES_PER_ENGINE = 1000;
const engines = new Map<'2019' | '2020', { ajv: Ajv2019 | Ajv2020; left: number }>();

function engine(dialect: '2019' | '2020'): Ajv2019 | Ajv2020 {
  let current = engines.get(dialect);
  if (!current || current.left === 0) {
    const ajv = dialect === '2019' ? new Ajv2019(OPTIONS) : new Ajv2020(OPTIONS);
    formats.default(ajv, { mode: 'fast' });
    current = { ajv, left: COMPILES_PER_ENGINE };
    engines.set(dialect, current);
  }
  current.left--;
  return current.ajv;
}

const WORDING: Readonly<Record<string, string>> = {
  required: 'is missing',
  additionalProperties: 'is not a declared field of this tool',
  unevaluatedProperties: 'is not a declared field of this tool',
  enum: 'is not one of the declared values',
  const: 'is not the declared value',
  format: 'does not have the declared format',
  pattern: 'does not match the declared pattern',
  minLength: 'is too short',
  maxLength: 'is too long',
  minimum: 'is too small',
  exclusiveMinimum: 'is too small',
  maximum: 'is too large',
  exclusiveMaximum: 'is too large',
  minItems: 'has too few items',
  maxItems: 'has too many items',
  uniqueItems: 'has equal items',
};
const TYPES = new Set(['string', 'number', 'integer', 'boolean', 'object', 'array', 'null']);

function problemOf({ instancePath, keyword, params }: ErrorObject): ArgumentProblem {
  const names = params as Record<string, unknown>;
  const member = names['missingProperty'] ?? names['additionalProperty'] ?? names['unevaluatedProperty'];
  const field = typeof member === 'string' ? `${instancePath}/${pointerPart(member)}` : instancePath;
  const wanted = [names['type']].flat().filter((type): type is string => typeof type === 'string' && TYPES.has(type));
  const message =
    keyword === 'type'
      ? `must be ${wanted.join(' or ') || 'of the declared type'}`
      : (WORDING[keyword] ?? 'does not fit the schema');
  return { field: showHidden(field.slice(0, 160)).slice(0, 200), rule: keyword.slice(0, 40), message };
}

/** What is left of a budget of values after these; negative: there were more. */
function left(value: Json, budget: number): number {
  let rest = budget - 1;
  if (typeof value !== 'object' || value === null) return rest;
  if (Array.isArray(value)) {
    for (let at = 0; at < value.length && rest >= 0; at++) rest = left(value[at] as Json, rest);
    return rest;
  }
  const object = value as JsonObject;
  for (const name in object) {
    if (rest < 0) return rest;
    rest = left(object[name]!, rest);
  }
  return rest;
}

function within(value: Json, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((item: Json) => within(item, levels - 1));
}
