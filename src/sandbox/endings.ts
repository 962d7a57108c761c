/** How processes of either backend come to their end: waited for within a time, gone for good, told by code or signal. */
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SandboxExit } from './backend.ts';
import { startOf } from './tree.ts';

/** Whether it settles in that time. */
export async function within(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const abort = new AbortController();
  const late = sleep(ms, false, { signal: abort.signal, ref: false }).catch(() => false);
  const done = await Promise.race([promise.then(() => true), late]);
  abort.abort();
  return done;
}

/** Resolves once the process that began at `start` is no more, five seconds at most. */
export async function gone(pid: number, start: string | null): Promise<void> {
  if (start === null) return;
  for (let i = 0; i < 500 && (await startOf(pid)) === start; i++) await sleep(10);
}

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

/** Bubblewrap and the launcher, like any shell, report death by a signal as 128 and its number. */
export function outcome(code: number | null, signal: NodeJS.Signals | null = null): SandboxExit {
  const name = code === null || code <= 128 ? undefined : SIGNAL_NAMES.get(code - 128);
  return name === undefined ? { code, signal } : { code: null, signal: name };
}
