/** `remit doctor`: what has to be right on this machine before a process starts, each with its remedy. Changes nothing. */
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import type { Command } from 'commander';
import { parseAuthServerConfig } from '../../authserver/config.ts';
import { isFault } from '../../lib/fault.ts';
import { systemClock } from '../../lib/clock.ts';
import { local, type LocalOptions } from '../command.ts';
import { formatProblem, loadConfig, unsafeKeysInForce, type Config } from '../config.ts';
import type { Posture } from '../../sandbox/backend.ts';
import { isolationOf } from '../isolation.ts';
import { green, red, show } from '../output.ts';

interface Finding {
  readonly check: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly says: string;
  readonly remedy?: string;
}

export function doctorCommand(program: Command): void {
  local(program, 'doctor', 'Check this machine and the configuration', 'remit doctor --config remit.yaml')
    .option('--config <path>', 'configuration file (default: ./remit.yaml if it exists)')
    .action(async (options: LocalOptions & { config?: string }) => {
      const findings = await diagnose(options.config ?? (existsSync('remit.yaml') ? 'remit.yaml' : null), process.env);
      show(options, { ok: findings.every(({ status }) => status !== 'fail'), checks: findings }, ({ checks }) =>
        checks.map(line).join('\n'),
      );
      if (findings.some(({ status }) => status === 'fail')) process.exitCode = 1;
    });
}

const line = ({ check, status, says, remedy }: Finding): string =>
  `${status === 'ok' ? green('ok  ') : status === 'warn' ? 'warn' : red('FAIL')}  ${check}: ${says}${remedy === undefined ? '' : `\n      ${remedy}`}`;

async function diagnose(
  path: string | null,
  env: Readonly<Record<string, string | undefined>>,
): Promise<readonly Finding[]> {
  const loaded = loadConfig(path, env);
  const findings = [nodeVersion(process.versions.node), clock(systemClock.now())];
  if (!loaded.ok) {
    return [
      ...findings,
      ...loaded.error.map((problem): Finding => ({
        check: 'configuration',
        status: 'fail',
        says: formatProblem(problem),
      })),
    ];
  }
  const config = loaded.value;
  findings.push(await isolation(config), {
    check: 'configuration',
    status: 'ok',
    says: config.file ?? 'no file, all defaults',
  });
  for (const key of unsafeKeysInForce(config))
    findings.push({
      check: 'configuration',
      status: 'warn',
      says: `${key} relaxes a check`,
      remedy: 'docs/guides/configuration.md says what it costs.',
    });
  if (config.authserver !== undefined) findings.push(authServer(config.authserver));
  if (config.issuers.length === 0)
    findings.push({
      check: 'issuers',
      status: 'warn',
      says: 'none: nobody can sign in',
      remedy: 'Add one under `issuers`, or start with `remit up`.',
    });
  findings.push(
    dataDir(config),
    await port('MCP listener', config.public.host, config.public.port),
    await port('admin listener', config.admin.host, config.admin.port),
  );
  return findings;
}

function nodeVersion(version: string): Finding {
  const major = Number(version.split('.')[0]);
  return major >= 24
    ? { check: 'Node', status: 'ok', says: version }
    : { check: 'Node', status: 'fail', says: `${version} is too old`, remedy: 'Install Node 24 or newer.' };
}

/** Tokens and the log are worth nothing under a clock that is years off; small differences only the issuer can tell. */
function clock(nowMs: number): Finding {
  return nowMs > Date.UTC(2026, 0, 1) && nowMs < Date.UTC(2100, 0, 1)
    ? { check: 'clock', status: 'ok', says: new Date(nowMs).toISOString() }
    : {
        check: 'clock',
        status: 'fail',
        says: `it says ${new Date(nowMs).toISOString()}`,
        remedy: 'Set the clock and keep it set with NTP.',
      };
}

async function isolation(config: Config): Promise<Finding> {
  const probe = await isolationOf(config).probe();
  return probe.available
    ? { check: 'isolation', status: 'ok', says: saysPosture(probe.posture) }
    : {
        check: 'isolation',
        status: 'warn',
        says: `local (stdio) servers cannot start: ${probe.why}`,
        remedy: probe.remedy,
      };
}

/** What would hold a server here, limit by limit: two hosts with the same program differ in the rest. */
const saysPosture = (it: Posture): string =>
  `${it.version}, system calls ${it.systemCalls}, memory by ${it.memoryLimit}, processes by ${it.processLimit}, processor by ${it.cpuLimit}`;

function authServer(section: unknown): Finding {
  try {
    parseAuthServerConfig(section);
    return { check: 'authserver', status: 'ok', says: 'its section is valid' };
  } catch (error) {
    if (!isFault(error, 'config_invalid')) throw error;
    return {
      check: 'authserver',
      status: 'fail',
      says: error.message,
      remedy: 'Correct these keys; the section is read by `remit authserver` only.',
    };
  }
}

function dataDir(config: Config): Finding {
  const check = 'dataDir';
  let folder = config.dataDir;
  try {
    const { mode } = statSync(folder);
    if ((mode & 0o077) !== 0)
      return { check, status: 'fail', says: `${folder} is open to other users`, remedy: `Run: chmod 700 ${folder}` };
  } catch {
    while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  }
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return { check, status: 'ok', says: folder === config.dataDir ? folder : `${config.dataDir} will be created` };
  } catch {
    return {
      check,
      status: 'fail',
      says: `${folder} cannot be written`,
      remedy: 'Give this user the folder, or set dataDir.',
    };
  }
}

async function port(name: string, host: string, number: number): Promise<Finding> {
  if (number === 0) return { check: name, status: 'ok', says: 'takes a free port' };
  const server = createServer();
  const fault = await new Promise<string | null>((resolve) => {
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown error'));
    server.listen(number, host, () => resolve(null));
  });
  if (server.listening) await new Promise((resolve) => server.close(resolve));
  if (fault === null) return { check: name, status: 'ok', says: `${host}:${number} is free` };
  const remedy =
    fault === 'EADDRINUSE'
      ? 'Another process has it (a running gateway?). Stop it, or choose another port.'
      : 'Choose an address of this machine and a port you may use.';
  return { check: name, status: 'fail', says: `${host}:${number} cannot be used (${fault})`, remedy };
}
