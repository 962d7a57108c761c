/**
 * SCIM filters (RFC 7644 section 3.4.2.2) as predicates. The grammar is scim2-parse-filter's; the guards, the types and the meaning are ours.
 * ATTACKER-CONTROLLED: the text. At most 1,024 characters and 64 clauses, no name that leads into a prototype, every attribute looked up in
 * the schema, nothing turned into a regular expression, no expansion into another normal form.
 */
import { parse, type Filter } from 'scim2-parse-filter';
import { bad, quoted, type ScimType } from './problem.ts';
import { named, placeOf, type Attribute, type ResourceType } from './schemas.ts';
import { isValues, type Value, type Values } from './values.ts';

export const MAX_FILTER_LENGTH = 1_024;
const MAX_CLAUSES = 64;
const FORBIDDEN = /__|constructor|prototype/i;
const QUOTED = /"(?:[^"\\]|\\.)*"/g;
/**
 * The parser reads `emails[type eq "work"].value eq "x"` as two clauses that different elements could meet. The second is marked,
 * so that both are asked of the same element. No client can write the mark: names with two underscores are refused.
 */
const SAME = 'remit__same.';

export type Predicate = (values: Values) => boolean;

export interface CompiledFilter {
  readonly test: Predicate;
  /** `eq` clauses that must all hold: what an index may answer. The values are as they were sent. */
  readonly pins: readonly Pin[];
}

export interface Pin {
  /** Such as `userName`, `members.value`. */
  readonly name: string;
  readonly value: string;
}

/** A filter over whole resources. */
export function compileFilter(type: ResourceType, text: string): CompiledFilter {
  const tree = parsed(text, 'invalidFilter');
  return { test: compile(tree, resourceScope(type)), pins: pinsOf(tree, type) };
}

export interface ElementFilter {
  readonly test: Predicate;
  /** The members that an element must have if nothing but `eq` joined by `and` is asked; null otherwise. */
  readonly template: Values | null;
  /** The texts of `value` if nothing but `value eq` joined by `or` is asked; null otherwise. */
  readonly values: readonly string[] | null;
}

/** What stands in the brackets of `emails[…]`: a filter over the elements of one multi-valued attribute. */
export function compileElementFilter(attribute: Attribute, text: string, empty: Values): ElementFilter {
  const tree = parsed(text, 'invalidPath');
  const scope = elementScope(attribute, 'invalidPath');
  const test = compile(tree, scope);
  return { test, template: templateOf(tree, attribute, empty), values: valuesOf(tree) };
}

function parsed(text: string, scimType: ScimType): Filter {
  if (text.length > MAX_FILTER_LENGTH) bad(scimType, `The filter is longer than ${MAX_FILTER_LENGTH} characters.`);
  // Outside of quotes only: a group may be called "constructors".
  if (FORBIDDEN.test(text.replace(QUOTED, '""'))) bad(scimType, 'The filter names an attribute that does not exist.');
  let at = 0;
  let marked = '';
  for (const literal of text.matchAll(QUOTED)) {
    marked += text.slice(at, literal.index).replaceAll('].', `] and ${SAME}`) + literal[0];
    at = literal.index + literal[0].length;
  }
  marked += text.slice(at).replaceAll('].', `] and ${SAME}`);
  let tree: Filter;
  try {
    tree = parse(marked);
  } catch {
    return bad(scimType, `The filter cannot be read: ${quoted(text)}.`);
  }
  if (clausesIn(tree) > MAX_CLAUSES) bad(scimType, `The filter has more than ${MAX_CLAUSES} clauses.`);
  return tree;
}

function clausesIn(tree: Filter): number {
  if (tree.op === 'and' || tree.op === 'or') return tree.filters.reduce((sum, one) => sum + clausesIn(one), 1);
  if (tree.op === 'not') return 1 + clausesIn(tree.filter);
  return tree.op === '[]' ? 1 + clausesIn(tree.valFilter) : 1;
}

/** How names are read at one level: of a resource, or of an element. */
interface Scope {
  readonly scimType: ScimType;
  /** The attribute behind a name and how to get at its values. */
  read(name: string): { readonly attribute: Attribute; get(values: Values): readonly Value[] };
}

const list = (value: Value | undefined): readonly Value[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value];

const membersOf = (values: readonly Value[], name: string): readonly Value[] =>
  values.flatMap((value) => (isValues(value) ? list(value[name]) : []));

const resourceScope = (type: ResourceType): Scope => ({
  scimType: 'invalidFilter',
  read(name) {
    const place = placeOf(type, name);
    if (place === undefined || place === 'not_kept' || place.attribute === null)
      return bad('invalidFilter', `There is no attribute ${quoted(name)}.`);
    const { extension, attribute, sub } = place;
    const get = (values: Values): readonly Value[] => {
      const holder = extension === null ? values : values[extension];
      const found = isValues(holder) ? list(holder[attribute.name]) : [];
      return sub === null ? found : membersOf(found, sub.name);
    };
    return { attribute: sub ?? attribute, get };
  },
});

const elementScope = (of: Attribute, scimType: ScimType): Scope => ({
  scimType,
  read(name) {
    const attribute = named(of.subAttributes, name);
    if (attribute === undefined) return bad(scimType, `${of.name} has no member ${quoted(name)}.`);
    return { attribute, get: (values) => list(values[attribute.name]) };
  },
});

function compile(tree: Filter, scope: Scope): Predicate {
  switch (tree.op) {
    case 'and': {
      const tests = joined(tree.filters, scope).map((one) => compile(one, scope));
      return (values) => tests.every((test) => test(values));
    }
    case 'or': {
      const tests = tree.filters.map((one) => compile(one, scope));
      return (values) => tests.some((test) => test(values));
    }
    case 'not': {
      const test = compile(tree.filter, scope);
      return (values) => !test(values);
    }
    case '[]': {
      const { attribute, get } = scope.read(tree.attrPath);
      const test = compile(tree.valFilter, elementScope(attribute, scope.scimType));
      return (values) => get(values).some((element) => isValues(element) && test(element));
    }
    case 'pr': {
      const { get } = scope.read(tree.attrPath);
      return (values) => get(values).some((value) => !isValues(value) || Object.keys(value).length > 0);
    }
    default: {
      const { attribute, get } = valuesAt(scope, tree.attrPath);
      if (tree.compValue === null) {
        if (tree.op === 'eq') return (values) => get(values).length === 0;
        if (tree.op === 'ne') return (values) => get(values).length > 0;
        return bad(scope.scimType, `null cannot be compared by ${tree.op}.`);
      }
      const matches = comparison(attribute, tree.op, tree.compValue, scope.scimType);
      if (tree.op === 'ne') return (values) => !get(values).some(matches);
      return (values) => get(values).some(matches);
    }
  }
}

/** A complex attribute is compared by its `value` (RFC 7643 section 2.4). */
function valuesAt(scope: Scope, name: string): ReturnType<Scope['read']> {
  const { attribute, get } = scope.read(name);
  if (attribute.type !== 'complex') return { attribute, get };
  const value = named(attribute.subAttributes, 'value');
  if (value === undefined) return bad(scope.scimType, `${quoted(name)} has no value of its own to compare.`);
  return { attribute: value, get: (values) => membersOf(get(values), 'value') };
}

/** Puts what was asked of the same element back into its brackets. */
function joined(filters: readonly Filter[], scope: Scope): readonly Filter[] {
  const result: Filter[] = [];
  for (const one of filters) {
    if (!('attrPath' in one) || !one.attrPath.startsWith(SAME)) {
      result.push(one);
      continue;
    }
    const before = result.pop();
    if (before?.op !== '[]') return bad(scope.scimType, 'A member is named after brackets that belong to nothing.');
    const inner = { ...one, attrPath: one.attrPath.slice(SAME.length) };
    result.push({ ...before, valFilter: { op: 'and', filters: [before.valFilter, inner] } });
  }
  return result;
}

type Operator = 'eq' | 'ne' | 'co' | 'sw' | 'ew' | 'gt' | 'lt' | 'ge' | 'le';

function comparison(
  attribute: Attribute,
  op: Operator,
  wanted: string | number | boolean,
  scimType: ScimType,
): (value: Value) => boolean {
  if (attribute.type === 'boolean') {
    const truth = typeof wanted === 'string' ? wanted.toLowerCase() === 'true' : wanted === true;
    if (op !== 'eq' && op !== 'ne') return bad(scimType, `${attribute.name} is true or false; ${op} means nothing.`);
    return (value) => value === truth;
  }
  if (attribute.type === 'dateTime') {
    const time = typeof wanted === 'string' ? Date.parse(wanted) : Number.NaN;
    if (Number.isNaN(time))
      return bad(scimType, `${attribute.name} is compared with a time such as "2026-01-31T00:00:00Z".`);
    if (op === 'co' || op === 'sw' || op === 'ew')
      return bad(scimType, `${attribute.name} is a time; ${op} means nothing.`);
    return (value) => typeof value === 'string' && ordered(op, Date.parse(value), time);
  }
  const fold = (text: string): string => (attribute.caseExact ? text : text.toLowerCase());
  const text = fold(String(wanted));
  return (value) => {
    if (typeof value !== 'string') return false;
    const have = fold(value);
    switch (op) {
      case 'co':
        return have.includes(text);
      case 'sw':
        return have.startsWith(text);
      case 'ew':
        return have.endsWith(text);
      default:
        return ordered(op, have, text);
    }
  };
}

/** For `ne` this says "equal": the caller turns it round over all values. */
function ordered<T extends string | number>(op: Exclude<Operator, 'co' | 'sw' | 'ew'>, have: T, wanted: T): boolean {
  switch (op) {
    case 'gt':
      return have > wanted;
    case 'ge':
      return have >= wanted;
    case 'lt':
      return have < wanted;
    case 'le':
      return have <= wanted;
    default:
      return have === wanted;
  }
}

function pinsOf(tree: Filter, type: ResourceType): readonly Pin[] {
  if (tree.op === 'and') return tree.filters.flatMap((one) => pinsOf(one, type));
  if (tree.op === '[]') {
    const inner = valuesOf(tree.valFilter);
    const place = placeOf(type, tree.attrPath);
    if (inner?.length !== 1 || place === undefined || place === 'not_kept' || !place.attribute) return [];
    return [{ name: `${place.attribute.name}.value`, value: inner[0]! }];
  }
  if (tree.op !== 'eq' || typeof tree.compValue !== 'string' || tree.attrPath.startsWith(SAME)) return [];
  const place = placeOf(type, tree.attrPath);
  if (place === undefined || place === 'not_kept' || !place.attribute || place.extension !== null) return [];
  const { attribute, sub } = place;
  const name =
    sub !== null
      ? `${attribute.name}.${sub.name}`
      : attribute.type === 'complex'
        ? `${attribute.name}.value`
        : attribute.name;
  return [{ name, value: tree.compValue }];
}

/** `value eq "a"`, or several of them joined by `or`. */
function valuesOf(tree: Filter): readonly string[] | null {
  if (tree.op === 'or') {
    const parts = tree.filters.map(valuesOf);
    return parts.every((part) => part !== null) ? parts.flat() : null;
  }
  if (tree.op !== 'eq' || tree.attrPath.toLowerCase() !== 'value') return null;
  return typeof tree.compValue === 'string' ? [tree.compValue] : null;
}

function templateOf(tree: Filter, attribute: Attribute, into: Values): Values | null {
  if (tree.op === 'and') return tree.filters.every((one) => templateOf(one, attribute, into) !== null) ? into : null;
  if (tree.op !== 'eq' || tree.compValue === null) return null;
  const sub = named(attribute.subAttributes, tree.attrPath);
  if (sub === undefined) return null;
  into[sub.name] = sub.type === 'boolean' ? String(tree.compValue).toLowerCase() === 'true' : String(tree.compValue);
  return into;
}
