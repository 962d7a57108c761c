/**
 * Canonical JSON (RFC 8785) and digests over it. Two values that JSON calls equal have one canonical text,
 * so a digest names the value and not the way somebody happened to write it.
 * On every call's path, so the common case is ours: members put in order, then the engine's own JSON.stringify, whose numbers and
 * strings are those of RFC 8785. Objects with integer-like keys, which an engine orders by itself, go to the library;
 * a test holds both to the same text. Not checked here: whether the value came from strict parsing (duplicate keys are gone by then).
 */
import canonicalize from 'canonicalize';
import { sha256Hex } from './bytes.ts';
import { Fault } from './fault.ts';

/** `sha256:` followed by 64 hexadecimal digits. */
export type Digest = `sha256:${string}`;

/** @throws Fault `not_canonical` for values JSON cannot carry (undefined at the root, NaN, Infinity, lone surrogates, cycles). */
export function canonicalJson(value: unknown): string {
  let text: string | undefined;
  try {
    const ordered = inOrder(value, 0);
    text = ordered === BY_LIBRARY ? canonicalize(value) : JSON.stringify(ordered);
  } catch (cause) {
    throw new Fault('not_canonical', 'value has no canonical JSON form', { cause });
  }
  if (text === undefined) throw new Fault('not_canonical', 'value has no canonical JSON form');
  return text;
}

export function digestOf(value: unknown): Digest {
  return `sha256:${sha256Hex(canonicalJson(value))}`;
}

const BY_LIBRARY = Symbol('ordered by the library');
/** Deeper than anything strict parsing lets in; a cycle ends here. */
const MAX_DEPTH = 1_000;

/** The value with the members of every object in order: itself where they already are, a copy where not. */
function inOrder(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw new Error('a lone surrogate');
      return value;
    case 'number':
      if (!Number.isFinite(value)) throw new Error('a number JSON does not have');
      return value;
    case 'boolean':
      return value;
    case 'object':
      if (value === null) return null;
      if (depth > MAX_DEPTH) throw new Error('too deep, or a cycle');
      return Array.isArray(value)
        ? itemsInOrder(value, depth + 1)
        : membersInOrder(value as Record<string, unknown>, depth + 1);
    default:
      // undefined, functions, symbols, bigints, toJSON: the library knows the rules for them.
      return BY_LIBRARY;
  }
}

function itemsInOrder(items: readonly unknown[], depth: number): unknown {
  let copy: unknown[] | null = null;
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    const ordered = inOrder(item, depth);
    if (ordered === BY_LIBRARY) return BY_LIBRARY;
    if (copy === null && ordered !== item) copy = items.slice(0, i);
    copy?.push(ordered);
  }
  return copy ?? items;
}

function membersInOrder(object: Record<string, unknown>, depth: number): unknown {
  // Only plain objects: a class may bring a toJSON.
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== Object.prototype && prototype !== null) return BY_LIBRARY;
  const keys = Object.keys(object);
  let sorted = true;
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    const first = key.charCodeAt(0);
    if ((first >= 0x30 && first <= 0x39) || key === '__proto__' || key === 'toJSON') return BY_LIBRARY;
    if (!key.isWellFormed()) throw new Error('a lone surrogate');
    if (i > 0 && key < keys[i - 1]!) sorted = false;
  }
  if (!sorted) keys.sort();
  let copy: Record<string, unknown> | null = sorted ? null : {};
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    const member = object[key];
    const ordered = inOrder(member, depth);
    if (ordered === BY_LIBRARY) return BY_LIBRARY;
    if (copy === null) {
      if (ordered === member) continue;
      copy = {};
      for (let j = 0; j < i; j++) copy[keys[j]!] = object[keys[j]!];
    }
    copy[key] = ordered;
  }
  return copy ?? object;
}
