/**
 * One walk over plain JSON of a peer: counts its size, holds its depth, cleans every text and every name, and stops at the first
 * thing that may not be passed on. What needs no change stays the object it was. Which members have a meaning is not known here.
 */
import { withoutHidden } from '../lib/hidden-text.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import { secretRanges } from '../lib/secret-shapes.ts';

export interface WalkLimits {
  /** UTF-16 code units over all texts and names, plus one per value. */
  readonly size: number;
  /** Levels of objects and arrays, the outermost included. */
  readonly depth: number;
}

export type WithholdReason =
  | 'result_too_large'
  | 'result_too_deep'
  | 'result_too_many_blocks'
  | 'result_malformed'
  | 'result_hidden_name';

export interface Walk {
  readonly labels: Set<string>;
  /** Why nothing of it may be passed on. What the walk returns after that means nothing. */
  readonly stop: WithholdReason | null;
  refuse(reason: WithholdReason): null;
  value(value: Json, depth: number): Json;
  members(object: JsonObject, depth: number): JsonObject;
  /** Keeps the encoded bytes of one member as they are and cleans everything else. */
  around(object: JsonObject, member: string, depth: number): JsonObject;
}

/** @param media whether pictures and sound are known by their shape wherever they stand, and passed on unread. */
export function walkOver(limits: WalkLimits, media = false): Walk {
  const labels = new Set<string>();
  let size = 0;

  const refuse = (reason: WithholdReason): null => {
    walk.stop ??= reason;
    return null;
  };
  const grow = (by: number): void => {
    size += by;
    if (size > limits.size) refuse('result_too_large');
  };
  const text = (given: string): string => {
    grow(given.length);
    if (walk.stop === null && !given.isWellFormed()) refuse('result_malformed');
    if (walk.stop !== null) return '';
    const visible = withoutHidden(given);
    if (visible !== given) labels.add('hidden_text');
    return withoutSecrets(visible, labels);
  };
  const value = (given: Json, depth: number): Json => {
    if (walk.stop !== null) return null;
    if (typeof given === 'string') return text(given);
    grow(1);
    if (typeof given !== 'object' || given === null) return given;
    if (depth >= limits.depth) refuse('result_too_deep');
    if (walk.stop !== null) return null;
    if (Array.isArray(given)) return items(given, depth);
    const kind = media ? mediaKind(given as JsonObject) : null;
    if (kind === null) return members(given as JsonObject, depth);
    labels.add(`uninspected:${kind}`);
    return around(given as JsonObject, 'data', depth);
  };
  const items = (given: readonly Json[], depth: number): readonly Json[] => {
    const cleaned = given.map((item) => value(item, depth + 1));
    return cleaned.some((item, i) => item !== given[i]) ? cleaned : given;
  };
  const members = (object: JsonObject, depth: number): JsonObject => {
    let changed: Map<string, Json> | null = null;
    for (const name of Object.keys(object)) {
      // A name that would have to change cannot: it might then equal another one.
      if (text(name) !== name) refuse('result_hidden_name');
      const member = object[name] as Json;
      const cleaned = value(member, depth + 1);
      if (cleaned !== member) (changed ??= new Map<string, Json>()).set(name, cleaned);
    }
    if (changed === null) return object;
    const replaced: ReadonlyMap<string, Json> = changed;
    return Object.fromEntries(
      Object.entries(object).map(([name, member]) => [name, replaced.has(name) ? replaced.get(name)! : member]),
    );
  };
  const around = (object: JsonObject, member: string, depth: number): JsonObject => {
    const { [member]: bytes, ...rest } = object;
    grow(typeof bytes === 'string' ? bytes.length : 0);
    return { ...members(rest, depth), [member]: bytes ?? null };
  };
  // Plain members: see outlet.ts for what an accessor in a literal costs that is made for every call.
  const walk: { -readonly [K in keyof Walk]: Walk[K] } = { labels, stop: null, refuse, value, members, around };
  return walk;
}

export function withoutSecrets(text: string, labels: Set<string>): string {
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

/** A linear check: text smuggled where nobody reads must at least not look like text. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
export const isBase64 = (value: unknown): boolean =>
  typeof value === 'string' && value.length % 4 === 0 && BASE64.test(value);

function mediaKind(object: JsonObject): 'image' | 'audio' | null {
  const { type, data, mimeType } = object;
  if (type !== 'image' && type !== 'audio') return null;
  return isBase64(data) && typeof mimeType === 'string' && mimeType.startsWith(`${type}/`) ? type : null;
}
