/**
 * The public entry of the package, for programs that run Remit inside a process of their own (a supervisor, a test of an integration).
 * Deliberately small: start, addresses, stop. Everything else is reached through the listeners, as by anybody. Checking evidence is
 * `remit-gateway/verify`. What is not exported here may change without notice.
 */
import { formatProblem, loadConfig } from './cli/config.ts';
import type { Config } from './cli/config.ts';
import { runAuthServer, runGateway } from './cli/serve.ts';
import { VERSION } from './cli/version.ts';
import { Fault, isFault } from './lib/fault.ts';

export { VERSION, isFault };
export type { Fault };

export interface Gateway {
  /** Origin of the MCP listener. */
  readonly mcpUrl: string;
  /** Origin of the admin listener. */
  readonly adminUrl: string;
  /** Public key of the audit log (C2SP vkey). Keep it where the gateway cannot change it. */
  readonly verifierKey: string;
  /** Rejects when the ledger can no longer be trusted. The gateway admits nothing from then on: close it and end the process. */
  readonly failed: Promise<never>;
  /** Orderly: no new calls, running ones cancelled and recorded, last checkpoint signed. May be called twice. */
  close(): Promise<void>;
}

export interface AuthServer {
  readonly issuer: string;
  close(): Promise<void>;
}

/**
 * Starts one gateway node with a configuration file, as `remit gateway --config` does.
 * Logs go to standard error. Installs no signal handlers: who embeds it decides when to call `close`.
 * @throws Fault `config_invalid` with every problem at once, or the fault of the part that did not start; nothing is left running then.
 */
export async function startGateway(configFile: string): Promise<Gateway> {
  const { mcpUrl, adminUrl, verifierKey, failed, close } = await runGateway(read(configFile));
  return { mcpUrl, adminUrl, verifierKey, failed, close };
}

/**
 * Starts the authorization server of a configuration file, as `remit authserver --config` does. In production it belongs into a process
 * of its own, because it holds the keys that tokens are signed with.
 * @throws Fault as startGateway does.
 */
export async function startAuthServer(configFile: string): Promise<AuthServer> {
  const running = await runAuthServer(read(configFile));
  return { issuer: running.issuer, close: () => running.close() };
}

function read(configFile: string): Config {
  const loaded = loadConfig(configFile, process.env);
  if (loaded.ok) return loaded.value;
  throw new Fault('config_invalid', loaded.error.map(formatProblem).join('\n'));
}
