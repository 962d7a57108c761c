/**
 * One container from the launcher's first word to the removal of what is left. Its streams are those of the engine's client program;
 * how it ended is asked of the engine afterwards, because the client's own exit code means too many things.
 */
import type { ChildProcess } from 'node:child_process';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import type { Posture, SandboxExit, SandboxedProcess } from './backend.ts';
import { OUT_OF_MEMORY, READY } from './container-arguments.ts';
import { ask, type ContainerState, type Engine, inspectContainer, remove } from './container-engine.ts';
import { gone, outcome, within } from './endings.ts';
import { startOf } from './tree.ts';

const SETUP_MS = 30_000;

export interface Attached {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Of the client program. */
  readonly ended: Promise<unknown>;
  /** Ends the client program alone: where nobody reads, it waits for ever. */
  leave(): void;
  /** Hands over what the launcher waits for. */
  go(text: string): void;
}

/** Resolves when the launcher waits. @throws Error with what the engine said instead. */
export async function attach(child: ChildProcess): Promise<Attached> {
  const [stdin, from, complaints] = child.stdio as unknown as [Writable, Readable, Readable];
  stdin.on('error', () => {});
  let said = '';
  let heard = '';
  const failed = new Promise<false>((resolve) => {
    child.once('close', () => resolve(false));
    child.once('error', (error) => {
      said += error.message;
      resolve(false);
    });
  });
  // Not its close: that waits for whoever reads.
  const ended = new Promise<void>((resolve) => void child.once('exit', () => resolve()));
  const complain = (chunk: Buffer): void => void (said = (said + chunk.toString('utf8')).slice(-4_096));
  complaints.on('data', complain);
  const timer = setTimeout(() => child.kill('SIGKILL'), SETUP_MS);
  const ready = new Promise<true>((resolve) => {
    from.on('data', (chunk: Buffer) => {
      heard = (heard + chunk.toString('latin1')).slice(0, 64);
      if (heard === READY) resolve(true);
    });
  });
  const up = await Promise.race([ready, failed]);
  clearTimeout(timer);
  if (!up) throw new Error(said);
  // What the engine's client said until now is not the server's; nothing of the server has run.
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  from.removeAllListeners('data').pipe(stdout);
  complaints.removeAllListeners('data').pipe(stderr);
  return {
    stdin,
    stdout,
    stderr,
    ended,
    leave: () => void child.kill('SIGKILL'),
    go: (text) => void stdin.write(text),
  };
}

export interface ContainerRules {
  /** How long a server may take to end by itself when its input closes, and again after SIGTERM, ms. */
  readonly graceMs: number;
  readonly posture: Posture;
}

export function superviseContainer(
  engine: Engine,
  container: ContainerState,
  { stdin, stdout, stderr, ended, leave }: Attached,
  rules: ContainerRules,
): SandboxedProcess {
  const { id, pid } = container;
  const start = startOf(pid);
  let endedBy: string | undefined;
  let over = false;

  const exited = ended.then(async (): Promise<SandboxExit> => {
    const last = await inspectContainer(engine, id).catch(() => null);
    // CRASH: the client may have been killed alone; then the container still runs, and nobody reads it.
    await remove(engine, id).catch(() => kill(pid, start));
    await gone(pid, await start);
    over = true;
    const how: SandboxExit = last === null || last.pid !== 0 ? { code: null, signal: 'SIGKILL' } : endOf(last.exitCode);
    const forMemory = last?.exitCode === OUT_OF_MEMORY || (last?.outOfMemory === true && how.signal === 'SIGKILL');
    const reason = endedBy ?? (forMemory ? 'memory' : how.signal === 'SIGXCPU' ? 'cpu' : undefined);
    return reason === undefined ? how : { ...how, reason };
  });

  async function stop(reason: string): Promise<SandboxExit> {
    if (over) return exited;
    endedBy ??= reason;
    stdin.end();
    if (await within(exited, rules.graceMs)) return exited;
    await ask(engine, ['kill', '--signal=TERM', id]).catch(() => undefined);
    if (await within(exited, rules.graceMs)) return exited;
    await ask(engine, ['kill', '--signal=KILL', id]).catch(() => kill(pid, start));
    if (!(await within(exited, rules.graceMs))) leave();
    return exited;
  }

  let stopping: Promise<SandboxExit> | undefined;
  return {
    pid,
    stdin,
    stdout,
    stderr,
    exited,
    posture: rules.posture,
    stop: (reason = 'stopped') => (stopping ??= stop(reason)),
  };
}

/** Without the engine, which does not answer: works where we are root or the user of the engine. */
async function kill(pid: number, start: Promise<string | null>): Promise<void> {
  const then = await start;
  if (then === null || (await startOf(pid)) !== then) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone, or not ours: the sweep at the next start finds it by its label.
  }
}

const endOf = (code: number): SandboxExit =>
  code === OUT_OF_MEMORY ? { code: null, signal: 'SIGKILL' } : outcome(code);
