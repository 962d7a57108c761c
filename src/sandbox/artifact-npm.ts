/**
 * The npm client, run so that it can do one thing: put one exact version and what it depends on into an empty folder. No script of a package
 * runs, nothing of the operator's environment or configuration takes part but what is named, no git and no shell are within reach, the cache
 * is new and thrown away. Not promised: that the registry gives the same archive twice (that is what the digest in the record is for).
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { Fault } from '../lib/fault.ts';

/** Longest time npm may take, ms. */
const TIMEOUT_MS = 600_000;
const SAID_BYTES = 16_384;

export interface NpmRequest {
  /** Empty, absolute; npm writes `node_modules` and `package-lock.json` here. */
  readonly folder: string;
  /** Absolute and empty, outside `folder`: cache, home, configuration, and an empty folder for PATH. */
  readonly scratch: string;
  readonly name: string;
  readonly version: string;
  readonly registry: string | null;
  /** A file with what the registry asks for: tokens, proxy, certificates. It can not turn install scripts on. */
  readonly npmrc: string | null;
  /** The PATH to find npm on. */
  readonly searchPath: string;
}

/** npm's own program, or a wrapper of that name; null: there is none. */
function npmProgram(searchPath: string): string | null {
  const beside = join(dirname(process.execPath), '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js');
  const candidates = [
    ...searchPath
      .split(':')
      .filter(isAbsolute)
      .map((folder) => join(folder, 'npm')),
    beside,
  ];
  for (const candidate of candidates) {
    try {
      accessSync(candidate, constants.R_OK);
      return realpathSync(candidate);
    } catch {
      // The next one.
    }
  }
  return null;
}

/** @throws Fault `artifact_npm`; what npm said stands in the message. */
export async function npmInstall(request: NpmRequest): Promise<void> {
  const { folder, scratch, name, version, registry, npmrc, searchPath } = request;
  const npm = npmProgram(searchPath);
  if (npm === null) throw new Fault('artifact_npm', 'npm is not on the PATH; install it, or put it there');
  const [nothing, home] = [join(scratch, 'bin'), join(scratch, 'home')];
  for (const made of [nothing, home]) mkdirSync(made, { mode: 0o700 });
  // Two, because npm refuses to read one file as both.
  const [ofUser, ofHost] = [npmrc ?? join(scratch, 'user-npmrc'), join(scratch, 'host-npmrc')];
  for (const empty of npmrc === null ? [ofUser, ofHost] : [ofHost]) writeFileSync(empty, '');
  writeFileSync(join(folder, 'package.json'), '{"name":"remit-artifact","version":"0.0.0","private":true}\n');
  const options = [
    '--ignore-scripts',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
    '--no-bin-links',
    '--omit=dev',
    '--save-exact',
    '--package-lock',
    '--workspaces=false',
    '--global=false',
    '--install-strategy=hoisted',
    '--loglevel=error',
    '--color=false',
    '--progress=false',
    '--fetch-timeout=60000',
    '--fetch-retries=2',
    '--fetch-retry-mintimeout=250',
    '--fetch-retry-maxtimeout=1000',
    // Refuse what is not of the registry before it is fetched; clients that do not know these are caught by the lockfile.
    '--allow-git=none',
    '--allow-remote=none',
    '--allow-file=none',
    '--allow-directory=none',
    `--cache=${join(scratch, 'cache')}`,
    `--prefix=${folder}`,
    `--userconfig=${ofUser}`,
    `--globalconfig=${ofHost}`,
    ...(registry === null ? [] : [`--registry=${registry}`]),
  ];
  const words = ['install', ...options, '--', `${name}@${version}`];
  // The client is a script; run by this node, it needs nothing on the PATH, and so no git, no shell and no compiler.
  const isScript = /\.[cm]?js$/.test(npm);
  const child = spawn(isScript ? process.execPath : npm, isScript ? [npm, ...words] : words, {
    cwd: folder,
    env: { PATH: isScript ? nothing : searchPath, HOME: home },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-SAID_BYTES)));
  const code = await new Promise<number | string>((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'it could not be started'));
    child.once('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown'));
  });
  if (code === 0) return;
  const why = code === 'SIGKILL' ? `npm took longer than ${TIMEOUT_MS / 60_000} minutes` : `npm ended with ${code}`;
  const next = /CERT|EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|E40[13]/.test(said)
    ? ['A private registry stands in --registry; its token, proxy and certificates (cafile) in the file of --npmrc.']
    : [];
  throw new Fault('artifact_npm', [`${why}; nothing was installed`, ...tellable(said), ...next].join('\n'));
}

/** What npm said, without stacks and without the places of its own files. */
const tellable = (said: string): string[] =>
  said
    .split('\n')
    .filter((line) => /^npm error (?!\s*at )[^\s}]/.test(line) && !/log of this run|\.log$/.test(line))
    .slice(0, 8)
    .map((line) => `  ${line.slice('npm error '.length, 300)}`);
