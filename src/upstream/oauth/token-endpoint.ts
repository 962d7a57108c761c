/**
 * One request to a token endpoint, by oauth4webapi through the guarded dialler; a demand for a DPoP nonce is
 * met once (RFC 9449 section 8). Nothing is retried otherwise: an assertion or a code may have been used up.
 */
import {
  type AuthorizationServer,
  type Client,
  type ClientAuth,
  allowInsecureRequests,
  customFetch,
  genericTokenEndpointRequest,
  getValidatedIdTokenClaims,
  processGenericTokenEndpointResponse,
} from 'oauth4webapi';
import type { Clock } from '../../lib/clock.ts';
import { parseStrictJson } from '../../lib/strict-json.ts';
import { type DialRule, guardedRequest } from '../dial.ts';
import { readScopes } from './challenge.ts';
import type { ProofKey } from './dpop.ts';
import { authFault, oauthError } from './faults.ts';

export interface Token {
  readonly value: string;
  readonly type: 'bearer' | 'dpop';
  /** ms since the epoch; null: the authorization server does not say. */
  readonly expiresAt: number | null;
  readonly issuedAt: number;
  /** As granted; null: as requested. */
  readonly scopes: readonly string[] | null;
  readonly refreshToken: string | null;
}

export interface Endpoint {
  readonly server: AuthorizationServer;
  readonly rule: DialRule;
  readonly clock: Clock;
  readonly client: Client;
  readonly authenticate: ClientAuth;
  /** Null: bearer tokens. */
  readonly key: ProofKey | null;
}

const MAX_ANSWER_BYTES = 65_536;
const MAX_TOKEN_CHARACTERS = 16_384;
/** RFC 6750 section 2.1. */
const SENDABLE = /^[A-Za-z0-9\-._~+/]+=*$/;

type Sent = Readonly<{ method: string; headers: Record<string, string>; body: unknown }>;

/** What oauth4webapi calls instead of fetch. `heard` gets the headers of every answer. */
export function dialling(rule: DialRule, heard: (url: string, nonce: string | string[] | undefined) => void) {
  return async (url: string, { method, headers, body }: Sent): Promise<Response> => {
    const text = body instanceof URLSearchParams ? body.toString() : (body as string);
    const answer = await guardedRequest(url, {
      rule,
      method: method as 'POST',
      headers,
      body: text,
      timeoutMs: 10_000,
      maxBytes: MAX_ANSWER_BYTES,
    });
    heard(url, answer.headers['dpop-nonce']);
    const type = answer.headers['content-type'];
    if (answer.body.length > 0 && typeof type === 'string' && /^application\/(?:[a-z0-9.+-]+\+)?json\b/i.test(type)) {
      // The library reads with JSON.parse, which takes the last of two members with one name.
      const parsed = parseStrictJson(answer.body, { maxBytes: MAX_ANSWER_BYTES, maxDepth: 16 });
      if (!parsed.ok) throw authFault('the authorization server sent text that is not strict JSON');
    }
    if (answer.status < 200 || answer.status > 599 || answer.status === 204 || answer.status === 304)
      throw authFault(`the authorization server answered with HTTP status ${answer.status}`);
    const pairs = Object.entries(answer.headers).flatMap(([name, value]) =>
      (Array.isArray(value) ? value : [value ?? '']).map((one): [string, string] => [name, one]),
    );
    return new Response(Buffer.from(answer.body), { status: answer.status, headers: pairs });
  };
}

/**
 * `issued`: the type of token wanted instead of an access token (RFC 8693).
 * `nonce`: what an ID token in the answer must hold, if there is one.
 * @throws what the library, the dialler or `authFault` throws; `asAuthFault` turns it into what a caller gets
 */
export async function requestToken(
  endpoint: Endpoint,
  grantType: string,
  parameters: Readonly<Record<string, string>>,
  { issued, nonce }: { readonly issued?: string; readonly nonce?: string } = {},
): Promise<Token> {
  const { server, client, key, clock } = endpoint;
  const answer = await withNonce(endpoint, async (headers, fetching) => {
    const response = await genericTokenEndpointRequest(
      server,
      client,
      endpoint.authenticate,
      grantType,
      { ...parameters },
      { headers, ...fetching },
    );
    return processGenericTokenEndpointResponse(server, client, response, {
      recognizedTokenTypes: issued === undefined ? {} : { n_a: () => undefined },
    });
  });
  if (issued !== undefined && answer['issued_token_type'] !== issued)
    throw authFault('the token exchange brought another kind of token than was asked for');
  if (nonce !== undefined && answer.id_token !== undefined && getValidatedIdTokenClaims(answer)?.nonce !== nonce)
    throw authFault('the ID token of the authorization server belongs to another request');
  const { access_token: value, token_type: type, expires_in: seconds, refresh_token: refreshToken } = answer;
  // ATTACKER-CONTROLLED: it becomes a header of every request.
  if (value.length > MAX_TOKEN_CHARACTERS || !SENDABLE.test(value))
    throw authFault('the authorization server gave a token that a header cannot carry');
  if (key !== null && (type as string) !== 'dpop')
    throw authFault('the authorization server gave a token that is bound to no key, although dpop is demanded');
  if (key === null && (type as string) === 'dpop')
    throw authFault('the authorization server gave a token that is bound to a key nobody showed it');
  const now = clock.now();
  return {
    value,
    type: (type as string) === 'dpop' ? 'dpop' : 'bearer',
    issuedAt: now,
    expiresAt: seconds === undefined ? null : now + Math.min(Math.max(seconds, 0), 31_536_000) * 1000,
    scopes: answer.scope === undefined ? null : readScopes(answer.scope),
    refreshToken: refreshToken !== undefined && refreshToken.length <= MAX_TOKEN_CHARACTERS ? refreshToken : null,
  };
}

async function withNonce<T>(
  { server, rule, key }: Endpoint,
  send: (headers: Record<string, string>, fetching: Record<symbol, unknown>) => Promise<T>,
): Promise<T> {
  let isNew = false;
  const fetching = {
    [customFetch]: dialling(rule, (url, nonce) => (isNew = key?.takeNonce(url, nonce) ?? false)),
    // Plain http is a matter of the dial rule, which knows addresses and not only names.
    [allowInsecureRequests]: true,
  };
  const attempt = async (): Promise<T> =>
    send(key === null ? {} : { dpop: await key.proof('POST', server.token_endpoint ?? '') }, fetching);
  try {
    return await attempt();
  } catch (error) {
    if (oauthError(error) !== 'use_dpop_nonce' || !isNew) throw error;
    return attempt();
  }
}
