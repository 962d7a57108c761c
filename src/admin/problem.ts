/**
 * What an admin request can be refused with, as values. One shape on the wire: `{ error: { code, message, remedy?, field?, ref } }`.
 * PH-10: message and remedy are written here or quote what the caller sent; never an upstream's text, an address, a stack or a token.
 */

import type { StepUp } from './sign-in-rule.ts';

export interface Problem {
  readonly status: 400 | 401 | 403 | 404 | 409 | 412 | 413 | 415 | 422 | 428 | 429 | 500 | 502 | 503;
  readonly code: string;
  readonly message: string;
  readonly remedy?: string;
  /** The part of the request that is meant, dotted. */
  readonly field?: string;
  /** For `WWW-Authenticate`, when the status asks for one. */
  readonly challenge?: 'none' | 'invalid_token' | 'insufficient_scope' | 'insufficient_user_authentication';
  /** What another sign-in must be like (RFC 9470). */
  readonly stepUp?: StepUp;
  /** Set when the change is in force although the answer is an error. */
  readonly revision?: number;
  /** With a revision: whether this node decides by it already. */
  readonly inForce?: boolean;
}

export const notFound = (what: string, id: string): Problem => ({
  status: 404,
  code: 'not_found',
  message: `There is no ${what} ${JSON.stringify(id)}.`,
  remedy: 'Look at the list: an id is written exactly as it stands there, and what you may not see is not in it.',
});

export const invalid = (field: string, message: string, remedy?: string): Problem => ({
  status: 422,
  code: 'invalid',
  message,
  field,
  ...(remedy === undefined ? {} : { remedy }),
});

export const conflict = (code: string, message: string, remedy: string): Problem => ({
  status: 409,
  code,
  message,
  remedy,
});

export const forbidden = (code: string, message: string, remedy?: string): Problem => ({
  status: 403,
  code,
  message,
  ...(remedy === undefined ? {} : { remedy }),
});

/** The body of an error answer. `ref` is what support will ask for. */
export function problemBody(
  problem: Problem,
  ref: string,
): { readonly error: Record<string, string | number | boolean> } {
  const { code, message, remedy, field, revision, inForce } = problem;
  return {
    error: {
      code,
      message,
      ...(remedy === undefined ? {} : { remedy }),
      ...(field === undefined ? {} : { field }),
      ...(revision === undefined ? {} : { revision }),
      ...(inForce === undefined ? {} : { inForce }),
      ref,
    },
  };
}
