/**
 * From the record of a stdio server to a running, isolated process: the one place that turns a reviewed command into a
 * specification for the isolation backend. Secrets arrive resolved and leave only as environment of that one process.
 */
import type { IsolationBackend, SandboxSpec, SandboxedProcess } from './backend.ts';
import { mustBe } from './artifact-digest.ts';
import { resolveCommand } from './artifact.ts';

/** The part of a server record that says how it runs. `env` may hold references; the resolved values arrive beside it. */
export interface StdioDefinition {
  readonly command: readonly string[];
  readonly mounts: SandboxSpec['mounts'];
  readonly network: SandboxSpec['network'];
  readonly limits: SandboxSpec['limits'];
}

export interface LaunchRequest {
  readonly serverId: string;
  readonly target: StdioDefinition;
  readonly env: Readonly<Record<string, string>>;
  /** What the files of the server must be, by `artifact-digest.ts`. */
  readonly digest?: string;
}

/**
 * Starts servers with this backend and with no other. Fits the upstream pool's `startProcess`.
 * @throws SandboxFault (from the returned function)
 */
export function serverLauncher(backend: IsolationBackend): (request: LaunchRequest) => Promise<SandboxedProcess> {
  return async ({ serverId, target, env, digest }) => {
    if (digest !== undefined) await mustBe(target, digest);
    const artifact = resolveCommand(target.command, target.limits.memoryMb * 0.75);
    return backend.start({
      name: serverId,
      argv: artifact.argv,
      env,
      mounts: [...artifact.mounts, ...target.mounts],
      network: target.network,
      limits: target.limits,
    });
  };
}
