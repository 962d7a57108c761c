/**
 * A company as its people meet it: an identity provider (oidc-provider), Remit's authorization server and its gateway, each a process of its
 * own, the MCP server behind it (the sink, which keeps what reached it and when), provisioning in the words of Entra and of Okta, a
 * transmitter of security events. People sign in with the official SDK and a scripted browser. Nothing is reached behind an interface.
 */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport, auth } from '@modelcontextprotocol/client';
import type { OAuthClientProvider } from '@modelcontextprotocol/client';
import { push, startTransmitter } from '../admin/events/transmitter.ts';
import type { Members } from './issuer.ts';
import { oidcSettings, press, walk } from '../authserver/federation-fixture.ts';
import { REDIRECT } from '../authserver/fixture.ts';
import { SCOPES, gatewayNode, tokensOf } from '../journeys/node.ts';
import type { GatewayNode, Reply } from '../journeys/node.ts';
import { cookieJar } from './browser.ts';
import { IDP_SECRET, startOpenIdProvider } from './idp/start.ts';
import { startIssuer } from './issuer.ts';
import { endAll, freePorts, startRemit, temporaryFolder } from './processes.ts';
import { startSink } from './upstreams/sink.ts';

type Json = Record<string, unknown>;
export const USER = 'urn:ietf:params:scim:schemas:core:2.0:User';
export const GROUP = 'urn:ietf:params:scim:schemas:core:2.0:Group';
const patch = (operation: Json): Json => ({
  schemas: ['urn:ietf:params:scim:api:messages:2.0:PatchOp'],
  Operations: [operation],
});

/** How each product says the same things. */
export const DIALECTS = {
  entra: {
    inactive: patch({ op: 'Replace', path: 'active', value: 'False' }),
    active: patch({ op: 'Replace', path: 'active', value: 'True' }),
    join: (user: string) => patch({ op: 'Add', path: 'members', value: [{ $ref: null, value: user }] }),
    leave: (user: string) => patch({ op: 'Remove', path: 'members', value: [{ $ref: null, value: user }] }),
  },
  okta: {
    inactive: patch({ op: 'replace', value: { active: false } }),
    active: patch({ op: 'replace', value: { active: true } }),
    join: (user: string) => patch({ op: 'add', path: 'members', value: [{ value: user, display: user }] }),
    leave: (user: string) => patch({ op: 'remove', path: `members[value eq "${user}"]` }),
  },
} as const;
export type Dialect = keyof typeof DIALECTS;

export interface Person {
  /** At the identity provider. */
  readonly name: string;
  /** In the directory. */
  readonly id: string;
}

/** Sends what a directory sends over SCIM. */
export type Directory = (method: string, path: string, body?: object) => Promise<Reply>;

/** A new provisioning connection of that node, and its other end. @throws when an administrator may not make it. */
export async function directory(
  node: Pick<GatewayNode, 'api' | 'adminUrl'>,
  title: string,
  identity: { readonly issuer: string; readonly subject: string },
): Promise<Directory> {
  const reason = 'set up';
  const connection = {
    title,
    state: 'active',
    identities: [identity],
    silenceAfterMs: 7_200_000,
    whenSilent: 'alarm',
  };
  const path = `/scim-connections/${title}`;
  const put = await node.api('ada', 'PUT', path, { reason, connection }, { 'if-none-match': '*' });
  const made = await node.api('ada', 'POST', `${path}/tokens`, { reason });
  if (put.status !== 201 || made.status !== 201) throw new Error(`${put.text} ${made.text}`);
  const authorization = `Bearer ${String(made.body['token'])}`;
  return async (method, at, body) => {
    const response = await fetch(`${node.adminUrl}/scim/v2${at}`, {
      method,
      headers: { authorization, ...(body && { 'content-type': 'application/scim+json' }) },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await response.text();
    const parsed = text === '' ? {} : (JSON.parse(text) as Json);
    return { status: response.status, headers: response.headers, text, body: parsed };
  };
}

/** Calls without a pause, eight at a time, until told to stop; then how many. */
export function work(call: () => Promise<unknown>): { stop(): Promise<number> } {
  const load = { going: true, made: 0 };
  const hand = async (): Promise<void> => {
    while (load.going) await call().then(() => load.made++);
  };
  const all = Promise.all(Array.from({ length: 8 }, hand));
  return { stop: async () => ((load.going = false), await all, load.made) };
}

export type Company = Awaited<ReturnType<typeof startCompany>>;
export type SignedIn = Awaited<ReturnType<Company['signIn']>>;

/** Eight hands without a pause would otherwise be told to slow down, before and after they are refused. */
export const UNLIMITED = {
  callsPerMinutePerPerson: 1_000_000,
  callsPerMinutePerAgent: 1_000_000,
  refusalsPerMinutePerCaller: 1_000_000,
  repeatsPerMinute: 1_000_000,
  readRepeatsPerMinute: 1_000_000,
};

export const ROBOT_SECRET = 'a-secret-of-the-robot-of-the-tests-0123456789';

export async function startCompany() {
  const folder = temporaryFolder();
  const [idp, administrators, transmitter, sink, asPort] = await Promise.all([
    startOpenIdProvider(),
    startIssuer(),
    startTransmitter(),
    startSink(),
    freePorts(1),
  ]);
  const stop = async (): Promise<void> => {
    await endAll();
    await Promise.all([idp.stop(), administrators.close(), transmitter.close(), sink.close()]);
  };
  try {
    return await build();
  } catch (error) {
    await stop();
    throw error;
  }

  async function build() {
    const login = `http://127.0.0.1:${asPort}`;
    const toLogin = join(folder, 'to-authserver.token');
    writeFileSync(toLogin, randomBytes(32).toString('base64url'), { mode: 0o600 });
    const allowedNetworks = ['127.0.0.1/32'];
    const peer = { issuer: login, url: `${login}/events`, token: { secret: `file:${toLogin}` }, allowedNetworks };
    // Clients go to the first issuer. Administrators are another issuer's people: what ends sign-ins of the company must not end theirs.
    const node = await gatewayNode(join(folder, 'node'), tokensOf(administrators), {
      issuers: [login, administrators.issuer].map((issuer) => ({ issuer, algorithms: ['ES256'], allowedNetworks })),
      events: { authorizationServers: [peer] },
      limits: UNLIMITED,
    });
    const origin = new URL(node.url).origin;
    const authserver = {
      issuer: login,
      listen: { port: asPort },
      dataDir: './authserver',
      // Everybody here signs in from one address.
      requestsPerMinute: 100_000,
      trustedGateways: [{ origin }],
      identityProviders: [oidcSettings(idp.issuer)],
      events: { gateways: [{ issuer: node.adminUrl, receive: { token: `file:${toLogin}` } }] },
      grants: { clientCredentials: [{ client: 'robot', may: [{ resource: node.url, scopes: SCOPES.split(' ') }] }] },
      preregisteredClients: [
        {
          clientId: 'robot',
          name: 'Robot',
          owner: 'olga',
          grantTypes: ['client_credentials'],
          authentication: {
            method: 'client_secret_basic',
            secret: 'env:ROBOT_SECRET',
            secretExpiresAt: new Date(Date.now() + 3_600_000).toISOString(),
          },
        },
      ],
    };
    const asFile = join(folder, 'authserver.yaml');
    writeFileSync(asFile, JSON.stringify({ dataDir: './unused', issuers: [], authserver }), { mode: 0o600 });
    const env = { IDP_SECRET, ROBOT_SECRET };
    await Promise.all([
      node.start(),
      startRemit(['authserver', '--config', asFile, '--json'], { env }).ready(),
      idp.configure(`${login}/federation/corp/callback`),
    ]);
    await node.setUp(sink);

    /** As an administrator who expects to succeed. */
    async function admin(who: string, method: string, path: string, body?: object, headers = {}): Promise<Json> {
      const reply = await node.api(who, method, path, body, headers);
      if (reply.status >= 300) throw new Error(`${who} ${method} ${path}: ${reply.status} ${reply.text}`);
      return reply.body;
    }

    const identity = { issuer: login, subject: 'corp|{externalId}' };
    const directories = {
      entra: await directory(node, 'entra', identity),
      okta: await directory(node, 'okta', identity),
    };
    const stream = {
      ...transmitter.stream({ issuers: { [idp.issuer]: login }, subject: 'corp|{sub}' }),
      delivery: { method: 'push' },
    };
    await admin('ada', 'PUT', '/event-streams/idp', { reason: 'set up', stream }, { 'if-none-match': '*' });
    const streamToken = await admin('ada', 'POST', '/event-streams/idp/tokens', { reason: 'set up', days: 30 });

    const scim = (dialect: Dialect, method: string, path: string, body?: object): Promise<Reply> =>
      directories[dialect](method, path, body);
    async function provisioned(dialect: Dialect, method: string, path: string, body?: object): Promise<Json> {
      const reply = await scim(dialect, method, path, body);
      if (reply.status >= 300) throw new Error(`${dialect} ${method} ${path}: ${reply.status} ${reply.text}`);
      return reply.body;
    }

    return {
      node,
      sink,
      login,
      idp,
      admin,
      scim,
      stop,
      /** A group of the directory, and what an administrator says that its members are. */
      async group(dialect: Dialect, displayName: string, roles: readonly string[]): Promise<string> {
        const { id } = await provisioned(dialect, 'POST', '/Groups', { schemas: [GROUP], displayName, members: [] });
        const { headers } = await node.api('ada', 'GET', `/groups/${String(id)}`);
        const seen = { 'if-match': headers.get('etag') ?? '' };
        await admin('ada', 'PUT', `/groups/${String(id)}`, { reason: 'x', group: { name: displayName, roles } }, seen);
        return String(id);
      },
      async joins(dialect: Dialect, name: string, ...groups: readonly string[]): Promise<Person> {
        const user = { userName: `${name}@example.com`, externalId: name, displayName: name, active: true };
        const { id } = await provisioned(dialect, 'POST', '/Users', { schemas: [USER], ...user });
        for (const group of groups)
          await provisioned(dialect, 'PATCH', `/Groups/${group}`, DIALECTS[dialect].join(String(id)));
        return { name, id: String(id) };
      },
      /** A security event about somebody, as the identity provider pushes it: the answer's status. */
      async tell(type: string, person: Person, members: Members = {}): Promise<number> {
        const about = { sub_id: { format: 'iss_sub', iss: idp.issuer, sub: person.name } };
        const authorization = `Bearer ${String(streamToken['token'])}`;
        const said = transmitter.event(type, members, about);
        return (await push(`${node.adminUrl}/events/idp`, said, { authorization })).status;
      },
      /** Through the official SDK, the authorization server and the identity provider. @throws when any of them refuses. */
      async signIn({ name }: Person) {
        await idp.visitor({ sub: name, claims: { name, email: `${name}@example.com` } });
        const jar = cookieJar();
        let kept: { readonly access_token: string; readonly refresh_token?: string } | undefined;
        let [verifier, sentTo, discovery]: [string, URL | null, unknown] = ['', null, undefined];
        const provider = {
          redirectUrl: REDIRECT,
          clientMetadata: { client_name: 'Journey', redirect_uris: [REDIRECT] },
          clientInformation: () => ({ client_id: 'mcp-client' }),
          tokens: () => kept,
          saveTokens: (next: NonNullable<typeof kept>) => void (kept = next),
          saveCodeVerifier: (next: string) => void (verifier = next),
          codeVerifier: () => verifier,
          saveDiscoveryState: (next: unknown) => void (discovery = next),
          discoveryState: () => discovery,
          redirectToAuthorization: (url: URL) => void (sentTo = url),
        } as unknown as OAuthClientProvider;
        await auth(provider, { serverUrl: node.url, scope: SCOPES });
        const page = await walk(sentTo ?? login, jar);
        const { url, page: stuck } = page.page === null ? page : await press(page, jar, 'allow');
        const authorizationCode = url.searchParams.get('code');
        if (stuck !== null || authorizationCode === null)
          throw new Error(`no code for ${name}: ${url.href} ${stuck?.text ?? ''}`);
        await auth(provider, { serverUrl: node.url, authorizationCode, iss: url.searchParams.get('iss') ?? '' });
        const token = kept?.access_token ?? '';
        return {
          token,
          /** A client of this sign-in. */
          async connect() {
            const client = new Client({ name: 'journey', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
            await client.connect(new StreamableHTTPClientTransport(new URL(node.url), { authProvider: provider }));
            return client;
          },
          call: (tool: string, text: string): Promise<Reply> => node.call(tool, { id: name, text }, { token }),
          /** What the authorization server says to the refresh token: `ok`, or the error's code. */
          async refresh(): Promise<string> {
            const form = {
              grant_type: 'refresh_token',
              client_id: 'mcp-client',
              refresh_token: kept?.refresh_token ?? '',
            };
            const answer = await fetch(`${login}/token`, { method: 'POST', body: new URLSearchParams(form) });
            const said = (await answer.json()) as { error?: string; access_token: string };
            if (said.error === undefined) kept = said;
            return said.error ?? 'ok';
          },
          /** Whether the browser is still signed in there (`prompt=none`). */
          async hasSession(): Promise<boolean> {
            const silent = new URL(sentTo ?? login);
            silent.searchParams.set('prompt', 'none');
            return (await walk(silent, jar)).url.searchParams.get('error') !== 'login_required';
          },
        };
      },
      /** A token of the robot, which acts alone. */
      async robot(): Promise<string> {
        const form = { grant_type: 'client_credentials', resource: node.url, scope: SCOPES };
        const basic = Buffer.from(`robot:${ROBOT_SECRET}`).toString('base64');
        const headers = { authorization: `Basic ${basic}` };
        const answer = await fetch(`${login}/token`, { method: 'POST', headers, body: new URLSearchParams(form) });
        const said = (await answer.json()) as { access_token?: string };
        if (said.access_token === undefined) throw new Error(JSON.stringify(said));
        return said.access_token;
      },
    };
  }
}
