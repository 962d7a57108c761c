/**
 * `npm run demo`: the whole story on real parts in a temporary folder, told step by step and checked at every step.
 * Starts `remit up` as a user would, connects the official SDK client, signs in through the authorization server's own pages,
 * and ends with an outsider's check of the log. Exit code 0 only if every step held. `--keep` leaves it running.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import type { OAuthClientProvider } from '@modelcontextprotocol/client';
import { cookieJar, signInAndConsent } from './lib/scripted-browser.ts';
import type { CookieJar } from './lib/scripted-browser.ts';

const keep = process.argv.includes('--keep');
const MAIN = join(import.meta.dirname, '..', 'src', 'cli', 'main.ts');
const folder = mkdtempSync(join(tmpdir(), 'remit-demo-'));
const startedAt = Date.now();
let held = 0;

interface Ready {
  readonly mcpUrl: string;
  readonly adminUrl: string;
  readonly issuer: string;
  readonly servers: ReadonlyArray<{ id: string; url: string; tools: number }>;
  readonly users: ReadonlyArray<{ username: string; name: string; roles: string[]; password: string | null }>;
  readonly verifierKey: string;
}

function chapter(title: string): void {
  process.stdout.write(`\n${title}\n`);
}

/** Says what was found, and ends the demo if it is not what was promised. */
function expect(claim: string, holds: boolean, seen: unknown = ''): void {
  process.stdout.write(`  ${holds ? '✓' : '✗'} ${claim}\n`);
  if (!holds)
    throw new Error(`this did not hold: ${claim}\n    seen: ${typeof seen === 'string' ? seen : JSON.stringify(seen)}`);
  held++;
}

function say(text: string): void {
  process.stdout.write(`    ${text}\n`);
}

/** A client's sign-in: a public client with PKCE whose browser is scripted. Everything else is the SDK's own doing. */
function signInAs(
  person: { username: string; password: string },
  jar: CookieJar,
): OAuthClientProvider & { code: string | null; asked: URL | null } {
  let tokens: Awaited<ReturnType<OAuthClientProvider['tokens']>>;
  let verifier = '';
  let discovery: Awaited<ReturnType<NonNullable<OAuthClientProvider['discoveryState']>>>;
  return {
    code: null,
    asked: null,
    redirectUrl: 'http://127.0.0.1:51999/callback',
    clientMetadata: { client_name: 'Demo agent', redirect_uris: ['http://127.0.0.1:51999/callback'] },
    clientInformation: () => ({ client_id: 'mcp-client' }),
    tokens: () => tokens,
    saveTokens: (next) => void (tokens = next),
    saveCodeVerifier: (next) => void (verifier = next),
    codeVerifier: () => verifier,
    saveDiscoveryState: (next) => void (discovery = next),
    discoveryState: () => discovery,
    async redirectToAuthorization(url) {
      this.asked = url;
      const callback = await signInAndConsent({ authorizationUrl: url, ...person, decision: 'allow', jar });
      this.code = callback.searchParams.get('code');
    },
  };
}

interface Connected {
  readonly client: Client;
  /** Makes the call; if it took a further sign-in to get its scope, makes it again. */
  readonly callTool: (call: Parameters<Client['callTool']>[0]) => ReturnType<Client['callTool']>;
}

async function connect(url: string, who: ReturnType<typeof signInAs>, issuer: string): Promise<Connected> {
  const client = new Client({ name: 'remit-demo', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: who });
  const finish = (): Promise<void> => transport.finishAuth(new URLSearchParams({ code: who.code!, iss: issuer }));
  try {
    await client.connect(transport);
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await finish();
    return connect(url, who, issuer);
  }
  return {
    client,
    async callTool(call) {
      who.code = null;
      try {
        return await client.callTool(call);
      } catch (error) {
        if (who.code === null) throw error;
        await finish();
        return client.callTool(call);
      }
    },
  };
}

/** What `find` finds, as soon as there is something. */
async function until<T>(find: () => Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + 20_000; Date.now() < end;) {
    const found = await find();
    if (found !== undefined) return found;
  }
  throw new Error('what was waited for did not come');
}

async function run(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  onStderr?: (text: string) => void,
): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString();
    onStderr?.(err);
  });
  const [code] = (await once(child, 'close')) as [number];
  return { code, out, err };
}

async function startUp(): Promise<{ child: ChildProcess; ready: Ready }> {
  const child = spawn(process.execPath, [MAIN, 'up', '--dir', join(folder, 'remit-data'), '--port', '0', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running = child;
  const ready = await new Promise<Ready>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      // The description is one JSON document; it is whole when its last line is a closing brace alone.
      if (text.endsWith('\n}\n')) resolve(JSON.parse(text) as Ready);
    });
    child.once('exit', (code) => reject(new Error(`remit up ended with code ${String(code)}`)));
  });
  return { child, ready };
}

/** `remit login` of somebody whose command line has this environment. */
async function login(
  person: { username: string; password: string },
  env: NodeJS.ProcessEnv,
): Promise<{ code: number; err: string }> {
  let opened: Promise<unknown> | null = null;
  return run(['login'], env, (stderr) => {
    const address = /http\S+\/auth\S+/.exec(stderr)?.[0];
    if (!address || opened) return;
    opened = signInAndConsent({ authorizationUrl: address, ...person, decision: 'allow' }).then((redirect) =>
      fetch(redirect),
    );
  });
}

async function story(ready: Ready): Promise<void> {
  const commandLineOf = (username: string): NodeJS.ProcessEnv => ({
    ...process.env,
    XDG_CONFIG_HOME: join(folder, 'config', username),
    REMIT_ADMIN_URL: ready.adminUrl,
  });
  const inFiles = (name: string): string => join(folder, 'remit-data', 'files', name);
  const passwordOf = (username: string): string =>
    ready.users.find((user) => user.username === username)?.password ?? '';
  const files = ready.servers.find(({ id }) => id === 'files')!.url;
  expect(
    'two sample servers are reviewed and running',
    ready.servers.length === 2 && ready.servers.every(({ tools }) => tools > 0),
    ready.servers,
  );

  chapter('2. A stranger knocks');
  const knock = await fetch(files, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  });
  const challenge = knock.headers.get('www-authenticate') ?? '';
  expect(
    'no token: 401 that says where to learn more',
    knock.status === 401 && challenge.includes('resource_metadata="'),
    challenge,
  );
  const metadata = (await (await fetch(/resource_metadata="([^"]+)"/.exec(challenge)![1]!)).json()) as {
    resource: string;
    authorization_servers: string[];
  };
  expect(
    'the protected-resource metadata names this server and its authorization server',
    metadata.resource === files && metadata.authorization_servers[0] === ready.issuer,
    metadata,
  );
  const as = (await (await fetch(`${ready.issuer}/.well-known/oauth-authorization-server`)).json()) as Record<
    string,
    unknown
  >;
  expect(
    'the authorization server offers PKCE and says who it is',
    as['issuer'] === ready.issuer && JSON.stringify(as['code_challenge_methods_supported']) === '["S256"]',
    as,
  );

  chapter('3. Dana, a developer, signs in with an SDK client and reads');
  const jar = cookieJar();
  const dana = signInAs({ username: 'dana', password: passwordOf('dana') }, jar);
  const { client, callTool } = await connect(files, dana, ready.issuer);
  expect(
    'authorization code with PKCE and a resource indicator',
    dana.asked?.searchParams.get('resource') === files && dana.asked.searchParams.has('code_challenge'),
    String(dana.asked),
  );
  const { tools } = await client.listTools();
  const names = tools.map(({ name }) => name);
  say(`tools she sees: ${names.join(', ')}`);
  expect(
    'she sees what a developer may use, and not what one may not',
    names.includes('read_text_file') && names.includes('write_file') && !names.includes('move_file'),
    names,
  );
  const read = await client.callTool({ name: 'read_text_file', arguments: { path: '/files/welcome.txt' } });
  const text = (read.content as Array<{ text?: string }>)[0]?.text ?? '';
  expect('she reads a file through the sandboxed server', text.includes('Welcome'), read);
  say(`receipt: ${JSON.stringify(read._meta?.['remit/receipt'])}`);

  chapter('4. She wants to write: one scope more');
  const bearer = (await dana.tokens())!.access_token;
  const refused = await fetch(files, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${bearer}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': 'write_file',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 2,
      method: 'tools/call',
      params: {
        name: 'write_file',
        arguments: { path: '/files/note.txt', content: 'written by Dana\n' },
        _meta: {
          'io.modelcontextprotocol/protocolVersion': '2026-07-28',
          'io.modelcontextprotocol/clientCapabilities': {},
        },
      },
    }),
  });
  const stepUp = refused.headers.get('www-authenticate') ?? '';
  expect(
    '403 with insufficient_scope naming exactly files:write',
    refused.status === 403 && stepUp.includes('error="insufficient_scope"') && stepUp.includes('scope="files:write"'),
    stepUp,
  );
  const write = { name: 'write_file', arguments: { path: '/files/note.txt', content: 'written by Dana\n' } };
  const written = await callTool(write).catch((error: unknown) => error);
  expect(
    'the client steps up (she consents) and the same call is made',
    !(written instanceof Error) && (written as { isError?: boolean }).isError !== true,
    String(written),
  );
  expect('the file is really there', readFileSync(inFiles('note.txt'), 'utf8') === 'written by Dana\n');

  chapter('5. A tool her role may not use');
  const hidden = await client
    .callTool({ name: 'move_file', arguments: { source: '/files/note.txt', destination: '/files/gone.txt' } })
    .catch((error: unknown) => error);
  const nonsense = await client.callTool({ name: 'no_such_tool', arguments: {} }).catch((error: unknown) => error);
  const withoutReference = (error: unknown): string => String(error).replace(/call_\w+/g, '…');
  expect(
    'refused, in the same words as a tool that does not exist',
    hidden instanceof Error && withoutReference(hidden) === withoutReference(nonsense),
    String(hidden),
  );

  chapter('6. Omar, an operator, moves a file; Petra, an approver, agrees to exactly that call');
  const omar = signInAs({ username: 'omar', password: passwordOf('omar') }, cookieJar());
  const atWork = await connect(files, omar, ready.issuer);
  const petra = commandLineOf('petra');
  const signedIn = await login({ username: 'petra', password: passwordOf('petra') }, petra);
  expect('remit login: Petra signs in at the command line', signedIn.code === 0, signedIn.err);
  const moving = { name: 'move_file', arguments: { source: '/files/note.txt', destination: '/files/moved.txt' } };
  const moved = atWork.callTool(moving);
  // It is awaited further down; until then a failure is for the steps in between to find.
  moved.catch(() => undefined);
  const waiting = await until(async () => {
    const list = JSON.parse((await run(['approval', 'list', '--mine-to-decide', '--json'], petra)).out) as {
      approvals: Array<{ id: string; call: string; tool: string; person: string }>;
    };
    return list.approvals[0];
  });
  expect(
    'the call is held: nothing has moved',
    waiting.tool === 'move_file' && !existsSync(inFiles('moved.txt')),
    waiting,
  );
  const shown = await run(['approval', 'show', waiting.id], petra);
  expect(
    'remit approval show: Petra reads what will run',
    shown.out.includes('"destination": "/files/moved.txt"'),
    shown.out,
  );
  const wrong = `sha256:${'0'.repeat(64)}`;
  const blind = await run(['approval', 'approve', waiting.id, '--call', wrong], petra);
  expect(
    'nobody agrees to something else than they read',
    blind.code === 1 && !existsSync(inFiles('moved.txt')),
    blind,
  );
  const agreed = await run(['approval', 'approve', waiting.id, '--call', waiting.call, '--note', 'tidying up'], petra);
  expect('remit approval approve: Petra agrees, once', agreed.code === 0, agreed.err);
  const done = await moved;
  expect(
    'the waiting call runs, and the file has moved',
    done.isError !== true && existsSync(inFiles('moved.txt')),
    done,
  );
  const over = JSON.parse((await run(['approval', 'show', waiting.id, '--json'], petra)).out) as { state: string };
  expect('what was agreed to is used up', over.state === 'used', over);
  await atWork.client.close().catch(() => undefined);

  chapter('7. Ada, an administrator, locks Dana out in the middle of it');
  const env = commandLineOf('ada');
  const came = await login({ username: 'ada', password: passwordOf('ada') }, env);
  expect('remit login: she signs in through the same authorization server', came.code === 0, came.err);
  const before = await client.callTool({ name: 'list_directory', arguments: { path: '/files' } });
  expect('Dana still works', before.isError !== true, before);
  const lock = await run(['lock', 'add', 'user', 'dana', '--reason', 'laptop reported stolen', '--json'], env);
  expect('remit lock add user dana: acknowledged', lock.code === 0, lock.err);
  const after = await client
    .callTool({ name: 'list_directory', arguments: { path: '/files' } })
    .catch((error: unknown) => error);
  expect("Dana's very next call, same token, is refused", after instanceof Error, after);
  say(String(after instanceof Error ? after.message : after));
  await client.close().catch(() => undefined);

  chapter('8. An auditor checks the record, without us');
  const evidence = join(folder, 'evidence');
  const exported = await run(['audit', 'export', evidence], env);
  expect('remit audit export', exported.code === 0, exported.err);
  const vkey = join(folder, 'log.vkey');
  writeFileSync(vkey, `${ready.verifierKey}\n`);
  const verified = await run(['verify', evidence, '--vkey', vkey], {});
  expect('remit verify: every entry is under the signed checkpoint', verified.code === 0, verified.err + verified.out);
  say(verified.out.trim().split('\n')[0] ?? '');

  const bundle = join(evidence, 'tile', 'entries', readdirSync(join(evidence, 'tile', 'entries'))[0]!);
  const file = bundle.endsWith('.p') ? join(bundle, readdirSync(bundle)[0]!) : bundle;
  const bytes = readFileSync(file);
  const at = bytes.indexOf('"locked:user:');
  bytes[at + 1] = bytes[at + 1]! ^ 1;
  writeFileSync(file, bytes);
  const tampered = await run(['verify', evidence, '--vkey', vkey], {});
  expect('one bit of one entry changed: verification fails', tampered.code === 1, tampered.out);
  const named = /entry (\d+)/.exec(tampered.out + tampered.err);
  expect('and it names the entry', named !== null, tampered.out);
  say(
    (tampered.out + tampered.err)
      .trim()
      .split('\n')
      .find((line) => line.includes(named![0])) ?? '',
  );
}

async function stop(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGINT');
  const hurry = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await exited;
  clearTimeout(hurry);
}

// Whatever ends the demo ends what it started.
let running: ChildProcess | null = null;
process.once('exit', () => {
  // Not SIGINT: a terminal has sent it one already, and a second one would hurry it.
  if (running?.exitCode === null && running.signalCode === null) running.kill('SIGTERM');
  else rmSync(folder, { recursive: true, force: true });
});
process.once('SIGTERM', () => process.exit(143));
const interrupted = (): void => process.exit(130);
process.once('SIGINT', interrupted);

process.stdout.write('Remit, the whole way: sign in, be allowed, be refused, be recorded, be verified.\n');
chapter('1. Remit starts: authorization server, gateway, two MCP servers');
const { child, ready } = await startUp();
let failed: Error | null = null;
try {
  await story(ready);
} catch (error) {
  failed = error instanceof Error ? error : new Error(String(error));
}
if (keep) {
  process.stdout.write(
    `\nLeft running (Ctrl-C ends it). MCP: ${ready.servers.map(({ url }) => url).join('  ')}\nUsers: ${ready.users.map(({ username, password }) => `${username} / ${password}`).join(', ')}\nData: ${folder}\n`,
  );
  // From here on Ctrl-C is for what was left running; we leave when it has.
  process.removeListener('SIGINT', interrupted);
  process.on('SIGINT', () => undefined);
  await once(child, 'exit');
} else {
  await stop(child);
}
const clean = child.exitCode === 0;
if (!failed && !keep) {
  chapter('9. Everything stops');
  process.stdout.write(`  ${clean ? '✓' : '✗'} orderly, within its time\n`);
}
rmSync(folder, { recursive: true, force: true });
const seconds = Math.round((Date.now() - startedAt) / 1000);
if (failed) {
  process.stdout.write(`\nFAILED after ${held} steps: ${failed.message}\n`);
  process.exitCode = 1;
} else if (!keep && !clean) {
  process.exitCode = 1;
} else {
  process.stdout.write(`\n${held + 1} steps held, in ${seconds} s.\n`);
}
