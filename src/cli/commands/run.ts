/** `remit up`, `remit gateway`, `remit authserver`: the processes. What they need is loaded only when they are started. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { local, wholeNumber, type LocalOptions } from '../command.ts';
import type { UnknownCall } from '../../audit/recover.ts';
import { loadConfig, type Config } from '../config.ts';
import { configFailure } from '../failure.ts';
import { fields, oneLine, progress, show, table, time } from '../output.ts';
import type { RunningUp } from '../up.ts';
import { previewCommand } from './authserver-preview.ts';
import { connectLines } from './connect.ts';
import { outliveLooseFailures } from '../loose-failures.ts';

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
      const { close: _, failed, ...facts } = running;
      show(options, facts, describeUp);
      await untilStopped(options, running, failed);
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
      const { mcpUrl, adminUrl, verifierKey, unknown, claimFile } = running;
      show(options, { mcpUrl, adminUrl, verifierKey, unknown, claimFile }, (it) =>
        [
          ...describeUnknown(it.unknown),
          fields([
            ['MCP', it.mcpUrl],
            ['admin', it.adminUrl],
            ['log key', it.verifierKey],
          ]),
          ...(it.claimFile === null
            ? []
            : [
                `\nNobody administers this installation yet. Until ${time(it.claimFile.until)} UTC:\n  remit login --url ${it.adminUrl}\n  remit claim - < ${it.claimFile.path}`,
              ]),
        ].join('\n'),
      );
      await untilStopped(options, running, running.failed);
    });

  const authserver = local(
    program,
    'authserver',
    'Run the authorization server of this configuration',
    'remit authserver --config /etc/remit/remit.yaml',
  )
    .option('--config <path>', CONFIG_HELP)
    .addHelpText('after', '\nSIGHUP rotates the signing and cookie keys: kill -HUP PID')
    .action(async (options: ConfigOptions) => {
      const config = configOrFail(options.config);
      const { runAuthServer } = await import('../serve.ts');
      const running = await runAuthServer(config);
      show(options, { issuer: running.issuer }, ({ issuer }) => `issuer: ${issuer}`);
      // The one thing an operator tells a running authorization server: new keys from now on, old ones stay published until they are spent.
      process.on('SIGHUP', () => running.rotateKeys());
      await untilStopped(options, running);
    });
  previewCommand(authserver);
}

function describeUp(up: Omit<RunningUp, 'close' | 'failed'>): string {
  const fresh = up.users.filter(({ password }) => password !== null);
  const first = up.servers.find(({ problem }) => problem === null) ?? up.servers[0];
  const troubled = up.servers.filter(({ problem }) => problem !== null);
  // From a checkout there is no `remit` on the PATH; npm says that it started us.
  const remit = process.env['npm_lifecycle_event'] === undefined ? 'remit' : 'npm run --silent remit --';
  return [
    ...describeUnknown(up.unknown),
    'Remit is running. Ctrl-C stops everything.',
    '',
    table(
      ['SERVER', 'TOOLS', 'OTHER', 'URL'],
      up.servers.map(({ id, url, tools, others, problem }) => [id, problem === null ? tools : 'down', others, url]),
      'No servers.',
    ),
    ...troubled.map(({ id, problem }) => `\n${oneLine(id)} is down: ${oneLine(problem ?? '')}`),
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
      : [
          'Connect a client; it opens a browser to sign in as one of these users:',
          fields(connectLines(first.id, first.url)),
          `or let it be written: ${remit} connect cursor ${first.url} --write`,
          '',
        ]),
    'Administer (sign in as ada):',
    fields([
      ['sign in', `${remit} login --url ${up.adminUrl}`],
      ['stop someone now', `${remit} lock add user dana --reason "trying it"`],
      ['watch', `${remit} audit tail`],
    ]),
    '',
    'Where things are:',
    fields([
      ['data', up.dir],
      ['configuration', up.configFile],
      ['sample folder', up.filesDir],
      ['logs', up.logFiles.join(', ')],
      ['admin API', up.adminUrl],
      ['issuer', up.issuer],
      ['log key', up.verifierKey],
    ]),
  ].join('\n');
}

/** AE-03: what was in flight when the last run ended without a word is said before anything else. */
function describeUnknown(calls: readonly UnknownCall[]): string[] {
  if (calls.length === 0) return [];
  return [
    'The last run ended without a word. Whether these calls had an effect is unknown; ask their servers:',
    table(
      ['CALL', 'SERVER', 'TOOL', 'SENT AFTER', 'ENTRY'],
      calls.map(({ call, server, tool, time, index }) => [call, server, tool, time, index]),
      '',
    ),
    '',
  ];
}

/** The file that is named, or ./remit.yaml if there is one, or defaults. @throws CliFailure with every problem at once. */
function configOrFail(path: string | undefined): Config {
  const loaded = loadConfig(path ?? (existsSync('remit.yaml') ? 'remit.yaml' : null), process.env);
  if (loaded.ok) return loaded.value;
  throw configFailure(loaded.error);
}

/** Waits for a signal, or for the process to fail by itself; takes everything apart in either case. */
async function untilStopped(
  options: LocalOptions,
  running: { close(): Promise<void> },
  failed?: Promise<never>,
): Promise<void> {
  outliveLooseFailures((code, stack) =>
    process.stderr.write(
      `${JSON.stringify({ level: 'error', code, stack, msg: 'a failure that nobody waited for' })}\n`,
    ),
  );
  try {
    await (failed === undefined ? stopSignal() : Promise.race([stopSignal(), failed]));
    progress(options, 'stopping; once more ends it at once');
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
