/**
 * What a SCIM request is refused with (RFC 7644 section 3.12). A refusal can arise at any depth of a resource, so it travels as an exception
 * inside this room and its routes, and becomes a value again at `attempt`. The detail is written here and quotes at most what the caller sent.
 */
import type { JsonObject } from '../../lib/json.ts';
import { err, ok, type Result } from '../../lib/result.ts';

export type ScimType =
  | 'invalidFilter'
  | 'tooMany'
  | 'uniqueness'
  | 'mutability'
  | 'invalidSyntax'
  | 'invalidPath'
  | 'noTarget'
  | 'invalidValue';

export interface ScimProblem {
  readonly status: 400 | 401 | 403 | 404 | 405 | 409 | 412 | 413 | 415 | 424 | 429 | 500 | 501 | 503;
  readonly detail: string;
  readonly scimType?: ScimType;
  /** For `Retry-After`. */
  readonly retryAfterSeconds?: number;
}

class Refusal extends Error {
  readonly problem: ScimProblem;
  constructor(problem: ScimProblem) {
    super(problem.detail);
    this.problem = problem;
  }
}

export function refuse(problem: ScimProblem): never {
  throw new Refusal(problem);
}

export const bad = (scimType: ScimType, detail: string): never => refuse({ status: 400, scimType, detail });

/** @throws whatever is not a refusal: a fault of ours. */
export function attempt<T>(work: () => T): Result<T, ScimProblem> {
  try {
    return ok(work());
  } catch (error) {
    if (error instanceof Refusal) return err(error.problem);
    throw error;
  }
}

/** The refusal in whatever was thrown; null: a fault of ours. */
export const refusalIn = (error: unknown): ScimProblem | null => (error instanceof Refusal ? error.problem : null);

export const ERROR_SCHEMA = 'urn:ietf:params:scim:api:messages:2.0:Error';

/** `status`: also one that this room does not refuse with. */
export const problemBody = ({
  status,
  scimType,
  detail,
}: Omit<ScimProblem, 'status'> & { readonly status: number }): JsonObject => ({
  schemas: [ERROR_SCHEMA],
  status: String(status),
  ...(scimType === undefined ? {} : { scimType }),
  detail,
});

/** What a caller sent, fit for a detail text: quoted, short. */
export const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
