/** The OAuth halves of the official SDKs, unmodified: discovery, code flow, refresh, step-up, against the real server. */
import { auth as authV2 } from '@modelcontextprotocol/client';
import type { OAuthDiscoveryState } from '@modelcontextprotocol/client';
import { auth as authV1 } from '@modelcontextprotocol/sdk/client/auth.js';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signInAndConsent } from '../support/browser.ts';
import { REDIRECT, startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

let at: Fixture;
beforeAll(async () => {
  at = await startFixture();
});
afterAll(() => at.stop());

/** What a host keeps for its client: pre-registered id, tokens and verifier in memory, a browser that notes where it was sent. */
function host() {
  const kept: {
    tokens?: { access_token: string; token_type: string; refresh_token?: string | undefined };
    verifier: string;
    url?: URL;
    discovery?: OAuthDiscoveryState;
  } = { verifier: '' };
  const provider = {
    redirectUrl: REDIRECT,
    clientMetadata: { client_name: 'test', redirect_uris: [REDIRECT] },
    clientInformation: () => ({ client_id: 'mcp-client' }),
    tokens: () => kept.tokens,
    saveTokens: (tokens: NonNullable<typeof kept.tokens>) => void (kept.tokens = tokens),
    redirectToAuthorization: (url: URL) => void (kept.url = url),
    saveCodeVerifier: (verifier: string) => void (kept.verifier = verifier),
    codeVerifier: () => kept.verifier,
    // Only v2 binds the callback to the server it discovered; v1 ignores these.
    saveDiscoveryState: (state: unknown) => void (kept.discovery = state as OAuthDiscoveryState),
    discoveryState: () => kept.discovery,
  };
  return { kept, provider };
}

const SDKS = [
  [
    'SDK v1',
    (
      provider: ReturnType<typeof host>['provider'],
      options: { authorizationCode?: string; iss?: string; scope?: string },
    ) => authV1(provider, { serverUrl: at.gateway.resource, ...options }),
  ],
  [
    'SDK v2',
    (
      provider: ReturnType<typeof host>['provider'],
      options: { authorizationCode?: string; iss?: string; scope?: string },
    ) => authV2(provider, { serverUrl: at.gateway.resource, ...options }),
  ],
] as const;

describe.each(SDKS)('%s', (_name, auth) => {
  test('discovers, signs in, gets a token for the resource, refreshes it, and steps up', async () => {
    const { kept, provider } = host();
    const visit = async (): Promise<{ authorizationCode: string; iss: string }> => {
      const callback = await signInAndConsent({
        authorizationUrl: kept.url ?? '',
        username: at.user.username,
        password: at.user.password,
        decision: 'allow',
      });
      return {
        authorizationCode: callback.searchParams.get('code') ?? '',
        iss: callback.searchParams.get('iss') ?? '',
      };
    };
    expect(await auth(provider, {})).toBe('REDIRECT');
    expect(await auth(provider, await visit())).toBe('AUTHORIZED');
    const first = kept.tokens?.access_token ?? '';
    expect(decodeJwt(first)).toMatchObject({ aud: at.gateway.resource, scope: 'files:read' });

    expect(await auth(provider, {})).toBe('AUTHORIZED'); // by refresh token
    const second = kept.tokens?.access_token ?? '';
    expect(decodeJwt(second).jti).not.toBe(decodeJwt(first).jti);

    delete kept.tokens;
    expect(await auth(provider, { scope: 'files:read files:write' })).toBe('REDIRECT');
    expect(await auth(provider, await visit())).toBe('AUTHORIZED');
    expect(
      decodeJwt(kept.tokens === undefined ? '' : (kept.tokens as { access_token: string }).access_token),
    ).toMatchObject({ scope: 'files:read files:write' });
  });
});
