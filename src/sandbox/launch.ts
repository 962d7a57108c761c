/**
 * From the record of a stdio server to a running, isolated process: the one place that turns a reviewed command into a
 * specification for the isolation backend. Secrets arrive resolved and leave only as environment of that one process.
 * A server with egress rules gets one way out (EX-04), opened before it starts and closed with it; it needs nothing of the backend but mounts.
 */
import { NODE_INSIDE } from './arguments.ts';
import { realpathSync } from 'node:fs';
import { SandboxFault, type IsolationBackend, type SandboxSpec, type SandboxedProcess } from './backend.ts';
import { mustBe } from './artifact-digest.ts';
import { artifactFrom, resolveCommand, siblingModule, type NamedSource } from './artifact.ts';

/** The part of a server record that says how it runs. `env` may hold references; the resolved values arrive beside it. */
export interface StdioDefinition {
  readonly command: readonly string[];
  readonly mounts: SandboxSpec['mounts'];
  readonly network: SandboxSpec['network'];
  readonly egress?: readonly EgressRule[];
  readonly egressNetworks?: readonly string[];
  readonly image?: string;
  readonly limits: SandboxSpec['limits'];
}

/** As in the record; the opener reads it. */
interface EgressRule {
  readonly scheme: 'https' | 'http';
  readonly host: string;
  readonly port?: number;
  readonly methods?: readonly string[];
  readonly pathPrefix?: string;
}

export interface LaunchRequest {
  readonly serverId: string;
  readonly target: StdioDefinition;
  readonly env: Readonly<Record<string, string>>;
  /** What the files of the server must be, by `artifact-digest.ts`. */
  readonly digest?: string;
  /** The package and version of the record: which artifact is meant. */
  readonly source?: NamedSource;
}

export interface LaunchOptions {
  /** The folder of artifacts. Left out: packages are those that are installed with Remit. */
  readonly artifacts?: string;
  /** Opens the way out of one process: a folder with a socket that is mounted into its sandbox. Left out: no server with egress rules starts. */
  readonly openEgress?: (request: {
    readonly serverId: string;
    readonly egress: readonly EgressRule[];
    readonly egressNetworks: readonly string[];
  }) => Promise<{ readonly folder: string; readonly authority: boolean; close(): Promise<void> }>;
  /** Whether a folder has the ways out of other processes in it: no record may mount such a one. */
  readonly holdsEgress?: (folder: string) => boolean;
  /** Whether `network: host` may be started at all. Default: it may not. */
  readonly hostNetwork?: boolean;
}

const EGRESS_INSIDE = '/remit/egress';
/** What the bridge needs beside its server. */
const BRIDGE = { heapMb: 32, memoryMb: 64, processes: 8 } as const;

/**
 * Starts servers with this backend and with no other. Fits the upstream pool's `startProcess`.
 * @throws SandboxFault (from the returned function)
 */
export function serverLauncher(
  backend: IsolationBackend,
  options: LaunchOptions = {},
): (request: LaunchRequest) => Promise<SandboxedProcess> {
  return async ({ serverId, target, env, digest, source }) => {
    const { network, egress = [], egressNetworks = [], limits } = target;
    if (network === 'host' && egress.length > 0)
      throw new SandboxFault(
        'sandbox_network',
        `${serverId} is not started: its record has egress rules and the network of the host, which obeys none; set network to none, or remove the rules`,
      );
    if (network === 'host' && options.hostNetwork !== true)
      throw new SandboxFault(
        'sandbox_network',
        `${serverId} is not started: its record asks for the network of the host, and the configuration does not allow that; ` +
          'set network to none and name the hosts it needs in egress, or set sandbox.unsafeHostNetwork to true',
      );
    const from = artifactFrom(options.artifacts, target.command, source);
    // Where the gateway is nobody in particular, its servers are the same user and could use what they see.
    const theirs = target.mounts.find(({ from }) => options.holdsEgress?.(from));
    if (theirs !== undefined)
      throw new SandboxFault(
        'sandbox_mount',
        `mount source ${theirs.from}: the ways out of other servers lie there; choose a folder of its own`,
      );
    const packages = options.artifacts === undefined ? null : realOf(options.artifacts);
    const written = target.mounts.find(
      ({ from, mode }) => mode === 'write' && packages !== null && (isIn(from, packages) || isIn(packages, from)),
    );
    if (written !== undefined)
      throw new SandboxFault(
        'sandbox_mount',
        `mount source ${written.from}: the packages of other servers lie there, and nobody may change them; choose a folder of its own`,
      );
    if (digest !== undefined) await mustBe(target, digest, from);
    const artifact = resolveCommand(target.command, limits.memoryMb * 0.75, from);
    const spec: SandboxSpec = {
      name: serverId,
      argv: artifact.argv,
      env,
      mounts: [...artifact.mounts, ...target.mounts],
      network,
      ...(target.image !== undefined && { image: target.image }),
      limits,
    };
    if (egress.length === 0) return noted(await backend.start(spec), network === 'host' ? HOST_NETWORK : null);

    if (options.openEgress === undefined)
      throw new SandboxFault('sandbox_network', `${serverId} is not started: nothing here can hold its egress rules`);
    const door = await options.openEgress({ serverId, egress, egressNetworks });
    try {
      const process = await backend.start(withBridge(spec, door));
      void process.exited.then(() => door.close());
      return noted(process, EGRESS);
    } catch (error) {
      await door.close();
      throw error;
    }
  };
}

const isIn = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);

function realOf(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    return folder;
  }
}

const HOST_NETWORK = 'It has the network of the host, and no rule for where it connects.';
const EGRESS = 'It connects only to what its record names, by the proxy of the gateway.';

/** What the backend measured, and what it cannot know. */
function noted(process: SandboxedProcess, note: string | null): SandboxedProcess {
  if (note === null) return process;
  return { ...process, posture: { ...process.posture, notes: [...process.posture.notes, note] } };
}

function withBridge(spec: SandboxSpec, door: { readonly folder: string; readonly authority: boolean }): SandboxSpec {
  const bridge = siblingModule('egress-bridge');
  // Its ending says that it is a module wherever it lies alone.
  const inside = `/remit/egress-bridge.m${bridge.slice(-2)}`;
  const node = [
    NODE_INSIDE,
    '--no-warnings',
    `--max-old-space-size=${BRIDGE.heapMb}`,
    '--single-threaded',
    '--v8-pool-size=1',
  ];
  return {
    ...spec,
    argv: [...node, inside, EGRESS_INSIDE, door.authority ? 'ca' : 'none', ...spec.argv],
    mounts: [
      ...spec.mounts,
      { from: bridge, to: inside, mode: 'read' },
      { from: door.folder, to: EGRESS_INSIDE, mode: 'read' },
    ],
    limits: {
      ...spec.limits,
      memoryMb: spec.limits.memoryMb + BRIDGE.memoryMb,
      processes: spec.limits.processes + BRIDGE.processes,
    },
  };
}
