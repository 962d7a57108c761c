/**
 * The tools a server offers, read to the end of its pages within caps. What came back is plain JSON objects with unique
 * string names, and nothing more is known of them here: canonical form, schemas and review are the integrity room's.
 */
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Connection, UpstreamFault } from './connection.ts';

export interface ListLimits {
  readonly maxPages: number;
  readonly maxTools: number;
  /** Of all definitions together, as JSON text. */
  readonly maxBytes: number;
}

export const LIST_LIMITS: ListLimits = { maxPages: 100, maxTools: 2_000, maxBytes: 8 * 1024 * 1024 };

const violation = (message: string): UpstreamFault =>
  new UpstreamFault('upstream_protocol', message, { dispatched: 'unknown' });

/**
 * All tool definitions, in the server's order. A server without the `tools` capability has none.
 * @throws UpstreamFault `upstream_protocol` for malformed pages, repeated names, a cursor that repeats; `upstream_too_large` beyond a cap.
 */
export async function listTools(
  connection: Connection,
  signal: AbortSignal,
  limits: ListLimits = LIST_LIMITS,
): Promise<readonly JsonObject[]> {
  if (connection.identity.capabilities['tools'] === undefined) return [];
  const tools: JsonObject[] = [];
  const names = new Set<string>();
  const cursors = new Set<string>();
  let bytes = 0;
  let cursor: string | null = null;

  for (let page = 1; ; page++) {
    if (page > limits.maxPages) throw tooLarge(`the tool list has more than ${limits.maxPages} pages`);
    const reply = await connection.request({ method: 'tools/list', params: cursor === null ? {} : { cursor } }, signal);
    if (reply.kind === 'error') throw violation(`tools/list was answered with error ${reply.error.code}`);
    const { tools: listed, nextCursor } = reply.result;
    if (!Array.isArray(listed)) throw violation('the result of tools/list has no array `tools`');

    for (const tool of listed) {
      if (!isJsonObject(tool)) throw violation('an element of `tools` is not an object');
      const name = tool['name'];
      if (typeof name !== 'string' || name === '') throw violation('a tool has no name');
      // ATTACKER-CONTROLLED: of two tools with one name, one would be reviewed and the other called.
      if (names.has(name)) throw violation(`two tools have the name ${JSON.stringify(name)}`);
      names.add(name);
      tools.push(tool);
      bytes += JSON.stringify(tool).length;
      if (tools.length > limits.maxTools) throw tooLarge(`the server offers more than ${limits.maxTools} tools`);
      if (bytes > limits.maxBytes) throw tooLarge(`the tool definitions exceed ${limits.maxBytes} bytes`);
    }

    if (nextCursor === undefined || nextCursor === null) return tools;
    if (typeof nextCursor !== 'string') throw violation('`nextCursor` is not a string');
    if (cursors.has(nextCursor)) throw violation('the cursors of tools/list go round in a circle');
    cursors.add(nextCursor);
    cursor = nextCursor;
  }
}

const tooLarge = (message: string): UpstreamFault =>
  new UpstreamFault('upstream_too_large', message, { dispatched: 'unknown' });
