/**
 * What a container is, read from the kernel while its launcher still waits: before a secret is handed over or a line of the server runs.
 * `measure` reads, `problemsOf` judges; the engine's own words about its containers are believed nowhere.
 * Enemy: an engine whose own configuration gives every container more (devices, mounts, no filter), a mount source that was exchanged
 * between our check and the engine's opening of it, a program that only calls itself an engine.
 */
import { readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { SandboxSpec } from './backend.ts';

export interface MountedAt {
  readonly at: string;
  readonly type: string;
  readonly options: readonly string[];
}

export interface Seen {
  /** /proc/PID/status, as the host sees it. */
  readonly status: string;
  readonly mounts: readonly MountedAt[];
  /** Device and inode of what lies at the targets that were asked for; null: it cannot be seen. */
  readonly identities: Readonly<Record<string, string | null>>;
  /** Kinds of namespaces that it shares with us. */
  readonly shared: readonly string[];
  /** May every user write to its /tmp? Runtimes give it the mode that the image has. */
  readonly openTmp: boolean;
  /** Names in /dev. */
  readonly devices: readonly string[];
  /** Names of the environment that the engine gave it. */
  readonly environment: readonly string[];
  /** Limits of its cgroups; null: none is in force. */
  readonly memoryBytes: number | null;
  readonly processes: number | null;
  readonly cpuPercent: number | null;
}

export interface Expected {
  readonly network: SandboxSpec['network'];
  readonly limits: SandboxSpec['limits'];
  /** With device and inode as they were when they were checked. */
  readonly mounts: ReadonlyArray<{ readonly to: string; readonly mode: 'read' | 'write'; readonly identity: string }>;
}

const NAMESPACES = ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'];
/** What engines mount by themselves: kernel interfaces, private memory, and files of theirs that name the container. */
const OF_THE_ENGINE = new Set([
  '/',
  '/proc',
  '/sys',
  '/dev',
  '/dev/pts',
  '/dev/mqueue',
  '/dev/shm',
  '/tmp',
  '/etc/passwd',
  '/etc/group',
  '/etc/hostname',
  '/etc/hosts',
  '/etc/resolv.conf',
  '/run/.containerenv',
]);
const MAY_BE_WRITTEN = new Set(['/proc', '/dev', '/dev/pts', '/dev/mqueue', '/dev/shm', '/tmp']);
const DEVICES = new Set(
  'console core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero'.split(' '),
);

/** Device and inode, as text. */
export const identityOf = ({ dev, ino }: { readonly dev: bigint; readonly ino: bigint }): string => `${dev}:${ino}`;

/** @throws Error (ENOENT, EACCES) when the process is gone or may not be looked at. */
export function measure(pid: number, targets: readonly string[]): Seen {
  const of = (name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');
  const mounts = of('mountinfo').split('\n').flatMap(mountOf);
  const at = new Set(mounts.map((mount) => mount.at));
  const groups = of('cgroup');
  /** Its root folder, by way of the kernel. */
  const inside = join('/proc', String(pid), 'root');
  return {
    status: of('status'),
    mounts,
    // A target that is a mount point by this very name has no symbolic link on its way, so that looking there stays inside.
    identities: Object.fromEntries(
      targets.map((to) => [to, at.has(to) ? identityOf(statSync(inside + to, { bigint: true })) : null]),
    ),
    shared: NAMESPACES.filter(
      (kind) => readlinkSync(`/proc/${pid}/ns/${kind}`) === readlinkSync(`/proc/self/ns/${kind}`),
    ),
    openTmp: at.has('/tmp') && (statSync(join(inside, 'tmp')).mode & 0o7777) === 0o1777,
    devices: readdirSync(join(inside, 'dev')),
    environment: of('environ')
      .split('\0')
      .filter(Boolean)
      .map((entry) => entry.split('=')[0] ?? ''),
    memoryBytes: limitOf(groups, 'memory', ['memory.max', 'memory.limit_in_bytes'], Number),
    processes: limitOf(groups, 'pids', ['pids.max', 'pids.max'], Number),
    cpuPercent: limitOf(groups, 'cpu', ['cpu.max', 'cpu.cfs_quota_us'], percentOf),
  };
}

/** In words for an operator; empty: it stands as it should. */
export function problemsOf(seen: Seen, expected: Expected): readonly string[] {
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(seen.status)?.[1]?.trim() ?? '';
  const found: string[] = [];
  const say = (wrong: boolean, what: string): void => void (wrong && found.push(what));

  const uids = field('Uid').split(/\s+/);
  say(
    uids.length !== 4 || uids.includes('0') || field('Gid').split(/\s+/).includes('0'),
    'it runs as root of the host',
  );
  const groups = field('Groups').split(/\s+/).filter(Boolean);
  say(
    groups.some((group) => group !== field('Gid').split(/\s+/)[0]),
    'it is in groups beside its own',
  );
  for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
    say(!/^0+$/.test(field(name)), `it keeps capabilities (${name})`);
  say(field('NoNewPrivs') !== '1', 'it may gain privileges');
  say(
    field('Seccomp') !== '2',
    'no system-call filter is in force; remove seccomp settings from the engine, or choose an engine with its default profile',
  );

  const shared = seen.shared.filter((kind) => kind !== 'net' || expected.network === 'none');
  say(shared.length > 0, `it shares namespaces with the host (${shared.join(', ')})`);

  const { limits } = expected;
  const above = (value: number | null, limit: number): boolean => !(value !== null && value <= limit);
  say(above(seen.memoryBytes, limits.memoryMb * 1_048_576), 'no cgroup holds its memory');
  say(above(seen.processes, limits.processes + 1), 'no cgroup holds its number of processes');
  say(above(seen.cpuPercent, limits.cpuPercent + 1), 'no cgroup holds its share of the processors');

  const extra = seen.devices.filter((name) => !DEVICES.has(name));
  say(extra.length > 0, `it was given devices: ${extra.join(', ')}`);
  const odd = seen.environment.filter((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
  say(odd.length > 0, 'the image sets environment variables whose names a shell cannot unset');

  const declared = new Map(expected.mounts.map((mount) => [mount.to, mount]));
  for (const { at, options, type } of seen.mounts) {
    const mode = declared.get(at)?.mode;
    if (mode === undefined && !isOfTheEngine(at, type)) found.push(`the engine mounts ${at}, which nobody declared`);
    const writable = options.includes('rw') && mode !== 'write';
    if (writable && (mode === 'read' || (OF_THE_ENGINE.has(at) && !MAY_BE_WRITTEN.has(at))))
      found.push(`${at} can be written`);
  }
  for (const { to, identity } of expected.mounts) {
    const there = seen.identities[to] ?? null;
    say(
      there !== identity,
      there === null ? `${to} is not mounted` : `what is mounted at ${to} is not what was checked`,
    );
  }
  say(!seen.mounts.some(({ at, type }) => at === '/tmp' && type === 'tmpfs'), '/tmp is not private');
  say(
    !seen.openTmp,
    'the image has a /tmp without mode 1777, and engines keep its mode; make it anew with: RUN chmod 1777 /tmp',
  );
  return found;
}

/** Below /proc and /sys engines cover things; in /dev a rootless engine mounts the harmless devices one by one. */
function isOfTheEngine(at: string, type: string): boolean {
  if (OF_THE_ENGINE.has(at)) return !['/dev/shm', '/tmp', '/dev'].includes(at) || type === 'tmpfs';
  if (at.startsWith('/proc/') || at.startsWith('/sys/')) return true;
  return at.startsWith('/dev/') && DEVICES.has(at.slice('/dev/'.length));
}

/** One line of /proc/PID/mountinfo (proc(5)). Spaces and the like are octal there. */
function mountOf(line: string): readonly MountedAt[] {
  const [before, after] = line.split(' - ');
  const [, , , , at, options] = before?.split(' ') ?? [];
  const [type] = after?.split(' ') ?? [];
  if (at === undefined || options === undefined || type === undefined) return [];
  const name = at.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return [{ at: Buffer.from(name, 'latin1').toString('utf8'), type, options: options.split(',') }];
}

/** The least limit from its group to the root of the hierarchy; version 2 first, then the controller of version 1. */
function limitOf(
  groups: string,
  controller: string,
  [v2, v1]: readonly [string, string],
  read: (text: string, folder: string) => number,
): number | null {
  let least: number | null = null;
  for (const line of groups.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined || path.includes('/..')) continue;
    const old = controllers?.split(',').includes(controller) === true;
    if (!old && controllers !== '') continue;
    const roots = old
      ? [`/sys/fs/cgroup/${controllers}`, `/sys/fs/cgroup/${controller}`]
      : ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'];
    for (let folder = path; folder !== '/'; folder = join(folder, '..')) {
      for (const root of roots) {
        const value = tryRead(join(root, folder), old ? v1 : v2, read);
        if (value !== null && (least === null || value < least)) least = value;
      }
    }
  }
  return least;
}

function tryRead(folder: string, file: string, read: (text: string, folder: string) => number): number | null {
  try {
    const value = read(readFileSync(join(folder, file), 'latin1').trim(), folder);
    return Number.isFinite(value) && value >= 0 ? value : null;
  } catch {
    return null;
  }
}

/** `quota period` in version 2, the quota alone in version 1. */
function percentOf(text: string, folder: string): number {
  const [quota, period = readFileSync(join(folder, 'cpu.cfs_period_us'), 'latin1')] = text.split(/\s+/);
  const share = (Number(quota) / Number(period)) * 100;
  return share < 0 ? Number.NaN : share;
}
