/**
 * Clients that other people wrote, unmodified, against one `remit up`: discovery, sign-in in a scripted browser, list, an allowed call,
 * step-up, a write, a tool their person may not use, and a lock in the middle. The official SDK v2 in both eras, the SDK v1, and the
 * MCP Inspector's command line with its own OAuth. Each walks the same story on both sample servers.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import type { OAuthClientProvider } from '@modelcontextprotocol/client';
import { UnauthorizedError as UnauthorizedV1 } from '@modelcontextprotocol/sdk/client/auth.js';
import type { OAuthClientProvider as OAuthClientProviderV1 } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { cookieJar, signInAndConsent } from '../support/browser.ts';
import {
  REPOSITORY,
  endAll,
  freePorts,
  runRemit,
  startProcess,
  startRemit,
  temporaryFolder,
} from '../support/processes.ts';
import type { Started } from '../support/processes.ts';
import { CALLBACK, adminToken, passwordOf, serverToken, urlOf } from './people.ts';
import type { UpReady } from './people.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let up: Started;
let ready: UpReady;
let admin: Record<string, string>;

beforeAll(async () => {
  up = startRemit(['up', '--dir', join(temporaryFolder(), 'data'), '--port', '0', '--json']);
  ready = await up.ready<UpReady>();
  admin = { REMIT_ADMIN_URL: ready.adminUrl, REMIT_TOKEN: await adminToken(ready, 'ada', passwordOf(ready, 'ada')) };
});
afterAll(async () => {
  await up.stop('SIGINT');
  await endAll();
});

interface Answer {
  readonly text: string;
  readonly isError: boolean;
}

/** One client of one person at one server. Every failure is thrown, with whatever words the client has for it. */
interface Session {
  /** Scopes that the person was asked to consent to, one text per visit to the authorization server. */
  readonly consented: readonly string[];
  list(): Promise<string[]>;
  call(name: string, args: Record<string, unknown>): Promise<Answer>;
  close(): Promise<void>;
}

const answerOf = (result: unknown): Answer => {
  const { content, isError } = result as { content?: Array<{ text?: string }>; isError?: boolean };
  return { text: content?.map(({ text }) => text ?? '').join('\n') ?? '', isError: isError === true };
};

/**
 * What a host keeps for its client. Its browser signs Dana in and says yes.
 * `refreshes`: keeps refresh tokens. An SDK v1 host that means to step up must not: with one, v1 refreshes instead of asking for the
 * missing scope, and gives up (typescript-sdk issue 2255, settled in v2).
 * `scope`: asked for instead of what the client would ask for.
 */
function host(refreshes = true, scope?: string) {
  const jar = cookieJar();
  const consented: string[] = [];
  let answered: URL | null = null;
  let tokens: unknown;
  let verifier = '';
  let discovery: unknown;
  const provider = {
    redirectUrl: CALLBACK,
    clientMetadata: { client_name: 'Journey', redirect_uris: [CALLBACK] },
    clientInformation: () => ({ client_id: 'mcp-client' }),
    tokens: () => tokens,
    saveTokens: (next: object) => {
      tokens = refreshes ? next : { ...next, refresh_token: undefined };
    },
    saveCodeVerifier: (next: string) => void (verifier = next),
    codeVerifier: () => verifier,
    saveDiscoveryState: (next: unknown) => void (discovery = next),
    discoveryState: () => discovery,
    async redirectToAuthorization(url: URL) {
      expect(url.searchParams.get('code_challenge_method')).toBe('S256');
      expect(ready.servers.map((server) => server.url)).toContain(url.searchParams.get('resource'));
      if (scope !== undefined) url.searchParams.set('scope', scope);
      consented.push(url.searchParams.get('scope') ?? '');
      const password = passwordOf(ready, 'dana');
      answered = await signInAndConsent({ authorizationUrl: url, username: 'dana', password, decision: 'allow', jar });
    },
  };
  return {
    consented,
    provider,
    answer(): URLSearchParams {
      if (answered === null) throw new Error('the client never asked for a sign-in');
      const { searchParams } = answered;
      answered = null;
      return searchParams;
    },
  };
}

async function openV2(url: string, mode: 'auto' | 'legacy'): Promise<Session> {
  const { provider, answer, consented } = host();
  const connect = async (): Promise<{ client: Client; transport: StreamableHTTPClientTransport }> => {
    const client = new Client({ name: 'journey', version: '1.0.0' }, { versionNegotiation: { mode } });
    const transport = new StreamableHTTPClientTransport(new URL(url), {
      authProvider: provider as unknown as OAuthClientProvider,
    });
    try {
      await client.connect(transport);
      return { client, transport };
    } catch (error) {
      if (!(error instanceof UnauthorizedError) || consented.length > 1) throw error;
      await transport.finishAuth(answer());
      return connect();
    }
  };
  const { client, transport } = await connect();
  return {
    consented,
    list: async () => (await client.listTools()).tools.map(({ name }) => name),
    async call(name, args) {
      try {
        return answerOf(await client.callTool({ name, arguments: args }));
      } catch (error) {
        if (!(error instanceof UnauthorizedError)) throw error;
        await transport.finishAuth(answer());
        return answerOf(await client.callTool({ name, arguments: args }));
      }
    },
    close: () => client.close(),
  };
}

async function openV1(url: string, refreshes = false, scope?: string): Promise<Session> {
  const { provider, answer, consented } = host(refreshes, scope);
  const connect = async (): Promise<{ client: ClientV1; transport: TransportV1 }> => {
    const client = new ClientV1({ name: 'journey', version: '1.0.0' });
    const transport = new TransportV1(new URL(url), { authProvider: provider as unknown as OAuthClientProviderV1 });
    try {
      await client.connect(transport);
      return { client, transport };
    } catch (error) {
      if (!(error instanceof UnauthorizedV1) || consented.length > 1) throw error;
      await transport.finishAuth(answer().get('code') ?? '');
      return connect();
    }
  };
  const { client, transport } = await connect();
  return {
    consented,
    list: async () => (await client.listTools()).tools.map(({ name }) => name),
    async call(name, args) {
      try {
        return answerOf(await client.callTool({ name, arguments: args }));
      } catch (error) {
        if (!(error instanceof UnauthorizedV1)) throw error;
        await transport.finishAuth(answer().get('code') ?? '');
        return answerOf(await client.callTool({ name, arguments: args }));
      }
    },
    close: () => client.close(),
  };
}

const INSPECTOR = join(REPOSITORY, 'node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js');

/** A new process per command, as a script would use it. It keeps its sign-in in its home, and asks on its terminal before stepping up. */
async function openInspector(url: string): Promise<Session> {
  const home = temporaryFolder();
  const jar = cookieJar();
  const callback = `http://127.0.0.1:${await freePorts(1)}/oauth/callback`;
  const consented: string[] = [];
  const inspect = async (...args: string[]): Promise<Record<string, unknown>> => {
    const common = [
      '--cli',
      '--transport',
      'http',
      '--server-url',
      url,
      '--format',
      'json',
      '--client-id',
      'mcp-inspector',
    ];
    const one = startProcess([process.execPath, INSPECTOR, ...common, '--callback-url', callback, ...args], {
      env: { HOME: home, MCP_AUTO_OPEN_ENABLED: 'true', MCP_INSPECTOR_SECRET_STORE: 'file' },
      input: 'y\n',
    });
    // It prints where a person should go; the person goes there once.
    const visits: Array<Promise<unknown>> = [];
    one.child.stderr?.on('data', () => {
      const asked = /Please navigate to: (\S+)\n/.exec(one.err())?.[1];
      if (asked === undefined || visits.length > 0) return;
      consented.push(new URL(asked).searchParams.get('scope') ?? '');
      const person = { username: 'dana', password: passwordOf(ready, 'dana') };
      visits.push(
        signInAndConsent({ authorizationUrl: asked, ...person, decision: 'allow', jar }).then((to) => fetch(to)),
      );
    });
    const timer = setTimeout(() => one.child.kill('SIGKILL'), 20_000);
    const { code } = await one.ended;
    clearTimeout(timer);
    await Promise.all(visits);
    if (code !== 0) throw new Error(one.err().trim().split('\n').at(-1));
    return (JSON.parse(one.out()) as { result: Record<string, unknown> }).result;
  };
  return {
    consented,
    list: async () => {
      const { tools } = await inspect('--method', 'tools/list');
      return (tools as Array<{ name: string }>).map(({ name }) => name);
    },
    call: async (name, args) =>
      answerOf(await inspect('--method', 'tools/call', '--tool-name', name, '--tool-args-json', JSON.stringify(args))),
    close: () => Promise.resolve(),
  };
}

interface Story {
  readonly server: 'files' | 'everything';
  readonly sees: readonly string[];
  /** On the server, and not for a developer. */
  readonly hidden: { readonly name: string; readonly args: Record<string, unknown> };
  readonly read: { readonly name: string; readonly args: Record<string, unknown>; readonly says: RegExp };
  readonly write: { readonly name: string; readonly args: Record<string, unknown> };
  readonly scopes: readonly [read: string, write: string];
}

const STORIES: readonly Story[] = [
  {
    server: 'files',
    sees: ['read_text_file', 'write_file', 'list_directory'],
    hidden: { name: 'move_file', args: { source: '/files/welcome.txt', destination: '/files/gone.txt' } },
    read: { name: 'read_text_file', args: { path: '/files/welcome.txt' }, says: /^Welcome to Remit\./ },
    write: { name: 'write_file', args: { path: '/files/note.txt', content: '' } },
    scopes: ['files:read', 'files:write'],
  },
  {
    server: 'everything',
    sees: ['echo', 'get-sum', 'toggle-simulated-logging'],
    hidden: { name: 'get-env', args: {} },
    read: { name: 'get-sum', args: { a: 19, b: 23 }, says: /42/ },
    write: { name: 'toggle-simulated-logging', args: {} },
    scopes: ['everything:read', 'everything:write'],
  },
];

const CLIENTS: ReadonlyArray<readonly [name: string, open: (url: string) => Promise<Session>]> = [
  ['the SDK v2 client, modern era', (url) => openV2(url, 'auto')],
  ['the SDK v2 client, legacy era', (url) => openV2(url, 'legacy')],
  ['the SDK v1 client', (url) => openV1(url)],
  ['the MCP Inspector command line', openInspector],
];

const failure = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    (value) => `no failure: ${JSON.stringify(value)}`,
    (error: unknown) => String(error),
  );
/** The reference, and the name that was asked for, differ by design; nothing else may. */
const unnamed = (text: string, name: string): string => text.replace(/call_\w+/g, '…').replaceAll(name, '…');

describe.each(CLIENTS)('%s', (name, open) => {
  test.each(STORIES)('walks the whole way on $server, unmodified', async (story) => {
    const session = await open(urlOf(ready, story.server));
    const seen = await session.list();
    expect(seen).toEqual(expect.arrayContaining([...story.sees]));
    expect(seen).not.toContain(story.hidden.name);
    expect(session.consented).toEqual([story.scopes[0]]);

    const read = await session.call(story.read.name, story.read.args);
    expect([read.isError, read.text]).toEqual([false, expect.stringMatching(story.read.says)]);
    expect(session.consented).toHaveLength(1);

    const content = `written with ${name}\n`;
    const args = 'content' in story.write.args ? { ...story.write.args, content } : story.write.args;
    expect(await session.call(story.write.name, args)).toMatchObject({ isError: false });
    expect(session.consented).toHaveLength(2);
    expect(session.consented[1]?.split(' ')).toContain(story.scopes[1]);
    if (story.server === 'files') expect(readFileSync(join(ready.filesDir, 'note.txt'), 'utf8')).toBe(content);

    // A hidden tool and one that does not exist are told apart by nobody.
    const hidden = await failure(session.call(story.hidden.name, story.hidden.args));
    const unknown = await failure(session.call('no_such_tool', {}));
    expect(hidden).not.toMatch(/^no failure/);
    expect(unnamed(hidden, story.hidden.name)).toBe(unnamed(unknown, 'no_such_tool'));
    expect(existsSync(join(ready.filesDir, 'gone.txt'))).toBe(false);

    const locked = await runRemit(['lock', 'add', 'user', 'dana', '--reason', 'a journey', '--json'], { env: admin });
    expect([locked.code, locked.err]).toEqual([0, '']);
    const second = Math.floor(Date.now() / 1_000);
    const { id } = JSON.parse(locked.out) as { id: string };
    expect(await failure(session.call(story.read.name, story.read.args))).not.toMatch(/^no failure/);
    const lifted = await runRemit(['lock', 'lift', id, '--reason', 'the journey goes on'], { env: admin });
    expect([lifted.code, lifted.err]).toEqual([0, '']);
    await session.close();
    // Tokens say their time in whole seconds: one of the second of the lock counts as older than it, and the next story signs in anew.
    while (Math.floor(Date.now() / 1_000) <= second) await new Promise((resolve) => setTimeout(resolve, 50));
  });
});

test('an SDK v1 host that keeps a refresh token cannot step up: it is refused in the same way twice, and nothing is written', async () => {
  const session = await openV1(urlOf(ready, 'files'), true);
  expect(await session.list()).toContain('write_file');
  const args = { path: '/files/never.txt', content: 'x' };
  expect(await failure(session.call('write_file', args))).toContain('403 after trying upscoping');
  expect([session.consented.length, existsSync(join(ready.filesDir, 'never.txt'))]).toEqual([1, false]);
  expect(await session.call('list_directory', { path: '/files' })).toMatchObject({ isError: false });
  await session.close();
});

test('an SDK v1 client replaces scopes: after a write it asks again before it reads, unless its host asks for both at once', async () => {
  const write = { path: '/files/replaced.txt', content: 'x' };
  const read = { path: '/files/welcome.txt' };
  for (const [scope, asked] of [
    [undefined, ['files:read', 'files:write', 'files:read']],
    ['files:read files:write', ['files:read files:write']],
  ] as const) {
    const session = await openV1(urlOf(ready, 'files'), false, scope);
    expect(await session.call('read_text_file', read)).toMatchObject({ isError: false });
    expect(await session.call('write_file', write)).toMatchObject({ isError: false });
    expect(await session.call('read_text_file', read)).toMatchObject({ isError: false });
    expect(session.consented).toEqual(asked);
    await session.close();
  }
});

test('the MCP Inspector command line with a bearer header lists and calls in both eras, and is told which scope is missing', async () => {
  const token = await serverToken(ready, 'files', 'files:read', 'dana', passwordOf(ready, 'dana'));
  const inspect = async (...args: string[]) => {
    const common = [
      '--cli',
      '--transport',
      'http',
      '--server-url',
      urlOf(ready, 'files'),
      '--format',
      'json',
      '--quiet',
    ];
    const header = ['--header', `Authorization: Bearer ${token}`, '--stored-auth-only'];
    const one = startProcess([process.execPath, INSPECTOR, ...common, ...header, ...args], {
      env: { HOME: temporaryFolder() },
    });
    const { code } = await one.ended;
    return { code, out: one.out(), err: one.err() };
  };
  for (const era of ['legacy', 'modern']) {
    const listed = await inspect('--protocol-era', era, '--method', 'tools/list');
    expect([era, listed.code, listed.out.includes('"name":"write_file"')]).toEqual([era, 0, true]);
    const call = ['--protocol-era', era, '--method', 'tools/call', '--tool-name'];
    const read = await inspect(...call, 'read_text_file', '--tool-arg', 'path=/files/welcome.txt');
    expect([era, read.code, read.out.includes('Welcome to Remit.')]).toEqual([era, 0, true]);
    const write = await inspect(...call, 'write_file', '--tool-arg', 'path=/files/header.txt', 'content=x');
    expect([era, write.code, write.err]).toEqual([era, 1, expect.stringContaining('files:write')]);
    expect(existsSync(join(ready.filesDir, 'header.txt'))).toBe(false);
  }
});
