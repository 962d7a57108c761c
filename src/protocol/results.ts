/**
 * Results facing clients, in the era and version the client speaks (PROTOCOL.md A2 M8-M11, A3 L9-L13).
 * An upstream result is copied member by member into what this client may see; what is not finished (`input_required`, a task,
 * an unknown kind) is refused, because older clients would read it as an empty success.
 * Not done here: inspection of the content, limits on its size, validation against the output schema.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { contentFor, contentListFor, contentsFor } from './content-blocks.ts';
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

export interface Page {
  readonly nextCursor: string | null;
  readonly ttlMs: number;
}

/** @param entries already republished for this version and filtered for this caller, in a stable order (G10). */
export function listResult(
  facing: Facing,
  member: 'tools' | 'prompts' | 'resources' | 'resourceTemplates',
  entries: readonly JsonObject[],
  page: Page,
): JsonObject {
  return complete(facing, {
    [member]: entries,
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
  const { structuredContent, isError } = upstream;
  if (isError !== undefined && typeof isError !== 'boolean') return malformed('isError is not a boolean');
  const given = upstream['content'] === undefined && structuredContent !== undefined ? [] : upstream['content'];
  const entered = enter(upstream);
  if (!entered.ok) return entered;
  const content = contentListFor(given, facing.version);
  if (!content.ok) return malformed(content.error);

  const structured = structuredFor(facing.version, structuredContent, facts.outputSchema);
  // A client that cannot take the structured form still gets the value.
  const wordless = structuredContent !== undefined && structured === undefined && content.value.length === 0;
  const members = {
    content: wordless ? [{ type: 'text', text: JSON.stringify(structuredContent) }] : content.value,
    ...(structured === undefined ? {} : { structuredContent: structured }),
    ...(isError === undefined ? {} : { isError }),
  };
  return ok(complete(facing, members, { ...entered.value, ...facts.meta }));
}

/** What a client may see of the result of an upstream `prompts/get`. */
export function promptResult(
  facing: Facing,
  upstream: JsonObject,
  facts: { readonly meta?: JsonObject } = {},
): Result<JsonObject, ResultRefusal> {
  const entered = enter(upstream);
  if (!entered.ok) return entered;
  const { description, messages } = upstream;
  if (description !== undefined && typeof description !== 'string') return malformed('description is not a string');
  if (!Array.isArray(messages)) return malformed('messages is not an array');
  const shown: JsonObject[] = [];
  for (const message of messages as readonly Json[]) {
    const role = isJsonObject(message) ? message['role'] : undefined;
    if (!isJsonObject(message) || (role !== 'user' && role !== 'assistant')) return malformed('a message has no role');
    const content = contentFor(message['content'] ?? null, facing.version);
    if (!content.ok) return malformed(content.error);
    shown.push({ role, content: content.value });
  }
  const members = { ...(description === undefined ? {} : { description }), messages: shown };
  return ok(complete(facing, members, { ...entered.value, ...facts.meta }));
}

/** What a client may see of the result of an upstream `resources/read`. The server's own cache hints are not passed on (M10). */
export function resourceResult(
  facing: Facing,
  upstream: JsonObject,
  facts: { readonly meta?: JsonObject; readonly ttlMs: number },
): Result<JsonObject, ResultRefusal> {
  const entered = enter(upstream);
  if (!entered.ok) return entered;
  const { contents } = upstream;
  if (!Array.isArray(contents)) return malformed('contents is not an array');
  const shown: JsonObject[] = [];
  for (const one of contents as readonly Json[]) {
    const content = contentsFor(one, facing.version);
    if (!content.ok) return malformed(content.error);
    shown.push(content.value);
  }
  const members = { contents: shown, ...cacheHints(facing, facts.ttlMs) };
  return ok(complete(facing, members, { ...entered.value, ...facts.meta }));
}

/** Values of one completion; clients refuse more. */
const MAX_COMPLETIONS = 100;

/** What a client may see of the result of an upstream `completion/complete`. */
export function completionResult(facing: Facing, upstream: JsonObject): Result<JsonObject, ResultRefusal> {
  const entered = enter(upstream);
  if (!entered.ok) return entered;
  const { completion } = upstream;
  if (!isJsonObject(completion)) return malformed('completion is not an object');
  const { values, total, hasMore } = completion;
  if (!Array.isArray(values) || values.some((value) => typeof value !== 'string')) {
    return malformed('completion.values is not an array of strings');
  }
  if (values.length > MAX_COMPLETIONS) return malformed(`completion.values has more than ${MAX_COMPLETIONS} values`);
  if (total !== undefined && !Number.isSafeInteger(total)) return malformed('completion.total is not an integer');
  if (hasMore !== undefined && typeof hasMore !== 'boolean') return malformed('completion.hasMore is not a boolean');
  const shown = {
    values: values as readonly Json[],
    ...(total === undefined ? {} : { total }),
    ...(hasMore === undefined ? {} : { hasMore }),
  };
  return ok(complete(facing, { completion: shown }, entered.value));
}

/** Adds what every result of the era carries: `resultType` and our name in `_meta`, or nothing at all. */
export function complete(
  facing: Facing,
  members: JsonObject,
  meta: JsonObject = {},
  resultType: 'complete' | 'input_required' | 'task' = 'complete',
): JsonObject {
  if (facing.era === 'legacy') return Object.keys(meta).length === 0 ? members : { ...members, _meta: meta };
  // In canonical order as far as the members are: the digest is then taken without a sorted copy.
  return {
    _meta: { ...meta, [META.serverInfo]: { ...facing.serverInfo } },
    ...members,
    resultType,
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

/** A finished result and its own `_meta` members, or why it is none. */
function enter(upstream: JsonObject): Result<JsonObject, ResultRefusal> {
  const refusal = unfinished(upstream);
  if (refusal !== null) return err(refusal);
  const meta = upstream['_meta'] ?? {};
  return isJsonObject(meta) ? ok(unreserved(meta)) : malformed('_meta is not an object');
}

const malformed = (problem: string): Result<never, ResultRefusal> => err({ reason: 'shape', problem });

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
