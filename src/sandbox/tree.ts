/**
 * What the kernel says about a process and its descendants (Linux, /proc). Every answer may be out of date when it is read;
 * a process that is gone counts as nothing.
 */
import { readFile, readdir } from 'node:fs/promises';

/** Direct children: every thread of a process can have some. */
export async function children(pid: number): Promise<readonly number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const lists = await Promise.all(threads.map((thread) => text(`/proc/${pid}/task/${thread}/children`)));
  return lists.flatMap((list) => list.split(' ').filter(Boolean).map(Number));
}

/** The process and all its descendants. Complete for the first process of a PID namespace: orphans come back to it. */
export async function tree(pid: number): Promise<readonly number[]> {
  const found = [pid];
  for (let i = 0; i < found.length; i++) found.push(...(await children(found[i] as number)));
  return found;
}

/** `/proc/PID/status`, or nothing. */
export const statusOf = (pid: number): Promise<string> => text(`/proc/${pid}/status`);

/** Threads count as the kernel counts them against limits: each is a task. */
export async function tasks(pids: readonly number[]): Promise<number> {
  const statuses = await Promise.all(pids.map(statusOf));
  return statuses.reduce((sum, status) => sum + Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1] ?? 0), 0);
}

/** Memory that belongs to these processes and to no file: anonymous, shared and swapped pages. Pages shared between them count twice. */
export async function memoryBytes(pids: readonly number[]): Promise<number> {
  const statuses = await Promise.all(pids.map(statusOf));
  let kib = 0;
  for (const status of statuses) {
    for (const [, amount] of status.matchAll(/^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB$/gm)) kib += Number(amount);
  }
  return kib * 1024;
}

/** Tells a process from a later one with the same number: its start in clock ticks since boot. Null: gone, or a zombie. */
export async function startOf(pid: number): Promise<string | null> {
  const stat = await text(`/proc/${pid}/stat`);
  // The name in parentheses may contain spaces and parentheses.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return stat === '' || state === 'Z' || state === 'X' ? null : (fields[18] ?? null);
}

/** Processor time it used, seconds. */
export async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await text(`/proc/${pid}/stat`);
  const [, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // In ticks of USER_HZ, which is 100 for every program.
  return (Number(fields[10] ?? 0) + Number(fields[11] ?? 0)) / 100;
}

async function text(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
