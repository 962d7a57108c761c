/**
 * The arguments of a call as Cedar entities: every leaf under its JSON Pointer (RFC 6901), in the map of its type.
 * A leaf that no map can carry (null, a number that is not a safe integer, a string that is not well-formed) is in none of them,
 * so rules must be written `permit … when { has and fits }`. Typed parameters are seen in their canonical form, with their facets
 * under `<pointer>#<facet>` (AZ-03); of all others `like` sees the text as sent.
 */
import type { EntityJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { Json, JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';
import type { Parameters } from '../lib/typed-arguments.ts';
import { canonicalArguments, facetsOf, parameterTable } from '../lib/typed-arguments.ts';

/** More leaves or deeper nesting than this is not decided, it is denied. */
const MAX_LEAVES = 2000;
const MAX_DEPTH = 64;

/** ATTACKER-CONTROLLED: the key. `#` begins a facet, so in a name it is written `~2`: nobody sends a facet by naming an argument like one. */
const escapePointer = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('#', '~2');

const pointerOf = (pointer: string): string => pointer.replaceAll('#', '~2');

type Tags = Record<string, string | number | boolean | string[]>;

/** The four maps, uid `arguments` each. Pointers begin with `/`, so no argument name can collide with Cedar's own `__entity` or with `__proto__`. */
export function exposeArguments(
  given: JsonObject,
  parameters?: Parameters,
): Result<EntityJson[], 'arguments_not_readable'> {
  const table = parameterTable(parameters);
  const canonical = table && canonicalArguments(given, table);
  if (canonical && !canonical.ok) return err('arguments_not_readable');
  const args = canonical ? canonical.value.arguments : given;
  const maps: Record<'Strings' | 'Numbers' | 'Flags' | 'Lists', Tags> = {
    Strings: {},
    Numbers: {},
    Flags: {},
    Lists: {},
  };
  let leaves = 0;
  const visit = (value: Json, pointer: string, depth: number): boolean => {
    if (depth > MAX_DEPTH || ++leaves > MAX_LEAVES) return false;
    if (typeof value === 'string') {
      if (value.isWellFormed()) maps.Strings[pointer] = value;
    } else if (typeof value === 'number') {
      // `+ 0` makes -0 the 0 that JSON readers see.
      if (Number.isSafeInteger(value)) maps.Numbers[pointer] = value + 0;
    } else if (typeof value === 'boolean') {
      maps.Flags[pointer] = value;
    } else if (Array.isArray(value)) {
      const items = value as readonly Json[];
      const texts = items.filter((item) => typeof item === 'string' && item.isWellFormed()) as string[];
      if (texts.length === items.length) maps.Lists[pointer] = texts;
      return items.every((item, index) => visit(item, `${pointer}/${index}`, depth + 1));
    } else if (value !== null) {
      return Object.entries(value).every(([key, item]) => visit(item, `${pointer}/${escapePointer(key)}`, depth + 1));
    }
    return true;
  };
  const fits = Object.entries(args).every(([key, value]) => visit(value, `/${escapePointer(key)}`, 1));
  if (!fits) return err('arguments_not_readable');
  for (const typed of canonical?.value.typed ?? []) {
    for (const [facet, value] of facetsOf(typed)) {
      const place = `${pointerOf(typed.pointer)}#${facet}`;
      if (typeof value === 'string') maps.Strings[place] = value;
      else if (typeof value === 'number') maps.Numbers[place] = value;
      else maps.Lists[place] = value;
    }
  }
  return ok(
    // An empty map is none: `hasTag` of an entity that is not there is false, and each one costs about as much as a policy.
    Object.entries(maps)
      .filter(([, tags]) => Object.keys(tags).length > 0)
      .map(([type, tags]) => ({ uid: { type: `Remit::${type}`, id: 'arguments' }, attrs: {}, parents: [], tags })),
  );
}
