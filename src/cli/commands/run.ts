/** `remit up`, `remit gateway`, `remit authserver`: the processes. What they need is loaded only when they are started. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { local, wholeNumber, type LocalOptions } from '../command.ts';
import { formatProblem, loadConfig, type Config } from '../config.ts';
import { CliFailure } from '../failure.ts';
import { fields, progress, show, table } from '../output.ts';
import type { RunningUp } from '../up.ts';

interface ConfigOptions extends LocalOptions {
  readonly config?: string;
}

const CONFIG_HELP = 'configuration file (default: ./remit.yaml if it exists)';

export function runCommands(program: Command): void {
  local(program, 'up', 'Run everything on this machine with sample servers and evaluation users', 'remit up')
    .option('--dir <folder>', 'where state is kept across starts', './remit-data')
    .option('--port <number>', 'first of four neighbouring ports; 0 takes free ones', wholeNumber)
    .action(async (options: LocalOptions & { dir: string; port?: number }) => {
      const { runUp } = await import('../up.ts');
      const running = await runUp({
        dir: options.dir,
        port: options.port ?? null,
        progress: (text) => progress(options, text),
      });
      const { dir, configFile, mcpUrl, adminUrl, issuer, servers, users, filesDir, verifierKey } = running;
      show(options, { dir, configFile, mcpUrl, adminUrl, issuer, servers, users, filesDir, verifierKey }, describeUp);
      await untilStopped(running, running.failed);
    });

  local(
    program,
    'gateway',
    'Run the gateway: MCP listener and admin listener',
    'remit gateway --config /etc/remit/remit.yaml',
  )
    .option('--config <path>', CONFIG_HELP)
    .action(async (options: ConfigOptions) => {
      const config = configOrFail(options.config);
      const { runGateway } = await import('../serve.ts');
      const running = await runGateway(config);
      show(
        options,
        { mcpUrl: running.mcpUrl, adminUrl: running.adminUrl },
        ({ mcpUrl, adminUrl }) => `MCP:   ${mcpUrl}\nadmin: ${adminUrl}`,
      );
      await untilStopped(running, running.failed);
    });

  local(
    program,
    'authserver',
    'Run the authorization server of this configuration',
    'remit authserver --config /etc/remit/remit.yaml',
  )
    .option('--config <path>', CONFIG_HELP)
    .action(async (options: ConfigOptions) => {
      const config = configOrFail(options.config);
      const { runAuthServer } = await import('../serve.ts');
      const running = await runAuthServer(config);
      show(options, { issuer: running.issuer }, ({ issuer }) => `issuer: ${issuer}`);
      await untilStopped(running);
    });
}

function describeUp(up: Omit<RunningUp, 'close' | 'failed' | 'unknown'>): string {
  const fresh = up.users.filter(({ password }) => password !== null);
  const [first] = up.servers;
  return [
    'Remit is running. Ctrl-C stops everything.',
    '',
    table(
      ['SERVER', 'URL', 'TOOLS', 'PROBLEM'],
      up.servers.map(({ id, url, tools, problem }) => [id, url, tools, problem ?? '']),
      'No servers.',
    ),
    '',
    ...(fresh.length === 0
      ? ['The evaluation users and their passwords are those of the first start.']
      : [
          'Evaluation users; their passwords are shown this once:',
          table(
            ['USER', 'PASSWORD', 'NAME', 'ROLES'],
            fresh.map(({ username, password, name, roles }) => [username, password, name, roles.join(',')]),
            '',
          ),
        ]),
    '',
    ...(first === undefined
      ? []
      : [`Connect a client:  remit connect claude-code ${first.url}   (or cursor, vscode, inspector, sdk)`]),
    `Administer:        remit login --url ${up.adminUrl}`,
    '',
    fields([
      ['admin API', up.adminUrl],
      ['issuer', up.issuer],
      ['data', up.dir],
      ['configuration', up.configFile],
      ['sample folder', up.filesDir],
      ['log key', up.verifierKey],
    ]),
  ].join('\n');
}

/** The file that is named, or ./remit.yaml if there is one, or defaults. @throws CliFailure with every problem at once. */
function configOrFail(path: string | undefined): Config {
  const loaded = loadConfig(path ?? (existsSync('remit.yaml') ? 'remit.yaml' : null), process.env);
  if (loaded.ok) return loaded.value;
  throw new CliFailure(
    'usage',
    `The configuration has ${loaded.error.length === 1 ? 'a problem' : `${loaded.error.length} problems`}:\n${loaded.error.map((problem) => `  ${formatProblem(problem)}`).join('\n')}`,
    undefined,
    {
      problems: loaded.error,
    },
  );
}

/** Waits for a signal, or for the process to fail by itself; takes everything apart in either case. */
async function untilStopped(running: { close(): Promise<void> }, failed?: Promise<never>): Promise<void> {
  try {
    await (failed === undefined ? stopSignal() : Promise.race([stopSignal(), failed]));
  } finally {
    await running.close();
  }
}

/** Resolves on the first SIGINT or SIGTERM. A second one ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}
