/**
 * What is really in force on this host: two specifications that look around inside the sandbox, the proof that what they
 * saw is isolation, and the words for the report. Nothing here is taken from documentation.
 */
import type { ChildProcess } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Posture, SandboxSpec } from './backend.ts';
import type { Controller } from './cgroup-place.ts';
import type { Cgroup } from './cgroup.ts';
import { NOBODY } from './host-user.ts';
import { children, statusOf } from './tree.ts';

const NAMESPACES = ['mnt', 'pid', 'net', 'ipc', 'uts'].map((kind) => `/proc/self/ns/${kind}`);
/** These show from inside what is really in force. */
const look = (...argv: string[]): SandboxSpec => ({
  name: 'probe',
  argv,
  env: {},
  mounts: [],
  network: 'none',
  limits: { memoryMb: 256, processes: 16, cpuSeconds: 10, openFiles: 64, cpuPercent: 100 },
});
export const STATUS_SPEC = look('/usr/bin/cat', '/proc/self/status');
export const NAMESPACE_SPEC = look('/usr/bin/readlink', ...NAMESPACES);

/** @throws Error when what runs inside does not stand as it should: then the program found is not the sandbox we know. */
export function prove(status: string, namespaces: string, filtered: boolean): void {
  const capabilities = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].filter(
    (name) => !/^0+$/.test(field(status, name)),
  );
  if (capabilities.length > 0) throw new Error(`a process inside keeps capabilities (${capabilities.join(', ')})`);
  if (field(status, 'NoNewPrivs') !== '1') throw new Error('a process inside may gain privileges');
  if (field(status, 'Uid').split('\t').includes('0')) throw new Error('a process inside is root');
  if (filtered && !hasFilter(status)) throw new Error('a process inside has no system-call filter');
  const inside = namespaces.trim().split('\n');
  const shared = NAMESPACES.filter((path, i) => !inside[i]?.includes(':[') || inside[i] === readlinkSync(path));
  if (shared.length > 0) throw new Error(`a process inside shares ${shared.join(', ')} with the host`);
}

/** `held`: limits that a cgroup of this host was seen to take. `filtered`: what a process inside was seen to have. */
export function posture(
  version: string,
  root: boolean,
  ownUids: boolean,
  held: readonly Controller[],
  filtered: boolean,
): Posture {
  const limits = limitsBy(held);
  return {
    backend: 'bubblewrap',
    version,
    hostUser: root ? 'dropped' : 'same',
    ...limits,
    systemCalls: filtered ? 'filtered' : 'unfiltered',
    notes: [
      root
        ? ownUids
          ? 'Each server runs as a host user of its own, without capabilities.'
          : `All servers run as host user ${NOBODY}: this host has no range of ids for one user per server.`
        : 'Servers run as the user of the gateway, inside a user namespace without capabilities; further user namespaces are refused.',
      ...(limits.memoryLimit === 'cgroup' ? [] : [WATCHED_MEMORY]),
      ...(limits.cpuLimit === 'cgroup' ? [] : [SHARED_PROCESSOR]),
      ...(filtered ? [] : [UNFILTERED]),
    ],
  };
}

const WATCHED_MEMORY =
  'No cgroup for memory can be made here: it is measured twice a second and a server above its limit is killed; a sudden burst can exceed it in between.';
const SHARED_PROCESSOR =
  'No cgroup for the processor can be made here: servers give way to the gateway, and share what is left; `cpuPercent` is not held.';
const UNFILTERED =
  'System calls are not filtered: no filter is known for this processor. Under root a server may create a user namespace of its own, in which the kernel offers it more interfaces.';

const limitsBy = (held: readonly Controller[]): Pick<Posture, 'memoryLimit' | 'processLimit' | 'cpuLimit'> => ({
  memoryLimit: held.includes('memory') ? 'cgroup' : 'rlimit+watchdog',
  processLimit: held.includes('pids') ? 'cgroup' : 'rlimit',
  cpuLimit: held.includes('cpu') ? 'cgroup' : 'rlimit',
});

/**
 * What is in force for one process, as the kernel says of it: the filter of the server itself, the cgroup it stands in.
 * @throws Error when it runs without the filter that it was started with. One that is gone already was bound as the host is.
 */
export async function measured(
  bubblewrap: ChildProcess,
  first: number,
  host: Posture,
  group: Cgroup | null,
): Promise<Posture> {
  const bound = group?.binds(first) ?? [];
  const ended = (): boolean => bubblewrap.exitCode !== null || bubblewrap.signalCode !== null;
  let systemCalls: Posture['systemCalls'] = 'unfiltered';
  // Bubblewrap sets the filter as its last act before the server runs.
  for (let i = 0; host.systemCalls === 'filtered' && systemCalls === 'unfiltered' && !ended(); i++) {
    const [server] = await children(first);
    const status = server === undefined ? '' : await statusOf(server);
    if (hasFilter(status)) systemCalls = 'filtered';
    else if (i >= MEASURE_TRIES) throw new Error('the server has no system-call filter');
    else await sleep(2);
  }
  if (ended()) return host;
  return { ...host, ...limitsBy(bound), systemCalls };
}

const MEASURE_TRIES = 1_000;
/** SECCOMP_MODE_FILTER */
const FILTERED = '2';
const filtersOf = (status: string): number => Number(field(status, 'Seccomp_filters') || Number.NaN);

/** A filter that it has beyond our own, which in a container it inherits. Kernels before 5.9 do not count them. */
function hasFilter(status: string): boolean {
  const own = filtersOf(readFileSync('/proc/self/status', 'utf8'));
  return field(status, 'Seccomp') === FILTERED && !(filtersOf(status) <= own);
}

const field = (status: string, name: string): string =>
  new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? '';
