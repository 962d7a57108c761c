/**
 * Tool definitions as we publish them: a closed list of members, each only to versions that have it (L12, G7).
 * The definition is the approved one; what a server adds beyond this list never reaches a model, because no reviewer saw its meaning.
 * Not checked here: the pin, the scan, the validity of `x-mcp-header` (`param-headers.ts`).
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { unreserved } from './meta.ts';
import { isObjectSchema, wrapOutputSchema } from './output-schema.ts';
import { type Feature, type ProtocolVersion, has } from './versions.ts';

/** `execution` is left out: it offers tasks, which Remit does not. */
const MEMBERS: readonly (readonly [member: string, since: Feature | null])[] = [
  ['name', null],
  ['title', 'titles'],
  ['description', null],
  ['icons', 'icons'],
  ['inputSchema', null],
  ['outputSchema', 'structuredContent'],
  ['annotations', 'toolAnnotations'],
  ['_meta', 'meta'],
];

/** @param name the name this client calls it by, when it is not the server's own (aggregates add a prefix). */
export function republish(definition: JsonObject, version: ProtocolVersion, name?: string): JsonObject {
  const tool: Record<string, Json> = {};
  for (const [member, since] of MEMBERS) {
    const value = definition[member];
    if (value !== undefined && (since === null || has(version, since))) tool[member] = value;
  }
  if (name !== undefined) tool['name'] = name;
  const { outputSchema, _meta } = tool;
  if (isJsonObject(outputSchema) && !isObjectSchema(outputSchema) && !has(version, 'anyJsonOutput')) {
    tool['outputSchema'] = wrapOutputSchema(outputSchema);
  }
  if (isJsonObject(_meta)) {
    const rest = unreserved(_meta);
    if (Object.keys(rest).length > 0) tool['_meta'] = rest;
    else delete tool['_meta'];
  }
  return tool;
}
