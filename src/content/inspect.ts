/**
 * What may be passed on of a tool's result (CI-04, CI-06, CI-09): shape, size and depth are checked, hidden characters removed,
 * credentials of known shape replaced. Pure, deterministic, one walk; the result is a new object and the given one is not touched.
 * Not done here: injected instructions, personal data, the tool's own outputSchema. Pictures, sound and binary resources are
 * passed on unread and say so in `labels` and `inspected`.
 */
import { withoutHidden } from '../lib/hidden-text.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import { secretRanges } from '../lib/secret-shapes.ts';

export interface ResultLimits {
  /** UTF-16 code units over all texts and names, plus one per value. */
  readonly size: number;
  /** Levels of objects and arrays, the result itself included. */
  readonly depth: number;
  readonly contentBlocks: number;
}
export const RESULT_LIMITS: ResultLimits = { size: 4_194_304, depth: 64, contentBlocks: 1000 };

export type WithholdReason =
  | 'result_too_large'
  | 'result_too_deep'
  | 'result_too_many_blocks'
  | 'result_malformed'
  | 'result_hidden_name';

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

/** A tools/call result, strictly parsed. ATTACKER-CONTROLLED: all of it. */
export function inspectResult(result: JsonObject, limits: ResultLimits = RESULT_LIMITS): Inspection {
  const labels = new Set<string>();
  let size = 0;
  let stop: WithholdReason | null = null;

  const cleanText = (text: string): string => {
    size += text.length;
    if (size > limits.size) {
      stop = 'result_too_large';
      return '';
    }
    if (!text.isWellFormed()) {
      stop = 'result_malformed';
      return '';
    }
    const visible = withoutHidden(text);
    if (visible !== text) labels.add('hidden_text');
    return withoutSecrets(visible, labels);
  };
  const clean = (value: Json, depth: number): Json => {
    if (stop) return null;
    if (typeof value === 'string') return cleanText(value);
    if (++size > limits.size) stop = 'result_too_large';
    if (typeof value !== 'object' || value === null) return value;
    if (depth >= limits.depth) stop = 'result_too_deep';
    if (stop) return null;
    return Array.isArray(value) ? cleanItems(value, depth) : cleanMembers(value as JsonObject, depth);
  };
  // What needs no change stays the object it was: most results need none.
  const cleanItems = (items: readonly Json[], depth: number): readonly Json[] => {
    const cleaned = items.map((item) => clean(item, depth + 1));
    return cleaned.some((item, i) => item !== items[i]) ? cleaned : items;
  };
  const cleanMembers = (object: JsonObject, depth: number): JsonObject => {
    let changed: Map<string, Json> | null = null;
    for (const name of Object.keys(object)) {
      // A name that would have to change cannot: it might then equal another one.
      if (cleanText(name) !== name && !stop) stop = 'result_hidden_name';
      const value = object[name] as Json;
      const cleaned = clean(value, depth + 1);
      if (cleaned !== value) (changed ??= new Map<string, Json>()).set(name, cleaned);
    }
    if (changed === null) return object;
    const replaced: ReadonlyMap<string, Json> = changed;
    return Object.fromEntries(
      Object.entries(object).map(([name, value]) => [name, replaced.has(name) ? replaced.get(name)! : value]),
    );
  };
  /** Keeps the encoded bytes of a block as they are and cleans everything else of it. */
  const cleanAround = (block: JsonObject, member: string, depth: number): JsonObject => {
    const { [member]: bytes, ...rest } = block;
    size += typeof bytes === 'string' ? bytes.length : 0;
    if (size > limits.size) stop = 'result_too_large';
    return { ...cleanMembers(rest, depth), [member]: bytes ?? null };
  };
  const cleanBlock = (block: Json): Json => {
    const kind = blockKind(block);
    if (!kind || !isJsonObject(block)) {
      stop ??= 'result_malformed';
      return null;
    }
    if (kind === 'text' || kind === 'resource_link' || kind === 'text_resource') return clean(block, 2);
    labels.add(`uninspected:${kind}`);
    if (kind !== 'blob') return cleanAround(block, 'data', 2);
    const { resource, ...rest } = block;
    return { ...cleanMembers(rest, 2), resource: isJsonObject(resource) ? cleanAround(resource, 'blob', 3) : null };
  };

  const { content, ...rest } = result;
  if (!Array.isArray(content) || !wellFormedResult(result)) stop = 'result_malformed';
  else if (content.length > limits.contentBlocks) stop = 'result_too_many_blocks';
  const cleaned: JsonObject = stop
    ? {}
    : {
        content: (content as readonly Json[]).map((block) => (stop ? null : cleanBlock(block))),
        ...cleanMembers(rest, 0),
      };

  const unread = [...labels].filter((label) => label.startsWith('uninspected:'));
  const inspected = ['size', 'shape', 'hidden-text', 'secret-shapes', ...unread.toSorted()];
  const sorted = [...labels].toSorted();
  if (stop) return { verdict: 'withhold', reason: stop, result: null, labels: sorted, inspected };
  const verdict = labels.size > unread.length ? 'redact' : 'pass';
  return { verdict, result: cleaned, labels: sorted, inspected };
}

/** One text, cleaned the same way; for errors and progress messages of a server. */
export function inspectText(text: string): { readonly text: string; readonly labels: readonly string[] } {
  const labels = new Set<string>();
  const visible = withoutHidden(text.toWellFormed());
  if (visible !== text) labels.add('hidden_text');
  return { text: withoutSecrets(visible, labels), labels: [...labels].toSorted() };
}

function withoutSecrets(text: string, labels: Set<string>): string {
  const ranges = secretRanges(text);
  if (ranges.length === 0) return text;
  const parts: string[] = [];
  let from = 0;
  for (const { kind, start, end } of ranges) {
    labels.add(`secret:${kind}`);
    parts.push(text.slice(from, start), `[redacted:${kind}]`);
    from = end;
  }
  parts.push(text.slice(from));
  return parts.join('');
}

function wellFormedResult(result: JsonObject): boolean {
  const { isError, structuredContent, _meta, resultType } = result;
  return (
    (isError === undefined || typeof isError === 'boolean') &&
    (structuredContent === undefined || isJsonObject(structuredContent)) &&
    (_meta === undefined || isJsonObject(_meta)) &&
    (resultType === undefined || resultType === 'complete')
  );
}

type BlockKind = 'text' | 'resource_link' | 'text_resource' | 'image' | 'audio' | 'blob';

/** A linear check: text smuggled where nobody reads must at least not look like text. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const isBase64 = (value: unknown): boolean => typeof value === 'string' && value.length % 4 === 0 && BASE64.test(value);

function blockKind(block: Json): BlockKind | null {
  if (!isJsonObject(block)) return null;
  const { type, text, data, mimeType, resource, uri } = block;
  if (type === 'text') return typeof text === 'string' ? 'text' : null;
  if (type === 'image' || type === 'audio') {
    return isBase64(data) && typeof mimeType === 'string' && mimeType.startsWith(`${type}/`) ? type : null;
  }
  if (type === 'resource_link') return typeof uri === 'string' ? 'resource_link' : null;
  if (type !== 'resource' || !isJsonObject(resource) || typeof resource['uri'] !== 'string') return null;
  if (typeof resource['text'] === 'string') return resource['blob'] === undefined ? 'text_resource' : null;
  return isBase64(resource['blob']) ? 'blob' : null;
}
