/**
 * Isolation by bubblewrap: Linux namespaces, made by root and then dropped when the gateway is root, or inside a user
 * namespace when it is not. There is no other way in this file to start a program, and no fallback (EX-09).
 * Longer than a page because it is one sequence: find, prove, open, start, hand over.
 * Not done here: egress rules, which command may run (review).
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { isAbsolute } from 'node:path';
import type { Duplex, Readable } from 'node:stream';
import { FD, commandArguments, optionArguments, passwd } from './arguments.ts';
import { type IsolationBackend, type Probe, SandboxFault, type SandboxSpec, type SandboxedProcess } from './backend.ts';
import { type Cgroup, type Cgroups, openCgroups } from './cgroup.ts';
import { findProgram } from './find-program.ts';
import { NOBODY, hasServerUids, serverUid } from './host-user.ts';
import { probedOnce } from './probed-once.ts';
import { closeMounts, openMounts } from './mounts.ts';
import { NAMESPACE_SPEC, STATUS_SPEC, measured, posture, prove } from './posture.ts';
import { filterHere } from './seccomp.ts';
import { supervise } from './supervise.ts';

export interface BubblewrapOptions {
  /** Where `bwrap` is looked for. Default: the PATH of this process. */
  readonly searchPath?: string;
  /** Absolute folders no mount may touch: the data directory, the configuration. */
  readonly forbidden?: readonly string[];
  /** Size of the private /tmp and /dev/shm each, MB. */
  readonly tmpMb?: number;
  /** When we are root: the host user a server runs as. Default: one per server name. Never 0. */
  readonly uidFor?: (name: string) => number;
  /** How long a server may take to leave when its input closes, and again after SIGTERM. */
  readonly graceMs?: number;
  /** How often a server's memory and processes are looked at. */
  readonly watchMs?: number;
  /** Whose cgroups these are, so that those of a killed gateway are found again: the name of the node. */
  readonly node?: string;
  /** How long a server may be refused further processes before it is ended. */
  readonly pressedMs?: number;
  /** What takes the place of the host's own: for tests of a host with less. */
  readonly host?: { readonly filter?: Buffer | null; readonly cgroups?: Cgroups };
}

const SETUP_MS = 10_000;
/** Servers give way to the gateway; of each other they have equal parts. */
const NICE = 5;
/** Not in node's constants. */
const O_CLOEXEC = 0o2000000;

export function bubblewrapBackend(options: BubblewrapOptions = {}): IsolationBackend {
  const root = process.getuid?.() === 0;
  const uidFor = options.uidFor ?? (hasServerUids() ? serverUid : () => NOBODY);
  const tmpMb = options.tmpMb ?? 64;
  const [filter, uncountedFilter] = [true, false].map((memoryCounted) =>
    options.host?.filter === undefined ? filterHere(memoryCounted) : options.host.filter,
  ) as [Buffer | null, Buffer | null];
  let opening: Promise<Cgroups> | undefined;

  const groups = (): Promise<Cgroups> =>
    (opening ??= options.host?.cgroups ? Promise.resolve(options.host.cgroups) : openCgroups(options.node ?? ''));

  const probe = probedOnce(examine);

  async function examine(): Promise<Probe> {
    if (process.platform !== 'linux') {
      return {
        available: false,
        why: `bubblewrap needs Linux, this is ${process.platform}`,
        remedy: 'Run the gateway on Linux, or register only servers reached by HTTP.',
      };
    }
    const program = await findProgram('bwrap', options.searchPath ?? process.env['PATH'] ?? '');
    if (program === null) {
      return {
        available: false,
        why: 'the program bwrap is not on the PATH',
        remedy:
          'Install bubblewrap: apt-get install bubblewrap, dnf install bubblewrap, or apk add bubblewrap setpriv.',
      };
    }
    try {
      const version = await run(launchPlain(program, ['--version']));
      const group = (await groups()).make(STATUS_SPEC.limits);
      let status: string;
      try {
        status = await run(launch(program, STATUS_SPEC, await strayDescriptors(), group));
      } finally {
        await group?.remove();
      }
      const namespaces = await run(launch(program, NAMESPACE_SPEC, await strayDescriptors(), null));
      prove(status, namespaces, filter !== null);
      return {
        available: true,
        posture: posture(version.trim(), root, hasServerUids(), group?.holds ?? [], filter !== null),
      };
    } catch (error) {
      return {
        available: false,
        why: `bubblewrap is installed but does not work here: ${(error as Error).message}`,
        remedy: root
          ? 'Give this container CAP_SYS_ADMIN, or run the gateway on the host; bubblewrap 0.8 with security updates and util-linux (setpriv, prlimit) are needed.'
          : 'Allow unprivileged user namespaces for bwrap (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu 24.04 an AppArmor profile that permits userns), or run the gateway as root.',
      };
    }
  }

  /** Opens what is to be mounted, starts bubblewrap, closes our copies. Whether it came up is not known yet. */
  function launch(program: string, spec: SandboxSpec, open: readonly number[], group: Cgroup | null): ChildProcess {
    const dropTo = root ? uidFor(spec.name) : null;
    if (dropTo === 0) throw new SandboxFault('sandbox_start', 'a server may not run as user 0');
    const mounts = openMounts(spec.mounts, options.forbidden ?? [], dropTo);
    const node = openSync(process.execPath, constants.O_RDONLY);
    const nothing = openSync('/dev/null', constants.O_RDONLY);
    try {
      const setting = { dropTo, mounts, tmpMb, counted: group?.holds.includes('pids') ?? false };
      const stdio: StdioOptions & unknown[] = [
        'pipe',
        'pipe',
        'pipe',
        'pipe',
        'pipe',
        'pipe',
        filter === null ? nothing : 'pipe',
        node,
        ...mounts.map(({ fd }) => fd),
      ];
      // EX-08: what our own parent left open in us would reach the server. Bubblewrap closes what it read arguments from.
      const strays = open.filter((fd) => fd >= stdio.length);
      for (const fd of strays) {
        while (stdio.length < fd) stdio.push('ignore');
        stdio[fd] = nothing;
      }
      const child = spawn(
        program,
        [
          '--args',
          `${FD.args}`,
          ...strays.flatMap((fd) => ['--args', `${fd}`]),
          filter === null ? '--args' : '--seccomp',
          `${FD.filter}`,
          '--json-status-fd',
          `${FD.status}`,
          '--',
          ...commandArguments(spec, setting),
        ],
        // Bubblewrap's own environment is empty: nothing of ours can leak through it or steer its loader.
        { env: {}, stdio, cwd: '/', detached: true },
      );
      try {
        // It has read no arguments and started nothing: all that it starts is born with this.
        if (child.pid !== undefined) {
          group?.add(child.pid);
          setPriority(child.pid, NICE);
        }
      } catch (cause) {
        child.kill('SIGKILL');
        throw new SandboxFault('sandbox_start', 'bubblewrap: its limits could not be set', { cause });
      }
      // EX-03: the declared environment travels through a pipe and appears on no command line and no disk.
      give(
        child,
        FD.args,
        optionArguments(spec, setting)
          .map((argument) => `${argument}\0`)
          .join(''),
      );
      give(child, FD.passwd, passwd(dropTo));
      const itsFilter = group?.holds.includes('memory') ? filter : uncountedFilter;
      if (itsFilter !== null) give(child, FD.filter, itsFilter);
      return child;
    } finally {
      closeMounts(mounts);
      closeSync(node);
      closeSync(nothing);
    }
  }

  async function start(spec: SandboxSpec): Promise<SandboxedProcess> {
    if (root && uidFor(spec.name) === 0) throw new SandboxFault('sandbox_start', 'a server may not run as user 0');
    const state = await probe();
    if (!state.available)
      throw new SandboxFault('sandbox_unavailable', `${spec.name} is not started: ${state.why}. ${state.remedy}`);
    checkSpec(spec);
    const program = await findProgram('bwrap', options.searchPath ?? process.env['PATH'] ?? '');
    if (program === null)
      throw new SandboxFault(
        'sandbox_unavailable',
        `${spec.name} is not started: the program bwrap is no longer there`,
      );
    const group = (await groups()).make(spec.limits);
    try {
      const child = launch(program, spec, await strayDescriptors(), group);
      const first = await firstProcess(child);
      const release = hold(child);
      const posture = await measured(child, first, state.posture, group).catch((cause: Error) => {
        child.kill('SIGKILL');
        throw new SandboxFault('sandbox_start', `bubblewrap: ${cause.message}`, { cause });
      });
      release();
      return supervise(child, first, {
        limits: spec.limits,
        group,
        watchMs: options.watchMs ?? 500,
        pressedMs: options.pressedMs ?? 4_000,
        graceMs: options.graceMs ?? 2_000,
        posture,
      });
    } catch (error) {
      void group?.remove();
      throw error;
    }
  }

  return { name: 'bubblewrap', probe, start };
}

function checkSpec({ argv, env, image }: SandboxSpec): void {
  if (image !== undefined)
    throw new SandboxFault(
      'sandbox_command',
      `its record names the image ${image}, and servers run in bubblewrap here; set sandbox.backend to container, or leave the image out`,
    );
  const [program] = argv;
  // `=`: env(1), which starts it, would read a variable.
  if (program === undefined || !isAbsolute(program) || program.includes('=')) {
    throw new SandboxFault(
      'sandbox_command',
      'the first element of the command must be an absolute path inside the sandbox, without "="',
    );
  }
  if ([...argv, ...Object.keys(env), ...Object.values(env)].some((text) => text.includes('\0'))) {
    throw new SandboxFault('sandbox_command', 'the command or the environment contains a NUL character');
  }
  const name = Object.keys(env).find((key) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(key) || key === 'PWD');
  if (name !== undefined)
    throw new SandboxFault('sandbox_command', `the environment may not set ${JSON.stringify(name)}`);
  const loader = Object.keys(env).find((key) => OF_THE_LOADER.test(key));
  if (loader !== undefined)
    throw new SandboxFault(
      'sandbox_command',
      `the environment may not set ${JSON.stringify(loader)}: the programs that drop rights and set limits would obey it; ` +
        `let the command begin with /usr/bin/env ${loader}=VALUE instead`,
    );
}

/** ATTACKER-CONTROLLED: what these name is code or data of every program that is started, and the first of them still is root. */
const OF_THE_LOADER = /^(?:LD_.*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH)$/;

/** Descriptors of this process that a child would inherit: node opens none such, but may have been born with some. */
async function strayDescriptors(): Promise<readonly number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc/self/fdinfo')) {
    const info = await readFile(`/proc/self/fdinfo/${name}`, 'latin1').catch(() => '');
    const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '', 8);
    if (Number(name) > 2 && (flags & O_CLOEXEC) === 0) found.push(Number(name));
  }
  return found.sort((a, b) => a - b);
}

function give(child: ChildProcess, fd: number, text: string | Buffer): void {
  const pipe = child.stdio[fd] as Duplex;
  pipe.on('error', () => {}); // bubblewrap left before it read: its exit says so
  pipe.end(text);
}

/** Waits for bubblewrap's report of the process it created. @throws SandboxFault `sandbox_start` with what it said instead. */
async function firstProcess(child: ChildProcess): Promise<number> {
  const status = child.stdio[FD.status] as Readable;
  status.on('error', () => {});
  return new Promise((resolve, reject) => {
    let report = '';
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail('it did not start in time');
    }, SETUP_MS);
    const fail = (why: string, cause?: unknown): void => {
      clearTimeout(timer);
      reject(new SandboxFault('sandbox_start', `bubblewrap: ${why}`, { cause }));
    };
    const onClose = (): void => fail(String(child.stderr?.read() ?? '').trim() || 'it ended at once');
    status.on('data', (chunk: Buffer) => {
      report += chunk.toString('latin1');
      const pid = /"child-pid"\s*:\s*(\d+)/.exec(report)?.[1];
      if (pid === undefined) return;
      clearTimeout(timer);
      child.off('close', onClose);
      status.removeAllListeners('data').resume();
      resolve(Number(pid));
    });
    child.once('error', (cause) => fail('cannot be executed', cause));
    child.once('close', onClose);
  });
}

/** Node throws away what a process wrote that ended before anybody listened; not while somebody waits to read. */
function hold({ stdout, stderr }: ChildProcess): () => void {
  const wait = (): void => {};
  for (const stream of [stdout, stderr]) stream?.on('readable', wait);
  return () => {
    for (const stream of [stdout, stderr]) stream?.off('readable', wait);
  };
}

const launchPlain = (program: string, argv: readonly string[]): ChildProcess =>
  spawn(program, argv, { env: {}, stdio: ['ignore', 'pipe', 'pipe'] });

/** Runs to the end and returns what it printed. @throws Error with the first line of its complaint. */
async function run(child: ChildProcess): Promise<string> {
  const timer = setTimeout(() => child.kill('SIGKILL'), SETUP_MS);
  let out = '';
  let complaint = '';
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  child.stderr?.on('data', (chunk: Buffer) => (complaint += chunk.toString('utf8')));
  (child.stdio[FD.status] as Readable | undefined)?.on('error', () => {}).resume();
  child.stdin?.end();
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearTimeout(timer));
  if (code !== 0) throw new Error(complaint.trim().split('\n')[0] ?? `it ended with code ${code}`);
  return out;
}
