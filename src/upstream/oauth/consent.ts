/**
 * An operator's consent at the authorization server of a server (OAuth 2.1 code flow), for the one account that all calls
 * to that server share. Promises: PKCE S256 or nothing; `state` is single use, ten minutes, of the operator who began; the
 * response is of the issuer that was recorded before (RFC 9207, compared to the letter); the code goes to that issuer only.
 */
import { randomBytes } from 'node:crypto';
import {
  type AuthorizationServer,
  AuthorizationResponseError,
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  validateAuthResponse,
} from 'oauth4webapi';
import type { Account } from './account.ts';
import type { AuthorizationCodeAuth } from './auth-target.ts';
import { type Identity, configuredIdentity, isSecretMethod, registrableMethod, secretIdentity } from './client.ts';
import { asAuthFault, authFault } from './faults.ts';
import { type GrantContext, aimed, endpointOf } from './grants.ts';
import type { Link } from './link.ts';
import { registerClient } from './registration.ts';
import { requestToken } from './token-endpoint.ts';

export interface Consent {
  /** Where the operator's browser goes. */
  readonly url: string;
  /** ms since the epoch. */
  readonly expiresAt: number;
}

interface Pending {
  readonly account: Account;
  readonly serverId: string;
  readonly by: string;
  readonly redirectUri: string;
  readonly verifier: string;
  readonly nonce: string;
  readonly context: GrantContext;
  readonly who: Known;
  readonly expiresAt: number;
}

interface Known {
  readonly identity: Identity;
  readonly registered: Link['client']['registered'];
}

const LIFETIME_MS = 600_000;
const MAX_PENDING = 100;
const ERROR_CODE = /^[a-z_]{1,64}$/;

export interface Consents {
  /** `by`: who may finish it. @throws UpstreamFault */
  begin(
    serverId: string,
    account: Account,
    auth: AuthorizationCodeAuth,
    request: { readonly redirectUri: string; readonly by: string },
  ): Promise<Consent>;
  /** `callback`: the whole address the browser was sent to. @throws UpstreamFault */
  finish(serverId: string, account: Account, callback: string, by: string): Promise<void>;
}

export function consents(): Consents {
  const pending = new Map<string, Pending>();
  /** Clients we registered, by issuer and redirect address: never shown to another issuer. */
  const registered = new Map<string, Known>();

  function room(now: number): void {
    for (const [state, { expiresAt }] of pending) if (expiresAt <= now) pending.delete(state);
    if (pending.size >= MAX_PENDING) pending.delete(pending.keys().next().value!);
    if (registered.size >= MAX_PENDING) registered.delete(registered.keys().next().value!);
  }

  async function identityFor(
    { client, dpop }: AuthorizationCodeAuth,
    { site: { server }, rule, resolveSecret }: GrantContext,
    redirectUri: string,
  ): Promise<Known> {
    if (client.method === 'none') return { identity: secretIdentity(client.id, 'none', ''), registered: null };
    if (client.method === 'metadata_document') {
      if (server.client_id_metadata_document_supported !== true)
        throw authFault('the authorization server does not take client ids that are addresses of metadata documents');
      return { identity: secretIdentity(client.url, 'none', ''), registered: null };
    }
    if (client.method !== 'register')
      return { identity: await configuredIdentity(client, server, resolveSecret), registered: null };
    const place = `${server.issuer} ${redirectUri}`;
    const known = registered.get(place);
    if (known !== undefined) return known;
    const method = registrableMethod(server);
    if (method === null) throw authFault('the authorization server takes no client that could be registered');
    const answer = await registerClient(server, rule, {
      client_name: client.name,
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: method,
      application_type: isLoopback(redirectUri) ? 'native' : 'web',
      ...(dpop && { dpop_bound_access_tokens: true }),
    });
    const given = answer.token_endpoint_auth_method ?? method;
    if (!isSecretMethod(given) || (given !== 'none' && answer.client_secret === undefined))
      throw authFault('the authorization server registered a client that cannot authenticate');
    const secret = answer.client_secret ?? '';
    const made = { identity: secretIdentity(answer.client_id, given, secret), registered: { method: given, secret } };
    registered.set(place, made);
    return made;
  }

  return {
    begin: async (serverId, account, auth, { redirectUri, by }) => {
      try {
        const context = await account.context();
        const { site, scopes, key, clock } = context;
        const endpoint = consentEndpoint(site.server);
        const who = await identityFor(auth, context, redirectUri);
        const [state, nonce] = [random(), random()];
        const verifier = generateRandomCodeVerifier();
        const expiresAt = clock.now() + LIFETIME_MS;
        room(clock.now());
        pending.set(state, { account, serverId, by, redirectUri, verifier, nonce, context, who, expiresAt });
        const query: Record<string, string> = {
          response_type: 'code',
          client_id: who.identity.client.client_id,
          redirect_uri: redirectUri,
          state,
          code_challenge: await calculatePKCECodeChallenge(verifier),
          code_challenge_method: 'S256',
          ...aimed(context),
          ...(scopes.includes('openid') && { nonce }),
          // OpenID Connect Core section 11: without consent there is no offline access.
          ...(scopes.includes('offline_access') && { prompt: 'consent' }),
          ...(key !== null && { dpop_jkt: key.thumbprint }),
        };
        for (const [name, value] of Object.entries(query)) endpoint.searchParams.set(name, value);
        return { url: endpoint.href, expiresAt };
      } catch (error) {
        throw asAuthFault(error, 'the request for consent');
      }
    },
    finish: async (serverId, account, callback, by) => {
      const parameters = URL.canParse(callback) ? new URL(callback).searchParams : new URLSearchParams();
      const states = parameters.getAll('state');
      const state = states.length === 1 ? states[0]! : '';
      const begun = pending.get(state);
      // Single use, whatever becomes of it, but only in the hands of who began.
      if (begun === undefined || begun.by !== by || begun.serverId !== serverId || begun.account !== account)
        throw authFault('this answer belongs to no consent that you began for this server as it is now; begin again');
      pending.delete(state);
      const { context, who, redirectUri, verifier, nonce, expiresAt } = begun;
      const { site, clock, key, scopes } = context;
      if (clock.now() >= expiresAt) throw authFault('the consent took longer than ten minutes; begin again');
      let answered: URLSearchParams;
      try {
        answered = validateAuthResponse(site.server, who.identity.client, parameters, state);
      } catch (error) {
        const code = error instanceof AuthorizationResponseError ? error.error : '';
        if (ERROR_CODE.test(code)) throw authFault(`the consent was refused with ${code}`);
        throw authFault('the answer is not of the authorization server that was asked (RFC 9207)');
      }
      const code = answered.get('code');
      if (code === null) throw authFault('the answer holds no code');
      try {
        const endpoint = endpointOf(context, who.identity);
        const token = await requestToken(
          endpoint,
          'authorization_code',
          { code, redirect_uri: redirectUri, code_verifier: verifier, resource: site.resource },
          scopes.includes('openid') ? { nonce } : {},
        );
        await account.linked(
          {
            issuer: site.server.issuer,
            resource: site.resource,
            client: { id: who.identity.client.client_id, registered: who.registered },
            refreshToken: token.refreshToken,
            scopes: [...scopes],
            key: key?.privateJwk ?? null,
            by,
            at: clock.now(),
          },
          { token, endpoint },
        );
      } catch (error) {
        throw asAuthFault(error, 'the exchange of the code');
      }
    },
  };
}

/** Before anything else: without S256 a stolen code is a token. */
function consentEndpoint({
  authorization_endpoint: at,
  code_challenge_methods_supported: methods,
}: AuthorizationServer): URL {
  if (methods?.includes('S256') !== true)
    throw authFault('the authorization server does not say that it supports PKCE with S256');
  if (at === undefined) throw authFault('the authorization server has no authorization endpoint');
  return new URL(at);
}

const random = (): string => randomBytes(32).toString('base64url');
const isLoopback = (address: string): boolean =>
  /^(?:127\.\d+\.\d+\.\d+|\[::1\]|localhost)$/.test(new URL(address).hostname);
