/** `attributes` and `excludedAttributes` (RFC 7644 section 3.9): what of a resource is shown. Ids and schemas always are; unknown names say nothing. */
import { placeOf, type Attribute, type Place, type ResourceType } from './schemas.ts';
import { blank, isValues, type Value, type Values } from './values.ts';

export interface Projection {
  /** Whether an attribute of the resource itself is shown at all: what is not need not be gathered. */
  shows(name: string): boolean;
  apply(values: Values): Values;
}

const ALWAYS = new Set(['id', 'schemas']);

export function projection(type: ResourceType, attributes: readonly string[], excluded: readonly string[]): Projection {
  const places = (names: readonly string[]): Place[] =>
    names.flatMap((name) => {
      const place = placeOf(type, name);
      return place === undefined || place === 'not_kept' ? [] : [place];
    });
  if (attributes.length > 0) {
    const wanted = places(attributes);
    return {
      shows: (name) => ALWAYS.has(name) || wanted.some(({ attribute }) => attribute?.name === name),
      apply: (values) => only(values, wanted),
    };
  }
  const hidden = places(excluded).filter(({ attribute }) => attribute?.returned !== 'always');
  return {
    shows: (name) =>
      !hidden.some(({ extension, attribute, sub }) => extension === null && attribute?.name === name && sub === null),
    apply: (values) => (hidden.length === 0 ? values : except(values, hidden)),
  };
}

function only(values: Values, wanted: readonly Place[]): Values {
  const result = blank();
  for (const name of ALWAYS) if (values[name] !== undefined) result[name] = values[name];
  for (const { extension, attribute, sub } of wanted) {
    const from = extension === null ? values : values[extension];
    if (!isValues(from)) continue;
    if (attribute === null) {
      result[extension!] = from;
      continue;
    }
    const found = from[attribute.name];
    if (found === undefined) continue;
    let to = result;
    if (extension !== null) to = isValues(result[extension]) ? result[extension] : (result[extension] = blank());
    to[attribute.name] =
      sub === null
        ? found
        : joined(
            to[attribute.name],
            each(found, (value) => picked(value, sub)),
          );
  }
  return result;
}

const each = (value: Value, change: (value: Values) => Values): Value =>
  Array.isArray(value)
    ? value.map((one) => (isValues(one) ? change(one) : one))
    : isValues(value)
      ? change(value)
      : value;

function picked(value: Values, sub: Attribute): Values {
  const result = blank();
  if (value[sub.name] !== undefined) result[sub.name] = value[sub.name]!;
  return result;
}

/** `emails.value,emails.type`: both members of each element. */
function joined(before: Value | undefined, more: Value): Value {
  if (Array.isArray(before) && Array.isArray(more))
    return before.map((one, at) => (isValues(one) && isValues(more[at]) ? { ...one, ...more[at] } : one));
  return isValues(before) && isValues(more) ? { ...before, ...more } : more;
}

function except(values: Values, hidden: readonly Place[]): Values {
  const result = Object.assign(blank(), values);
  for (const { extension, attribute, sub } of hidden) {
    if (attribute === null) {
      delete result[extension!];
      continue;
    }
    let holder = result;
    if (extension !== null) {
      const found = result[extension];
      if (!isValues(found)) continue;
      holder = result[extension] = Object.assign(blank(), found);
    }
    const found = holder[attribute.name];
    if (sub === null || found === undefined) delete holder[attribute.name];
    else {
      holder[attribute.name] = each(found, (value) => {
        const rest = Object.assign(blank(), value);
        delete rest[sub.name];
        return rest;
      });
    }
  }
  return result;
}
