/**
 * Canonical JSON (RFC 8785) and digests over it. Two values that JSON calls equal have one canonical text,
 * so a digest names the value and not the way somebody happened to write it.
 * Not checked here: whether the value came from strict parsing (duplicate keys are gone by then).
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
    text = canonicalize(value);
  } catch (cause) {
    throw new Fault('not_canonical', 'value has no canonical JSON form', { cause });
  }
  if (text === undefined) throw new Fault('not_canonical', 'value has no canonical JSON form');
  return text;
}

export function digestOf(value: unknown): Digest {
  return `sha256:${sha256Hex(canonicalJson(value))}`;
}
