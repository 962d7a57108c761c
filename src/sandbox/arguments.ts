/**
 * The arguments of bubblewrap as a pure function of the specification: one list for the options (handed over a pipe,
 * so that no value stands on a command line) and one for the command chain that drops the last rights and sets limits.
 */
import { lstatSync, readlinkSync, realpathSync } from 'node:fs';
import { dirname } from 'node:path';
import type { SandboxSpec } from './backend.ts';
import { NOBODY } from './host-user.ts';

/** The node that runs the gateway, inside the sandbox. */
export const NODE_INSIDE = '/remit/node';

/** File descriptors of the bubblewrap process; closed by it before the server runs. */
export const FD = { args: 3, status: 4, passwd: 5, filter: 6, firstMount: 7 } as const;

const SYSTEM_LINKS = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32'];
/** What the dynamic loader and TLS need. Nothing that names people, hosts or services. */
const ETC = [
  '/etc/ld.so.cache',
  '/etc/ssl/certs',
  '/etc/ssl/openssl.cnf',
  '/etc/ca-certificates',
  '/etc/pki/ca-trust',
  '/etc/localtime',
];
const ETC_NETWORK = ['/etc/hosts', '/etc/nsswitch.conf', '/etc/resolv.conf'];

/**
 * Where a cgroup counts the processes of each server. The limit per user is of all that run as this user, which may be connections of other
 * persons to the same server, or all servers of a host without a range of ids: at the limit of one it would be theirs that are refused.
 */
const PROCESSES_OF_USER = 4_096;

export interface Setting {
  /** Host user to drop to; null: we are not root and use a user namespace. */
  readonly dropTo: number | null;
  readonly mounts: ReadonlyArray<{ readonly to: string; readonly mode: 'read' | 'write' }>;
  readonly tmpMb: number;
  /** Processes are counted by a cgroup: the limit per user is only the second line. */
  readonly counted: boolean;
}

/** What `/etc/passwd` says inside: programs that ask for their user get an answer, and not the host's. */
export const passwd = (dropTo: number | null): string =>
  `remit:x:${dropTo ?? NOBODY}:${dropTo ?? NOBODY}:Remit server:/tmp:/usr/sbin/nologin\n`;

/** Order matters: later mounts cover earlier ones, and the root becomes read-only last. */
export function optionArguments(spec: SandboxSpec, setting: Setting): readonly string[] {
  const root = setting.dropTo !== null;
  const files = (spec.network === 'host' ? [...ETC, ...ETC_NETWORK] : ETC).flatMap(existing);
  const targets = [NODE_INSIDE, ...files.map(([, to]) => to), '/etc/passwd', ...setting.mounts.map(({ to }) => to)];
  return [
    // As root the mounts are made by root, and `commandArguments` drops to the server's user; otherwise a user namespace, and none below it.
    ...(root ? [] : ['--unshare-user', '--disable-userns', '--uid', `${NOBODY}`, '--gid', `${NOBODY}`]),
    ...words('--unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup-try --hostname sandbox'),
    ...(spec.network === 'none' ? ['--unshare-net'] : []),
    ...words('--new-session --die-with-parent --clearenv'),
    ...Object.entries(spec.env).flatMap(([name, value]) => ['--setenv', name, value]),
    ...words('--ro-bind /usr /usr'),
    ...SYSTEM_LINKS.flatMap(systemFolder),
    // Folders on the way to a mount would be closed to anyone but root.
    ...['/tmp', ...parents(targets)].flatMap((folder) =>
      folder === '/tmp' ? tmpfs('/tmp', setting.tmpMb) : ['--perms', '0755', '--dir', folder],
    ),
    ...files.flatMap(([from, to]) => ['--ro-bind', from, to]),
    ...words(`--perms 0644 --file ${FD.passwd} /etc/passwd --proc /proc --dev /dev`),
    ...tmpfs('/dev/shm', setting.tmpMb),
    ...words(`--remount-ro /dev --ro-bind-fd ${FD.firstMount} ${NODE_INSIDE}`),
    ...setting.mounts.flatMap(({ to, mode }, i) => [
      mode === 'read' ? '--ro-bind-fd' : '--bind-fd',
      `${FD.firstMount + 1 + i}`,
      to,
    ]),
    ...words('--chdir /tmp --remount-ro /'),
  ];
}

/** Each program replaces itself by the next; none of them is a shell. */
export function commandArguments(spec: SandboxSpec, setting: Setting): readonly string[] {
  const { cpuSeconds, openFiles } = spec.limits;
  const processes = setting.counted ? Math.max(PROCESSES_OF_USER, spec.limits.processes) : spec.limits.processes;
  const uid = setting.dropTo;
  return [
    ...(uid === null
      ? []
      : [
          ...words(
            `/usr/bin/setpriv --reuid=${uid} --regid=${uid} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs --`,
          ),
        ]),
    // One second between the signal a program may catch (SIGXCPU) and the one it may not.
    ...words(
      `/usr/bin/prlimit --nproc=${processes}:${processes} --nofile=${openFiles}:${openFiles} --cpu=${cpuSeconds}:${cpuSeconds + 1} --core=0:0 --`,
    ),
    // Bubblewrap adds PWD; the environment is exactly the declared one.
    ...('PWD' in spec.env ? [] : ['/usr/bin/env', '-u', 'PWD', '--']),
    ...spec.argv,
  ];
}

/** For constants only: nothing that comes from a specification is ever split. */
const words = (text: string): string[] => text.split(' ');

const tmpfs = (path: string, mb: number): string[] => [...words(`--perms 1777 --size ${mb * 1_048_576} --tmpfs`), path];

function systemFolder(path: string): string[] {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  return stat.isSymbolicLink() ? ['--symlink', readlinkSync(path), path] : ['--ro-bind', path, path];
}

/** The real file behind a name of /etc (resolv.conf is often a link into /run), and where it shall appear. */
function existing(path: string): [from: string, to: string][] {
  try {
    return [[realpathSync(path), path]];
  } catch {
    return [];
  }
}

/** Every folder above the targets, outermost first, without /tmp and what lies in it. */
function parents(targets: readonly string[]): readonly string[] {
  const folders = new Set<string>();
  for (const target of targets) {
    for (let folder = dirname(target); folder !== '/'; folder = dirname(folder)) folders.add(folder);
  }
  folders.delete('/tmp');
  return [...folders].sort((a, b) => a.length - b.length);
}
