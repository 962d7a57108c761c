/**
 * Declared mounts, checked and opened. What bubblewrap mounts is the file descriptor that was checked, not a path
 * that somebody may exchange for a symbolic link in between.
 * Not done here: what a reviewer should think of a mount (a writable home folder is legal).
 */
import { closeSync, constants, fstatSync, openSync, readlinkSync, realpathSync } from 'node:fs';
import { isAbsolute, normalize } from 'node:path';
import { type SandboxSpec, SandboxFault } from './backend.ts';

/** Not in node's constants: opens a name without opening what it names. Linux, every architecture node runs on. */
const O_PATH = 0o10000000;

/** Kernel and runtime interfaces: a mount of these is a way out (sockets of container engines live in /run). */
const NEVER_FROM = ['/proc', '/sys', '/dev', '/run', '/var/run', '/boot'];
/** Where the sandbox keeps its own. */
const NEVER_TO = [
  '/proc',
  '/sys',
  '/dev',
  '/run',
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/etc',
  '/remit/node',
];

export interface OpenMount {
  readonly fd: number;
  readonly to: string;
  readonly mode: 'read' | 'write';
}

const within = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`);

/**
 * Opens every mount, or none. The caller closes the descriptors.
 * `forbidden`: absolute folders of which no mount may be a part or a parent (the data directory).
 * `uid`: for writable mounts, the host user that must be able to write; null: our own user, whom the kernel will tell.
 * @throws SandboxFault `sandbox_mount`, naming the mount and the remedy.
 */
export function openMounts(
  mounts: SandboxSpec['mounts'],
  forbidden: readonly string[],
  uid: number | null,
): readonly OpenMount[] {
  const open: OpenMount[] = [];
  try {
    const taken: string[] = [];
    for (const { from, to, mode } of mounts) {
      checkTarget(to, taken);
      taken.push(to);
      open.push({ fd: openSource(from, mode, forbidden, uid), to, mode });
    }
    return open;
  } catch (error) {
    closeMounts(open);
    throw error;
  }
}

export function closeMounts(mounts: readonly OpenMount[]): void {
  for (const { fd } of mounts) closeSync(fd);
}

const refuse = (message: string, cause?: unknown): SandboxFault =>
  new SandboxFault('sandbox_mount', message, { cause });

function checkTarget(to: string, taken: readonly string[]): void {
  if (!isPlainPath(to) || to === '/')
    throw refuse(`mount target ${to}: write an absolute, normalised path other than /`);
  const own = NEVER_TO.find((folder) => within(to, folder) || within(folder, to));
  if (own !== undefined || to === '/tmp')
    throw refuse(`mount target ${to}: ${own ?? to} belongs to the sandbox; choose another, for example /data`);
  const other = taken.find((path) => within(path, to) || within(to, path));
  if (other !== undefined)
    throw refuse(`mount target ${to} lies over or under ${other}; give each mount a folder of its own`);
}

function openSource(from: string, mode: 'read' | 'write', forbidden: readonly string[], uid: number | null): number {
  if (!isPlainPath(from)) throw refuse(`mount source ${from}: write an absolute, normalised path`);
  if (from === '/') throw refuse('mount source /: the whole host may not be mounted; name the folder the server needs');
  const kernel = NEVER_FROM.find((folder) => within(from, folder));
  if (kernel !== undefined)
    throw refuse(`mount source ${from}: ${kernel} is an interface of the host and may not be mounted`);
  // A source has no link in its path; a folder of the gateway may have, and is meant wherever it lies.
  const secret = forbidden.find((folder) =>
    [folder, realOf(folder)].some((path) => within(from, path) || within(path, from)),
  );
  if (secret !== undefined)
    throw refuse(
      `mount source ${from}: it holds, or lies in, a folder of the gateway (${secret}); choose a folder outside of it`,
    );

  let fd: number;
  try {
    fd = openSync(from, O_PATH | constants.O_NOFOLLOW);
  } catch (cause) {
    throw refuse(`mount source ${from} cannot be opened; create it or correct the path`, cause);
  }
  try {
    // ATTACKER-CONTROLLED: a server that may write to a parent folder can put a symbolic link into the path.
    const real = readlinkSync(`/proc/self/fd/${fd}`);
    if (real !== from)
      throw refuse(`mount source ${from} passes through a symbolic link; declare ${real} if that is meant`);
    const stat = fstatSync(fd);
    if (stat.isSymbolicLink()) throw refuse(`mount source ${from} is a symbolic link; declare the folder it leads to`);
    if (!stat.isDirectory() && !stat.isFile())
      throw refuse(`mount source ${from} is neither a folder nor a regular file`);
    const writable = uid === null || (stat.mode & 0o002) !== 0 || (stat.uid === uid && (stat.mode & 0o200) !== 0);
    if (mode === 'write' && !writable) {
      throw refuse(
        `mount source ${from} is not writable by user ${uid}, as which this server runs; run: chown -R ${uid} ${from}`,
      );
    }
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function realOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function isPlainPath(path: string): boolean {
  return isAbsolute(path) && !path.includes('\0') && normalize(path) === path && (path === '/' || !path.endsWith('/'));
}
