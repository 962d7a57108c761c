/**
 * What a server lists: tools, prompts, resources, resource templates, each read to the end of its pages within caps. What came back
 * is plain JSON objects with unique string names, and nothing more is known of them here: canonical form, schemas and review are
 * the integrity room's.
 */
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Connection, UpstreamFault } from './connection.ts';

export interface ListLimits {
  readonly maxPages: number;
  readonly maxItems: number;
  /** Of all definitions of one kind together, as JSON text. */
  readonly maxBytes: number;
}

export const LIST_LIMITS: ListLimits = { maxPages: 100, maxItems: 2_000, maxBytes: 8 * 1024 * 1024 };

interface ListRule {
  readonly method: string;
  /** Of the server's capabilities; without it the list is empty and not asked for. */
  readonly capability: string;
  /** Member of the result. */
  readonly member: string;
  /** Member of an item that tells it from the others. */
  readonly name: string;
  readonly noun: string;
}

// prettier-ignore
const RULES = {
  tool: { method: 'tools/list', capability: 'tools', member: 'tools', name: 'name', noun: 'tool' },
  prompt: { method: 'prompts/list', capability: 'prompts', member: 'prompts', name: 'name', noun: 'prompt' },
  resource: { method: 'resources/list', capability: 'resources', member: 'resources', name: 'uri', noun: 'resource' },
  template: { method: 'resources/templates/list', capability: 'resources', member: 'resourceTemplates', name: 'uriTemplate', noun: 'resource template' },
} as const satisfies Readonly<Record<string, ListRule>>;

export type ListKind = keyof typeof RULES;
export const LIST_KINDS = Object.keys(RULES) as readonly ListKind[];

export interface Listed {
  readonly items: readonly JsonObject[];
  /** The server advertises the capability and does not know the method: what it lists is nothing, and somebody should hear of it. */
  readonly unknownMethod: string | null;
}

const METHOD_NOT_FOUND = -32601;

const violation = (message: string): UpstreamFault =>
  new UpstreamFault('upstream_protocol', message, { dispatched: 'unknown' });
const tooLarge = (message: string): UpstreamFault =>
  new UpstreamFault('upstream_too_large', message, { dispatched: 'unknown' });

/**
 * All definitions of one kind, in the server's order.
 * @throws UpstreamFault `upstream_protocol` for malformed pages, repeated names, a cursor that repeats; `upstream_too_large` beyond a cap;
 * whatever the connection throws.
 */
export async function listItems(
  connection: Connection,
  kind: ListKind,
  signal: AbortSignal,
  limits: ListLimits = LIST_LIMITS,
): Promise<Listed> {
  const { method, capability, member, name: nameMember, noun } = RULES[kind];
  if (connection.identity.capabilities[capability] === undefined) return { items: [], unknownMethod: null };
  const items: JsonObject[] = [];
  const names = new Set<string>();
  const cursors = new Set<string>();
  let bytes = 0;
  let cursor: string | null = null;

  for (let page = 1; ; page++) {
    if (page > limits.maxPages) throw tooLarge(`the ${noun} list has more than ${limits.maxPages} pages`);
    const reply = await connection.request({ method, params: cursor === null ? {} : { cursor } }, signal);
    if (reply.kind === 'error') {
      if (reply.error.code === METHOD_NOT_FOUND && page === 1) return { items: [], unknownMethod: method };
      throw violation(`${method} was answered with error ${reply.error.code}`);
    }
    const { [member]: listed, nextCursor } = reply.result;
    if (!Array.isArray(listed)) throw violation(`the result of ${method} has no array \`${member}\``);

    for (const item of listed) {
      if (!isJsonObject(item)) throw violation(`an element of \`${member}\` is not an object`);
      const name = item[nameMember];
      if (typeof name !== 'string' || name === '') throw violation(`a ${noun} has no ${nameMember}`);
      // ATTACKER-CONTROLLED: of two tools with one name, one would be reviewed and the other called.
      if (names.has(name)) throw violation(`two ${noun}s have the ${nameMember} ${JSON.stringify(name.slice(0, 200))}`);
      names.add(name);
      items.push(item);
      bytes += JSON.stringify(item).length;
      if (items.length > limits.maxItems) throw tooLarge(`the server offers more than ${limits.maxItems} ${noun}s`);
      if (bytes > limits.maxBytes) throw tooLarge(`the ${noun} definitions exceed ${limits.maxBytes} bytes`);
    }

    if (nextCursor === undefined || nextCursor === null) return { items, unknownMethod: null };
    if (typeof nextCursor !== 'string') throw violation('`nextCursor` is not a string');
    if (cursors.has(nextCursor)) throw violation(`the cursors of ${method} go round in a circle`);
    cursors.add(nextCursor);
    cursor = nextCursor;
  }
}
