/**
 * The arguments of a call as Cedar entities: every leaf under its JSON Pointer (RFC 6901), in the map of its type.
 * A leaf that no map can carry (null, a number that is not a safe integer, a string that is not well-formed) is in none of them,
 * so rules must be written `permit … when { has and fits }`. Not done here: canonical paths and URLs; what `like` sees is the text as sent.
 */
import type { EntityJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { Json, JsonObject } from '../lib/json.ts';
import type { Result } from '../lib/result.ts';
import { err, ok } from '../lib/result.ts';

/** More leaves or deeper nesting than this is not decided, it is denied. */
const MAX_LEAVES = 2000;
const MAX_DEPTH = 64;

const escapePointer = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1');

type Tags = Record<string, string | number | boolean | string[]>;

/** The four maps, uid `arguments` each. Pointers begin with `/`, so no argument name can collide with Cedar's own `__entity` or with `__proto__`. */
export function exposeArguments(args: JsonObject): Result<EntityJson[], 'arguments_not_readable'> {
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
  return ok(
    Object.entries(maps).map(([type, tags]) => ({
      uid: { type: `Remit::${type}`, id: 'arguments' },
      attrs: {},
      parents: [],
      tags,
    })),
  );
}
