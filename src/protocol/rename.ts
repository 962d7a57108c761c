/**
 * Names on the aggregate endpoint (decision 0008): tools and prompts are `<server>__<name>`, URIs and URI templates `<server>+<uri>`.
 * A server id holds neither `_` nor `+`, so the first separator always is ours and every name has one reading, whatever a server
 * calls its things. The prefix routes; whether the server exists and is anybody's to use is decided later (TD-04).
 * Not renamed: structured content and text, which are the server's own words, and the tools a server brings for sampling.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';

const NAME_SEPARATOR = '__';
const URI_SEPARATOR = '+';
const SERVER = /^[a-z0-9-]{1,63}$/;

export const prefixName = (server: string, name: string): string => server + NAME_SEPARATOR + name;
/** For templates too: the prefix is literal text in front of the first variable. */
export const prefixUri = (server: string, uri: string): string => server + URI_SEPARATOR + uri;

/** Null: no name of an aggregate. */
export function unprefixName(name: string): { readonly server: string; readonly name: string } | null {
  const split = splitAt(name, NAME_SEPARATOR);
  return split && { server: split[0], name: split[1] };
}

export function unprefixUri(uri: string): { readonly server: string; readonly uri: string } | null {
  const split = splitAt(uri, URI_SEPARATOR);
  return split && { server: split[0], uri: split[1] };
}

function splitAt(text: string, separator: string): [string, string] | null {
  const at = text.indexOf(separator);
  if (at < 0 || !SERVER.test(text.slice(0, at))) return null;
  const rest = text.slice(at + separator.length);
  return rest === '' ? null : [text.slice(0, at), rest];
}

/** A definition as the aggregate lists it. The `name` of a resource is for people and stays. */
export function renameDefinition(
  kind: 'tool' | 'prompt' | 'resource' | 'template',
  definition: JsonObject,
  server: string,
): JsonObject {
  const { name, uri, uriTemplate } = definition;
  const named = (kind === 'tool' || kind === 'prompt') && typeof name === 'string';
  return withMeta(
    {
      ...definition,
      ...(named ? { name: prefixName(server, name) } : {}),
      ...(typeof uri === 'string' ? { uri: prefixUri(server, uri) } : {}),
      ...(typeof uriTemplate === 'string' ? { uriTemplate: prefixUri(server, uriTemplate) } : {}),
    },
    server,
  );
}

/** The result of `tools/call`, `prompts/get` or `resources/read`, with every URI in its content as this endpoint would be asked for it. */
export function renameResult(result: JsonObject, server: string): JsonObject {
  const { content, messages, contents } = result;
  const message = (one: Json): Json =>
    isJsonObject(one) ? { ...one, content: contentOf(one['content'] ?? null, server) } : one;
  return withMeta(
    {
      ...result,
      ...(Array.isArray(content) ? { content: contentOf(content, server) } : {}),
      ...(Array.isArray(messages) ? { messages: (messages as readonly Json[]).map(message) } : {}),
      ...(Array.isArray(contents)
        ? { contents: (contents as readonly Json[]).map((one) => located(one, server)) }
        : {}),
    },
    server,
  );
}

/** A notification of a server. Only `notifications/resources/updated` speaks of a URI. */
export function renameNotification<N extends { readonly method: string; readonly params: JsonObject }>(
  notification: N,
  server: string,
): N {
  const { uri } = notification.params;
  return typeof uri === 'string' && notification.method === 'notifications/resources/updated'
    ? { ...notification, params: { ...notification.params, uri: prefixUri(server, uri) } }
    : notification;
}

function contentOf(content: Json, server: string): Json {
  return Array.isArray(content)
    ? (content as readonly Json[]).map((one) => blockOf(one, server))
    : blockOf(content, server);
}

function blockOf(block: Json, server: string): Json {
  if (!isJsonObject(block)) return block;
  if (block['type'] === 'resource_link') return located(block, server);
  if (block['type'] === 'resource')
    return withMeta({ ...block, resource: located(block['resource'] ?? null, server) }, server);
  return withMeta(block, server);
}

function located(object: Json, server: string): Json {
  if (!isJsonObject(object)) return object;
  const { uri } = object;
  return withMeta(typeof uri === 'string' ? { ...object, uri: prefixUri(server, uri) } : object, server);
}

/** MCP Apps name the page of a tool in `_meta.ui.resourceUri`, and used to in `_meta["ui/resourceUri"]`. */
function withMeta(object: JsonObject, server: string): JsonObject {
  const { _meta: meta } = object;
  if (!isJsonObject(meta)) return object;
  const { ui, 'ui/resourceUri': old } = meta;
  const page = isJsonObject(ui) ? ui['resourceUri'] : undefined;
  if (typeof page !== 'string' && typeof old !== 'string') return object;
  return {
    ...object,
    _meta: {
      ...meta,
      ...(typeof page === 'string' ? { ui: { ...(ui as JsonObject), resourceUri: prefixUri(server, page) } } : {}),
      ...(typeof old === 'string' ? { 'ui/resourceUri': prefixUri(server, old) } : {}),
    },
  };
}
