/**
 * Owns one bubblewrap process from its first sign of life to the end of its last descendant.
 * The server and everything it starts live in one PID namespace: when its first process is gone, the kernel has ended the rest.
 */
import type { ChildProcess } from 'node:child_process';
import { setPriority } from 'node:os';
import { Readable, type Writable } from 'node:stream';
import type { Posture, SandboxExit, SandboxSpec, SandboxedProcess } from './backend.ts';
import type { Cgroup } from './cgroup.ts';
import { gone, outcome, within } from './endings.ts';
import { children, cpuSecondsOf, memoryBytes, startOf, tasks, tree } from './tree.ts';

export interface Supervision {
  readonly limits: SandboxSpec['limits'];
  /** Null: the host has no cgroups for us, and everything is counted here. */
  readonly group: Cgroup | null;
  /** How often memory and processes are looked at, ms. */
  readonly watchMs: number;
  /** How long it may press against its limit on processes, ms. */
  readonly pressedMs: number;
  /** How long a server may take to end by itself when its input closes, and again after SIGTERM, ms. */
  readonly graceMs: number;
  /** What is in force for it. */
  readonly posture: Posture;
}

/** `first` is the first process of the sandbox's PID namespace, by its number on the host. */
export function supervise(bubblewrap: ChildProcess, first: number, rules: Supervision): SandboxedProcess {
  const [stdin, ...outputs] = bubblewrap.stdio as unknown as [Writable, Readable, Readable];
  // Whoever reads must see the end of an output, also of one that had nothing and ended before it was handed over.
  const [stdout, stderr] = outputs.slice(0, 2).map((output) => (output.destroyed ? Readable.from([]) : output)) as [
    Readable,
    Readable,
  ];
  // A server that leaves makes our next write fail; whoever reads learns it from `exited`.
  stdin.on('error', () => {});
  const firstStart = startOf(first);
  let endedBy: string | undefined;
  /** Processor seconds of the server when it was last looked at: who catches SIGXCPU is killed, and nobody says for what. */
  let used = 0;
  let watching: NodeJS.Timeout | undefined;

  const exited = ended(bubblewrap).then(async ({ code, signal }): Promise<SandboxExit> => {
    clearInterval(watching);
    // CRASH: bubblewrap itself may have been killed; its namespace follows by the kernel's hand, a moment later.
    await gone(first, await firstStart);
    const how = outcome(code, signal);
    const outOfMemory = (rules.group?.events().outOfMemory ?? 0) > 0;
    const outOfTime = how.signal === 'SIGXCPU' || (how.signal === 'SIGKILL' && used >= rules.limits.cpuSeconds - 1);
    const reason = endedBy ?? (outOfMemory ? 'memory' : outOfTime ? 'cpu' : undefined);
    await rules.group?.remove();
    return reason === undefined ? how : { ...how, reason };
  });

  const running = (): boolean => bubblewrap.exitCode === null && bubblewrap.signalCode === null;

  function kill(reason: string): void {
    if (!running()) return;
    endedBy ??= reason;
    // Bubblewrap ends as soon as it has reaped it: while bubblewrap runs, the number is not yet anyone else's.
    signalProcess(first, 'SIGKILL');
  }

  const pressed = patience(rules.pressedMs);
  const greedy = patience(GREEDY_MS);
  let spent = { at: performance.now(), seconds: 0 };
  let refusedBefore = 0;

  async function look(): Promise<void> {
    const pids = await tree(first);
    if (pids[1] !== undefined) used = (await cpuSecondsOf(pids[1])) || used;
    const events = rules.group?.events();
    // With memory full the kernel has ended some part of it: what is left is not the server that was started.
    if ((events?.outOfMemory ?? 0) > 0 || (await memoryBytes(pids)) > rules.limits.memoryMb * 1_048_576)
      return kill('memory');
    const counted = rules.group?.holds.includes('pids') === true && events !== undefined;
    const atLimit = counted
      ? events.full || events.refusedProcesses > refusedBefore
      : (await tasks(pids)) >= rules.limits.processes;
    refusedBefore = events?.refusedProcesses ?? 0;
    if (pressed(atLimit)) return kill('processes');
    // Where no cgroup holds its part of the processor, one that takes more goes behind everybody else.
    if (rules.group?.holds.includes('cpu') !== true && greedy(await tookMore(pids)))
      for (const pid of pids) giveWay(pid);
  }

  async function tookMore(pids: readonly number[]): Promise<boolean> {
    const before = spent;
    const times = await Promise.all(pids.map(cpuSecondsOf));
    spent = { at: performance.now(), seconds: times.reduce((sum, time) => sum + time, 0) };
    return (spent.seconds - before.seconds) * 100_000 > (spent.at - before.at) * rules.limits.cpuPercent;
  }

  let looking = false;
  watching = setInterval(() => {
    if (looking) return;
    looking = true;
    void look().finally(() => (looking = false));
  }, rules.watchMs);
  watching.unref();
  if (!running()) clearInterval(watching);

  async function stop(reason: string): Promise<SandboxExit> {
    if (!running()) return exited;
    endedBy ??= reason;
    stdin.end();
    if (await within(exited, rules.graceMs)) return exited;
    for (const pid of await children(first)) signalProcess(pid, 'SIGTERM');
    if (await within(exited, rules.graceMs)) return exited;
    kill(reason);
    return exited;
  }

  let stopping: Promise<SandboxExit> | undefined;
  return {
    pid: first,
    stdin,
    stdout,
    stderr,
    exited,
    posture: rules.posture,
    stop: (reason = 'stopped') => (stopping ??= stop(reason)),
  };
}

/** A server that stays at its limit for so long is ended; a moment's rest does not start the time anew. */
function patience(ms: number): (pressed: boolean) => boolean {
  let since: number | undefined;
  let last = 0;
  return (now) => {
    const at = performance.now();
    if (now) {
      last = at;
      since ??= at;
    } else if (at - last > REST_MS) since = undefined;
    return since !== undefined && at - since >= ms;
  };
}

const REST_MS = 1_500;
/** A start is hard work, and is not held against it. */
const GREEDY_MS = 2_000;
const LAST = 19;

function giveWay(pid: number): void {
  try {
    setPriority(pid, LAST);
  } catch {
    // Gone already.
  }
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Also for one that ended before anybody asked: its event will not come again. */
function ended(child: ChildProcess): Promise<Ended> {
  const { exitCode: code, signalCode: signal } = child;
  if (code !== null || signal !== null) return Promise.resolve({ code, signal });
  return new Promise((resolve) => {
    child.once('exit', (exitCode, signalCode) => resolve({ code: exitCode, signal: signalCode }));
  });
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already.
  }
}
