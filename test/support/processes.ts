/**
 * The product as whole processes: `node src/cli/main.ts …` as a user starts it, in folders of their own, watched through /proc.
 * Every process that is started here is ended here: by its pid, with every descendant that was ever seen, also when a test fails
 * (`endAll`) and when the test process itself exits. Nothing is ended by name.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const REPOSITORY = join(import.meta.dirname, '..', '..');
export const MAIN = join(REPOSITORY, 'src', 'cli', 'main.ts');

/** One process at one time: a pid alone is used again. */
export interface Seen {
  readonly pid: number;
  readonly parent: number;
  /** Clock ticks since boot, from /proc. */
  readonly startedAt: string;
  /** Argument vector, joined with spaces. */
  readonly command: string;
  /** Real user id on the host. */
  readonly uid: number;
}

export interface Started {
  readonly pid: number;
  readonly child: ChildProcess;
  out(): string;
  err(): string;
  /** Resolves when both output streams have ended, too. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** The JSON document that the command prints once it is ready. @throws Error with what it said when it ends before. */
  ready<T>(): Promise<T>;
  /** Processes under this one now; remembered, so that orphans are found later. */
  descendants(): readonly Seen[];
  signal(name: NodeJS.Signals): void;
  /** As a terminal does on Ctrl-C. Only for processes started with `ownGroup`. */
  signalGroup(name: NodeJS.Signals): void;
  /** Signals, and waits for the end. @throws Error when it takes longer than `withinMs`; it is killed then. */
  stop(name?: NodeJS.Signals, withinMs?: number): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Of everything that was ever seen under it: what is alive. */
  left(): readonly Seen[];
}

export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** A process group of its own, as a shell gives to every job. */
  readonly ownGroup?: boolean;
  /** Words in front of the command, for example `bash -c 'ulimit …; exec "$@"' bash`. */
  readonly wrapper?: readonly string[];
  readonly readyWithinMs?: number;
  /** Standard input; nothing when left out. */
  readonly input?: string;
}

const running = new Set<{ readonly child: ChildProcess; kill(): void }>();
const folders = new Set<string>();
process.once('exit', () => {
  for (const one of running) one.kill();
});

/** For `afterEach`: whatever a test left is killed and waited for, and its folders are removed. */
export async function endAll(): Promise<void> {
  const ends = [...running].map(async (one) => {
    one.kill();
    await exited(one.child);
  });
  await Promise.all(ends);
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
}

/** A folder that `endAll` removes. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'remit-journey-'));
  folders.add(folder);
  return folder;
}

/**
 * Nothing of the environment is passed on but PATH and where Node keeps what it compiled (`vitest.config.ts`); a home that does not exist
 * keeps sign-ins of this machine out.
 */
export const OWN_ENV: Readonly<Record<string, string>> = {
  PATH: process.env['PATH'] ?? '',
  HOME: '/nonexistent',
  XDG_CONFIG_HOME: '/nonexistent',
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] ?? '',
};

export function startRemit(args: readonly string[], options: StartOptions = {}): Started {
  return startProcess([process.execPath, MAIN, ...args], options);
}

export function startProcess(command: readonly string[], options: StartOptions = {}): Started {
  const argv = [...(options.wrapper ?? []), ...command];
  const child = spawn(argv[0]!, argv.slice(1), {
    cwd: options.cwd ?? tmpdir(),
    env: { ...OWN_ENV, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: options.ownGroup ?? false,
  });
  const pid = child.pid ?? -1;
  child.stdin.on('error', () => undefined); // it may end without reading
  child.stdin.end(options.input ?? '');
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  const seen = new Map<string, Seen>();
  const look = (): readonly Seen[] => {
    const now = pid > 0 && child.exitCode === null && child.signalCode === null ? descendantsOf(pid) : [];
    for (const one of now) seen.set(`${one.pid} ${one.startedAt}`, one);
    return now;
  };
  const left = (): readonly Seen[] => [...seen.values()].filter(isAlive);
  const handle = {
    child,
    kill: (): void => {
      look();
      child.kill('SIGKILL');
      for (const one of left()) kill(one.pid);
    },
  };
  running.add(handle);
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (left().length === 0) running.delete(handle);
      resolve({ code, signal });
    });
  });
  ended.catch(() => undefined);

  return {
    pid,
    child,
    out: () => out,
    err: () => err,
    ended,
    async ready<T>() {
      // The document is whole when its last line is a closing brace alone.
      await until(
        `${argv.slice(-4).join(' ')} to be ready`,
        () => {
          if (child.exitCode !== null || child.signalCode !== null)
            throw new Error(
              `it ended with ${String(child.exitCode ?? child.signalCode)} before it was ready\n${out}${err}`,
            );
          return out.endsWith('\n}\n');
        },
        options.readyWithinMs ?? 60_000,
        () => `${out}\n${err}`,
      );
      look();
      return JSON.parse(out) as T;
    },
    descendants: look,
    signal(name) {
      look();
      child.kill(name);
    },
    signalGroup(name) {
      if (options.ownGroup !== true) throw new Error('it shares the process group of the tests');
      look();
      process.kill(-pid, name);
    },
    async stop(name = 'SIGTERM', withinMs = 40_000) {
      look();
      child.kill(name);
      const timer = setTimeout(() => child.kill('SIGKILL'), withinMs);
      const end = await ended;
      clearTimeout(timer);
      if (end.signal === 'SIGKILL' && name !== 'SIGKILL')
        throw new Error(`it did not end within ${withinMs} ms of ${name}\n${err}`);
      return end;
    },
    left,
  };
}

/** Runs a command to its end. For commands that are about to be interrupted, use `startRemit`. */
export async function runRemit(
  args: readonly string[],
  options: StartOptions = {},
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  const one = startRemit(args, options);
  const timer = setTimeout(() => one.child.kill('SIGKILL'), options.readyWithinMs ?? 60_000);
  const { code } = await one.ended;
  clearTimeout(timer);
  return { code, out: one.out(), err: one.err() };
}

/** Polls until it holds. @throws Error naming what was waited for. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = 60_000,
  shown: () => string = () => '',
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited ${withinMs} ms for ${what}\n${shown()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/**
 * First of `count` neighbouring ports that were free a moment ago. Below those that the kernel hands out by itself: until the process that
 * is told to use them binds them, no other test's connection or server takes them.
 */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const first = randomInt(11_000, 32_000 - count);
    const all = await Promise.all(Array.from({ length: count }, (_, i) => listenOnce(first + i)));
    if (all.every((port) => port !== null)) return first;
  }
  throw new Error('no neighbouring free ports');
}

function listenOnce(port: number): Promise<number | null> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(null));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address() as AddressInfo;
      server.close(() => done(address.port));
    });
  });
}

/** Every process under `pid`, at any depth, as the kernel knows them. Zombies are left out: they hold nothing. */
export function descendantsOf(pid: number): Seen[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => look(Number(name)))
    .filter((one) => one !== null);
  const found: Seen[] = [];
  for (let parents = new Set([pid]); parents.size > 0;) {
    const next = all.filter(({ parent }) => parents.has(parent));
    found.push(...next);
    parents = new Set(next.map((one) => one.pid));
  }
  return found;
}

export function isAlive(one: Seen): boolean {
  return look(one.pid)?.startedAt === one.startedAt;
}

/** What a process sees as its file system root: the names in it. */
export function rootOf(pid: number, path = ''): string[] {
  return readdirSync(`/proc/${pid}/root${path}`);
}

export function namespaceOf(pid: number | 'self', kind: 'mnt' | 'net' | 'pid'): string {
  return readlinkSync(`/proc/${pid}/ns/${kind}`);
}

/** A field of /proc/PID/status. */
export function statusOf(pid: number, name: string): string {
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';
}

function look(pid: number): Seen | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may hold anything, also parentheses and spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return null;
    return {
      pid,
      parent: Number(fields[1]),
      startedAt: fields[19] ?? '',
      command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(),
      uid: Number(statusOf(pid, 'Uid').split(/\s+/)[0]),
    };
  } catch {
    return null; // it ended while we looked
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone already.
  }
}

async function exited(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  await new Promise<void>((resolve) => child.once('exit', () => resolve()));
}
