/**
 * Forms a server asks a person to fill in (elicitation, Requested Schema): flat objects of primitives, as each revision allows them,
 * and answers held against them. Keywords that forms do not have are left out; a structure they do not have is no form.
 * Not done here: a server's own rules beyond these; it must check what it gets anyway.
 */
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { type ProtocolVersion, has } from './versions.ts';

const MAX_FIELDS = 100;
const MAX_CHOICES = 1000;
const FORMATS: readonly unknown[] = ['email', 'uri', 'date', 'date-time'];

interface Choice {
  readonly value: string;
  readonly title: string | null;
}

/** A field as read from its schema. `choices` null: free text. */
type Field = Readonly<{ title?: string; description?: string }> &
  (
    | {
        readonly type: 'string';
        readonly choices: readonly Choice[] | null;
        /** The titles stood in `enumNames`, which newer revisions still allow: a form that has them keeps them. */
        readonly named: boolean;
        readonly minLength?: number;
        readonly maxLength?: number;
        readonly format?: string;
        readonly default?: string;
      }
    | {
        readonly type: 'number' | 'integer';
        readonly minimum?: number;
        readonly maximum?: number;
        readonly default?: number;
      }
    | { readonly type: 'boolean'; readonly default?: boolean }
    | {
        readonly type: 'array';
        readonly choices: readonly Choice[];
        readonly minItems?: number;
        readonly maxItems?: number;
        readonly default?: readonly string[];
      }
  );

interface Form {
  readonly fields: ReadonlyMap<string, Field>;
  readonly required: readonly string[];
}

/** The schema as a client of this revision is shown it; null: it has no such form. */
export function formFor(schema: Json | undefined, version: ProtocolVersion): JsonObject | null {
  const form = readForm(schema);
  if (form === null) return null;
  const properties: Record<string, JsonObject> = {};
  for (const [name, field] of form.fields) {
    const shown = fieldFor(field, has(version, 'richForms'));
    if (shown === null) return null;
    properties[name] = shown;
  }
  return { type: 'object', properties, ...(form.required.length === 0 ? {} : { required: form.required }) };
}

/** The content of an accepted form: every field it has, of the right type and within its bounds, and nothing else. */
export function checkForm(schema: Json | undefined, content: Json): Result<JsonObject, string> {
  const form = readForm(schema);
  if (form === null) return err('the question is no form');
  if (!isJsonObject(content)) return err('content is not an object');
  const kept: Record<string, Json> = {};
  for (const [name, field] of form.fields) {
    const value = Object.hasOwn(content, name) ? content[name] : undefined;
    if (value === undefined) {
      if (form.required.includes(name)) return err(`content.${name} is missing`);
      continue;
    }
    const problem = problemOf(field, value);
    if (problem !== null) return err(`content.${name} ${problem}`);
    kept[name] = value;
  }
  return ok(kept);
}

function readForm(schema: Json | undefined): Form | null {
  if (!isJsonObject(schema) || schema['type'] !== 'object') return null;
  const { properties, required = [] } = schema;
  if (!isJsonObject(properties) || !isTexts(required)) return null;
  const entries = Object.entries(properties);
  if (entries.length > MAX_FIELDS) return null;
  const fields = new Map<string, Field>();
  for (const [name, property] of entries) {
    const field = isJsonObject(property) ? readField(property) : null;
    if (field === null) return null;
    fields.set(name, field);
  }
  return required.every((name) => fields.has(name)) ? { fields, required: [...new Set(required)] } : null;
}

function readField(schema: JsonObject): Field | null {
  const about = { ...pick(schema, ['title', 'description'], isText) };
  switch (schema['type']) {
    case 'string': {
      const choices = readChoices(schema, 'oneOf', schema['enumNames']);
      if (choices === undefined) return null;
      const bounds = pick(schema, ['minLength', 'maxLength'], isCount);
      const format = pick(schema, ['format'], (value): value is string => FORMATS.includes(value));
      const free = choices === null ? { ...bounds, ...format } : {};
      const named = choices?.some(({ title }) => title !== null) === true && schema['enumNames'] !== undefined;
      return { type: 'string', choices, named, ...about, ...free, ...pick(schema, ['default'], isText) };
    }
    case 'number':
    case 'integer':
      return { type: schema['type'], ...about, ...pick(schema, ['minimum', 'maximum', 'default'], isNumber) };
    case 'boolean':
      return { type: 'boolean', ...about, ...pick(schema, ['default'], isBoolean) };
    case 'array': {
      const { items } = schema;
      const choices = isJsonObject(items) ? readChoices(items, 'anyOf', undefined) : null;
      if (!choices) return null;
      const bounds = pick(schema, ['minItems', 'maxItems'], isCount);
      return { type: 'array', choices, ...about, ...bounds, ...pick(schema, ['default'], isTexts) };
    }
    default:
      return null;
  }
}

/** Null: none are given. Undefined: what is given are none. */
function readChoices(
  schema: JsonObject,
  titled: 'oneOf' | 'anyOf',
  names: Json | undefined,
): Choice[] | null | undefined {
  const { enum: values, [titled]: pairs } = schema;
  if (values === undefined && pairs === undefined) return null;
  if (values !== undefined) {
    if (!isTexts(values) || values.length === 0 || values.length > MAX_CHOICES) return undefined;
    const titles = isTexts(names) && names.length === values.length ? names : null;
    return values.map((value, i) => ({ value, title: titles?.[i] ?? null }));
  }
  if (!Array.isArray(pairs) || pairs.length === 0 || pairs.length > MAX_CHOICES) return undefined;
  const choices: Choice[] = [];
  for (const pair of pairs as readonly Json[]) {
    if (!isJsonObject(pair)) return undefined;
    const { const: value, title } = pair;
    if (typeof value !== 'string' || (title !== undefined && typeof title !== 'string')) return undefined;
    choices.push({ value, title: title ?? value });
  }
  return choices;
}

/** `rich`: 2025-11-25 and later. Before that only a boolean had a default, titles stood in `enumNames`, and one could choose only one. */
function fieldFor(field: Field, rich: boolean): JsonObject | null {
  if (field.type === 'array') {
    if (!rich) return null;
    const { choices, ...rest } = field;
    const titled = choices.some(({ title }) => title !== null);
    return { ...rest, items: titled ? { anyOf: titledPairs(choices) } : { type: 'string', enum: values(choices) } };
  }
  if (field.type !== 'string') {
    const { default: preset, ...rest } = field;
    return preset === undefined || (!rich && field.type !== 'boolean') ? rest : { ...rest, default: preset };
  }
  const { choices, named, default: preset, ...rest } = field;
  const base = { ...rest, ...(rich && preset !== undefined ? { default: preset } : {}) };
  if (choices === null) return base;
  if (!choices.some(({ title }) => title !== null)) return { ...base, enum: values(choices) };
  return rich && !named
    ? { ...base, oneOf: titledPairs(choices) }
    : { ...base, enum: values(choices), enumNames: choices.map(({ value, title }) => title ?? value) };
}

const values = (choices: readonly Choice[]): string[] => choices.map(({ value }) => value);
const titledPairs = (choices: readonly Choice[]): JsonObject[] =>
  choices.map(({ value, title }) => ({ const: value, title: title ?? value }));

function problemOf(field: Field, value: Json): string | null {
  switch (field.type) {
    case 'boolean':
      return typeof value === 'boolean' ? null : 'must be a boolean';
    case 'number':
    case 'integer': {
      if (typeof value !== 'number') return 'must be a number';
      if (field.type === 'integer' && !Number.isInteger(value)) return 'must be an integer';
      if (field.minimum !== undefined && value < field.minimum) return `must be at least ${field.minimum}`;
      return field.maximum !== undefined && value > field.maximum ? `must be at most ${field.maximum}` : null;
    }
    case 'array': {
      if (!isTexts(value)) return 'must be an array of strings';
      const known = new Set(values(field.choices));
      if (!value.every((one) => known.has(one))) return 'has a value that is not offered';
      if (new Set(value).size !== value.length) return 'has a value twice';
      if (field.minItems !== undefined && value.length < field.minItems)
        return `needs at least ${field.minItems} values`;
      return field.maxItems !== undefined && value.length > field.maxItems
        ? `may have at most ${field.maxItems} values`
        : null;
    }
    case 'string': {
      if (typeof value !== 'string') return 'must be a string';
      if (field.choices !== null)
        return values(field.choices).includes(value) ? null : 'has a value that is not offered';
      // JSON Schema counts characters, not code units.
      const length = field.minLength === undefined && field.maxLength === undefined ? 0 : Array.from(value).length;
      if (field.minLength !== undefined && length < field.minLength)
        return `needs at least ${field.minLength} characters`;
      if (field.maxLength !== undefined && length > field.maxLength) {
        return `may have at most ${field.maxLength} characters`;
      }
      return field.format === undefined || hasFormat(value, field.format)
        ? null
        : `must be of the format ${field.format}`;
    }
  }
}

const DATE = /^\d{4}-\d\d-\d\d$/;
const DATE_TIME = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/;
const EMAIL = /^[^\s@]{1,64}@[^\s@]{1,255}$/;

function hasFormat(value: string, format: string): boolean {
  if (format === 'email') return EMAIL.test(value);
  if (format === 'uri') return URL.canParse(value);
  if (format === 'date') return DATE.test(value) && isDay(value);
  return DATE_TIME.test(value) && isDay(value.slice(0, 10)) && !Number.isNaN(Date.parse(value));
}

/** Date.parse takes 30 February for 1 March. */
function isDay(text: string): boolean {
  const at = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(at) && new Date(at).toISOString().startsWith(text);
}

const isText = (value: Json | undefined): value is string => typeof value === 'string';
const isNumber = (value: Json | undefined): value is number => typeof value === 'number';
const isBoolean = (value: Json | undefined): value is boolean => typeof value === 'boolean';
const isCount = (value: Json | undefined): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isTexts = (value: Json | undefined): value is readonly string[] =>
  Array.isArray(value) && (value as readonly Json[]).every((one) => typeof one === 'string');

/** The named members that pass; the others are as if they were not there. */
function pick<K extends string, T>(
  object: JsonObject,
  keys: readonly K[],
  passes: (value: Json | undefined) => value is T & Json,
): { [key in K]?: T } {
  const found: { [key in K]?: T } = {};
  for (const key of keys) {
    const value = Object.hasOwn(object, key) ? object[key] : undefined;
    if (passes(value)) found[key] = value;
  }
  return found;
}
