/**
 * Sign-in at an OpenID Connect provider: code flow with PKCE S256, state and nonce. Promises: issuer equal to the letter,
 * `iss` of the response where the provider sends it (RFC 9207), ID token signature always verified by the provider's keys
 * with a listed algorithm, audience, expiry and nonce by the library. Does not map claims to anybody.
 */
import { createPrivateKey } from 'node:crypto';
import { decodeProtectedHeader } from 'jose';
import * as oidc from 'openid-client';
import type { Clock } from '../../lib/clock.ts';
import { isFault } from '../../lib/fault.ts';
import type { JsonObject } from '../../lib/json.ts';
import { resolveSecret } from '../../upstream/secrets.ts';
import { isLoopbackHost } from '../config.ts';
import type { ProviderFetch } from './dial.ts';
import { PROFILE, isSharedIssuer } from './profiles.ts';
import type { OpenIdConnectProvider } from './settings.ts';
import { SignInFault } from './upstream.ts';
import type { Upstream } from './upstream.ts';

/** Metadata is read again after this; keys on their own terms (unknown key: at most once a minute). */
const METADATA_MS = 3_600_000;
const TIMEOUT_SECONDS = 10;

export function openIdConnect(options: {
  readonly provider: OpenIdConnectProvider;
  readonly redirectUri: string;
  readonly fetch: ProviderFetch;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}): Upstream {
  const { provider, redirectUri, env, clock } = options;
  const profile = PROFILE[provider.profile];
  let known: { readonly configuration: Promise<oidc.Configuration>; readonly until: number } | undefined;

  const configuration = (): Promise<oidc.Configuration> => {
    if (known === undefined || clock.now() >= known.until) {
      const entry = { configuration: discover(), until: clock.now() + METADATA_MS };
      known = entry;
      // A failure is not remembered: the next person's try asks again.
      entry.configuration.catch(() => {
        if (known === entry) known = undefined;
      });
    }
    return known.configuration;
  };

  const discover = async (): Promise<oidc.Configuration> => {
    const local = isLoopbackHost(new URL(provider.issuer).hostname);
    const found = await oidc.discovery(
      new URL(provider.issuer),
      provider.clientId,
      { [oidc.clockTolerance]: provider.clockSkewSeconds },
      await clientAuthentication(provider, env),
      {
        [oidc.customFetch]: (url, init) =>
          options.fetch(url, { method: init.method, headers: init.headers, body: init.body, signal: init.signal }),
        timeout: TIMEOUT_SECONDS,
        execute: [oidc.enableNonRepudiationChecks, ...(local ? [oidc.allowInsecureRequests] : [])],
      },
    );
    const { issuer } = found.serverMetadata();
    const template = isSharedIssuer(provider.issuer) && issuer === profile.issuerTemplate;
    if (issuer !== provider.issuer && !template)
      throw new SignInFault('federation_refused', 'the metadata names another issuer than the configuration');
    return found;
  };

  return {
    metadata: async () => null,
    begin: async ({ state, asked, chooseAccount }) => {
      const config = await configuration().catch(rethrow);
      const verifier = oidc.randomPKCECodeVerifier();
      const nonce = oidc.randomNonce();
      const fresh = asked.fresh || asked.maxAge !== null;
      const scopes = [
        'openid',
        ...profile.scopes,
        ...(profile.groupsScope !== null && provider.forward.includes('groups') ? [profile.groupsScope] : []),
        ...provider.scopes,
      ];
      const tenants = Object.keys(provider.tenants?.organisations ?? {});
      const [tenant] = tenants;
      const url = oidc.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        scope: [...new Set(scopes)].join(' '),
        state,
        nonce,
        code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...(fresh && profile.freshness === 'max_age' && { max_age: String(asked.fresh ? 0 : asked.maxAge) }),
        ...(fresh && profile.freshness !== 'none' && (asked.fresh || profile.freshness === 'prompt')
          ? { prompt: 'login' }
          : chooseAccount && { prompt: 'select_account' }),
        ...(asked.acr.length > 0 && profile.acrValues && { acr_values: asked.acr.join(' ') }),
        ...(profile.tenantParameter !== null &&
          tenants.length === 1 &&
          tenant !== undefined && { [profile.tenantParameter]: tenant }),
      });
      return { url: url.href, secret: { verifier, nonce } };
    },
    finish: async (answer, secret) => {
      try {
        const config = await configuration();
        const callback = new URL(`${redirectUri}?${answer}`);
        const tokens = await oidc.authorizationCodeGrant(config, callback, {
          pkceCodeVerifier: secret['verifier'] ?? '',
          expectedNonce: secret['nonce'] ?? '',
          // The sign-in under way was found by it.
          expectedState: new URLSearchParams(answer).get('state') ?? '',
          idTokenExpected: true,
        });
        const claims = tokens.claims();
        if (claims === undefined || tokens.id_token === undefined)
          throw new SignInFault('federation_refused', 'the provider sent no ID token');
        const { alg } = decodeProtectedHeader(tokens.id_token);
        if (alg === undefined || !provider.algorithms.includes(alg))
          throw new SignInFault('federation_refused', 'the ID token is signed with an algorithm that is not listed');
        return { ...factsOf(claims), claims: claims as JsonObject };
      } catch (error) {
        return rethrow(error);
      }
    },
  };
}

function factsOf(claims: oidc.IDToken): { authTime: number | null; acr: string | null; amr: readonly string[] } {
  const { auth_time: time, acr, amr } = claims;
  const listed = Array.isArray(amr) ? (amr as unknown[]) : [];
  return {
    authTime: typeof time === 'number' && Number.isSafeInteger(time) && time > 0 ? time : null,
    acr: typeof acr === 'string' && acr.length > 0 && acr.length <= 200 ? acr : null,
    amr: listed.filter((member): member is string => typeof member === 'string' && member.length <= 50).slice(0, 20),
  };
}

async function clientAuthentication(
  provider: OpenIdConnectProvider,
  env: Readonly<Record<string, string | undefined>>,
): Promise<oidc.ClientAuth> {
  const given = provider.clientAuthentication;
  if (given.method === 'none') return oidc.None();
  const secret = await resolveSecret({ secret: given.secret }, env);
  if (given.method !== 'private_key_jwt')
    return given.method === 'client_secret_basic' ? oidc.ClientSecretBasic(secret) : oidc.ClientSecretPost(secret);
  const algorithm = {
    RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
    PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
    ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  }[given.algorithm];
  const der = createPrivateKey(secret).export({ type: 'pkcs8', format: 'der' });
  const key = await crypto.subtle.importKey('pkcs8', new Uint8Array(der), algorithm, false, ['sign']);
  return oidc.PrivateKeyJwt(given.keyId === undefined ? key : { key, kid: given.keyId });
}

/** Codes by which a provider says that it is not able to, now. */
const LATER: ReadonlySet<string> = new Set(['temporarily_unavailable', 'server_error']);

/** The library's codes for an answer that is none: too late, not 200, not JSON. */
const UNREACHED: ReadonlySet<string> = new Set([
  'OAUTH_TIMEOUT',
  'OAUTH_RESPONSE_IS_NOT_CONFORM',
  'OAUTH_RESPONSE_IS_NOT_JSON',
  'OAUTH_PARSE_ERROR',
]);

/** Everything that the library, the dialler or the provider throws, in two kinds; the log gets the library's code and no text. */
function rethrow(error: unknown): never {
  if (error instanceof SignInFault) throw error;
  if (error instanceof oidc.AuthorizationResponseError || error instanceof oidc.ResponseBodyError) {
    const code = /^[a-z_]{1,60}$/.test(error.error) ? error.error : 'unreadable';
    throw new SignInFault(
      LATER.has(code) ? 'federation_unavailable' : 'federation_refused',
      `the provider answered with the error ${code}`,
      { cause: error },
    );
  }
  if (error instanceof oidc.ClientError) {
    const cause = error.cause;
    if (isFault(cause))
      throw new SignInFault('federation_unavailable', `the provider was not reached: ${cause.code}`, { cause });
    throw new SignInFault(
      UNREACHED.has(error.code ?? '') ? 'federation_unavailable' : 'federation_refused',
      `the answer does not hold: ${error.code ?? 'unknown'} (${error.message.slice(0, 200)})`,
      { cause: error },
    );
  }
  if (isFault(error)) {
    throw new SignInFault('federation_unavailable', `the provider was not reached: ${error.code}`, { cause: error });
  }
  throw error;
}
