/**
 * What a change of a definition means for whoever reviews it (TD-09): parameters that came, went, became required, take more or less than before;
 * words that changed; and for each whether it lets more through (`wider`), less (`narrower`), only says it otherwise (`wording`), or nobody can
 * tell (`unclear`). Stands on `diffDefinitions`: no changed value is without a line. A judgement here is a hint; the pin is what holds.
 */
import type { Json, JsonObject } from '../lib/json.ts';

import type { DiffLine } from './diff.ts';
import { diffDefinitions } from './diff.ts';
import type { Word } from './words.ts';
import { wordDiff } from './words.ts';

export type Judged = 'wider' | 'narrower' | 'wording' | 'unclear';

export interface Meaning {
  readonly what: string;
  readonly judged: Judged;
  /** As in `DiffLine`. */
  readonly path: string;
  readonly before: string | null;
  readonly after: string | null;
  /** Of texts: word by word, with hidden characters shown. */
  readonly words?: readonly Word[];
}

const BACK: Readonly<Record<Judged, Judged>> = {
  wider: 'narrower',
  narrower: 'wider',
  wording: 'wording',
  unclear: 'unclear',
};
/** Keywords that bound a value from above, and from below. */
const UPPER: ReadonlySet<string> = new Set(['maximum', 'exclusiveMaximum', 'maxLength', 'maxItems', 'maxProperties']);
const LOWER: ReadonlySet<string> = new Set(['minimum', 'exclusiveMinimum', 'minLength', 'minItems', 'minProperties']);
const TEXTS: ReadonlySet<string> = new Set(['description', 'title', 'instructions', '$comment']);

/** One line per changed value, in the order of the pointers; empty exactly when the two are the same. */
export function meaningOf(before: JsonObject | null, after: JsonObject | null): Meaning[] {
  if (before === null || after === null) {
    const what = before === null ? 'never approved before' : 'not offered any more';
    return diffDefinitions(before, after).map((line) => ({
      ...line,
      what,
      judged: before === null ? 'unclear' : 'narrower',
    }));
  }
  return diffDefinitions(before, after).map((line) => {
    const { what, judged } = sayOf(line, before, after);
    const [old, now] = [textOf(line.before), textOf(line.after)];
    const words = old !== null && now !== null && !isBare(line) ? wordDiff(old, now) : null;
    return { what, judged, ...line, ...(words && { words }) };
  });
}

type Said = Pick<Meaning, 'what' | 'judged'>;

function sayOf(line: DiffLine, before: JsonObject, after: JsonObject): Said {
  const parts = line.path.slice(1).split('/');
  const [member = ''] = parts;
  if (member === 'inputSchema') return ofSchema(line, parts.slice(1), before, after);
  if (member === 'annotations')
    return { what: 'what the server says of itself (annotations) changed', judged: 'unclear' };
  if (member === 'outputSchema') return { what: 'what it answers (output schema) changed', judged: 'unclear' };
  if (member === 'arguments') return { what: 'an argument of the prompt changed', judged: 'unclear' };
  if (parts.length === 1 && TEXTS.has(member)) return { what: `${member} changed`, judged: 'wording' };
  if (member === 'icons') return { what: 'an icon changed', judged: 'unclear' };
  return { what: `${member} changed`, judged: 'unclear' };
}

function ofSchema(line: DiffLine, parts: readonly string[], before: JsonObject, after: JsonObject): Said {
  const keyword = parts.at(-1) ?? '';
  const parent = parts.at(-2) ?? '';
  const named = nameIn(parts);
  const of = named === '' ? 'the arguments' : named;
  const there = line.before !== null && line.after !== null;
  // A property that is called like a keyword is a property.
  if (parent === 'properties' && !there) {
    const came = line.after !== null;
    return {
      what: `parameter ${of} ${came ? 'added' : 'removed'}`,
      judged: inverted(parts) ? 'unclear' : came ? 'wider' : 'narrower',
    };
  }
  if (parent === 'properties') return { what: `parameter ${of} changed`, judged: 'unclear' };
  const list = parts.lastIndexOf('required');
  if (list !== -1 && list >= parts.length - 2) return ofRequired(parts.slice(0, list), before, after);
  const values = Math.max(parts.lastIndexOf('enum'), parts.lastIndexOf('type'));
  if (values !== -1 && values >= parts.length - 2) return ofSet(parts.slice(0, values + 1), of, before, after);
  if (TEXTS.has(keyword)) return { what: `${keyword} of ${of} changed`, judged: 'wording' };
  if (keyword === 'default') return { what: `default of ${of} changed`, judged: 'unclear' };
  if (keyword === 'additionalProperties' && !there && line[line.before === null ? 'after' : 'before'] === 'false')
    return {
      what: `further members of ${of} ${line.after === null ? 'allowed' : 'refused'}`,
      judged: judged(parts, line.after === null ? 'wider' : 'narrower'),
    };
  if (UPPER.has(keyword) || LOWER.has(keyword)) return ofBound(line, keyword, of, parts);
  return { what: `${keyword} of ${of} changed`, judged: 'unclear' };
}

/** Under `not`, `if` and the like more is less, or nobody knows. */
const inverted = (parts: readonly string[]): boolean =>
  parts.some((part) => ['not', 'if', 'then', 'else', 'anyOf', 'oneOf', 'allOf'].includes(part));
const judged = (parts: readonly string[], plain: Judged): Judged => (inverted(parts) ? 'unclear' : plain);

function ofRequired(at: readonly string[], before: JsonObject, after: JsonObject): Said {
  const [old, now] = [listAt(before, [...at, 'required']), listAt(after, [...at, 'required'])];
  const more = now.filter((one) => !old.includes(one));
  const less = old.filter((one) => !now.includes(one));
  const names = (list: readonly string[]): string =>
    list
      .map((one) => JSON.parse(one) as unknown as string)
      .map(String)
      .join(', ');
  const said = [
    more.length > 0 && `${names(more)} became required`,
    less.length > 0 && `${names(less)} became optional`,
  ].filter(Boolean);
  // Less fits than before, and whoever calls must now say something that they could keep to themselves.
  const how = more.length > 0 ? 'unclear' : less.length > 0 ? 'wider' : 'wording';
  return { what: said.join('; ') || 'the order of required changed', judged: how === 'wider' ? judged(at, how) : how };
}

/** `type` and `enum`: no longer there means that anything goes. */
function ofSet(at: readonly string[], of: string, before: JsonObject, after: JsonObject): Said {
  const keyword = at.at(-1)!;
  const [old, now] = [valueAt(before, at), valueAt(after, at)];
  if (old === undefined || now === undefined)
    return {
      what: `${keyword} of ${of} ${old === undefined ? 'set' : 'dropped'}`,
      judged: judged(at, old === undefined ? 'narrower' : 'wider'),
    };
  const [was, is] = [listAt(before, at), listAt(after, at)];
  const more = is.some((one) => !was.includes(one) && !(one === '"integer"' && was.includes('"number"')));
  const less = was.some((one) => !is.includes(one) && !(one === '"integer"' && is.includes('"number"')));
  const how: Judged = more && less ? 'unclear' : more ? 'wider' : less ? 'narrower' : 'wording';
  return {
    what: `${keyword} of ${of} ${how === 'wider' ? 'widened' : how === 'narrower' ? 'narrowed' : 'changed'}`,
    judged: judged(at, how),
  };
}

function ofBound({ before, after }: DiffLine, keyword: string, of: string, parts: readonly string[]): Said {
  const [old, now] = [before === null ? null : Number(before), after === null ? null : Number(after)];
  if (Number.isNaN(old) || Number.isNaN(now)) return { what: `${keyword} of ${of} changed`, judged: 'unclear' };
  const raised: Judged = UPPER.has(keyword) ? 'wider' : 'narrower';
  const how: Judged = now === null ? 'wider' : old === null ? 'narrower' : now > old ? raised : BACK[raised];
  return {
    what: `${keyword} of ${of} ${now === null ? 'dropped' : old === null ? 'set' : 'changed'}`,
    judged: judged(parts, how),
  };
}

/** The dotted name of the parameter that a place in a schema is about. */
const nameIn = (parts: readonly string[]): string =>
  parts
    .flatMap((part, at) =>
      parts[at - 1] === 'properties' && parts[at - 2] !== 'properties' ? [part] : part === 'items' ? ['[]'] : [],
    )
    .join('.')
    .replaceAll('~1', '/')
    .replaceAll('~0', '~');

function valueAt(definition: JsonObject, at: readonly string[]): Json | undefined {
  let value: Json | undefined = definition['inputSchema'];
  for (const part of at) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as JsonObject)[name];
  }
  return value;
}

const listAt = (definition: JsonObject, at: readonly string[]): readonly string[] => {
  const value = valueAt(definition, at);
  if (value === undefined) return [];
  return (Array.isArray(value) ? (value as readonly Json[]) : [value]).map((one) => JSON.stringify(one));
};

/** A text out of the JSON of a line; null: it is no text. */
function textOf(json: string | null): string | null {
  return json !== null && json.startsWith('"') ? json.slice(1, -1) : null;
}

/** A word alone says it all by itself. */
const isBare = ({ before, after }: DiffLine): boolean => !/\s/.test(before ?? '') && !/\s/.test(after ?? '');
