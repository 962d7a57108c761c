/**
 * Signing in from a browser: authorization code with PKCE S256 (RFC 7636), for the audience of the admin API (RFC 8707), answered by the
 * issuer that was asked (RFC 9207). What belongs to one sign-in lies sealed in a cookie of the browser that began it, so that nobody can be
 * signed in with somebody else's answer (login CSRF), and nobody fills our memory by beginning. An answer is taken once.
 * Not decided here: whether the token is any good, and whose it is (`authenticate.ts`).
 */
import { randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import {
  type AuthorizationServer,
  AuthorizationResponseError,
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  None,
  validateAuthResponse,
} from 'oauth4webapi';
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import { sealedBox } from '../../lib/sealed-box.ts';
import type { DialRule } from '../../upstream/dial.ts';
import { issuerMetadata } from '../../upstream/oauth/discovery.ts';
import { oauthError } from '../../upstream/oauth/faults.ts';
import { requestToken, type Token } from '../../upstream/oauth/token-endpoint.ts';
import type { Tokens } from './sessions.ts';

/** `admin.pages` of the configuration, and the way to the issuer. */
export interface BrowserSignIn {
  readonly clientId: string;
  readonly issuer: string;
  readonly scope: string;
  readonly idleMs: number;
  readonly maxMs: number;
  /** How the issuer may be dialled. */
  readonly rule: DialRule;
}

/** What the sign-in must be like (RFC 9470 section 4). */
export interface Demand {
  readonly maxAgeSeconds: number;
  readonly acrValues: readonly string[];
}

export type SignInFault =
  /** No cookie, another one, or too late: begun elsewhere, overtaken by another tab, or forged. */
  | { readonly code: 'sign_in_not_begun_here' }
  /** The issuer said no; its code, for the log and the page. */
  | { readonly code: 'sign_in_refused'; readonly error: string }
  /** The answer is not one of the issuer that was asked. */
  | { readonly code: 'sign_in_answer' }
  | { readonly code: 'issuer_unavailable'; readonly why: string };

export interface CodeFlow {
  /** `sealed`: for the cookie. */
  begin(at: Place, returnTo: string | null, demand: Demand): Promise<Result<Begun, SignInFault>>;
  finish(at: Place, query: URLSearchParams, sealed: string | null): Promise<Result<Finished, SignInFault>>;
  /** Null: the issuer gives no newer token. */
  renew(at: Place, refresh: string): Promise<Tokens | null>;
}

interface Place {
  /** What gets the answer, to the letter. */
  readonly redirectUri: string;
  /** What tokens are for. */
  readonly resource: string;
}
interface Begun {
  readonly url: string;
  readonly sealed: string;
}
interface Finished {
  readonly tokens: Tokens;
  readonly returnTo: string | null;
}

export const SIGN_IN_SECONDS = 600;
const METADATA_MS = 300_000;
const FAILED_MS = 2_000;
const ERROR_CODE = /^[a-z_]{1,64}$/;

const Pending = z.strictObject({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  returnTo: z.string().nullable(),
  until: z.number(),
});

export function codeFlow(setup: BrowserSignIn, clock: Clock): CodeFlow {
  const { clientId, issuer, scope, rule } = setup;
  const client = { client_id: clientId };
  // Of this process alone: a restart ends sign-ins under way, as it ends sessions.
  const box = sealedBox([randomBytes(32)], 'admin sign-in', 4_096);
  const taken = new LRUCache<string, true>({ max: 10_000, ttl: SIGN_IN_SECONDS * 1_000 });
  let metadata: { readonly server: Promise<AuthorizationServer>; readonly until: number } | null = null;

  function issuerNow(): Promise<AuthorizationServer> {
    if (metadata !== null && clock.now() < metadata.until) return metadata.server;
    const server = issuerMetadata(issuer, rule);
    const asked = { server, until: clock.now() + METADATA_MS };
    metadata = asked;
    // Whoever asks without being anybody must not make us ask the issuer as often.
    server.catch(() => metadata === asked && (metadata = { server, until: clock.now() + FAILED_MS }));
    return server;
  }

  const tokenRequest = (
    server: AuthorizationServer,
    grant: string,
    parameters: Record<string, string>,
    nonce?: string,
  ) =>
    requestToken(
      { server, rule, clock, client, authenticate: None(), key: null },
      grant,
      parameters,
      nonce === undefined ? {} : { nonce },
    );

  return {
    async begin({ redirectUri, resource }, returnTo, { maxAgeSeconds, acrValues }) {
      let server: AuthorizationServer;
      try {
        server = await issuerNow();
      } catch (error) {
        return err(unavailable(error));
      }
      const at = safeEndpoint(server);
      if (at === null)
        return err({ code: 'issuer_unavailable', why: 'it names no authorization endpoint that is safe' });
      const withNonce = asksForIdToken(scope);
      if (server.code_challenge_methods_supported?.includes('S256') !== true && !withNonce)
        return err({ code: 'issuer_unavailable', why: 'it does not say that it supports PKCE with S256' });
      const verifier = generateRandomCodeVerifier();
      const [state, nonce] = [random(), random()];
      const until = clock.now() + SIGN_IN_SECONDS * 1_000;
      const query: Record<string, string> = {
        response_type: 'code',
        client_id: clientId,
        redirect_uri: redirectUri,
        scope,
        resource,
        state,
        code_challenge: await calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        max_age: String(maxAgeSeconds),
        ...(acrValues.length > 0 && { acr_values: acrValues.join(' ') }),
        ...(withNonce && { nonce }),
      };
      for (const [name, value] of Object.entries(query)) at.searchParams.set(name, value);
      const pending: z.infer<typeof Pending> = { state, nonce, verifier, returnTo, until };
      return ok({ url: at.href, sealed: box.seal(JSON.stringify(pending)) });
    },

    async finish({ redirectUri, resource }, query, sealed) {
      const opened = sealed === null ? null : box.open(sealed);
      const pending = opened === null ? null : Pending.parse(JSON.parse(opened));
      const states = query.getAll('state');
      if (
        pending === null ||
        clock.now() >= pending.until ||
        states.length !== 1 ||
        states[0] !== pending.state ||
        taken.has(pending.state)
      )
        return err({ code: 'sign_in_not_begun_here' });
      taken.set(pending.state, true);
      let server: AuthorizationServer;
      try {
        server = await issuerNow();
      } catch (error) {
        return err(unavailable(error));
      }
      let answer: URLSearchParams;
      try {
        answer = validateAuthResponse(server, client, query, pending.state);
      } catch (error) {
        const code = error instanceof AuthorizationResponseError ? error.error : '';
        return err(ERROR_CODE.test(code) ? { code: 'sign_in_refused', error: code } : { code: 'sign_in_answer' });
      }
      const code = answer.get('code');
      if (code === null) return err({ code: 'sign_in_answer' });
      try {
        const token = await tokenRequest(
          server,
          'authorization_code',
          { code, redirect_uri: redirectUri, code_verifier: pending.verifier, resource },
          asksForIdToken(scope) ? pending.nonce : undefined,
        );
        return ok({ tokens: tokensOf(token, null, clock), returnTo: pending.returnTo });
      } catch (error) {
        const refused = oauthError(error);
        return err(refused === null ? unavailable(error) : { code: 'sign_in_refused', error: refused });
      }
    },

    async renew({ resource }, refresh) {
      try {
        const token = await tokenRequest(await issuerNow(), 'refresh_token', { refresh_token: refresh, resource });
        return tokensOf(token, refresh, clock);
      } catch {
        return null;
      }
    },
  };
}

const random = (): string => randomBytes(32).toString('base64url');
const asksForIdToken = (scope: string): boolean => scope.split(' ').includes('openid');

/** An issuer that does not say how long a token lasts gets it looked at again in five minutes; the verifier knows better in any case. */
const tokensOf = (token: Token, before: string | null, clock: Clock): Tokens => ({
  access: token.value,
  refresh: token.refreshToken ?? before,
  expiresAt: token.expiresAt ?? clock.now() + 300_000,
});

/** A browser is sent there: https, or http on this machine. */
function safeEndpoint({ authorization_endpoint: text }: AuthorizationServer): URL | null {
  const url = text === undefined ? null : URL.parse(text);
  if (url === null || url.username !== '' || url.hash !== '') return null;
  const local = url.protocol === 'http:' && /^(?:127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(url.hostname);
  return url.protocol === 'https:' || local ? url : null;
}

/** No more of the fault than its message: errors of the library carry whole answers, and with them tokens. */
const unavailable = (error: unknown): SignInFault => ({
  code: 'issuer_unavailable',
  why: error instanceof Error && 'code' in error ? error.message.slice(0, 300) : 'it gave no usable answer',
});
