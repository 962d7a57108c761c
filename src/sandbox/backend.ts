/**
 * Where a stdio server runs. A backend starts one process tree inside isolation and owns it to the last descendant.
 * Implemented by bubblewrap (`sandbox/bubblewrap.ts`) and by container engines (`sandbox/container.ts`). Every backend passes `test/contracts/isolation.ts`.
 *
 * Promises while the process runs
 * - not root, no capabilities, no new privileges; read-only system; only the declared mounts; private /tmp, /proc and process tree;
 *   no network unless declared; only the declared environment; file descriptors 0 to 2 only.
 * - limits on memory, processes, CPU time and open files hold.
 * - after `stop()` or exit no descendant is left.
 */
import type { Readable, Writable } from 'node:stream';
import { Fault } from '../lib/fault.ts';

export interface SandboxSpec {
  /** For logs and reports only. */
  readonly name: string;
  /** No shell. The first element is an absolute path inside the sandbox. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: ReadonlyArray<{ readonly from: string; readonly to: string; readonly mode: 'read' | 'write' }>;
  readonly network: 'none' | 'host';
  /** The image it runs in, by digest; a backend without images refuses it. */
  readonly image?: string;
  readonly limits: {
    readonly memoryMb: number;
    readonly processes: number;
    readonly cpuSeconds: number;
    readonly openFiles: number;
    /** Of one processor; held where the host has cgroups for it, and the posture says whether. */
    readonly cpuPercent: number;
  };
}

export interface SandboxExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** Set when we ended it: `stopped`, `memory`, `processes`, `cpu`, `output`, … */
  readonly reason?: string;
}

export interface SandboxedProcess {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<SandboxExit>;
  /** What is in force for this one, read after it was started. */
  readonly posture: Posture;
  /** Closes stdin, waits, SIGTERM, waits, SIGKILL; resolves when nothing of it is left. Idempotent. */
  stop(reason?: string): Promise<SandboxExit>;
}

/** What is really in force on this host, for the report (never assumed). */
export interface Posture {
  readonly backend: string;
  readonly version: string;
  readonly hostUser: 'dropped' | 'same' | 'root';
  readonly memoryLimit: 'cgroup' | 'rlimit+watchdog' | 'rlimit' | 'none';
  readonly processLimit: 'cgroup' | 'rlimit' | 'none';
  readonly cpuLimit: 'cgroup' | 'rlimit' | 'none';
  readonly systemCalls: 'filtered' | 'unfiltered';
  readonly notes: readonly string[];
}

export type Probe =
  | { readonly available: true; readonly posture: Posture }
  /** `remedy` says what to install or allow, in one sentence an operator can act on. */
  | { readonly available: false; readonly why: string; readonly remedy: string };

export interface IsolationBackend {
  readonly name: string;
  probe(): Promise<Probe>;
  /** @throws SandboxFault; never starts anything outside isolation. */
  start(spec: SandboxSpec): Promise<SandboxedProcess>;
}

export type SandboxFaultCode =
  | 'sandbox_unavailable'
  | 'sandbox_mount'
  | 'sandbox_command'
  | 'sandbox_identity' // what is installed is not what was reviewed
  | 'sandbox_network' // the network of the host, without leave; or egress rules that nothing holds
  | 'sandbox_start';
export class SandboxFault extends Fault<SandboxFaultCode> {}
