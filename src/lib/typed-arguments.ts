/**
 * Arguments whose reviewer said what they are (AZ-03): each is replaced by its canonical form, and its facets are what a policy may look at.
 * A pointer speaks of everything it leads to: every element of an array, and through an array into each of its objects.
 * What is absent or null is no value and is left alone; a policy that wants one must ask for it.
 */
import type { CanonicalValue, ParameterType } from './canonical-values.ts';
import { PARAMETER_TYPES, canonicalValue } from './canonical-values.ts';
import type { Json, JsonObject } from './json.ts';
import type { Result } from './result.ts';
import { err, ok } from './result.ts';

export type Parameters = Readonly<Record<string, ParameterType>>;

export interface Parameter {
  readonly pointer: string;
  readonly tokens: readonly string[];
  readonly type: ParameterType;
}

/** More values than this under typed pointers have no canonical form together. */
const MAX_VALUES = 2_000;

/** In one order, whatever the record's. Null: nothing is typed, and nothing needs to be done. */
export function parameterTable(parameters: Parameters | undefined): readonly Parameter[] | null {
  const table = Object.entries(parameters ?? {})
    .filter(([, type]) => PARAMETER_TYPES.includes(type))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([pointer, type]) => ({ pointer, tokens: tokensOf(pointer), type }));
  return table.length === 0 ? null : table;
}

/** RFC 6901. */
const tokensOf = (pointer: string): readonly string[] =>
  pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));

/** What a pointer led to. */
export interface Typed {
  readonly pointer: string;
  /** Empty: nothing was there. */
  readonly values: readonly CanonicalValue[];
  /** It led to one value and through no array. */
  readonly single: boolean;
}

export interface CanonicalArguments {
  /** The same object when nothing was spelt otherwise. */
  readonly arguments: JsonObject;
  readonly typed: readonly Typed[];
}

/** All problems at once, each with the place and without the value. */
export function canonicalArguments(
  given: JsonObject,
  table: readonly Parameter[],
): Result<CanonicalArguments, readonly string[]> {
  const problems: string[] = [];
  let current: JsonObject = given;
  let left = MAX_VALUES;
  const typed = table.map(({ pointer, tokens, type }): Typed => {
    const values: CanonicalValue[] = [];
    let single = true;

    const visit = (value: Json, depth: number, place: string): Json => {
      if (value === null) return null;
      const token = tokens[depth];
      if (Array.isArray(value)) {
        single = false;
        const items = value as readonly Json[];
        const one = token !== undefined && INDEX.test(token) ? Number(token) : null;
        return mapped(items, (item, index) => {
          if (one === null) return visit(item, depth, `${place}/${index}`);
          return index === one ? visit(item, depth + 1, `${place}/${index}`) : item;
        });
      }
      if (token !== undefined) {
        if (typeof value !== 'object' || !Object.hasOwn(value, token)) return value;
        const before = (value as JsonObject)[token]!;
        const after = visit(before, depth + 1, `${place}/${escaped(token)}`);
        return after === before ? value : { ...(value as JsonObject), [token]: after };
      }
      if (typeof value !== 'string' && typeof value !== 'number') {
        problems.push(`${place} must be ${type === 'amount' || type === 'identifier' ? 'text or a number' : 'text'}`);
        return value;
      }
      if (--left < 0) return value;
      const canonical = canonicalValue(type, value);
      if (!canonical.ok) {
        problems.push(`${place} ${canonical.error}`);
        return value;
      }
      values.push(canonical.value);
      return typeof value === 'string' ? canonical.value.text : value;
    };

    current = visit(current, 0, '') as JsonObject;
    return { pointer, values, single: single && values.length === 1 };
  });
  if (left < 0) return err([`more than ${MAX_VALUES} values are paths, URLs, domains, amounts or identifiers`]);
  return problems.length > 0 ? err(problems) : ok({ arguments: current, typed });
}

const INDEX = /^(?:0|[1-9]\d{0,5})$/;
const escaped = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

/** The same array when no element changed. */
function mapped(items: readonly Json[], change: (item: Json, index: number) => Json): Json {
  const after = items.map(change);
  return after.every((item, index) => item === items[index]) ? items : after;
}

/**
 * What policies see of it, by facet: of one value its facets; of several what holds for all of them (a list of names: those they share;
 * one name: all names there are, as a list), and of numbers nothing, because there is no one number.
 */
export function facetsOf({ values, single }: Typed): ReadonlyArray<readonly [string, string | number | string[]]> {
  const [first, ...others] = values;
  if (!first) return [];
  return Object.entries(first.facets).flatMap(([name, facet]): Array<[string, string | number | string[]]> => {
    if (single) return [[name, typeof facet === 'object' ? [...facet] : facet]];
    if (typeof facet === 'number') return [];
    if (typeof facet === 'string') return [[name, values.map(({ facets }) => facets[name] as string)]];
    return [[name, facet.filter((one) => others.every(({ facets }) => (facets[name] as string[]).includes(one)))]];
  });
}
