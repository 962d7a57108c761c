/**
 * Output schemas for clients up to 2025-11-25, which want `type: object` at the root: one other root makes their whole
 * `tools/list` fail (L12). A non-object schema is wrapped as `{ result: … }`; references inside it are moved with it.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';

export const isObjectSchema = (schema: JsonObject): boolean => schema['type'] === 'object';

export function wrapOutputSchema(schema: JsonObject): JsonObject {
  const dialect = schema['$schema'];
  return {
    ...(typeof dialect === 'string' ? { $schema: dialect } : {}),
    type: 'object',
    properties: { result: moved(schema) },
    required: ['result'],
  };
}

/** Keywords whose values are data: a `$ref` in there is nobody's reference. */
const DATA = new Set(['const', 'enum', 'default', 'examples']);
/** Keywords whose values map names to schemas: a key in there is a name and not a keyword. */
const NAMED = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependencies']);

/** Rewrites same-document references from `#…` to `#/properties/result…`. A subschema with its own base keeps its own. */
function moved(schema: Json): Json {
  if (Array.isArray(schema)) return (schema as readonly Json[]).map(moved);
  if (!isJsonObject(schema) || hasOwnBase(schema)) return schema;
  const result: Record<string, Json> = {};
  for (const [key, value] of Object.entries(schema)) {
    if (DATA.has(key)) result[key] = value;
    else if ((key === '$ref' || key === '$dynamicRef') && typeof value === 'string')
      result[key] = movedReference(value);
    else if (NAMED.has(key) && isJsonObject(value)) {
      result[key] = Object.fromEntries(Object.entries(value).map(([name, child]) => [name, moved(child)]));
    } else result[key] = moved(value);
  }
  return result;
}

/** A fragment-only `$id` is an anchor in older drafts and does not change the base. */
const hasOwnBase = (schema: JsonObject): boolean => typeof schema['$id'] === 'string' && !schema['$id'].startsWith('#');

function movedReference(reference: string): string {
  if (reference === '#') return '#/properties/result';
  return reference.startsWith('#/') ? `#/properties/result${reference.slice(1)}` : reference;
}
