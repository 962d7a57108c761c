/**
 * What a grant asks of arguments, as Cedar expressions in JSON form. Every one of them fails for an argument that is missing, of another
 * type, or an empty list; of a list every element must fit. Folders and hosts are judged on the facets of typed parameters alone
 * (lib/canonical-values.ts): where the reviewer typed nothing, they permit nothing.
 */
import type { Expr } from '@cedar-policy/cedar-wasm/nodejs';
import { canonicalValue } from '../lib/canonical-values.ts';
import type { GrantCondition } from './grants.ts';

type Kind = 'strings' | 'numbers' | 'lists';

const text = (value: string): Expr => ({ Value: value });
const texts = (values: readonly string[]): Expr => ({ Set: values.map(text) });
const map = (kind: Kind): Expr => ({
  '.': { left: { '.': { left: { Var: 'context' }, attr: 'arguments' } }, attr: kind },
});
const has = (kind: Kind, place: string): Expr => ({ hasTag: { left: map(kind), right: text(place) } });
const get = (kind: Kind, place: string): Expr => ({ getTag: { left: map(kind), right: text(place) } });
const and = (left: Expr, right: Expr): Expr => ({ '&&': { left, right } });
const or = (left: Expr, right: Expr): Expr => ({ '||': { left, right } });
const not = (arg: Expr): Expr => ({ '!': { arg } });

/** Which conditions name something that no argument can be, by their place: a folder or host without a canonical form. */
export function unfitConditions(conditions: readonly GrantCondition[]): ReadonlyArray<{ at: number; value: number }> {
  return conditions.flatMap((condition, at) => {
    if (condition.is !== 'path_under' && condition.is !== 'host_in') return [];
    const read = condition.is === 'path_under' ? canonical : canonicalHosts;
    return condition.values.flatMap((value, index) => (read([value]).length === 0 ? [{ at, value: index }] : []));
  });
}

/** One expression for each; all of them must hold. INVARIANT: `unfitConditions` found none. */
export function grantConditions(conditions: readonly GrantCondition[]): Expr[] {
  const floors = new Set(conditions.filter(({ is }) => is === 'at_least').map(({ argument }) => argument));
  return conditions.map((condition) => {
    // As exposeArguments writes it: `#` begins a facet.
    const place = condition.argument.replaceAll('#', '~2');
    switch (condition.is) {
      case 'path_under':
        return anyOf('lists', `${place}#under`, canonical(condition.values));
      case 'host_in': {
        const hosts = canonicalHosts(condition.values);
        return or(anyOf('lists', `${place}#hostUnder`, hosts), allOf(`${place}#host`, hosts));
      }
      case 'one_of':
        return oneOf(place, condition.values);
      case 'at_most':
        // -1 means "no limit" to many a server; whoever wants less than nothing says so with `at_least`.
        return numbers(place, (value) =>
          floors.has(condition.argument)
            ? { '<=': { left: value, right: { Value: condition.value } } }
            : and(
                { '<=': { left: { Value: 0 }, right: value } },
                { '<=': { left: value, right: { Value: condition.value } } },
              ),
        );
      case 'at_least':
        return numbers(place, (value) => ({ '>=': { left: value, right: { Value: condition.value } } }));
    }
  });
}

const anyOf = (kind: 'lists', place: string, values: readonly string[]): Expr =>
  and(has(kind, place), { containsAny: { left: get(kind, place), right: texts(values) } });

/** A list that is not empty and of which each element is one of these. */
const allOf = (place: string, values: readonly string[]): Expr =>
  and(
    has('lists', place),
    and(not({ isEmpty: { arg: get('lists', place) } }), {
      containsAll: { left: texts(values), right: get('lists', place) },
    }),
  );

function oneOf(place: string, values: readonly string[]): Expr {
  const string = and(has('strings', place), { contains: { left: texts(values), right: get('strings', place) } });
  const whole = values
    .filter((value) => /^(?:0|-?[1-9]\d{0,14})$/.test(value))
    .map((value) => ({ Value: Number(value) }));
  const found = or(string, allOf(place, values));
  return whole.length === 0
    ? found
    : or(found, and(has('numbers', place), { contains: { left: { Set: whole }, right: get('numbers', place) } }));
}

/** An amount in its smallest unit where the argument is one, else the number itself. */
const numbers = (place: string, holds: (value: Expr) => Expr): Expr => {
  const minor = `${place}#minor`;
  return or(
    and(has('numbers', minor), holds(get('numbers', minor))),
    and(not(has('numbers', minor)), and(has('numbers', place), holds(get('numbers', place)))),
  );
};

const canonical = (values: readonly string[]): string[] =>
  values.flatMap((value) => {
    const result = canonicalValue('path', value);
    return result.ok ? [result.value.text] : [];
  });

/** `.example.com` is everything below it. */
const canonicalHosts = (values: readonly string[]): string[] =>
  values.flatMap((value) => {
    const below = value.startsWith('.');
    const result = canonicalValue('domain', below ? value.slice(1) : value);
    return result.ok && !result.value.text.includes('@') ? [`${below ? '.' : ''}${result.value.text}`] : [];
  });
