/**
 * Keys that are not a known key but that a lenient parser takes for one: other case, folding letters (long s, Kelvin sign),
 * full-width forms, accents, invisible characters. Go's encoding/json matches keys without regard to case; a policy that read
 * `name` while the server reads `Name` was passed by (CVE-2026-27896, PH-02). Such a key is refused wherever the exact one has a meaning.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';

const PLAIN = /^[\x21-\x7e]*$/;
const INVISIBLE = /[\p{C}\p{Z}\p{M}]/gu;

/** The form in which look-alikes are equal. Not for display and not a security boundary by itself: only equality with a known key matters. */
export function foldKey(key: string): string {
  if (PLAIN.test(key)) return key.toLowerCase();
  return key.normalize('NFKD').toUpperCase().toLowerCase().replace(INVISIBLE, '');
}

/** Answers with the first key of an object that imitates one of `names`, or null. */
export function lookalikesOf(names: Iterable<string>): (object: JsonObject) => string | null {
  const exact = new Set(names);
  const folded = new Set([...exact].map(foldKey));
  return (object) => {
    for (const key of Object.keys(object)) if (!exact.has(key) && folded.has(foldKey(key))) return key;
    return null;
  };
}

type Find = (object: JsonObject) => string | null;
const FINDERS = new WeakMap<JsonObject, Find>();

function finderOf(properties: JsonObject): Find {
  let find = FINDERS.get(properties);
  if (find === undefined) FINDERS.set(properties, (find = lookalikesOf(Object.keys(properties))));
  return find;
}

/**
 * The path of the first argument key that imitates a property its schema declares, or null. Follows `properties` and `items`
 * (where policies read), not composition keywords. Schemas are held frozen in the snapshot: the work on them is done once.
 */
export function argumentLookalike(args: Json, schema: Json | undefined, path = 'arguments'): string | null {
  if (!isJsonObject(schema)) return null;
  if (Array.isArray(args)) {
    for (const item of args as readonly Json[]) {
      const found = argumentLookalike(item, schema['items'], `${path}[]`);
      if (found !== null) return found;
    }
    return null;
  }
  const properties = schema['properties'];
  if (!isJsonObject(args) || !isJsonObject(properties)) return null;
  const key = finderOf(properties)(args);
  if (key !== null) return `${path}.${key}`;
  for (const [name, child] of Object.entries(properties)) {
    if (!Object.hasOwn(args, name)) continue;
    const value = args[name];
    if (typeof value !== 'object' || value === null) continue;
    const found = argumentLookalike(value, child, `${path}.${name}`);
    if (found !== null) return found;
  }
  return null;
}
