/**
 * `remit connect`: what a client needs to reach a server through the gateway: one URL. Sign-in is the client's own (OAuth), so no secret
 * is ever written. Prints by default; `--write` merges into the client's file and never replaces an entry that says something else.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Argument, type Command } from 'commander';
import { local, type LocalOptions } from '../command.ts';
import { isLoopbackHost } from '../config.ts';
import { CliFailure } from '../failure.ts';
import { show } from '../output.ts';

interface ClientKind {
  readonly says: string;
  /** Where `--write` puts it, relative to the current folder. */
  readonly file: string | null;
  /** The object that holds servers by name. */
  readonly section?: string;
  entry(url: string): object;
  print(name: string, url: string): string;
}

const asJson = (section: string, name: string, entry: object): string =>
  JSON.stringify({ [section]: { [name]: entry } }, null, 2);
const httpEntry = (url: string): object => ({ type: 'http', url });

const CLIENTS: Readonly<Record<string, ClientKind>> = {
  'claude-code': {
    says: 'Claude Code: run the command, or put this into .mcp.json of the project',
    file: '.mcp.json',
    section: 'mcpServers',
    entry: httpEntry,
    print: (name, url) =>
      `claude mcp add --transport http ${name} ${url}\n\n${asJson('mcpServers', name, httpEntry(url))}`,
  },
  cursor: {
    says: 'Cursor: put this into .cursor/mcp.json',
    file: '.cursor/mcp.json',
    section: 'mcpServers',
    entry: (url) => ({ url }),
    print: (name, url) => asJson('mcpServers', name, { url }),
  },
  vscode: {
    says: 'VS Code: put this into .vscode/mcp.json',
    file: '.vscode/mcp.json',
    section: 'servers',
    entry: httpEntry,
    print: (name, url) => asJson('servers', name, httpEntry(url)),
  },
  inspector: {
    says: 'MCP Inspector',
    file: null,
    entry: httpEntry,
    print: (_name, url) => `npx @modelcontextprotocol/inspector --transport http --server-url ${url}`,
  },
  sdk: {
    says: 'TypeScript SDK; pass an OAuth provider of your application',
    file: null,
    entry: httpEntry,
    print: (name, url) =>
      [
        "import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';",
        '',
        `const client = new Client({ name: '${name}-client', version: '1.0.0' });`,
        `await client.connect(new StreamableHTTPClientTransport(new URL('${url}'), { authProvider }));`,
        'console.log(await client.listTools());',
      ].join('\n'),
  },
};

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
    .option('--write', 'merge it into the file of the client in the current folder', false)
    .action((client: string, address: string, options: LocalOptions & { name?: string; write: boolean }) => {
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
      if (options.write) {
        if (kind.file === null || kind.section === undefined)
          throw new CliFailure(
            'usage',
            `${client} has no configuration file to write.`,
            'Leave out --write and copy what is printed.',
          );
        const changed = merge(kind.file, kind.section, name, kind.entry(url));
        show(options, { client, file: kind.file, name, url, changed }, () =>
          changed ? `${name} is in ${kind.file}.` : `${kind.file} said so already.`,
        );
        return;
      }
      show(
        options,
        { client, file: kind.file, name, url, entry: kind.entry(url) },
        () => `${kind.says}:\n\n${kind.print(name, url)}`,
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
