/**
 * Where cgroups of servers can be made on this host: below the cgroup of this process, in what is mounted and writable already (cgroup v2
 * that was delegated to us, or v1 controllers). Nothing is mounted, and nobody else's process is moved.
 * cgroups(7); the rule that inner nodes of v2 hold no processes is why we may move ourselves into a leaf.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

export type Controller = 'memory' | 'pids' | 'cpu';
export const CONTROLLERS: readonly Controller[] = ['memory', 'pids', 'cpu'];

/** A folder below which cgroups with these controllers can be made. */
export interface Place {
  readonly folder: string;
  readonly version: 1 | 2;
  readonly controllers: readonly Controller[];
}

/** The leaf this process goes to, so that its cgroup may have children with limits. Also a name to give it: `DelegateSubgroup=`. */
export const OWN_LEAF = 'remit-gateway';

/** @param proc `/proc/self`, or a folder with files `cgroup` and `mountinfo` like it. */
export function cgroupPlaces(proc = '/proc/self', pid: number = process.pid): readonly Place[] {
  const mounts = read(join(proc, 'mountinfo')).split('\n').flatMap(cgroupMount);
  const places: Place[] = [];
  for (const line of read(join(proc, 'cgroup')).split('\n')) {
    const [id, names = '', path = ''] = splitAt(line, ':', 3);
    if (path === '' || path.split('/').includes('..')) continue;
    const version = id === '0' && names === '' ? 2 : 1;
    const listed = names.split(',');
    const mount = mounts.find((one) =>
      version === 2 ? one.version === 2 : one.version === 1 && listed.every((name) => one.controllers.includes(name)),
    );
    if (mount === undefined || !(path === mount.root || mount.root === '/' || path.startsWith(`${mount.root}/`)))
      continue;
    const below = mount.root === '/' ? path : path.slice(mount.root.length);
    const folder = below === '/' ? mount.at : join(mount.at, below);
    const place: Place | null =
      version === 2
        ? delegated(folder, pid)
        : { folder, version, controllers: CONTROLLERS.filter((name) => listed.includes(name)) };
    if (place !== null && place.controllers.length > 0) places.push(place);
  }
  return places;
}

/** The place of cgroup v2: our own cgroup if its controllers can be handed down from it. */
function delegated(own: string, pid: number): Place | null {
  const folder = basename(own) === OWN_LEAF ? dirname(own) : own;
  const words = (file: string): readonly string[] => read(join(folder, file)).trim().split(/\s+/);
  const offered = words('cgroup.controllers');
  const wanted = CONTROLLERS.filter((name) => offered.includes(name));
  const handedDown = (): readonly Controller[] =>
    wanted.filter((name) => words('cgroup.subtree_control').includes(name));
  if (wanted.length > 0 && handedDown().length < wanted.length) {
    try {
      // Only what is ours alone: whoever shares our cgroup has not asked to be moved.
      const members = words('cgroup.procs');
      if (members.length === 1 && members[0] === `${pid}`) {
        mkdirSync(join(folder, OWN_LEAF), { recursive: true });
        writeFileSync(join(folder, OWN_LEAF, 'cgroup.procs'), `${pid}`);
      }
      writeFileSync(join(folder, 'cgroup.subtree_control'), wanted.map((name) => `+${name}`).join(' '));
    } catch {
      // Not delegated: what is handed down already is what there is.
    }
  }
  return { folder, version: 2, controllers: handedDown() };
}

interface Mount {
  readonly at: string;
  readonly root: string;
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
}

/** proc_pid_mountinfo(5): `id parent dev root at options … - type source options`. */
function cgroupMount(line: string): Mount[] {
  const [before = '', after = ''] = line.split(' - ');
  const [, , , root, at] = before.split(' ').map(unescaped);
  const [type, , options = ''] = after.split(' ');
  if (root === undefined || at === undefined || (type !== 'cgroup' && type !== 'cgroup2')) return [];
  return [{ at, root, version: type === 'cgroup2' ? 2 : 1, controllers: options.split(',') }];
}

const unescaped = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** Like `split`, but the last part keeps the separators. */
function splitAt(text: string, separator: string, parts: number): readonly string[] {
  const all = text.split(separator);
  return [...all.slice(0, parts - 1), all.slice(parts - 1).join(separator)];
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
