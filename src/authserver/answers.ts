/**
 * Errors of the endpoints that programs call: always JSON of RFC 6749 section 5.2, a description somebody can act on, and
 * never which half of a credential was wrong. The engine decides what is an error; this words it.
 */
import type { Provider } from 'oidc-provider';
import { isJsonObject } from '../lib/json.ts';

type Middleware = Parameters<Provider['use']>[0];

/** A client that is unknown, one with a wrong secret and one whose secret has ended get the same words. */
const CLIENT_FAILED =
  'client authentication failed: check the client id, that it authenticates as registered, and that its key or secret has not ended';

/** Descriptions of the engine that name no remedy. */
const REWORDED: Record<string, readonly [error: string, description: string]> = {
  'grant request is invalid': [
    'invalid_grant',
    'the code, token or assertion is not valid here: it has ended, was used before, or is for another client; start again',
  ],
  'requested grant type is not allowed for this client': [
    'unauthorized_client',
    'this client may not use this grant; an administrator can allow it in grantTypes of the client',
  ],
  'urn:ietf:params:oauth:grant-type:device_code is not allowed for this client': [
    'unauthorized_client',
    'this client may not sign in by a code; an administrator can allow it in grantTypes of the client',
  ],
  'no client authentication mechanism provided': [
    'invalid_request',
    'send client_id, with the proof that this client is registered with, as application/x-www-form-urlencoded',
  ],
  'Authorization Server policy requires PKCE to be used for this request': [
    'invalid_request',
    'send code_challenge and code_challenge_method=S256: PKCE is required (RFC 7636)',
  ],
  'requested response_mode is not allowed for this client or request': [
    'invalid_request',
    'ask with response_type=code and let the answer come in the query: other response types and modes are off',
  ],
  'unsupported grant_type requested': [
    'unsupported_grant_type',
    'this server has no such grant; grant_types_supported in its metadata lists those it has',
  ],
  'invalid token provided': [
    'invalid_token',
    'registration needs a valid initial access token; ask an administrator for one',
  ],
  'no access token provided': [
    'invalid_token',
    'registration needs a valid initial access token; ask an administrator for one',
  ],
};

/** Stands inside the one exit and around everything else. */
export function standardAnswers(issuer: string, paths: ReadonlySet<string>): Middleware {
  return async (ctx, next) => {
    if (!paths.has(ctx.path)) return next();
    if (ctx.method !== 'POST' && ctx.method !== 'OPTIONS') {
      ctx.status = 405;
      ctx.set('allow', 'POST');
      ctx.body = { error: 'invalid_request', error_description: 'this endpoint takes POST requests' };
      return;
    }
    // Whoever prefers a page gets JSON here all the same: programs read it.
    ctx.req.headers.accept = 'application/json';
    await next();
    const answer: unknown = ctx.body;
    if (!isJsonObject(answer) || typeof answer['error'] !== 'string') return;
    if (answer['error'] === 'invalid_client') {
      ctx.status = 401;
      // RFC 6749 section 5.2: who tried by header is told by header.
      if (ctx.get('authorization') !== '')
        ctx.set('www-authenticate', `Basic realm="${issuer}", error="invalid_client"`);
      ctx.body = { error: 'invalid_client', error_description: CLIENT_FAILED };
      return;
    }
    const said = answer['error_description'];
    const reworded = typeof said === 'string' ? REWORDED[said] : undefined;
    if (reworded !== undefined) ctx.body = { ...answer, error: reworded[0], error_description: reworded[1] };
  };
}

/** Endpoints that programs call. `/register` is one only while registration is on. */
export const programPaths = (registers: boolean): ReadonlySet<string> =>
  new Set(['/token', '/introspect', '/revoke', '/par', '/device_authorization', ...(registers ? ['/register'] : [])]);
