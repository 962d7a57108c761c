/**
 * A real authorization server on loopback, a stand-in for a gateway's metadata endpoint, one evaluation user, and a client
 * made of openid-client. Everything stops with `stop()`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import * as oidc from 'openid-client';
import { pino } from 'pino';
import type { AuthServerConfig } from '../../src/authserver/config.ts';
import { startAuthServer } from '../../src/authserver/server.ts';
import type { AuthServerParts, RunningAuthServer } from '../../src/authserver/server.ts';
import { signInAndConsent } from '../support/browser.ts';
import type { CookieJar, Page } from '../support/browser.ts';

export const SCOPES = [
  { scope: 'files:read', description: 'Read files in the sample folder', risk: 'read' },
  { scope: 'files:write', description: 'Change files in the sample folder', risk: 'write' },
  { scope: 'files:exec', description: 'Run programs' },
];

export interface FakeGateway {
  readonly origin: string;
  readonly resource: string;
  /** What the metadata says; change it to lie. */
  document: Record<string, unknown>;
  status: number;
  readonly requests: string[];
  stop(): Promise<void>;
}

export async function fakeGateway(path = '/mcp/default/files'): Promise<FakeGateway> {
  const requests: string[] = [];
  let gateway: FakeGateway | undefined;
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    const found = request.url === `/.well-known/oauth-protected-resource${path}`;
    response.writeHead(found ? (gateway?.status ?? 500) : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(found ? gateway?.document : {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  gateway = { origin, resource: origin + path, document: {}, status: 200, requests, stop: () => stopServer(server) };
  return gateway;
}

function stopServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

export const REDIRECT = 'http://127.0.0.1:53682/callback';

export interface Fixture {
  readonly dataDir: string;
  readonly server: RunningAuthServer;
  readonly gateway: FakeGateway;
  readonly user: { username: string; password: string; sub: string };
  /** Everything logged, as lines. */
  readonly log: string[];
  readonly client: oidc.Configuration;
  /** Authorization request and browser; returns the callback URL and the verifier. */
  authorize(change?: AuthorizeOptions): Promise<{ callback: URL; verifier: string; state: string }>;
  /** The whole flow. */
  tokens(change?: AuthorizeOptions): Promise<oidc.TokenEndpointResponse>;
  authorizationUrl(change?: AuthorizeOptions): Promise<{ url: URL; verifier: string; state: string }>;
  /** Stops the server and starts it on the same folder and issuer, with the gateway answering as told. */
  restart(change: { readonly gatewayStatus: number }): Promise<RunningAuthServer>;
  stop(): Promise<void>;
}

export interface AuthorizeOptions {
  readonly params?: Record<string, string | undefined>;
  readonly decision?: 'allow' | 'deny';
  readonly jar?: CookieJar;
  readonly onPage?: (page: Page) => void;
}

export async function startFixture(
  given: Partial<AuthServerConfig> | ((gateway: FakeGateway) => Partial<AuthServerConfig>) = {},
  parts: AuthServerParts = {},
): Promise<Fixture> {
  const dataDir = mkdtempSync(join(tmpdir(), 'remit-authserver-'));
  const gateway = await fakeGateway();
  const change = typeof given === 'function' ? given(gateway) : given;
  const log: string[] = [];
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      log.push(chunk.toString('utf8'));
      done();
    },
  });
  const config: AuthServerConfig = {
    issuer: 'http://127.0.0.1:0',
    listen: { host: '127.0.0.1', port: 0 },
    dataDir,
    trustedGateways: [{ origin: gateway.origin }],
    evaluationUsers: true,
    requestsPerMinute: 100_000,
    ...change,
  };
  const allParts: AuthServerParts = { log: pino({ level: 'trace' }, sink), ...parts };
  const server = await startAuthServer(config, allParts);
  let running = server;
  gateway.document = {
    resource: gateway.resource,
    authorization_servers: [server.issuer],
    resource_name: 'Sample files',
    scopes_supported: ['files:read'],
    remit_scopes: SCOPES,
  };
  const [user] =
    change.evaluationUsers === false
      ? []
      : await server.createEvaluationUsers([{ username: 'ada', name: 'Ada Lovelace', email: 'ada@example.com' }]);
  const client = await oidc.discovery(new URL(server.issuer), 'mcp-client', undefined, oidc.None(), {
    algorithm: 'oauth2',
    execute: [oidc.allowInsecureRequests],
  });
  const person = user ?? { username: '', password: '', sub: '' };

  const authorizationUrl: Fixture['authorizationUrl'] = async ({ params = {} } = {}) => {
    const verifier = oidc.randomPKCECodeVerifier();
    const state = oidc.randomState();
    const url = oidc.buildAuthorizationUrl(client, {
      redirect_uri: REDIRECT,
      scope: 'files:read',
      resource: gateway.resource,
      code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
    });
    for (const [name, value] of Object.entries(params)) {
      if (value === undefined) url.searchParams.delete(name);
      else url.searchParams.set(name, value);
    }
    return { url, verifier, state };
  };
  const authorize: Fixture['authorize'] = async (options = {}) => {
    const { url, verifier, state } = await authorizationUrl(options);
    const callback = await signInAndConsent({
      authorizationUrl: url,
      username: person.username,
      password: person.password,
      decision: options.decision ?? 'allow',
      ...(options.jar && { jar: options.jar }),
      ...(options.onPage && { onPage: options.onPage }),
    });
    return { callback, verifier, state };
  };
  return {
    dataDir,
    server,
    gateway,
    user: person,
    log,
    client,
    authorizationUrl,
    authorize,
    tokens: async (options = {}) => {
      const { callback, verifier, state } = await authorize(options);
      return oidc.authorizationCodeGrant(client, callback, { pkceCodeVerifier: verifier, expectedState: state });
    },
    restart: async ({ gatewayStatus }) => {
      await running.close();
      gateway.status = gatewayStatus;
      running = await startAuthServer(
        { ...config, issuer: server.issuer, listen: { host: '127.0.0.1', port: server.port } },
        allParts,
      );
      // Connections kept alive to the old server are found dead by whoever uses them next: let that be us.
      for (let tries = 0; tries < 20; tries++) {
        const answer = await fetch(`${running.issuer}/jwks`).catch(() => null);
        await answer?.body?.cancel();
        if (answer?.ok) break;
      }
      return running;
    },
    stop: async () => {
      await running.close();
      await gateway.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** A POST to the token or revocation endpoint, by hand. */
export async function post(
  url: string,
  fields: Record<string, string>,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(url, {
    method: 'POST',
    body: new URLSearchParams(fields),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? {} : (JSON.parse(text) as Record<string, unknown>) };
}
