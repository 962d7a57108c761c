/**
 * Results facing clients, in the era and version the client speaks (PROTOCOL.md A2 M8-M11, A3 L9-L13).
 * An upstream result is copied member by member into what this client may see; what is not finished (`input_required`, a task,
 * an unknown kind) is refused, because older clients would read it as an empty success.
 * Not done here: inspection of the content, limits on its size, validation against the output schema.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { META, unreserved } from './meta.ts';
import { isObjectSchema } from './output-schema.ts';
import { type Era, MODERN_VERSIONS, type LegacyVersion, type ProtocolVersion, has } from './versions.ts';

/** Name and version we show as ours. */
export interface Implementation {
  readonly name: string;
  readonly version: string;
  readonly title?: string;
}

/** Whom a result is for. `version` is the one of the request (modern) or of the session (legacy). */
export interface Facing {
  readonly era: Era;
  readonly version: ProtocolVersion;
  readonly serverInfo: Implementation;
}

export interface ServerCard {
  readonly capabilities: JsonObject;
  readonly instructions: string | null;
}

/** Why an upstream result is not passed on. `problem` is for the operator. */
export type ResultRefusal =
  | { readonly reason: 'result_type'; readonly resultType: string }
  | { readonly reason: 'shape'; readonly problem: string };

export interface CallFacts {
  /** The approved output schema of the tool: decides whether structured content is wrapped for older clients (L12). */
  readonly outputSchema?: JsonObject;
  /** Our own `_meta` members, for example the receipt reference. */
  readonly meta?: JsonObject;
}

export function initializeResult(facing: Facing & { readonly version: LegacyVersion }, card: ServerCard): JsonObject {
  return {
    protocolVersion: facing.version,
    capabilities: card.capabilities,
    serverInfo: { ...facing.serverInfo },
    ...(card.instructions === null ? {} : { instructions: card.instructions }),
  };
}

/** Names only versions that can stand in the envelope (M3). */
export function discoverResult(facing: Facing, card: ServerCard, ttlMs: number): JsonObject {
  return complete(facing, {
    supportedVersions: MODERN_VERSIONS,
    capabilities: card.capabilities,
    ...(card.instructions === null ? {} : { instructions: card.instructions }),
    ...cacheHints(facing, ttlMs),
  });
}

/** Exactly `{}` in the legacy era: strict clients refuse any other member (L10). */
export function emptyResult(facing: Facing): JsonObject {
  return complete(facing, {});
}

/** @param tools already republished for this version and filtered for this caller, in a stable order (G10). */
export function toolsListResult(
  facing: Facing,
  tools: readonly JsonObject[],
  page: { readonly nextCursor: string | null; readonly ttlMs: number },
): JsonObject {
  return complete(facing, {
    tools,
    ...(page.nextCursor === null ? {} : { nextCursor: page.nextCursor }),
    ...cacheHints(facing, page.ttlMs),
  });
}

/** A call that did not succeed, told to the model rather than to the transport (M25). */
export function toolError(facing: Facing, text: string, meta: JsonObject = {}): JsonObject {
  return complete(facing, { content: [{ type: 'text', text }], isError: true }, meta);
}

/** What a client may see of the result of an upstream `tools/call`. */
export function toolsCallResult(
  facing: Facing,
  upstream: JsonObject,
  facts: CallFacts = {},
): Result<JsonObject, ResultRefusal> {
  const refusal = unfinished(upstream);
  if (refusal !== null) return err(refusal);
  const { structuredContent, isError } = upstream;
  if (isError !== undefined && typeof isError !== 'boolean') return malformed('isError is not a boolean');
  const upstreamMeta = upstream['_meta'] ?? {};
  if (!isJsonObject(upstreamMeta)) return malformed('_meta is not an object');

  let content = upstream['content'];
  if (content === undefined && structuredContent !== undefined) content = [];
  if (!Array.isArray(content)) return malformed('content is not an array');
  const blocks: Json[] = [];
  for (const block of content as readonly Json[]) {
    const problem = contentProblem(block);
    if (problem !== null) return malformed(problem);
    blocks.push(downConvert(block as JsonObject, facing.version));
  }

  const structured = structuredFor(facing.version, structuredContent, facts.outputSchema);
  // A client that cannot take the structured form still gets the value.
  if (structuredContent !== undefined && structured === undefined && blocks.length === 0) {
    blocks.push({ type: 'text', text: JSON.stringify(structuredContent) });
  }
  const members = {
    content: blocks,
    ...(structured === undefined ? {} : { structuredContent: structured }),
    ...(isError === undefined ? {} : { isError }),
  };
  return ok(complete(facing, members, { ...unreserved(upstreamMeta), ...facts.meta }));
}

/** Adds what every result of the era carries: `resultType` and our name in `_meta`, or nothing at all. */
function complete(facing: Facing, members: JsonObject, meta: JsonObject = {}): JsonObject {
  if (facing.era === 'legacy') return Object.keys(meta).length === 0 ? members : { ...members, _meta: meta };
  // In canonical order as far as the members are: the digest is then taken without a sorted copy.
  return {
    _meta: { ...meta, [META.serverInfo]: { ...facing.serverInfo } },
    ...members,
    resultType: 'complete',
  };
}

/** Everything we list depends on who asks, so no shared cache may hold it (M10). */
function cacheHints(facing: Facing, ttlMs: number): JsonObject {
  return facing.era === 'modern' ? { ttlMs: Math.max(0, Math.trunc(ttlMs)), cacheScope: 'private' } : {};
}

/**
 * ATTACKER-CONTROLLED: an upstream may say it needs input or began a task although nobody declared either (L11).
 * An absent `resultType` is complete (C7); the members that belong to the other kinds give them away without it.
 */
function unfinished(upstream: JsonObject): ResultRefusal | null {
  const resultType = upstream['resultType'] ?? 'complete';
  if (resultType !== 'complete') {
    return {
      reason: 'result_type',
      resultType: typeof resultType === 'string' ? resultType.slice(0, 64) : 'not a string',
    };
  }
  if (upstream['inputRequests'] !== undefined || upstream['requestState'] !== undefined) {
    return { reason: 'result_type', resultType: 'input_required' };
  }
  if (upstream['task'] !== undefined && upstream['content'] === undefined) {
    return { reason: 'result_type', resultType: 'task' };
  }
  return null;
}

const malformed = (problem: string): Result<never, ResultRefusal> => err({ reason: 'shape', problem });

const MEDIA: Readonly<Record<string, readonly string[]>> = {
  text: ['text'],
  image: ['data', 'mimeType'],
  audio: ['data', 'mimeType'],
  resource_link: ['uri', 'name'],
};

/** Only the kinds of content the protocol has, with the members that inspection reads. */
function contentProblem(block: Json): string | null {
  if (!isJsonObject(block)) return 'a content block is not an object';
  const type = block['type'];
  if (type === 'resource') {
    const resource = block['resource'];
    const whole = isJsonObject(resource) && typeof resource['uri'] === 'string';
    const body = whole && (typeof resource['text'] === 'string' || typeof resource['blob'] === 'string');
    return body ? null : 'a resource block has no uri with text or blob';
  }
  if (typeof type !== 'string' || !Object.hasOwn(MEDIA, type)) return 'a content block has an unknown type';
  for (const member of MEDIA[type] ?? []) {
    if (typeof block[member] !== 'string') return `a ${type} block has no ${member}`;
  }
  return null;
}

/** Kinds that a version does not have become text that says what was there (L13). */
function downConvert(block: JsonObject, version: ProtocolVersion): JsonObject {
  if (block['type'] === 'audio' && !has(version, 'audio')) {
    return {
      type: 'text',
      text: `[${block['mimeType'] as string} left out: protocol version ${version} has no audio]`,
    };
  }
  if (block['type'] === 'resource_link' && !has(version, 'resourceLink')) {
    return { type: 'text', text: `${block['name'] as string}: ${block['uri'] as string}` };
  }
  return block;
}

/** undefined: this client gets none. Wrapped exactly when `republish` wrapped the schema it is described by. */
function structuredFor(
  version: ProtocolVersion,
  value: Json | undefined,
  outputSchema: JsonObject | undefined,
): Json | undefined {
  if (value === undefined || !has(version, 'structuredContent')) return undefined;
  if (has(version, 'anyJsonOutput')) return value;
  if (outputSchema !== undefined && !isObjectSchema(outputSchema)) return { result: value };
  return isJsonObject(value) ? value : outputSchema === undefined ? { result: value } : undefined;
}
