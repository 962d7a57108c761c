/**
 * CI-01: fields that a tool does not declare are refused. JSON Schema leaves objects open unless told otherwise, so an object
 * whose schema declares `properties` (itself, or through `$ref`, `allOf`, `anyOf`, `oneOf`, `then`, `else`) and says nothing about
 * further ones is closed here, at the root and in nested properties and items. A schema that says `additionalProperties`,
 * `unevaluatedProperties` or `patternProperties` means it, and an object without any `properties` is free-form: both stay as they are.
 */
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { resolveLocal } from './bound-schema.ts';

/** A copy; the pinned schema is not touched. Only for schemas that passed `boundSchema`. */
export function closeSchema(root: JsonObject): JsonObject {
  return close(root, root);
}

function close(root: JsonObject, schema: JsonObject): JsonObject {
  const copy: Record<string, Json> = { ...schema };
  for (const keyword of ['properties', '$defs', 'definitions']) {
    const named = schema[keyword];
    if (isJsonObject(named)) {
      copy[keyword] = Object.fromEntries(
        Object.entries(named).map(([name, sub]) => {
          if (!isJsonObject(sub)) return [name, sub];
          // A definition is closed where it is used: several of them may describe one object together.
          return [name, keyword === 'properties' ? close(root, sub) : closeInside(root, sub)];
        }),
      );
    }
  }
  for (const keyword of ['items', 'additionalProperties']) {
    const sub = schema[keyword];
    if (isJsonObject(sub)) copy[keyword] = close(root, sub);
  }
  if (Array.isArray(schema['prefixItems'])) {
    copy['prefixItems'] = (schema['prefixItems'] as readonly Json[]).map((sub) =>
      isJsonObject(sub) ? close(root, sub) : sub,
    );
  }
  if (!saysMore(schema) && declares(root, schema, 0)) copy['unevaluatedProperties'] = false;
  return copy;
}

function closeInside(root: JsonObject, schema: JsonObject): JsonObject {
  const closed: Record<string, Json> = { ...close(root, schema) };
  if (!('unevaluatedProperties' in schema)) delete closed['unevaluatedProperties'];
  return closed;
}

const saysMore = (schema: JsonObject): boolean =>
  'additionalProperties' in schema || 'unevaluatedProperties' in schema || 'patternProperties' in schema;

function declares(root: JsonObject, schema: Json | undefined, depth: number): boolean {
  if (!isJsonObject(schema) || depth > 20) return false;
  const { $ref: reference, properties } = schema;
  if (isJsonObject(properties) && Object.keys(properties).length > 0) return true;
  if (typeof reference === 'string' && declares(root, resolveLocal(root, reference) ?? undefined, depth + 1))
    return true;
  const parts = ['allOf', 'anyOf', 'oneOf'].flatMap((keyword) => {
    const list = schema[keyword];
    return Array.isArray(list) ? (list as readonly Json[]) : [];
  });
  return [...parts, schema['then'], schema['else']].some((part) => declares(root, part, depth + 1));
}
