/**
 * `Mcp-Param-*`: arguments mirrored into headers because the tool's input schema says so with `x-mcp-header`
 * (streamable-http, Custom Headers; C1-C3, M6, TD-06). Declarations are found once per schema object and remembered.
 * Not checked here: the arguments against the schema.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { type RequestId, type WireError, headerMismatch } from './errors.ts';
import { decodeHeaderValue, encodeHeaderValue } from './header-codec.ts';

const KEYWORD = 'x-mcp-header';
const PREFIX = 'Mcp-Param-';

export interface HeaderDeclaration {
  /** Property names from the root of the arguments. */
  readonly path: readonly string[];
  /** As declared; on the wire it follows `Mcp-Param-`. */
  readonly name: string;
  readonly type: 'string' | 'integer' | 'boolean';
}

/** A tool with such a schema must not be offered over HTTP (C3). `where` is a path in the schema, from the server. */
export interface DeclarationProblem {
  readonly problem: 'unreachable' | 'not_a_string' | 'not_a_token' | 'not_primitive' | 'not_unique' | 'too_deep';
  readonly where: string;
}

const MAX_DEPTH = 64;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const TYPES: readonly unknown[] = ['string', 'integer', 'boolean'];
/** Values in here are data: what looks like a keyword is none. */
const DATA = new Set(['const', 'enum', 'default', 'examples']);
/** Values in here are schemas by name: the names are not keywords. */
const NAMED = new Set(['patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependencies']);

type Declarations = Result<readonly HeaderDeclaration[], DeclarationProblem>;
const REMEMBERED = new WeakMap<JsonObject, Declarations>();

/** The valid declarations of a schema in its own order, or the first thing wrong with them. */
export function headerDeclarations(inputSchema: JsonObject): Declarations {
  let found = REMEMBERED.get(inputSchema);
  if (found === undefined) REMEMBERED.set(inputSchema, (found = findDeclarations(inputSchema)));
  return found;
}

function findDeclarations(inputSchema: JsonObject): Declarations {
  const declarations: HeaderDeclaration[] = [];
  const taken = new Set<string>();

  /** `path` is null once the way here left the chain of `properties`. */
  const visit = (
    node: Json,
    path: readonly string[] | null,
    where: string,
    depth: number,
  ): DeclarationProblem | null => {
    if (typeof node !== 'object' || node === null) return null;
    if (depth > MAX_DEPTH) return { problem: 'too_deep', where };
    if (Array.isArray(node)) return visitAll(node.entries(), where, depth);
    const schema = node as JsonObject;
    if (Object.hasOwn(schema, KEYWORD)) {
      const problem = declare(schema, path);
      if (problem !== null) return { problem, where };
    }
    for (const [key, child] of Object.entries(schema)) {
      if (DATA.has(key) || key === KEYWORD) continue;
      const here = `${where}/${key}`;
      let problem: DeclarationProblem | null = null;
      if (key === 'properties' && isJsonObject(child)) {
        for (const [name, property] of Object.entries(child)) {
          problem ??= visit(property, path === null ? null : [...path, name], `${here}/${name}`, depth + 1);
        }
      } else if (NAMED.has(key) && isJsonObject(child)) problem = visitAll(Object.entries(child), here, depth);
      else problem = visit(child, null, here, depth + 1);
      if (problem !== null) return problem;
    }
    return null;
  };

  const visitAll = (
    children: Iterable<[string | number, Json]>,
    where: string,
    depth: number,
  ): DeclarationProblem | null => {
    for (const [key, child] of children) {
      const problem = visit(child, null, `${where}/${key}`, depth + 1);
      if (problem !== null) return problem;
    }
    return null;
  };

  const declare = (schema: JsonObject, path: readonly string[] | null): DeclarationProblem['problem'] | null => {
    const name = schema[KEYWORD];
    const type = schema['type'];
    if (path === null || path.length === 0) return 'unreachable';
    if (typeof name !== 'string') return 'not_a_string';
    if (!TOKEN.test(name)) return 'not_a_token';
    if (!TYPES.includes(type)) return 'not_primitive';
    if (taken.has(name.toLowerCase())) return 'not_unique';
    taken.add(name.toLowerCase());
    declarations.push({ path, name, type: type as HeaderDeclaration['type'] });
    return null;
  };

  const problem = visit(inputSchema, [], '#', 0);
  return problem === null ? ok(declarations) : err(problem);
}

/** The schema without the keyword, for clients that know nothing of it. A property of that name stays. */
export function withoutDeclarations(schema: JsonObject): JsonObject {
  return without(schema, 0) as JsonObject;
}

function without(node: Json, depth: number): Json {
  if (typeof node !== 'object' || node === null || depth > MAX_DEPTH) return node;
  if (Array.isArray(node)) return (node as readonly Json[]).map((one) => without(one, depth + 1));
  const kept: Record<string, Json> = {};
  for (const [key, child] of Object.entries(node as JsonObject)) {
    if (key === KEYWORD) continue;
    if (DATA.has(key)) kept[key] = child;
    else if ((key === 'properties' || NAMED.has(key)) && isJsonObject(child)) {
      kept[key] = Object.fromEntries(Object.entries(child).map(([name, one]) => [name, without(one, depth + 1)]));
    } else kept[key] = without(child, depth + 1);
  }
  return kept;
}

const SENSITIVE =
  /pass(?:word|wd|phrase)?|secret|token|credential|api[-_]?key|private[-_]?key|auth|session|cookie|ssn|pin$/i;

/** Declarations that would show a value to every proxy and access log on the way although its name says it is secret (TD-06). */
export function sensitiveDeclarations(declarations: readonly HeaderDeclaration[]): readonly HeaderDeclaration[] {
  return declarations.filter(({ name, path }) => SENSITIVE.test(name) || SENSITIVE.test(path.at(-1) ?? ''));
}

export type ParamHeaderProblem =
  | DeclarationProblem
  | { readonly problem: 'not_primitive_value' | 'unsafe_integer'; readonly where: string };

/** The headers a call of this tool carries upstream. Null and absent arguments have none. */
export function paramHeadersFor(
  args: JsonObject,
  inputSchema: JsonObject,
): Result<ReadonlyArray<readonly [name: string, value: string]>, ParamHeaderProblem> {
  const declarations = headerDeclarations(inputSchema);
  if (!declarations.ok) return declarations;
  const headers: Array<readonly [string, string]> = [];
  for (const { path, name } of declarations.value) {
    const value = valueAt(args, path);
    if (value === null) continue;
    const text = primitiveText(value);
    if (text === null) {
      const problem = typeof value === 'number' ? 'unsafe_integer' : 'not_primitive_value';
      return err({ problem, where: path.join('.') });
    }
    headers.push([`${PREFIX}${name}`, encodeHeaderValue(text)]);
  }
  return ok(headers);
}

/**
 * Whether the `Mcp-Param-*` headers say what the arguments say (M6). `presence: 'required'` for modern requests; `'optional'` for
 * legacy ones, whose clients send none, but whoever sends one must not lie. A header for an absent argument is a lie too.
 */
export function checkParamHeaders(
  headers: IncomingHttpHeaders,
  args: JsonObject,
  inputSchema: JsonObject,
  id: RequestId,
  presence: 'required' | 'optional' = 'required',
): WireError | null {
  const declarations = headerDeclarations(inputSchema);
  if (!declarations.ok) return headerMismatch(id, 'the tool declares invalid parameter headers');
  for (const { path, name, type } of declarations.value) {
    const sent = headers[`${PREFIX}${name}`.toLowerCase()];
    const value = valueAt(args, path);
    const problem = disagreement(Array.isArray(sent) ? sent.join(', ') : sent, value, type, presence);
    if (problem !== null) return headerMismatch(id, `${PREFIX}${name} ${problem}`);
  }
  return null;
}

const DECIMAL = /^-?\d{1,16}(?:\.0{1,16})?$/;

function disagreement(
  sent: string | undefined,
  value: Json,
  type: HeaderDeclaration['type'],
  presence: 'required' | 'optional',
): string | null {
  if (sent === undefined) return value === null || presence === 'optional' ? null : 'is missing';
  if (value === null) return 'was sent although the argument is absent';
  const decoded = decodeHeaderValue(sent);
  if (decoded === null) return 'has invalid characters or invalid Base64';
  if (type === 'integer' && typeof value === 'number' && DECIMAL.test(decoded)) {
    return Number(decoded) === value ? null : 'does not equal the argument';
  }
  return decoded === primitiveText(value) ? null : 'does not equal the argument';
}

/** The value at a path of own properties; null when it is absent, as null is. */
function valueAt(args: JsonObject, path: readonly string[]): Json {
  let value: Json = args;
  for (const key of path) {
    if (!isJsonObject(value) || !Object.hasOwn(value, key)) return null;
    value = value[key] as Json;
  }
  return value;
}

function primitiveText(value: Json): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  return typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : null;
}
