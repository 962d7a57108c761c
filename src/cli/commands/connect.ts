/**
 * `remit connect`: what a client needs to reach a server through the gateway: one URL. Sign-in is the client's own (OAuth), so no secret
 * is ever written. Prints by default; `--write` merges into the client's file and never replaces an entry that says something else.
 * Clients do not register themselves with Remit's authorization server; each is known there by an id (authserver/clients.ts), named here.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Argument, type Command } from 'commander';
import { local, type LocalOptions } from '../command.ts';
import { isLoopbackHost } from '../config.ts';
import { CliFailure } from '../failure.ts';
import { show } from '../output.ts';

interface ConnectOptions extends LocalOptions {
  readonly name?: string;
  /** false: `--no-client-id`. */
  readonly clientId?: string | false;
  readonly write: boolean;
}

interface ClientKind {
  readonly title: string;
  readonly says: string;
  /** By which Remit's own authorization server knows it. */
  readonly clientId: string;
  /** Where `--write` puts it, relative to the current folder. */
  readonly file: string | null;
  /** The object that holds servers by name. */
  readonly section?: string;
  /** `clientId` null: the client finds or registers one by itself. */
  entry(url: string, clientId: string | null): object;
  /** One line that can be copied. */
  brief(name: string, url: string, clientId: string | null): string;
  print(name: string, url: string, clientId: string | null): string;
}

const asJson = (section: string, name: string, entry: object, indent?: number): string =>
  JSON.stringify({ [section]: { [name]: entry } }, null, indent);
const httpEntry = (url: string, clientId: string | null): object => ({
  type: 'http',
  url,
  ...(clientId !== null && { oauth: { clientId } }),
});
const cursorEntry = (url: string, clientId: string | null): object => ({
  url,
  ...(clientId !== null && { auth: { CLIENT_ID: clientId } }),
});
const claudeAdd = (name: string, url: string, clientId: string | null): string =>
  `claude mcp add --transport http ${clientId === null ? '' : `--client-id ${clientId} `}${name} ${url}`;
const inspect = (_name: string, url: string, clientId: string | null): string =>
  `npx @modelcontextprotocol/inspector --cli --transport http --server-url ${url} ${clientId === null ? '' : `--client-id ${clientId} `}--method tools/list`;

const CLIENTS: Readonly<Record<string, ClientKind>> = {
  'claude-code': {
    title: 'Claude Code',
    says: 'Claude Code: run the command, or put this into .mcp.json of the project',
    clientId: 'claude-code',
    file: '.mcp.json',
    section: 'mcpServers',
    entry: httpEntry,
    brief: claudeAdd,
    print: (name, url, clientId) =>
      `${claudeAdd(name, url, clientId)}\n\n${asJson('mcpServers', name, httpEntry(url, clientId), 2)}`,
  },
  cursor: {
    title: 'Cursor',
    says: 'Cursor: put this into .cursor/mcp.json',
    clientId: 'cursor',
    file: '.cursor/mcp.json',
    section: 'mcpServers',
    entry: cursorEntry,
    brief: (name, url, clientId) => `.cursor/mcp.json: ${asJson('mcpServers', name, cursorEntry(url, clientId))}`,
    print: (name, url, clientId) => asJson('mcpServers', name, cursorEntry(url, clientId), 2),
  },
  vscode: {
    title: 'VS Code',
    says: 'VS Code: put this into .vscode/mcp.json',
    clientId: 'vscode',
    file: '.vscode/mcp.json',
    section: 'servers',
    entry: httpEntry,
    brief: (name, url, clientId) => `.vscode/mcp.json: ${asJson('servers', name, httpEntry(url, clientId))}`,
    print: (name, url, clientId) => asJson('servers', name, httpEntry(url, clientId), 2),
  },
  inspector: {
    title: 'MCP Inspector',
    says: 'MCP Inspector',
    clientId: 'mcp-inspector',
    file: null,
    entry: httpEntry,
    brief: inspect,
    // Its web interface takes no client id on the command line.
    print: (name, url, clientId) =>
      [
        'In the browser:',
        `npx @modelcontextprotocol/inspector --transport http --server-url ${url}`,
        ...(clientId === null ? [] : [`and set the OAuth client id ${clientId} in the settings of the server there.`]),
        '',
        'In the terminal:',
        inspect(name, url, clientId),
      ].join('\n'),
  },
  sdk: {
    title: 'TypeScript SDK',
    says: 'TypeScript SDK; pass an OAuth provider of your application',
    clientId: 'mcp-client',
    file: null,
    entry: httpEntry,
    brief: (_name, url, clientId) =>
      `new StreamableHTTPClientTransport(new URL('${url}'), { authProvider })${clientId === null ? '' : `, client id ${clientId}`}`,
    print: (name, url, clientId) =>
      [
        "import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';",
        '',
        ...(clientId === null ? [] : [`// authProvider: clientInformation() returns { client_id: '${clientId}' }`]),
        `const client = new Client({ name: '${name}-client', version: '1.0.0' });`,
        `await client.connect(new StreamableHTTPClientTransport(new URL('${url}'), { authProvider }));`,
        'console.log(await client.listTools());',
      ].join('\n'),
  },
};

/** For every client we know, one line that connects it to this server of a Remit with its own authorization server. */
export function connectLines(name: string, url: string): ReadonlyArray<readonly [client: string, line: string]> {
  return Object.values(CLIENTS).map((kind) => [kind.title, kind.brief(name, url, kind.clientId)]);
}

export function connectCommand(program: Command): void {
  local(
    program,
    'connect',
    'Print or write the configuration of an MCP client',
    'remit connect claude-code http://127.0.0.1:8787/mcp/default/files',
  )
    .addArgument(new Argument('<client>', 'which client').choices(Object.keys(CLIENTS)))
    .argument('<server-url>', 'URL of the server behind the gateway')
    .option('--name <name>', 'name of the entry (default: the last part of the URL)')
    .option('--client-id <id>', 'OAuth client id (default: the one that the authorization server of Remit knows)')
    .option('--no-client-id', 'for an authorization server where clients register themselves')
    .option('--write', 'merge it into the file of the client in the current folder', false)
    .action((client: string, address: string, options: ConnectOptions) => {
      const kind = CLIENTS[client];
      if (kind === undefined) throw new CliFailure('usage', `There is no client ${client}.`);
      const url = serverUrl(address);
      const name = options.name ?? url.split('/').at(-1) ?? 'remit';
      if (!/^[A-Za-z0-9_-]{1,64}$/.test(name))
        throw new CliFailure(
          'usage',
          'The name may hold letters, digits, _ and - only.',
          'Give another one with --name.',
        );
      const clientId = options.clientId === false ? null : (options.clientId ?? kind.clientId);
      if (clientId !== null && !/^[\w.:/-]{1,255}$/.test(clientId))
        throw new CliFailure('usage', 'The client id holds characters that no shell or file should get.', 'Check it.');
      if (options.write) {
        if (kind.file === null || kind.section === undefined)
          throw new CliFailure(
            'usage',
            `${client} has no configuration file to write.`,
            'Leave out --write and copy what is printed.',
          );
        const changed = merge(kind.file, kind.section, name, kind.entry(url, clientId));
        show(options, { client, file: kind.file, name, url, changed }, () =>
          changed ? `${name} is in ${kind.file}.` : `${kind.file} said so already.`,
        );
        return;
      }
      show(
        options,
        { client, file: kind.file, name, url, entry: kind.entry(url, clientId) },
        () => `${kind.says}:\n\n${kind.print(name, url, clientId)}`,
      );
    });
}

function serverUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (
    url === null ||
    !['http:', 'https:'].includes(url.protocol) ||
    url.username !== '' ||
    url.search !== '' ||
    url.hash !== '' ||
    !/^\/mcp\/[a-z0-9-]{1,63}(?:\/[a-z0-9-]{1,63})?$/.test(url.pathname)
  )
    throw new CliFailure(
      'usage',
      `${JSON.stringify(text)} is not the URL of a server behind Remit.`,
      'It looks like https://mcp.example.com/mcp/default/files; `remit server list` shows them.',
    );
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname))
    throw new CliFailure('usage', `${url.origin} is plain http; tokens would travel readable.`, 'Use https.');
  return url.href;
}

function merge(file: string, section: string, name: string, entry: object): boolean {
  let text = '{}';
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw new CliFailure('failed', `${file} cannot be read.`, 'Check its permissions.');
  }
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw new CliFailure(
      'failed',
      `${file} is not plain JSON (comments?), so it is left alone.`,
      'Leave out --write and paste what is printed.',
    );
  }
  const servers = (config[section] ?? {}) as Record<string, unknown>;
  if (Object.hasOwn(servers, name)) {
    if (JSON.stringify(servers[name]) === JSON.stringify(entry)) return false;
    throw new CliFailure(
      'failed',
      `${file} has another entry called ${name}.`,
      'Remove it yourself, or choose another --name.',
    );
  }
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify({ ...config, [section]: { ...servers, [name]: entry } }, null, 2)}\n`);
  renameSync(`${file}.new`, file);
  return true;
}
