/**
 * One cgroup per server process, with the limits of its record: memory (swap included where there is an account of it), processes,
 * processor. What could be set is said, limit by limit; where nothing can be made there is no group, and limits are per process.
 * CRASH: groups of a gateway that was killed are found by their name and removed when the next one starts.
 */
import { randomInt } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { sha256Hex } from '../lib/bytes.ts';
import type { SandboxSpec } from './backend.ts';
import { CONTROLLERS, type Controller, type Place, cgroupPlaces } from './cgroup-place.ts';
import { startOf } from './tree.ts';

export interface CgroupEvents {
  /** Processes that the kernel ended because memory was full. */
  readonly outOfMemory: number;
  /** Processes that were not started because there were as many as allowed. */
  readonly refusedProcesses: number;
  readonly full: boolean;
}

export interface Cgroup {
  /** Limits that were written and read back. */
  readonly holds: readonly Controller[];
  /** Before it runs anything of the server; what it starts is born in here. @throws where it cannot be moved. */
  add(pid: number): void;
  /** Of the limits that are held, those by which this process is really bound. */
  binds(pid: number): readonly Controller[];
  events(): CgroupEvents;
  /** When nothing lives in it any more. Never throws; what cannot be removed is left for the next start. */
  remove(): Promise<void>;
}

export interface Cgroups {
  /** Null: no limit can be set on this host. */
  make(limits: SandboxSpec['limits']): Cgroup | null;
}

/** What bubblewrap itself needs beside the server: its watcher outside and the first process inside. */
const OWN_PROCESSES = 2;
const PERIOD_US = 100_000;

/**
 * Also removes what gateways of this owner left when they were killed.
 * @param owner whose groups these are: name of the node. @param places and `proc`: what a test has in place of the host's.
 */
export async function openCgroups(
  owner: string,
  places: readonly Place[] = cgroupPlaces(),
  proc = '/proc',
): Promise<Cgroups> {
  const prefix = `remit-${sha256Hex(owner).slice(0, 8)}-`;
  // The number of a process is not enough: it may be given to another one after we are gone.
  const mine = `${prefix}${process.pid}-${(await startOf(process.pid)) ?? 0}-`;
  for (const { folder } of places) await tidy(folder, prefix);

  function make(limits: SandboxSpec['limits']): Cgroup | null {
    const name = `${mine}${randomInt(2 ** 40)}`;
    const parts = places.flatMap((place) => {
      const folder = join(place.folder, name);
      try {
        mkdirSync(folder);
        const holds = limited(folder, place, limits);
        if (holds.length > 0) return [{ folder, holds, version: place.version }];
        rmdirSync(folder);
      } catch {
        // Not ours to write.
      }
      return [];
    });
    if (parts.length === 0) return null;
    const partOf = (controller: Controller) => parts.find(({ holds }) => holds.includes(controller));
    const memory = partOf('memory')?.folder;
    const pids = partOf('pids')?.folder;
    return {
      holds: CONTROLLERS.filter((controller) => partOf(controller) !== undefined),
      add(pid) {
        for (const { folder } of parts) writeFileSync(join(folder, 'cgroup.procs'), `${pid}`);
      },
      binds(pid) {
        const lines = text(join(proc, `${pid}`, 'cgroup'))
          .split('\n')
          .filter((line) => line.endsWith(`/${name}`))
          .map((line) => line.split(':'));
        return CONTROLLERS.filter((controller) =>
          lines.some(([id, listed = '']) =>
            partOf(controller)?.version === 2 ? id === '0' : listed.split(',').includes(controller),
          ),
        );
      },
      events: () => ({
        outOfMemory:
          memory === undefined
            ? 0
            : counter(join(memory, 'memory.events'), 'oom_kill') ||
              counter(join(memory, 'memory.oom_control'), 'oom_kill'),
        refusedProcesses: pids === undefined ? 0 : counter(join(pids, 'pids.events'), 'max'),
        full: pids !== undefined && Number(text(join(pids, 'pids.current'))) >= Number(text(join(pids, 'pids.max'))),
      }),
      remove: async () => {
        await Promise.all(parts.map(({ folder }) => removed(folder)));
      },
    };
  }

  return { make };
}

async function tidy(place: string, prefix: string): Promise<void> {
  for (const name of names(place)) {
    const [, pid = '', start = ''] = new RegExp(`^${prefix}(\\d+)-(\\d+)-\\d+$`).exec(name) ?? [];
    if (pid === '' || (await startOf(Number(pid))) === start) continue;
    const left = text(join(place, name, 'cgroup.procs'))
      .split('\n')
      .filter(Boolean)
      .map(Number);
    // A process that has no number for us lives in a container beside ours, and so may its gateway. A signal to 0 would reach us.
    if (left.includes(0)) continue;
    // Servers die with their gateway; one that is about to is helped along.
    for (const one of left) kill(one);
    await removed(join(place, name));
  }
}

/** Writes the limits. A limit that the kernel does not take (its controller is missing, its parent has less) is not held. */
function limited(folder: string, { version, controllers }: Place, limits: SandboxSpec['limits']): Controller[] {
  const bytes = limits.memoryMb * 1_048_576;
  const quota = limits.cpuPercent * (PERIOD_US / 100);
  const set = (file: string, value: string): boolean => {
    try {
      // What a cgroup has no file for cannot be created: that is refused.
      writeFileSync(join(folder, file), value);
      return text(join(folder, file)).trim() === value;
    } catch {
      return false;
    }
  };
  return controllers.filter((controller) => {
    if (controller === 'pids') return set('pids.max', `${limits.processes + OWN_PROCESSES}`);
    if (controller === 'cpu')
      return version === 2
        ? set('cpu.max', `${quota} ${PERIOD_US}`)
        : set('cpu.cfs_period_us', `${PERIOD_US}`) && set('cpu.cfs_quota_us', `${quota}`);
    if (version === 2) {
      set('memory.swap.max', '0');
      set('memory.oom.group', '1');
      return set('memory.max', `${bytes}`);
    }
    const held = set('memory.limit_in_bytes', `${bytes}`);
    // Memory and swap together; the kernel has the file only where it counts swap.
    set('memory.memsw.limit_in_bytes', `${bytes}`);
    return held;
  });
}

async function removed(folder: string): Promise<void> {
  // The kernel takes a moment to let go of what has ended.
  for (let i = 0; i < 200; i++) {
    try {
      rmdirSync(folder);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') return;
    }
    await sleep(10);
  }
}

const counter = (path: string, name: string): number =>
  Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text(path))?.[1] ?? 0);

function names(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}
