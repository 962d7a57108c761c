/** The official client, unmodified, gets its token by each grant that needs no browser: discovery, authentication, resource, scope. */
import {
  CrossAppAccessProvider,
  ClientCredentialsProvider,
  PrivateKeyJwtProvider,
  auth,
} from '@modelcontextprotocol/client';
import type { OAuthClientProvider, OAuthTokens } from '@modelcontextprotocol/client';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JWT_BEARER, SECRET, startRig } from './grants-rig.ts';
import type { Rig } from './grants-rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await startRig();
});
afterAll(() => rig.stop());

const signIn = async (provider: OAuthClientProvider): Promise<Record<string, unknown>> => {
  expect(await auth(provider, { serverUrl: rig.at.gateway.resource })).toBe('AUTHORIZED');
  const tokens = await provider.tokens();
  return decodeJwt(tokens?.access_token ?? '');
};

test('client credentials with a secret (auth/client-credentials-basic)', async () => {
  const provider = new ClientCredentialsProvider({
    clientId: 'basic-agent',
    clientSecret: SECRET,
    expectedIssuer: rig.at.server.issuer,
  });
  expect(await signIn(provider)).toMatchObject({
    sub: 'basic-agent',
    aud: rig.at.gateway.resource,
    scope: 'files:read',
  });
});

test('client credentials with a key (auth/client-credentials-jwt)', async () => {
  const provider = new PrivateKeyJwtProvider({
    clientId: 'desk',
    privateKey: String(rig.clients.desk.key.export({ type: 'pkcs8', format: 'pem' })),
    algorithm: 'ES256',
    expectedIssuer: rig.at.server.issuer,
  });
  // The client asks for what the server's metadata recommends.
  expect(await signIn(provider)).toMatchObject({ sub: 'desk', client_id: 'desk', scope: 'files:read' });
});

test('enterprise-managed authorization (auth/enterprise-managed-authorization)', async () => {
  const provider = new CrossAppAccessProvider({
    clientId: 'basic-agent',
    clientSecret: SECRET,
    expectedIssuer: rig.at.server.issuer,
    assertion: ({ authorizationServerUrl, resourceUrl, scope }) =>
      rig.idJag({
        aud: authorizationServerUrl.replace(/\/$/, ''),
        resource: resourceUrl,
        scope,
        client_id: 'basic-agent',
      }),
  });
  expect(await signIn(provider)).toMatchObject({
    sub: 'acme|ada-1815',
    client_id: 'basic-agent',
    aud: rig.at.gateway.resource,
    scope: 'files:read',
  });
});

/** As a program does it: no registration, the token of the platform, whatever client id it calls itself by. */
function workloadProvider(clientId: string, assertion: () => string): OAuthClientProvider {
  let kept: OAuthTokens | undefined;
  return {
    redirectUrl: undefined,
    clientMetadata: { redirect_uris: [], grant_types: [JWT_BEARER], token_endpoint_auth_method: 'none' },
    clientInformation: () => ({ client_id: clientId }),
    tokens: () => kept,
    saveTokens: (tokens) => void (kept = tokens),
    invalidateCredentials: () => undefined,
    redirectToAuthorization: () => expect.fail('nobody is there to sign in'),
    saveCodeVerifier: () => undefined,
    codeVerifier: () => '',
    prepareTokenRequest: (scope) =>
      new URLSearchParams({ grant_type: JWT_BEARER, assertion: assertion(), ...(scope !== undefined && { scope }) }),
  };
}

test('workload identity (auth/wif-jwt-bearer)', async () => {
  const provider = workloadProvider('reporter', () => rig.workload());
  expect(await signIn(provider)).toMatchObject({ sub: 'reporter', client_id: 'reporter', scope: 'files:read' });
});

test('a refused workload learns the standard’s code and nothing more', async () => {
  const provider = workloadProvider('somebody-else', () => rig.workload());
  await expect(auth(provider, { serverUrl: rig.at.gateway.resource })).rejects.toMatchObject({
    code: 'unauthorized_client',
  });
  const late = workloadProvider('reporter', () => rig.workload({ exp: 1 }));
  await expect(auth(late, { serverUrl: rig.at.gateway.resource })).rejects.toMatchObject({ code: 'invalid_grant' });
});
