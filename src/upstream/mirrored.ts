/** The headers in which a modern request repeats parts of itself: `Mcp-Name` and `Mcp-Param-*` (C1, C2). stdio ignores them. */
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { encodeHeaderValue } from '../protocol/header-codec.ts';
import { paramHeadersFor } from '../protocol/param-headers.ts';
import { UpstreamFault } from './connection.ts';

/** Which member of `params` a method's `Mcp-Name` repeats. */
const NAMED_BY: ReadonlyMap<string, string> = new Map([
  ['tools/call', 'name'],
  ['prompts/get', 'name'],
  ['resources/read', 'uri'],
  ['tasks/get', 'taskId'],
  ['tasks/update', 'taskId'],
  ['tasks/cancel', 'taskId'],
]);

/** @throws UpstreamFault, not dispatched, when the schema asks for a header that cannot be. */
export function mirrored(
  method: string,
  params: JsonObject,
  inputSchema: JsonObject | undefined,
): ReadonlyArray<readonly [string, string]> {
  const member = NAMED_BY.get(method);
  const name = member === undefined ? undefined : params[member];
  if (typeof name !== 'string') return [];
  const headers: Array<readonly [string, string]> = [['Mcp-Name', encodeHeaderValue(name)]];
  const args = params['arguments'];
  if (method !== 'tools/call' || inputSchema === undefined || !isJsonObject(args)) return headers;
  const mirrors = paramHeadersFor(args, inputSchema);
  if (!mirrors.ok) {
    throw new UpstreamFault(
      'upstream_protocol',
      `the tool cannot be called over HTTP: its x-mcp-header at ${mirrors.error.where} is ${mirrors.error.problem}`,
      { dispatched: 'no' },
    );
  }
  return [...headers, ...mirrors.value];
}
