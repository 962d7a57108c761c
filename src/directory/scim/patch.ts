/**
 * PATCH (RFC 7644 section 3.5.2) over plain values, in the dialects that Entra and Okta speak: operations in any case, names with or without
 * the URN, dotted names as keys of a value without a path, "True" and "False", a bare manager, a filter that finds nothing and then makes
 * what it asks for, removal with a value. Works on the copy that it is given: who catches a refusal throws the copy away.
 */
import type { Json } from '../../lib/json.ts';
import { compileElementFilter, MAX_FILTER_LENGTH } from './filter.ts';
import { memberIds, type MemberStep } from './members.ts';
import { bad, quoted } from './problem.ts';
import { placeOf, type Attribute, type Place, type ResourceType } from './schemas.ts';
import { blank, checkSchemas, coerce, coerceOne, distinct, holderOf, isValues, objectOf } from './values.ts';
import type { Value, Values } from './values.ts';

const PATCH_OP = 'urn:ietf:params:scim:api:messages:2.0:PatchOp';
const MAX_OPERATIONS = 1_000;
const OPS = ['add', 'remove', 'replace'] as const;
type Op = (typeof OPS)[number];

export interface PatchOperation {
  readonly op: Op;
  readonly path: string | null;
  readonly value: Json | undefined;
}

export function readPatch(body: Json): readonly PatchOperation[] {
  const sent = objectOf(body, 'The patch');
  checkSchemas(sent, PATCH_OP);
  const operations = member(sent, 'operations');
  if (!Array.isArray(operations) || operations.length === 0) return bad('invalidSyntax', 'Operations must be a list.');
  if (operations.length > MAX_OPERATIONS) bad('tooMany', `A patch has at most ${MAX_OPERATIONS} operations.`);
  return (operations as readonly Json[]).map((one) => {
    const operation = objectOf(one, 'An operation');
    const name = member(operation, 'op');
    const op = OPS.find((known) => typeof name === 'string' && known === name.toLowerCase());
    if (op === undefined) return bad('invalidSyntax', 'op must be add, remove or replace.');
    const path = member(operation, 'path');
    if (path !== undefined && path !== null && typeof path !== 'string')
      return bad('invalidPath', 'path must be a text.');
    return {
      op,
      path: path === undefined || path === null || path === '' ? null : path,
      value: member(operation, 'value'),
    };
  });
}

function member(object: { readonly [name: string]: Json }, name: string): Json | undefined {
  for (const key of Object.keys(object)) if (key.toLowerCase() === name) return object[key];
  return undefined;
}

/** Changes `values` in place; what is said of members comes back as steps, in order. @throws a refusal; `values` is then half changed. */
export function applyPatch(
  type: ResourceType,
  values: Values,
  operations: readonly PatchOperation[],
): readonly MemberStep[] {
  const steps: MemberStep[] = [];
  for (const { op, path, value } of operations) {
    if (path !== null) applyAt(type, values, steps, op, readPath(type, path), value);
    else if (op === 'remove') bad('noTarget', 'remove needs a path.');
    else {
      for (const [name, part] of Object.entries(objectOf(value, 'The value of an operation without a path'))) {
        const place = placeOf(type, name);
        // Okta sends the id along; unknown members of a value are ignored as those of a resource are.
        if (place === undefined || place === 'not_kept' || isReadOnly(place)) continue;
        applyAt(type, values, steps, op, { place, filter: null }, part);
      }
    }
  }
  return steps;
}

interface Target {
  readonly place: Place | 'not_kept';
  /** The text in brackets. */
  readonly filter: string | null;
}

const isReadOnly = ({ attribute, sub }: Place): boolean =>
  attribute?.mutability === 'readOnly' || sub?.mutability === 'readOnly';

function readPath(type: ResourceType, path: string): Target {
  if (path.length > MAX_FILTER_LENGTH) bad('invalidPath', `The path is longer than ${MAX_FILTER_LENGTH} characters.`);
  const open = path.indexOf('[');
  const close = path.lastIndexOf(']');
  if (open === -1 && close === -1) return { place: placeNamed(type, path, path), filter: null };
  const rest = path.slice(close + 1);
  if (open === -1 || close < open || (rest !== '' && !rest.startsWith('.')))
    return bad('invalidPath', `The path cannot be read: ${quoted(path)}.`);
  return { place: placeNamed(type, path.slice(0, open) + rest, path), filter: path.slice(open + 1, close) };
}

function placeNamed(type: ResourceType, name: string, path: string): Place | 'not_kept' {
  const place = placeOf(type, name.trim());
  if (place === undefined)
    return bad('invalidPath', `${type.name} has no attribute ${quoted(path)}. Take it out of the attribute mapping.`);
  if (place !== 'not_kept' && isReadOnly(place)) return bad('mutability', `${quoted(path)} is read-only.`);
  return place;
}

function applyAt(
  type: ResourceType,
  values: Values,
  steps: MemberStep[],
  op: Op,
  { place, filter }: Target,
  value: Json | undefined,
): void {
  if (place === 'not_kept') return;
  const { extension, attribute, sub } = place;
  if (op !== 'remove' && value === undefined) bad('invalidValue', `${op} needs a value.`);
  if (attribute === null) return applyToExtension(type, values, steps, op, extension ?? '', value);
  if (attribute.name === 'members') {
    if (sub !== null) bad('invalidPath', 'Members are added and removed whole: use the path "members".');
    steps.push(memberStep(attribute, op, filter, value));
    return;
  }
  const holder = holderOf(values, place);
  if (filter !== null) changeElements(holder, attribute, sub, op, filter, value);
  else if (sub !== null) changeMember(holder, attribute, sub, op, value);
  else changeWhole(holder, attribute, op, value);
}

function applyToExtension(
  type: ResourceType,
  values: Values,
  steps: MemberStep[],
  op: Op,
  extension: string,
  value: Json | undefined,
): void {
  if (op === 'remove' || value === null) {
    delete values[extension];
    return;
  }
  for (const [name, part] of Object.entries(objectOf(value, extension))) {
    const place = placeOf(type, `${extension}:${name}`);
    if (place === undefined || place === 'not_kept' || place.attribute === null || isReadOnly(place)) continue;
    applyAt(type, values, steps, op, { place, filter: null }, part);
  }
}

function memberStep(attribute: Attribute, op: Op, filter: string | null, value: Json | undefined): MemberStep {
  if (filter === null) {
    if (op !== 'remove') return { do: op, ids: memberIds(value) };
    // Entra removes by value, without a filter. No value at all: everybody.
    return value === undefined || value === null ? { do: 'replace', ids: [] } : { do: 'remove', ids: memberIds(value) };
  }
  if (op !== 'remove') return bad('invalidPath', `${op} of members takes no filter.`);
  const { values, test } = compileElementFilter(attribute, filter, blank());
  return values === null ? { do: 'removeWhere', test } : { do: 'remove', ids: values };
}

/** The attribute as a whole. */
function changeWhole(holder: Values, attribute: Attribute, op: Op, value: Json | undefined): void {
  const { name } = attribute;
  const before = holder[name];
  if (op === 'remove') {
    if (attribute.multiValued && value !== undefined && value !== null)
      holder[name] = without(attribute, before, value);
    else delete holder[name];
  } else {
    const read = coerce(attribute, value, name);
    if (read === undefined) {
      if (op === 'replace') delete holder[name];
    } else if (attribute.multiValued && op === 'add') holder[name] = merged(elementsOf(before), elementsOf(read));
    // RFC 7644 section 3.5.2.3: members of a complex value that are not named stay.
    else if (isValues(read) && isValues(before)) Object.assign(before, read);
    else holder[name] = read;
  }
  dropEmpty(holder, name);
}

/** `name.givenName`: a member of a complex value; of a list: of each of its elements. */
function changeMember(holder: Values, attribute: Attribute, sub: Attribute, op: Op, value: Json | undefined): void {
  const { name } = attribute;
  const read = op === 'remove' ? undefined : coerce(sub, value, `${name}.${sub.name}`);
  const before = holder[name];
  const targets = attribute.multiValued ? elementsOf(before).filter(isValues) : isValues(before) ? [before] : [];
  if (targets.length === 0 && read !== undefined) {
    const made = blank();
    made[sub.name] = read;
    holder[name] = attribute.multiValued ? [made] : made;
    return;
  }
  if (read === true && sub.name === 'primary' && targets.length > 1)
    bad('invalidValue', `${name}: more than one value would be primary.`);
  for (const target of targets) set(target, sub.name, read);
  dropEmpty(holder, name);
}

/** `emails[type eq "work"]`, with or without a member behind it. */
function changeElements(
  holder: Values,
  attribute: Attribute,
  sub: Attribute | null,
  op: Op,
  filter: string,
  value: Json | undefined,
): void {
  const { name } = attribute;
  if (!attribute.multiValued) bad('invalidPath', `${name} has one value: it takes no filter.`);
  const { test, template } = compileElementFilter(attribute, filter, blank());
  const elements = elementsOf(holder[name]).filter(isValues);
  let found = elements.filter(test);
  if (op === 'remove') {
    if (sub === null) holder[name] = elements.filter((element) => !found.includes(element));
    else for (const element of found) delete element[sub.name];
    return dropEmpty(holder, name);
  }
  const at = sub === null ? name : `${name}.${sub.name}`;
  const read = sub === null ? coerceOne(attribute, value, at) : coerce(sub, value, at);
  if (found.length === 0) {
    if (read === undefined) return;
    // Entra: `add` and `replace` of a value that is not there yet make it.
    if (template === null) return bad('noTarget', `No value of ${name} fits ${quoted(filter)}.`);
    elements.push(template);
    found = [template];
    holder[name] = elements;
  }
  for (const element of found) {
    if (sub !== null) set(element, sub.name, read);
    else if (isValues(read)) Object.assign(element, read);
    else if (read === undefined) for (const key of Object.keys(element)) delete element[key];
  }
  onePrimary(elements, found);
  dropEmpty(holder, name);
}

const elementsOf = (value: Value | undefined): Value[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value];

function set(target: Values, name: string, value: Value | undefined): void {
  if (value === undefined) delete target[name];
  else target[name] = value;
}

/** What is added comes last; a new primary value takes that from the one before it. */
function merged(before: Value[], added: Value[]): Value[] {
  const all = distinct([...before, ...added]);
  onePrimary(all.filter(isValues), added.filter(isValues));
  return all;
}

function onePrimary(elements: readonly Values[], changed: readonly Values[]): void {
  const primary = changed.filter((element) => element['primary'] === true);
  if (primary.length === 0) return;
  if (primary.length > 1) bad('invalidValue', 'More than one value would be primary.');
  for (const element of elements) if (element !== primary[0] && element['primary'] === true) element['primary'] = false;
}

/** Elements that have every member of one of the given values go. */
function without(attribute: Attribute, before: Value | undefined, value: Json): Value[] {
  const gone = elementsOf(coerce(attribute, value, attribute.name)).filter(isValues);
  return elementsOf(before).filter(
    (element) =>
      !isValues(element) ||
      !gone.some((one) => Object.keys(one).every((key) => JSON.stringify(one[key]) === JSON.stringify(element[key]))),
  );
}

function dropEmpty(holder: Values, name: string): void {
  const value = holder[name];
  if (Array.isArray(value)) {
    const kept = value.filter((element) => !isValues(element) || Object.keys(element).length > 0);
    if (kept.length === 0) delete holder[name];
    else holder[name] = kept;
  } else if (isValues(value) && Object.keys(value).length === 0) delete holder[name];
}
