/**
 * Reads what a client sends for a resource into plain data of the schema's types and names: objects without a prototype, names in the
 * schema's case, read-only and unknown members left out (RFC 7644 section 3.3). Takes the liberties that Entra and Okta need: "True" for
 * true, one element for a list, a bare text for a complex value, `[{"value": x}]` for x. Lists, texts and depth are bounded by the schema.
 */
import type { Json } from '../../lib/json.ts';
import { bad, quoted } from './problem.ts';
import { named, placeOf, type Attribute, type Place, type ResourceType } from './schemas.ts';

/** Members of a resource or of a complex value. Made by `blank`, so it has no prototype to pollute. */
export type Values = { [name: string]: Value };
export type Value = string | number | boolean | Values | Value[];

export const blank = (): Values => Object.create(null) as Values;

const MAX_ELEMENTS = 100;
const MAX_TEXT = 8_192;

export const isValues = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A copy that shares nothing with the original. */
export function copyOf<T extends Value>(value: T): T {
  if (Array.isArray(value)) return value.map(copyOf) as T;
  if (!isValues(value)) return value;
  const copy = blank();
  for (const name of Object.keys(value)) copy[name] = copyOf(value[name]!);
  return copy as T;
}

/** The value as the schema wants it; undefined: unassigned (null, an empty list or text: RFC 7643 section 2.5). */
export function coerce(attribute: Attribute, value: Json | undefined, at: string): Value | undefined {
  if (!attribute.multiValued) return coerceOne(attribute, value, at);
  if (value === undefined || value === null || value === '') return undefined;
  const list = Array.isArray(value) ? (value as readonly Json[]) : [value];
  if (list.length > MAX_ELEMENTS) bad('invalidValue', `${at} has more than ${MAX_ELEMENTS} values.`);
  const elements = list.flatMap((element) => coerceOne(attribute, element, at) ?? []);
  if (elements.filter(isPrimary).length > 1) bad('invalidValue', `${at}: more than one value is primary.`);
  return elements.length === 0 ? undefined : distinct(elements);
}

const isPrimary = (value: Value): boolean => isValues(value) && value['primary'] === true;

export function distinct(elements: readonly Value[]): Value[] {
  const seen = new Set<string>();
  return elements.filter((element) => {
    const text = JSON.stringify(element);
    return seen.size !== seen.add(text).size;
  });
}

/** One element of a multi-valued attribute, or the value of a single one. */
export function coerceOne(attribute: Attribute, sent: Json | undefined, at: string): Value | undefined {
  const value = unwrapped(attribute, sent);
  if (value === undefined || value === null || value === '') return undefined;
  switch (attribute.type) {
    case 'boolean': {
      if (typeof value === 'boolean') return value;
      const text = typeof value === 'string' ? value.toLowerCase() : '';
      if (text === 'true' || text === 'false') return text === 'true';
      return bad('invalidValue', `${at} must be true or false.`);
    }
    case 'complex':
      return coerceComplex(attribute, value, at);
    default:
      if (typeof value !== 'string') return bad('invalidValue', `${at} must be a text.`);
      if (value.includes('\0') || value.length > MAX_TEXT)
        return bad('invalidValue', `${at} is too long or has a NUL character in it.`);
      return value;
  }
}

/** Early Entra sends `[{"$ref": null, "value": x}]` for a single value x. */
function unwrapped(attribute: Attribute, value: Json | undefined): Json | undefined {
  if (attribute.multiValued || !Array.isArray(value) || value.length !== 1) return value;
  const [only] = value as readonly Json[];
  if (attribute.type === 'complex') return only;
  return typeof only === 'object' && only !== null && !Array.isArray(only) && Object.hasOwn(only, 'value')
    ? (only as { readonly value: Json }).value
    : only;
}

function coerceComplex(attribute: Attribute, value: Json, at: string): Values | undefined {
  const result = blank();
  if (typeof value === 'string') {
    // Entra names a manager by a bare id, Okta an e-mail address by a bare address.
    if (named(attribute.subAttributes, 'value') === undefined)
      return bad('invalidValue', `${at} must be an object with named members.`);
    result['value'] = value;
    return result;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return bad('invalidValue', `${at} must be an object.`);
  for (const [name, member] of Object.entries(value as { readonly [name: string]: Json })) {
    const sub = named(attribute.subAttributes, name);
    if (sub === undefined || sub.mutability === 'readOnly') continue;
    const read = coerce(sub, member, `${at}.${sub.name}`);
    if (read !== undefined) result[sub.name] = read;
  }
  return Object.keys(result).length === 0 ? undefined : result;
}

/** The object that holds the members of a place; made when it is missing. */
export function holderOf(values: Values, place: Place): Values {
  if (place.extension === null) return values;
  const found = values[place.extension];
  return isValues(found) ? found : (values[place.extension] = blank());
}

/** The whole body of POST and PUT, without `members` (see members.ts). Unknown members are ignored; a wrong `schemas` is refused. */
export function readResource(type: ResourceType, body: Json): Values {
  const sent = objectOf(body, 'The resource');
  checkSchemas(sent, type.schema.id);
  const values = blank();
  for (const [name, value] of Object.entries(sent)) {
    const place = placeOf(type, name);
    if (place === undefined || place === 'not_kept') continue;
    assign(type, values, place, value);
  }
  return values;
}

function assign(type: ResourceType, values: Values, place: Place, value: Json): void {
  const { extension, attribute, sub } = place;
  if (attribute === null) {
    for (const [name, member] of Object.entries(objectOf(value, extension ?? ''))) {
      const inner = placeOf(type, `${extension}:${name}`);
      if (inner !== undefined && inner !== 'not_kept') assign(type, values, inner, member);
    }
    return;
  }
  if (attribute.mutability === 'readOnly' || attribute.name === 'members' || sub !== null) return;
  const read = coerce(attribute, value, attribute.name);
  if (read !== undefined) holderOf(values, place)[attribute.name] = read;
}

export function objectOf(value: Json | undefined, what: string): { readonly [name: string]: Json } {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as { readonly [name: string]: Json };
  return bad('invalidSyntax', `${what} must be a JSON object.`);
}

/** `schemas` may be left out; if it is there it names what the message is. */
export function checkSchemas(sent: { readonly [name: string]: Json }, wanted: string): void {
  const schemas = sent['schemas'];
  if (schemas === undefined) return;
  const named = Array.isArray(schemas) ? (schemas as readonly Json[]) : [];
  if (!named.some((one) => typeof one === 'string' && one.toLowerCase() === wanted.toLowerCase()))
    bad('invalidSyntax', `schemas must name ${quoted(wanted)}.`);
}
