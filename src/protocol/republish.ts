/**
 * Definitions as we publish them: closed lists of members, each only to versions that have it (L12, G7, PH-12).
 * The definition is the approved one; what a server adds beyond this list never reaches a model, because no reviewer saw its meaning.
 * Not checked here: the pin, the scan, the validity of `x-mcp-header` (`param-headers.ts`).
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { unreserved } from './meta.ts';
import { isObjectSchema, wrapOutputSchema } from './output-schema.ts';
import { withoutDeclarations } from './param-headers.ts';
import { type Feature, LATEST_LEGACY, type ProtocolVersion, has } from './versions.ts';

export type ItemKind = 'tool' | 'prompt' | 'resource' | 'template';

/** MCP Apps: a tool names the page that shows its results. */
export const UI_EXTENSION = 'io.modelcontextprotocol/ui';
const UI_META: ReadonlySet<string> = new Set(['ui', 'ui/resourceUri']);

type Members = readonly (readonly [member: string, since: Feature | null])[];
const ABOUT: Members = [
  ['name', null],
  ['title', 'titles'],
  ['description', null],
  ['icons', 'icons'],
  ['_meta', 'meta'],
];
const DATA: Members = [...ABOUT, ['mimeType', null], ['annotations', null]];
const MEMBERS: Readonly<Record<ItemKind, Members>> = {
  // `execution` is not here: it has its own rule below.
  tool: [...ABOUT, ['inputSchema', null], ['outputSchema', 'structuredContent'], ['annotations', 'toolAnnotations']],
  prompt: [...ABOUT, ['arguments', null]],
  resource: [...DATA, ['uri', null], ['size', null]],
  template: [...DATA, ['uriTemplate', null]],
};
const ARGUMENT: Members = [
  ['name', null],
  ['title', 'titles'],
  ['description', null],
  ['required', null],
];

/** @param options.extensions what the server's record allows; without `io.modelcontextprotocol/ui` no page is shown. */
export function republishItem(
  kind: ItemKind,
  definition: JsonObject,
  version: ProtocolVersion,
  options: { readonly extensions: readonly string[] } = { extensions: [] },
): JsonObject {
  const item = membersOf(definition, MEMBERS[kind], version);
  const { _meta: meta } = item;
  if (isJsonObject(meta)) {
    const ui = options.extensions.includes(UI_EXTENSION);
    const rest = Object.entries(unreserved(meta)).filter(([key]) => ui || !UI_META.has(key));
    if (rest.length > 0) item['_meta'] = Object.fromEntries(rest);
    else delete item['_meta'];
  }
  if (kind === 'tool') asTool(item, definition, version);
  if (kind === 'prompt') asPrompt(item, version);
  if (kind === 'resource' || kind === 'template') asData(item, version);
  return item;
}

function membersOf(object: JsonObject, members: Members, version: ProtocolVersion): Record<string, Json> {
  const kept: Record<string, Json> = {};
  for (const [member, since] of members) {
    const value = object[member];
    if (value !== undefined && (since === null || has(version, since))) kept[member] = value;
  }
  return kept;
}

function asTool(tool: Record<string, Json>, { execution }: JsonObject, version: ProtocolVersion): void {
  const { inputSchema, outputSchema } = tool;
  if (isJsonObject(outputSchema) && !isObjectSchema(outputSchema) && !has(version, 'anyJsonOutput')) {
    tool['outputSchema'] = wrapOutputSchema(outputSchema);
  }
  // Older clients mirror nothing; what the keyword says is for whoever routes.
  if (isJsonObject(inputSchema) && !has(version, 'paramHeaders'))
    tool['inputSchema'] = withoutDeclarations(inputSchema);
  // 2025-11-25 alone asks for tasks tool by tool; later the server decides, and says so in its capabilities.
  const support = isJsonObject(execution) ? execution['taskSupport'] : undefined;
  if (typeof support === 'string' && version === LATEST_LEGACY) tool['execution'] = { taskSupport: support };
}

function asPrompt(prompt: Record<string, Json>, version: ProtocolVersion): void {
  const { arguments: given } = prompt;
  if (!Array.isArray(given)) delete prompt['arguments'];
  else prompt['arguments'] = given.filter(isJsonObject).map((argument) => membersOf(argument, ARGUMENT, version));
}

function asData(data: Record<string, Json>, version: ProtocolVersion): void {
  const { annotations } = data;
  if (!isJsonObject(annotations) || has(version, 'lastModified')) return;
  const { lastModified: _, ...rest } = annotations;
  data['annotations'] = rest;
}
