/** Processes of the bench: started, asked, measured in CPU (all threads, from /proc) and memory, and ended. */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Child<Ready> {
  readonly ready: Ready;
  /** µs of CPU used so far; the kernel counts in steps of 10,000. */
  cpuUs(): number;
  rssMb(): number;
  ask<Answer>(asked: object): Promise<Answer>;
  end(): Promise<void>;
}

const running = new Set<ChildProcess>();

export async function start<Ready>(script: string, ...args: string[]): Promise<Child<Ready>> {
  const child = fork(join(import.meta.dirname, script), args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    execArgv: ['--expose-gc'],
  });
  running.add(child);
  const gone = once(child, 'exit');
  void gone.then(() => running.delete(child));
  const first = await Promise.race([once(child, 'message'), gone.then(() => null)]);
  if (first === null) throw new Error(`${script} ended before it was ready`);
  const { pid } = child;
  return {
    ready: first[0] as Ready,
    cpuUs() {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return (Number(fields[11]) + Number(fields[12])) * 10_000;
    },
    rssMb: () => Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024),
    async ask<Answer>(asked: object) {
      const answered = once(child, 'message');
      child.send(asked);
      return (await answered)[0] as Answer;
    },
    async end() {
      child.disconnect();
      await gone;
    },
  };
}

/** Whatever goes wrong: nothing that was started stays. */
export function endAll(): void {
  for (const child of running) child.kill();
}
