/**
 * A real authorization server with every grant configured, a real identity provider and a real platform that sign on loopback, clients that
 * authenticate in each way, a second resource, and people who sign in by a browser. Everything stops with `stop()`.
 */
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { decodeJwt } from 'jose';
import type { JWTPayload } from 'jose';
import type { AuthServerConfig } from '../../src/authserver/config.ts';
import type { AuthServerParts } from '../../src/authserver/server.ts';
import { startIssuer } from '../support/issuer.ts';
import type { Members, TestIssuer } from '../support/issuer.ts';
import { SCOPES, fakeGateway, startFixture } from './fixture.ts';
import type { FakeGateway, Fixture } from './fixture.ts';

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export const ID_JAG = { typ: 'oauth-id-jag+jwt' };
export const SECRET = 'a-secret-of-the-basic-agent-that-is-long-enough-0123456789';

/** A client with a key of its own. */
export interface KeyHolder {
  readonly clientId: string;
  readonly key: KeyObject;
  readonly publicKey: KeyObject;
}

const ALL_GRANTS: NonNullable<NonNullable<AuthServerConfig['preregisteredClients']>[number]['grantTypes']> = [
  'client_credentials',
  JWT_BEARER,
  TOKEN_EXCHANGE,
];

export interface Rig {
  readonly at: Fixture;
  readonly idp: TestIssuer;
  readonly platform: TestIssuer;
  readonly other: FakeGateway;
  readonly clients: Readonly<Record<'desk' | 'writer' | 'third' | 'fourth', KeyHolder>>;
  token(fields: Fields, headers?: Record<string, string>): Promise<Answer>;
  /** An ID-JAG that is good for the client `desk`; members replace or remove its own. */
  idJag(claims?: Members, header?: Members, options?: Parameters<TestIssuer['mint']>[2]): string;
  /** A token of the platform that is good. */
  workload(claims?: Members, header?: Members, options?: Parameters<TestIssuer['mint']>[2]): string;
  /** Fields by which a client authenticates. */
  by(client: KeyHolder, claims?: Members, header?: Members, key?: KeyObject): Record<string, string>;
  /** A person's access token for `mcp-client`, by browser. */
  personToken(scope?: string): Promise<string>;
  /** Reasons of all refusals so far, newest last. */
  reasons(): readonly string[];
  stop(): Promise<void>;
}

export type Fields = Readonly<Record<string, string | undefined>>;

export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
  /** What the server logged while it answered, as lines. */
  readonly logged: readonly string[];
  /** Reasons of refusals among them. */
  readonly reasons: readonly string[];
  /** Claims of the token; fails when there is none. */
  claims(): JWTPayload;
}

export async function startRig(
  grants: (
    resource: string,
    other: string,
    idp: string,
    platform: string,
  ) => Partial<NonNullable<AuthServerConfig['grants']>> = () => ({}),
  parts: AuthServerParts = {},
  change: Partial<AuthServerConfig> = {},
): Promise<Rig> {
  const idp = await startIssuer();
  const platform = await startIssuer({ algorithm: 'RS256' });
  const other = await fakeGateway('/mcp/default/mail');
  const keyHolder = (clientId: string): KeyHolder => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return { clientId, key: privateKey, publicKey };
  };
  const clients = {
    desk: keyHolder('desk'),
    writer: keyHolder('writer'),
    third: keyHolder('third'),
    fourth: keyHolder('fourth'),
  };
  const at = await startFixture(
    (gateway) => ({
      trustedGateways: [{ origin: gateway.origin }, { origin: other.origin }],
      preregisteredClients: [
        ...Object.values(clients).map(({ clientId, publicKey }) => ({
          clientId,
          name: clientId,
          grantTypes: [...ALL_GRANTS],
          authentication: {
            method: 'private_key_jwt' as const,
            jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), kty: 'EC' as const, kid: clientId }] },
          },
        })),
        ...(['client_secret_basic', 'client_secret_post'] as const).map((method) => ({
          clientId: method === 'client_secret_basic' ? 'basic-agent' : 'post-agent',
          name: method,
          owner: 'Ada Lovelace',
          grantTypes: [...ALL_GRANTS],
          authentication: { method, secret: 'env:AGENT_SECRET', secretExpiresAt: '2099-01-01T00:00:00Z' },
        })),
        {
          clientId: 'late-agent',
          name: 'Its secret has ended',
          owner: 'Ada Lovelace',
          grantTypes: [...ALL_GRANTS],
          authentication: {
            method: 'client_secret_basic' as const,
            secret: 'env:AGENT_SECRET',
            secretExpiresAt: '2020-01-01T00:00:00Z',
          },
        },
        { clientId: 'public-app', name: 'Public', grantTypes: [JWT_BEARER] },
      ],
      grants: {
        clientCredentials: ['desk', 'basic-agent', 'post-agent', 'late-agent'].map((client) => ({
          client,
          may: [{ resource: gateway.resource, scopes: ['files:read', 'files:write', 'files:gone'] }],
        })),
        assertionIssuers: {
          identityProviders: [{ id: 'acme', issuer: idp.issuer }],
          workloads: [
            {
              issuer: platform.issuer,
              rules: [
                {
                  subject: { equals: 'system:serviceaccount:prod:reporter' },
                  claims: [{ claim: ['kubernetes.io', 'namespace'], equals: 'prod' }],
                  principal: 'reporter',
                  may: [{ resource: gateway.resource, scopes: ['files:read', 'files:write'] }],
                },
                {
                  subject: { startsWith: 'repo:acme/site:' },
                  principal: 'deployer',
                  may: [{ resource: gateway.resource, scopes: ['files:exec'] }],
                },
                {
                  subject: { startsWith: 'twice:' },
                  principal: 'one',
                  may: [{ resource: gateway.resource, scopes: ['files:read'] }],
                },
                {
                  subject: { equals: 'twice:x' },
                  principal: 'two',
                  may: [{ resource: gateway.resource, scopes: ['files:read'] }],
                },
              ],
            },
          ],
        },
        tokenExchange: {
          rules: [
            {
              client: 'writer',
              from: ['mcp-client', 'desk'],
              to: [
                { resource: gateway.resource, scopes: SCOPES.map(({ scope }) => scope) },
                { resource: other.resource, scopes: ['mail:send'] },
              ],
            },
            {
              client: 'third',
              from: ['writer', 'mcp-client'],
              to: [{ resource: gateway.resource, scopes: ['files:read'] }],
            },
            { client: 'fourth', from: ['third'], to: [{ resource: gateway.resource, scopes: ['files:read'] }] },
          ],
        },
        ...grants(gateway.resource, other.resource, idp.issuer, platform.issuer),
      },
      ...change,
    }),
    { env: { AGENT_SECRET: SECRET }, ...parts },
  );
  other.document = {
    resource: other.resource,
    authorization_servers: [at.server.issuer],
    resource_name: 'Mail',
    scopes_supported: ['mail:read'],
    remit_scopes: ['mail:read', 'mail:send'].map((scope) => ({ scope, description: scope })),
  };
  const { issuer } = at.server;

  return {
    at,
    idp,
    platform,
    other,
    clients,
    token: async (fields, headers = {}) => {
      const given = Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== undefined);
      const from = at.log.length;
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers,
        body: new URLSearchParams(given),
        signal: AbortSignal.timeout(30_000),
      });
      const body = (await response.json()) as Record<string, unknown>;
      const logged = at.log.slice(from);
      const claims = (): JWTPayload => decodeJwt(String(body['access_token']));
      return { status: response.status, body, logged, reasons: reasonsIn(logged), claims };
    },
    idJag: (claims = {}, header = {}, options = {}) =>
      idp.mint(
        {
          sub: 'ada-1815',
          aud: issuer,
          client_id: 'desk',
          resource: at.gateway.resource,
          scope: 'files:read files:write',
          email: 'ada@example.com',
          ...claims,
        },
        { ...ID_JAG, ...header },
        options,
      ),
    workload: (claims = {}, header = {}, options = {}) =>
      platform.mint(
        {
          sub: 'system:serviceaccount:prod:reporter',
          aud: issuer,
          client_id: undefined,
          'kubernetes.io': { namespace: 'prod' },
          groups: ['administrators'],
          ...claims,
        },
        { typ: 'JWT', ...header },
        options,
      ),
    by: (client, claims = {}, header = {}, key = client.key) => {
      const now = Math.floor(Date.now() / 1_000);
      const { clientId } = client;
      const payload = {
        iss: clientId,
        sub: clientId,
        aud: issuer,
        jti: randomUUID(),
        iat: now,
        exp: now + 120,
        ...claims,
      };
      return {
        client_assertion_type: ASSERTION_TYPE,
        client_assertion: compact({ alg: 'ES256', typ: 'JWT', kid: clientId, ...header }, payload, key),
      };
    },
    personToken: async (scope = 'files:read files:write') => {
      const tokens = await at.tokens({ params: { scope } });
      return tokens.access_token;
    },
    reasons: () => reasonsIn(at.log),
    stop: async () => {
      await at.stop();
      await Promise.all([idp.close(), platform.close(), other.stop()]);
    },
  };
}

const reasonsIn = (lines: readonly string[]): readonly string[] =>
  lines.flatMap((line) => {
    const entry = JSON.parse(line) as { msg: string; reason?: string; subjectToken?: string };
    return entry.msg === 'token request refused' ? [entry.subjectToken ?? entry.reason ?? ''] : [];
  });

/** ES256 by hand: whatever header and payload, also what no library would sign. */
export function compact(header: Members, payload: Members, key: KeyObject): string {
  const input = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

export const basic = (id: string, secret: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`,
});
