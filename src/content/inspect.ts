/**
 * What may be passed on of what a peer said (CI-04, CI-06, CI-09): shape, size and depth are checked, hidden characters removed,
 * credentials of known shape replaced. Pure, deterministic, one walk; the result is a new object and the given one is not touched.
 * Not done here: injected instructions, personal data, the tool's own outputSchema. Pictures, sound and binary resources are
 * passed on unread and say so in `labels` and `inspected`.
 */
import { withoutHidden } from '../lib/hidden-text.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { isBase64, walkOver, withoutSecrets } from './walk.ts';
import type { Walk, WalkLimits, WithholdReason } from './walk.ts';

export interface ResultLimits extends WalkLimits {
  /** Blocks, messages or contents of one result. */
  readonly contentBlocks: number;
}
export const RESULT_LIMITS: ResultLimits = { size: 4_194_304, depth: 64, contentBlocks: 1000 };

export type Inspection =
  | {
      readonly verdict: 'pass' | 'redact';
      readonly result: JsonObject;
      /** `hidden_text`, `secret:<kind>`, `uninspected:<what>`. Sorted, each once. */
      readonly labels: readonly string[];
      /** What looked at it and what did not, for the audit entry (AE-11). */
      readonly inspected: readonly string[];
    }
  | {
      readonly verdict: 'withhold';
      readonly reason: WithholdReason;
      readonly result: null;
      readonly labels: readonly string[];
      readonly inspected: readonly string[];
    };

/** A `tools/call` result, strictly parsed. ATTACKER-CONTROLLED: all of it, here and below. */
export function inspectResult(result: JsonObject, limits: ResultLimits = RESULT_LIMITS): Inspection {
  const { isError } = result;
  const sound = isError === undefined || typeof isError === 'boolean';
  return inspectParts(result, 'content', limits, sound, (block, walk) => cleanBlock(block, 2, walk));
}

/** A `prompts/get` result. */
export function inspectPrompt(result: JsonObject, limits: ResultLimits = RESULT_LIMITS): Inspection {
  return inspectParts(result, 'messages', limits, true, (message, walk) => {
    if (!isJsonObject(message)) return walk.refuse('result_malformed');
    const { content = null, ...rest } = message;
    return { ...walk.members(rest, 2), content: cleanBlock(content, 3, walk) };
  });
}

/** A `resources/read` result. */
export function inspectResource(result: JsonObject, limits: ResultLimits = RESULT_LIMITS): Inspection {
  return inspectParts(result, 'contents', limits, true, (contents, walk) => {
    const kind = contentsKind(contents);
    if (kind === null || !isJsonObject(contents)) return walk.refuse('result_malformed');
    if (kind === 'text_resource') return walk.value(contents, 2);
    walk.labels.add('uninspected:blob');
    return walk.around(contents, 'blob', 2);
  });
}

/** Any other object: completions, notifications, questions, answers, list entries. Pictures and sound in it are passed on unread. */
export function inspectMembers(object: JsonObject, limits: ResultLimits = RESULT_LIMITS): Inspection {
  const walk = walkOver(limits, true);
  return verdictOf(walk, walk.members(object, 0));
}

/** One text, cleaned the same way; for errors and progress messages of a server. */
export function inspectText(text: string): { readonly text: string; readonly labels: readonly string[] } {
  const labels = new Set<string>();
  const visible = withoutHidden(text.toWellFormed());
  if (visible !== text) labels.add('hidden_text');
  return { text: withoutSecrets(visible, labels), labels: [...labels].toSorted() };
}

/** A result whose `member` is an array of parts with a meaning; the rest of it is cleaned as it is. */
function inspectParts(
  result: JsonObject,
  member: string,
  limits: ResultLimits,
  sound: boolean,
  cleanPart: (part: Json, walk: Walk) => Json,
): Inspection {
  const walk = walkOver(limits);
  const { [member]: parts, ...rest } = result;
  const { _meta: meta, resultType } = rest;
  const finished = resultType === undefined || resultType === 'complete';
  if (!Array.isArray(parts) || !sound || !finished || !(meta === undefined || isJsonObject(meta))) {
    walk.refuse('result_malformed');
    return verdictOf(walk, {});
  }
  if (parts.length > limits.contentBlocks) walk.refuse('result_too_many_blocks');
  if (walk.stop) return verdictOf(walk, {});
  const cleaned = (parts as readonly Json[]).map((part) => (walk.stop ? null : cleanPart(part, walk)));
  return verdictOf(walk, { [member]: cleaned, ...walk.members(rest, 0) });
}

function verdictOf(walk: Walk, cleaned: JsonObject): Inspection {
  const labels = [...walk.labels].toSorted();
  const unread = labels.filter((label) => label.startsWith('uninspected:'));
  const inspected = ['size', 'shape', 'hidden-text', 'secret-shapes', ...unread];
  if (walk.stop) return { verdict: 'withhold', reason: walk.stop, result: null, labels, inspected };
  return { verdict: labels.length > unread.length ? 'redact' : 'pass', result: cleaned, labels, inspected };
}

function cleanBlock(block: Json, depth: number, walk: Walk): Json {
  const kind = blockKind(block);
  if (!kind || !isJsonObject(block)) return walk.refuse('result_malformed');
  if (kind === 'text' || kind === 'resource_link' || kind === 'text_resource') return walk.value(block, depth);
  walk.labels.add(`uninspected:${kind}`);
  if (kind !== 'blob') return walk.around(block, 'data', depth);
  const { resource, ...rest } = block;
  return {
    ...walk.members(rest, depth),
    resource: isJsonObject(resource) ? walk.around(resource, 'blob', depth + 1) : null,
  };
}

type BlockKind = 'text' | 'resource_link' | 'text_resource' | 'image' | 'audio' | 'blob';

function blockKind(block: Json): BlockKind | null {
  if (!isJsonObject(block)) return null;
  const { type, text, data, mimeType, resource, uri } = block;
  if (type === 'text') return typeof text === 'string' ? 'text' : null;
  if (type === 'image' || type === 'audio') {
    return isBase64(data) && typeof mimeType === 'string' && mimeType.startsWith(`${type}/`) ? type : null;
  }
  if (type === 'resource_link') return typeof uri === 'string' ? 'resource_link' : null;
  return type === 'resource' ? contentsKind(resource ?? null) : null;
}

function contentsKind(contents: Json): 'text_resource' | 'blob' | null {
  if (!isJsonObject(contents) || typeof contents['uri'] !== 'string') return null;
  const { text, blob } = contents;
  if (typeof text === 'string') return blob === undefined ? 'text_resource' : null;
  return isBase64(blob) ? 'blob' : null;
}
