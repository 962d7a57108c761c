/**
 * How a token request is refused: the standard's code for the client, the reason for the log alone. A client that is told which check
 * failed has an oracle; the operator who is not told has nothing. RFC 6749 5.2, 8707 2, 9449 5.
 */
import { errors } from 'oidc-provider';
import type { Result } from '../../lib/result.ts';
import { err } from '../../lib/result.ts';

export type RefusalCode =
  | 'invalid_client'
  | 'invalid_grant'
  | 'invalid_request'
  | 'invalid_scope'
  | 'invalid_target'
  | 'temporarily_unavailable'
  | 'unauthorized_client';

export interface Refusal {
  readonly error: RefusalCode;
  /** For the log: which check, never a part of a token. */
  readonly reason: string;
}

export type Decision<T> = Result<T, Refusal>;

export const refuse = (error: RefusalCode, reason: string): Result<never, Refusal> => err({ error, reason });

/** What the client reads. The reason goes where only the log sees it. */
export function asError({ error, reason }: Refusal): errors.OIDCProviderError {
  switch (error) {
    case 'invalid_client':
      return new errors.InvalidClientAuth(reason);
    case 'invalid_grant':
      return new errors.InvalidGrant(reason);
    case 'invalid_request':
      return withDetail(new errors.InvalidRequest(REQUEST_WORDS[reason] ?? 'request is invalid'), reason);
    case 'invalid_scope':
      return withDetail(
        new errors.CustomOIDCProviderError('invalid_scope', 'this scope is not available to this client here'),
        reason,
      );
    case 'invalid_target':
      return withDetail(
        new errors.InvalidTarget('resource must be the URL of an MCP server that this client may use'),
        reason,
      );
    case 'temporarily_unavailable':
      return withDetail(
        new errors.TemporarilyUnavailable('what is needed to check this cannot be reached now; try again'),
        reason,
      );
    case 'unauthorized_client':
      return withDetail(new errors.UnauthorizedClient('this client may not use this grant here'), reason);
    default:
      return error satisfies never;
  }
}

/** Mistakes of whoever writes the client: they say nothing about anybody's credentials. */
const REQUEST_WORDS: Readonly<Record<string, string>> = {
  resource_missing: 'the resource parameter is required: the URL of the MCP server the token is for',
  assertion_missing: 'the assertion parameter is required',
  subject_token_missing: 'subject_token is required',
  subject_token_type: 'subject_token_type must be urn:ietf:params:oauth:token-type:access_token',
  requested_token_type: 'requested_token_type must be urn:ietf:params:oauth:token-type:access_token',
  actor_token: 'actor_token is not supported: the client that authenticates is the actor',
  audience: 'audience is not supported: name the MCP server in resource',
  subject_token: 'subject_token cannot be exchanged',
};

function withDetail<E extends errors.OIDCProviderError>(error: E, reason: string): E {
  error.error_detail = reason;
  return error;
}
