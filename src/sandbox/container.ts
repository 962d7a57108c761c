/**
 * Isolation by a container engine (podman, docker) through its command line. What the engine made is measured before the server gets its
 * environment, and ended if it is not what was asked for; there is no other way in this file to start a program, and no fallback (EX-09).
 * Linux, with the engine on this machine. Longer than a page because it is one sequence: find, check, start, measure, hand over.
 * Not done here: getting images (`--pull=never`), what a reviewer should think of one, destinations of the network.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fstatSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { isAbsolute } from 'node:path';
import { NODE_INSIDE } from './arguments.ts';
import {
  type IsolationBackend,
  type Posture,
  type Probe,
  SandboxFault,
  type SandboxSpec,
  type SandboxedProcess,
} from './backend.ts';
import { type EngineKind, handover, isGivable, OF_ANY_SHELL, runArguments } from './container-arguments.ts';
import {
  ask,
  type Engine,
  inspectContainer,
  inspectImage,
  labelled,
  lastLine,
  remove,
  spawnEngine,
} from './container-engine.ts';
import { containerGuard } from './container-leftovers.ts';
import { type Expected, identityOf, measure, problemsOf, type Seen } from './container-measure.ts';
import { attach, type Attached, superviseContainer } from './container-process.ts';
import { findProgram } from './find-program.ts';
import { NOBODY, hasServerUids, serverUid } from './host-user.ts';
import { probedOnce } from './probed-once.ts';
import { closeMounts, openMounts } from './mounts.ts';
import { startOf } from './tree.ts';

export interface ContainerOptions {
  readonly engine: EngineKind;
  /** `NAME@sha256:…`, or `sha256:…` of an image that only this machine has. For servers whose record names none. */
  readonly image: string;
  /** The OCI runtime; left out: the engine's own choice. */
  readonly runtime?: string;
  /** Says whose containers are whose on this machine: what a killed process of this owner left is removed. Letters, digits and dashes. */
  readonly owner: string;
  /** Name of the node, for people who look at containers. */
  readonly node?: string;
  /** Where the engine's program is looked for. Default: the PATH of this process. */
  readonly searchPath?: string;
  /** Absolute folders no mount may touch: the data directory, the configuration. */
  readonly forbidden?: readonly string[];
  /** Size of the private /tmp and /dev/shm each, MB. */
  readonly tmpMb?: number;
  /** The user inside. Default: where the engine is root's, one per server name. Never 0. */
  readonly uidFor?: (name: string) => number;
  /** How long a server may take to leave when its input closes, and again after SIGTERM. */
  readonly graceMs?: number;
}

const OWNER = 'remit.owner';
const GATEWAY = 'remit.gateway';

/** A shell is the one program that every image here has; it shows what stands for a server, not for the launcher. */
const LOOK: SandboxSpec = {
  name: 'probe',
  argv: ['/bin/sh', '-c', 'while read -r line; do echo "$line"; done </proc/self/status'],
  env: {},
  mounts: [],
  network: 'none',
  limits: { memoryMb: 64, processes: 16, cpuSeconds: 10, openFiles: 64, cpuPercent: 100 },
};

export function containerBackend(options: ContainerOptions): IsolationBackend {
  const root = process.getuid?.() === 0;
  const uidFor = options.uidFor ?? (root && hasServerUids() ? serverUid : () => NOBODY);
  const tmpMb = options.tmpMb ?? 64;
  let guarded: ((engine: Engine) => void) | undefined;

  const probe = probedOnce(examine);

  async function examine(): Promise<Probe> {
    if (process.platform !== 'linux') {
      return {
        available: false,
        why: `containers are measured through /proc, and this is ${process.platform}`,
        remedy: 'Run the gateway on Linux, beside the engine, or register only servers reached by HTTP.',
      };
    }
    const engine = await theEngine();
    if (engine === null) {
      return {
        available: false,
        why: `the program ${options.engine} is not on the PATH`,
        remedy: `Install it (apt-get install --no-install-recommends podman runc), or set sandbox.backend to bubblewrap.`,
      };
    }
    try {
      const version = (await ask(engine, ['--version'])).trim();
      await sweep(engine);
      const { imageId } = await imageOf(engine, options.image);
      const looked = await launch(engine, LOOK, imageId, version);
      let status = '';
      looked.process.stdout.on(
        'data',
        (chunk: Buffer) => (status = (status + chunk.toString('utf8')).slice(0, 65_536)),
      );
      looked.process.stderr.resume();
      const [exit] = await Promise.all([looked.process.exited, once(looked.process.stdout, 'end')]);
      if (exit.code !== 0) throw new Error(`a first container ended with ${JSON.stringify(exit)}`);
      const inside = problemsOf(
        { ...looked.seen, status },
        { network: 'none', limits: LOOK.limits, mounts: looked.expected.mounts },
      );
      if (inside.length > 0) throw new Error(`inside a container: ${inside.join('; ')}`);
      return { available: true, posture: looked.process.posture };
    } catch (error) {
      return {
        available: false,
        why: `${options.engine} is installed but does not isolate here: ${(error as Error).message}`,
        remedy: `Look at what "${options.engine} run" says for this user; an engine on this machine is needed, with its default seccomp profile, cgroups for memory, processes and cpu, the image ${options.image} (it is never fetched by the gateway), and, where the default runtime fails, sandbox.container.runtime.`,
      };
    }
  }

  async function theEngine(): Promise<Engine | null> {
    const program = await findProgram(options.engine, options.searchPath ?? process.env['PATH'] ?? '');
    return program === null
      ? null
      : { kind: options.engine, program, ...(options.runtime !== undefined && { runtime: options.runtime }) };
  }

  /** Removes what processes of this owner left that are no more; those of a process that runs are its own business. */
  async function sweep(engine: Engine): Promise<void> {
    for (const { id, value } of await labelled(engine, `${OWNER}=${options.owner}`, GATEWAY)) {
      const [pid = '', start = ''] = value.split('.');
      if (!/^\d+$/.test(pid) || (await startOf(Number(pid))) !== start) await remove(engine, id);
    }
  }

  async function imageOf(engine: Engine, reference: string): Promise<{ readonly imageId: string }> {
    const digest = /^(?:[a-z0-9][a-z0-9._:/-]{0,400}@)?(sha256:[0-9a-f]{64})$/.exec(reference)?.[1];
    if (digest === undefined)
      throw new SandboxFault('sandbox_identity', `the image ${reference} is not one by digest; write NAME@sha256:…`);
    const image = await inspectImage(engine, reference).catch((cause: unknown) => {
      throw new SandboxFault(
        'sandbox_identity',
        `the image ${reference} is not on this machine, and the gateway fetches none; run: ${options.engine} pull ${reference}`,
        { cause },
      );
    });
    if (reference === digest ? image.id !== digest : !image.digests.includes(digest))
      throw new SandboxFault(
        'sandbox_identity',
        `what ${options.engine} has as ${reference} has another digest; remove it and pull it again`,
      );
    if (options.engine === 'docker' && image.volumes.length > 0)
      throw new SandboxFault(
        'sandbox_mount',
        `the image ${reference} declares volumes (${image.volumes.join(', ')}), which docker would make writable on disk; use podman, or an image without`,
      );
    return { imageId: image.id };
  }

  interface Launched {
    readonly process: SandboxedProcess;
    readonly seen: Seen;
    readonly expected: Expected;
  }

  async function launch(engine: Engine, spec: SandboxSpec, imageId: string, version: string): Promise<Launched> {
    const uid = uidFor(spec.name);
    if (uid === 0) throw new SandboxFault('sandbox_start', 'a server may not run as user 0');
    const mounts = openMounts(spec.mounts, options.forbidden ?? [], root ? uid : null);
    const name = `remit-${options.owner}-${randomBytes(8).toString('hex')}`;
    const self = await startOf(process.pid);
    try {
      const expected: Expected = {
        network: spec.network,
        limits: spec.limits,
        mounts: [
          { to: NODE_INSIDE, mode: 'read', identity: identityOf(statSync(process.execPath, { bigint: true })) },
          ...mounts.map(({ fd, to, mode }) => ({ to, mode, identity: identityOf(fstatSync(fd, { bigint: true })) })),
        ],
      };
      guarded ??= containerGuard(`${OWNER}=${options.owner}`, `${GATEWAY}=${process.pid}.${self}`);
      guarded(engine);
      const child = spawnEngine(
        engine,
        runArguments(spec, {
          kind: options.engine,
          ...(options.runtime !== undefined && { runtime: options.runtime }),
          name,
          imageId,
          uid,
          labels: {
            [OWNER]: options.owner,
            [GATEWAY]: `${process.pid}.${self}`,
            'remit.node': options.node ?? '',
            'remit.server': spec.name,
          },
          mounts: spec.mounts,
          node: process.execPath,
          tmpMb,
          processors: availableParallelism(),
        }),
      );
      let attached: Attached;
      try {
        attached = await attach(child);
      } catch (cause) {
        throw startFault(spec, (cause as Error).message);
      }
      // From here on the launcher waits: nothing of the server runs until `go`.
      const state = await inspectContainer(engine, name);
      if (state.imageId !== imageId)
        throw new SandboxFault('sandbox_identity', 'the engine runs another image than the one it was told');
      const seen = measure(
        state.pid,
        expected.mounts.map(({ to }) => to),
      );
      const problems = problemsOf(seen, expected);
      if (problems.length > 0)
        throw new SandboxFault(
          'sandbox_start',
          `${spec.name} is not started: the container that ${options.engine} made is not isolated: ${problems.join('; ')}`,
        );
      const process_ = superviseContainer(engine, state, attached, {
        graceMs: options.graceMs ?? 2_000,
        posture: postureOf(seen, engine, version),
      });
      attached.go(
        handover(
          spec.env,
          [...seen.environment, ...OF_ANY_SHELL].filter((variable) => !(variable in spec.env)),
        ),
      );
      return { process: process_, seen, expected };
    } catch (error) {
      await remove(engine, name).catch(() => undefined);
      throw error instanceof SandboxFault
        ? error
        : new SandboxFault('sandbox_start', `${options.engine}: ${(error as Error).message}`, { cause: error });
    } finally {
      closeMounts(mounts);
    }
  }

  async function start(spec: SandboxSpec): Promise<SandboxedProcess> {
    if (uidFor(spec.name) === 0) throw new SandboxFault('sandbox_start', 'a server may not run as user 0');
    const state = await probe();
    if (!state.available)
      throw new SandboxFault('sandbox_unavailable', `${spec.name} is not started: ${state.why}. ${state.remedy}`);
    checkSpec(spec);
    const engine = await theEngine();
    if (engine === null)
      throw new SandboxFault(
        'sandbox_unavailable',
        `${spec.name} is not started: the program ${options.engine} is no longer there`,
      );
    const { imageId } = await imageOf(engine, spec.image ?? options.image);
    return (await launch(engine, spec, imageId, state.posture.version)).process;
  }

  return { name: options.engine, probe, start };
}

function startFault(spec: SandboxSpec, said: string): SandboxFault {
  const line = lastLine(said);
  return /"\/bin\/sh"|\/bin\/sh: (?:no such|not found)|exec: .*\/bin\/sh/i.test(line)
    ? new SandboxFault(
        'sandbox_command',
        `${spec.name} is not started: its image has no /bin/sh, by which it would get its environment; use an image with a shell, for example a slim one instead of a distroless one`,
      )
    : new SandboxFault('sandbox_start', `${spec.name} is not started: ${line || 'the engine ended without a word'}`);
}

function postureOf(seen: Seen, engine: Engine, version: string): Posture {
  const hostUid = Number(/^Uid:\s+(\d+)/m.exec(seen.status)?.[1]);
  return {
    backend: engine.kind,
    version,
    hostUser: hostUid === 0 ? 'root' : hostUid === process.getuid?.() ? 'same' : 'dropped',
    memoryLimit: seen.memoryBytes === null ? 'none' : 'cgroup',
    processLimit: seen.processes === null ? 'none' : 'cgroup',
    cpuLimit: seen.cpuPercent === null ? 'none' : 'cgroup',
    systemCalls: /^Seccomp:\s+2$/m.test(seen.status) ? 'filtered' : 'unfiltered',
    notes: [
      `Each server runs in a container of its own, as host user ${hostUid} for this one, without capabilities, on a read-only root.`,
      "System calls are filtered by the engine's default profile.",
      'Processor time is limited for each process, and its share of the processors for all of them together.',
    ],
  };
}

function checkSpec({ argv, env, mounts }: SandboxSpec): void {
  const [program] = argv;
  // `=`: an image whose shell is bash starts it by way of env(1), which would read a variable.
  if (program === undefined || !isAbsolute(program) || program.includes('='))
    throw new SandboxFault(
      'sandbox_command',
      'the first element of the command must be an absolute path inside the sandbox, without "="',
    );
  if ([...argv, ...Object.keys(env), ...Object.values(env)].some((text) => text.includes('\0')))
    throw new SandboxFault('sandbox_command', 'the command or the environment contains a NUL character');
  const name = Object.keys(env).find((key) => !isGivable(key));
  if (name !== undefined)
    throw new SandboxFault('sandbox_command', `the environment may not set ${JSON.stringify(name)}`);
  // Engines read a mount as a line of comma-separated values.
  const path = mounts.flatMap(({ from, to }) => [from, to]).find((text) => /[,"\n\r]/.test(text));
  if (path !== undefined)
    throw new SandboxFault(
      'sandbox_mount',
      `mount ${JSON.stringify(path)}: a container engine cannot be told of a path with a comma, quote or line break; rename it`,
    );
}
