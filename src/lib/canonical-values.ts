/**
 * Values whose spelling matters, in one spelling (AZ-03): a limit on a path, an address or an amount means something only if what is judged
 * is what the server will understand. Pure and strict: what could be read in two ways has no canonical form, and then there is no call.
 * Whose parameters these are is the reviewer's word, never the server's.
 */
import type { Result } from './result.ts';
import { err } from './result.ts';

export const PARAMETER_TYPES = ['path', 'url', 'domain', 'amount', 'identifier'] as const;
export type ParameterType = (typeof PARAMETER_TYPES)[number];

export interface CanonicalValue {
  /** What is judged, digested and forwarded. */
  readonly text: string;
  /** Further names under which policies see it, for example the host of a URL or the folders above a path. */
  readonly facets: Readonly<Record<string, string | number | readonly string[]>>;
}

/** @returns why it has no canonical form, for the caller: what is wrong, without the value. */
export function canonicalValue(type: ParameterType, _value: string | number): Result<CanonicalValue, string> {
  return err(`is no ${type} that can be judged`);
}
