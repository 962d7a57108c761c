/**
 * What a container engine is told, as pure functions: the options of `run`, and what goes in on standard input before the server runs.
 * An engine keeps its options on disk and shows them in `ps`, so nothing of the environment is among them (EX-03).
 * Not done here: whether the engine did what it was told; that is measured (container-measure.ts).
 */
import { NODE_INSIDE } from './arguments.ts';
import type { SandboxSpec } from './backend.ts';

export type EngineKind = 'podman' | 'docker';

/** What the launcher says when it waits for the environment: until then nothing of the server runs. */
export const READY = 'remit\n';

/** By which the launcher says that the server was killed for memory; a server that ends with this code by itself is said to end with 1. */
export const OUT_OF_MEMORY = 253;

/**
 * The first process of every container; a constant, POSIX sh. It reads lines up to an empty one: `NAME=value` (escaped) is exported, `NAME`
 * is unset. An end of input before that line means that the gateway is gone, and nothing is started.
 * It stays as the init of the container, without any descriptor: it passes SIGTERM on, reaps orphans, and ends as the server ends. Whether the
 * kernel killed for memory only its cgroup knows, which is gone a moment later, and engines often miss it: that is an exit code of its own.
 * A shell that adds to the environment by itself (bash) is made to leave that out.
 */
const LAUNCHER = `printf 'remit\\n'
while :; do
IFS= read -r __remit_l || exit 125
[ -n "$__remit_l" ] || break
__remit_n=\${__remit_l%%=*}
if [ "$__remit_n" = "$__remit_l" ]; then unset "$__remit_n"; else
__remit_v=$(printf '%bx' "\${__remit_l#*=}")
export "$__remit_n=\${__remit_v%x}"
fi
done
unset __remit_l __remit_n __remit_v
[ -z "\${BASH_VERSION-}" ] || set -- /usr/bin/env -u _ -u SHLVL -u PWD -u OLDPWD -- "$@"
trap 'kill -TERM "$!" 2>/dev/null' TERM
exec 3<&0
"$@" <&3 3<&- &
exec <&- 3<&- >&- 2>&-
while :; do
wait "$!"
__remit_s=$?
kill -0 "$!" 2>/dev/null || break
done
IFS=' '
case $__remit_s in
137) for __remit_f in /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control; do
[ -r "$__remit_f" ] && while read -r __remit_n __remit_v; do
case "$__remit_n $__remit_v" in 'oom_kill 0') ;; 'oom_kill '*) exit ${OUT_OF_MEMORY} ;; esac
done <"$__remit_f"
done ;;
${OUT_OF_MEMORY}) exit 1 ;;
esac
exit "$__remit_s"`;

/** Names that a shell gives a meaning of its own, keeps from being set, or changes by itself. */
const OF_THE_SHELL =
  /^(?:_|PWD|OLDPWD|SHLVL|OPTIND|OPTARG|PPID|E?UID|GROUPS|LINENO|RANDOM|SECONDS|FUNCNAME|DIRSTACK|HISTCMD|SHELLOPTS|PS4|__remit_.*|BASH.*)$/;

/** Shells export these by themselves. */
export const OF_ANY_SHELL = ['PATH', 'PWD', 'OLDPWD', 'SHLVL'];

/** Whether a server in a container can be given a variable of this name. */
export const isGivable = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !OF_THE_SHELL.test(name);

export interface ContainerSetting {
  readonly kind: EngineKind;
  /** `docker` takes it with each container, `podman` for the whole command (container-engine.ts). */
  readonly runtime?: string;
  /** Of the container. */
  readonly name: string;
  /** The id of the image, never a name that somebody may move. */
  readonly imageId: string;
  /** User and group inside. */
  readonly uid: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly mounts: ReadonlyArray<{ readonly from: string; readonly to: string; readonly mode: 'read' | 'write' }>;
  /** The node binary of the host. */
  readonly node: string;
  readonly tmpMb: number;
  /** Of the host. */
  readonly processors: number;
}

const PODMAN = words(
  '--unsetenv-all --http-proxy=false --image-volume=ignore --read-only-tmpfs=false --no-hosts --security-opt=no-new-privileges',
);
const DOCKER = words('--security-opt=no-new-privileges');

/** Everything after the name of the engine. */
export function runArguments(spec: SandboxSpec, setting: ContainerSetting): readonly string[] {
  const { memoryMb, processes, cpuSeconds, openFiles, cpuPercent } = spec.limits;
  const podman = setting.kind === 'podman';
  return [
    ...words('run -i --pull=never --sig-proxy=false --read-only --cap-drop=all --ipc=private --cgroupns=private'),
    ...words(
      '--log-driver=none --no-healthcheck --hostname=sandbox --workdir=/tmp --entrypoint=/bin/sh --stop-timeout=0',
    ),
    ...(podman ? PODMAN : DOCKER),
    ...(!podman && setting.runtime !== undefined ? ['--runtime', setting.runtime] : []),
    `--name=${setting.name}`,
    ...Object.entries(setting.labels).map(([name, value]) => `--label=${name}=${value}`),
    `--network=${spec.network}`,
    `--user=${setting.uid}:${setting.uid}`,
    `--memory=${memoryMb}m`,
    `--memory-swap=${memoryMb}m`,
    // One more for the launcher.
    `--pids-limit=${processes + 1}`,
    // More than there are is an error to docker.
    `--cpus=${Math.min(cpuPercent / 100, setting.processors)}`,
    `--ulimit=nofile=${openFiles}:${openFiles}`,
    // Counts all processes of a user on the host, and instances of one server share theirs: the cgroup holds the limit.
    `--ulimit=nproc=${PROCESSES_OF_USER}:${PROCESSES_OF_USER}`,
    // One second between the signal a program may catch (SIGXCPU) and the one it may not.
    `--ulimit=cpu=${cpuSeconds}:${cpuSeconds + 1}`,
    '--ulimit=core=0:0',
    `--tmpfs=/tmp:rw,nosuid,nodev,exec,size=${setting.tmpMb}m,mode=1777${podman ? ',notmpcopyup' : ''}`,
    `--shm-size=${setting.tmpMb}m`,
    mount(setting.node, NODE_INSIDE, 'read'),
    ...setting.mounts.map(({ from, to, mode }) => mount(from, to, mode)),
    setting.imageId,
    '-c',
    LAUNCHER,
    'remit',
    ...spec.argv,
  ];
}

const PROCESSES_OF_USER = 4_096;

/** Not recursive: what somebody mounted below a declared folder is not declared, and would stay writable. */
function mount(from: string, to: string, mode: 'read' | 'write'): string {
  return `--mount=type=bind,src=${from},dst=${to}${mode === 'read' ? ',readonly' : ''},bind-nonrecursive,bind-propagation=private`;
}

/** For constants only: nothing that comes from a specification is ever split. */
function words(text: string): string[] {
  return text.split(' ');
}

/** What the launcher reads: first what to forget, then the declared environment, then the empty line. */
export function handover(env: Readonly<Record<string, string>>, forget: readonly string[]): string {
  return [...forget, ...Object.entries(env).map(([name, value]) => `${name}=${escaped(value)}`), '', ''].join('\n');
}

/** As `printf %b` reads it: every byte that could mean something is an octal number. */
function escaped(value: string): string {
  let text = '';
  for (const byte of Buffer.from(value, 'utf8')) {
    const plain =
      (byte >= 0x30 && byte <= 0x39) ||
      (byte >= 0x41 && byte <= 0x5a) ||
      (byte >= 0x61 && byte <= 0x7a) ||
      byte === 0x2d;
    text += plain ? String.fromCharCode(byte) : `\\0${byte.toString(8).padStart(3, '0')}`;
  }
  return text;
}
