/**
 * One walk over plain JSON of a peer: counts its size, holds its depth, looks at every text and every name, and stops at the first
 * thing that may not be passed on. What needs no change stays the object it was. Which members have a meaning is not known here.
 */
import type { Json, JsonObject } from '../lib/json.ts';
import { mediaKind, sniff } from './media.ts';
import type { Look, StopReason } from './look.ts';

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
  | 'result_too_many_members'
  | 'result_malformed'
  | 'result_hidden_name'
  | StopReason;

export interface Walk {
  readonly look: Look;
  /** `uninspected:<what>`; each once. */
  readonly unread: string[];
  /** Why nothing of it may be passed on. What the walk returns after that means nothing. */
  stop: WithholdReason | null;
  refuse(reason: WithholdReason): null;
  /** Under `name`: where findings say they are. */
  at<T>(name: string | number, inside: () => T): T;
  value(value: Json, depth: number): Json;
  members(object: JsonObject, depth: number): JsonObject;
  /** Keeps the encoded bytes of one member as they are, says so, and looks at everything else. */
  around(object: JsonObject, member: string, kind: string, depth: number): JsonObject;
}

/** @param media whether pictures and sound are known by their shape wherever they stand, and passed on unread. */
export function walkOver(limits: WalkLimits, look: Look, media = false): Walk {
  const path: Array<string | number> = [];
  let size = 0;

  const refuse = (reason: WithholdReason): null => {
    walk.stop ??= reason;
    return null;
  };
  const grow = (by: number): void => {
    size += by;
    if (size > limits.size) refuse('result_too_large');
  };
  const pointer = (): string => path.map(pointerPart).join('');
  const at = <T>(name: string | number, inside: () => T): T => {
    path.push(name);
    const result = inside();
    path.pop();
    return result;
  };
  /** @param name of the member that it is the value of. */
  const text = (given: string, name: string | null): string => {
    grow(given.length);
    if (walk.stop === null && !given.isWellFormed()) refuse('result_malformed');
    if (walk.stop !== null) return '';
    const seen = look.text(given, pointer, name);
    if (look.stop !== null) refuse(look.stop);
    return seen;
  };
  const value = (given: Json, depth: number, name: string | null = null): Json => {
    if (walk.stop !== null) return null;
    if (typeof given === 'string') return text(given, name);
    grow(1);
    if (typeof given === 'number') return Math.abs(given) < LONG_NUMBER ? given : number(given);
    if (typeof given !== 'object' || given === null) return given;
    if (depth >= limits.depth) refuse('result_too_deep');
    if (walk.stop !== null) return null;
    if (Array.isArray(given)) return items(given, depth);
    const kind = media ? mediaKind(given as JsonObject) : null;
    return kind === null ? members(given as JsonObject, depth) : around(given as JsonObject, 'data', kind, depth);
  };
  /** A payment card is one, too, where nobody put quotes around it. */
  const number = (given: number): Json => {
    const written = String(given);
    const seen = look.text(written, pointer, null);
    if (look.stop !== null) refuse(look.stop);
    return seen === written ? given : seen;
  };
  const items = (given: readonly Json[], depth: number): readonly Json[] => {
    let changed: Json[] | null = null;
    const last = path.push(0) - 1;
    for (let i = 0; i < given.length && walk.stop === null; i++) {
      path[last] = i;
      const cleaned = value(given[i] as Json, depth + 1);
      if (cleaned !== given[i]) (changed ??= [...given])[i] = cleaned;
    }
    path.pop();
    return changed ?? given;
  };
  const members = (object: JsonObject, depth: number): JsonObject => {
    let changed: Map<string, Json> | null = null;
    const names = Object.keys(object);
    if (names.length > MAX_MEMBERS) refuse('result_too_many_members');
    if (walk.stop !== null) return object;
    for (const name of names) {
      const before = look.findings.length + look.more;
      // A name that would have to change cannot: it might then equal another one.
      if (text(name, null) !== name) refuse('result_hidden_name');
      // What was found in a name is not repeated where findings say they are.
      path.push(look.findings.length + look.more === before ? name : '*');
      const member = object[name] as Json;
      const cleaned = value(member, depth + 1, name);
      if (cleaned !== member) (changed ??= new Map<string, Json>()).set(name, cleaned);
      path.pop();
    }
    if (changed === null) return object;
    const replaced: ReadonlyMap<string, Json> = changed;
    return Object.fromEntries(
      Object.entries(object).map(([name, member]) => [name, replaced.has(name) ? replaced.get(name)! : member]),
    );
  };
  const unread = (kind: string): void => {
    if (!walk.unread.includes(`uninspected:${kind}`)) walk.unread.push(`uninspected:${kind}`);
    look.whole(`media.${kind}`, pointer);
  };
  const around = (object: JsonObject, member: string, kind: string, depth: number): JsonObject => {
    const { [member]: bytes, ...rest } = object;
    grow(typeof bytes === 'string' ? bytes.length : 0);
    unread(kind);
    if (typeof bytes === 'string') {
      const { kind: seen, mismatch } = sniff(bytes, object['mimeType']);
      if (seen !== null && seen !== kind) unread(seen);
      if (mismatch) look.whole('media.mismatch', pointer);
      // ATTACKER-CONTROLLED: what is said of it. What goes out and begins like no picture is read like any other text.
      if (seen === null && look.terms.direction === 'out') look.text(bytes, pointer);
    }
    if (look.stop !== null) refuse(look.stop);
    return { ...members(rest, depth), [member]: bytes ?? null };
  };
  // Plain members: see outlet.ts for what an accessor in a literal costs that is made for every call.
  const walk: Walk = { look, unread: [], stop: null, refuse, at, value, members, around };
  return walk;
}

/** Of one object: putting more of them in order for a digest takes a second. */
const MAX_MEMBERS = 50_000;
const LONG_NUMBER = 1e12;

/** Long or strange names are not repeated: a pointer goes into the log. */
const pointerPart = (part: string | number): string =>
  typeof part === 'number'
    ? `/${part}`
    : `/${part
        .slice(0, 60)
        .replaceAll(/[^ -~]/g, '?')
        .replaceAll('~', '~0')
        .replaceAll('/', '~1')}`;
