/**
 * What names no exact artifact is not registered (TD-08): programs that fetch what they run, images without a digest, tags and ranges in
 * place of a version. Such a command runs something else tomorrow than what was reviewed today.
 * Not checked here: whether what is installed is what the record says (sandbox/artifact-digest.ts does, before a process starts).
 */
import type { Server } from './records.ts';

export interface FloatingProblem {
  readonly code: 'server_floating';
  readonly field: string;
  readonly message: string;
}

/** By program: the words after it that fetch; empty: whatever follows. */
const FETCHERS: Readonly<Record<string, readonly string[]>> = {
  npx: [],
  pnpx: [],
  bunx: [],
  uvx: [],
  npm: ['exec', 'x', 'init', 'create', 'run', 'start'],
  pnpm: ['dlx', 'exec', 'create'],
  yarn: ['dlx', 'create'],
  bun: ['x', 'create', 'run'],
  uv: ['run', 'tool'],
  pipx: ['run'],
  go: ['run'],
  deno: ['run', 'serve'],
  dnx: [],
  cargo: ['run', 'install'],
};
const CONTAINERS: ReadonlySet<string> = new Set(['docker', 'podman', 'nerdctl']);
const SHELLS: ReadonlySet<string> = new Set(['sh', 'bash', 'dash', 'zsh', 'ash', 'ksh', 'fish', 'busybox', 'env']);
/** They run what follows. */
const WRAPPERS: ReadonlySet<string> = new Set(
  'timeout nice nohup setsid stdbuf ionice chrt taskset unshare time sudo doas tini dumb-init catatonit xvfb-run'.split(
    ' ',
  ),
);
/** `name@latest`, `name@^1`, `name@1.x`, `image:latest`, `pkg>=1`. */
const TAG =
  /[^\s/@:]@(?:latest|next|beta|alpha|canary|nightly|main|master|head|edge|stable|\*|[~^<>=].*|\d+(?:\.\d+)?(?:\.[xX*])+|\d+)$/i;
const IMAGE_TAG = /^[a-z0-9][\w./-]*:(?:latest|stable|edge|nightly|main|master)$/i;
const RANGE = /^[A-Za-z][\w.[\]-]{0,100}(?:>=|<=|~=|==?\*|>|<)\s*\d/;

const INSTALL =
  'install it, name it as ["node", "<package>", …] or by an absolute path, and give source.version and source.digest';

/** All places, each with its field. */
export function floatingProblems(server: Pick<Server, 'upstream' | 'source'>): FloatingProblem[] {
  const problems: FloatingProblem[] = [];
  const add = (field: string, message: string): void => {
    if (!problems.some((known) => known.field === field)) problems.push({ code: 'server_floating', field, message });
  };
  const { source, upstream } = server;
  if (source !== undefined && !isExact(source.version))
    add('source.version', 'is a tag or a range; write the one version that was reviewed, such as 2.1.0');
  if (source?.package !== undefined && TAG.test(source.package))
    add('source.package', 'carries a tag or a range; write the name alone, and the version under source.version');
  if (upstream.transport !== 'stdio') return problems;

  const { command } = upstream;
  for (const [index, argument] of command.entries()) {
    const field = `upstream.command.${index}`;
    const program = baseName(argument);
    const fetches = Object.hasOwn(FETCHERS, program) ? FETCHERS[program] : undefined;
    const next = command.slice(index + 1).find((word) => !word.startsWith('-')) ?? '';
    if (fetches && mayBeProgram(command, index) && (fetches.length === 0 || fetches.includes(next)))
      add(field, `fetches what it runs (${program}); ${INSTALL}`);
    else if (CONTAINERS.has(program) && mayBeProgram(command, index)) {
      const image = imageIn(command, index);
      if (image !== null && !/@sha256:[0-9a-f]{64}$/.test(command[image] ?? ''))
        add(`upstream.command.${image}`, 'is an image without a digest; write name@sha256:…');
    } else if (TAG.test(argument) || IMAGE_TAG.test(argument) || RANGE.test(argument))
      add(field, `is a tag or a range and names another thing tomorrow; ${INSTALL}`);
    else if (index > 0 && isScript(command, index) && mentionsFetcher(argument))
      add(field, `is a script that fetches what it runs; ${INSTALL}`);
  }
  return problems;
}

/** No tag, no `1.x`, no `1`: at least two numbers, or a date or revision that is longer. */
function isExact(version: string): boolean {
  if (/(?:^|[.+_-])[xX*](?:$|[.+_-])/.test(version)) return false;
  return /^v?\d+\.\d+/.test(version) || /^\d{6,}/.test(version) || /^(?=.*\d)[0-9a-f]{7,64}$/i.test(version);
}

const baseName = (argument: string): string =>
  (argument.split('/').pop() ?? '').replace(/(?:-cli)?\.(?:exe|cmd|js|mjs|cjs)$/i, '');

const runsOthers = (word: string): boolean => SHELLS.has(baseName(word)) || WRAPPERS.has(baseName(word));

/** The first word; what a shell or `env` runs; and, for what `node` runs, the words of a path that ends like one. */
function mayBeProgram(command: readonly string[], index: number): boolean {
  if (index === 0) return true;
  const before = command.slice(0, index);
  const [first = ''] = before;
  if (runsOthers(first))
    return before
      .slice(1)
      .every((word) => word.startsWith('-') || word.includes('=') || /^[\d.]+[a-z]?$/i.test(word) || runsOthers(word));
  return index === 1 && baseName(first) === 'node' && Object.hasOwn(FETCHERS, baseName(command[1] ?? ''));
}

/** What follows `-c` of a shell. */
const isScript = (command: readonly string[], index: number): boolean =>
  SHELLS.has(baseName(command[0] ?? '')) && /^-\w*[cS]\w*$/.test(command[index - 1] ?? '');

const mentionsFetcher = (script: string): boolean =>
  script.split(/[\s;&|()`$"']+/).some((word, at, words) => {
    const fetches = Object.hasOwn(FETCHERS, baseName(word)) ? FETCHERS[baseName(word)] : undefined;
    if (fetches) return fetches.length === 0 || words.slice(at + 1).some((next) => fetches.includes(next));
    return /^(?:curl|wget)$/.test(baseName(word)) || CONTAINERS.has(baseName(word)) || TAG.test(word);
  });

/** The place of the image in `docker run [options] IMAGE …`; null when nothing is run. */
function imageIn(command: readonly string[], at: number): number | null {
  const run = command.findIndex((word, index) => index > at && (word === 'run' || word === 'create'));
  if (run === -1) return null;
  for (let index = run + 1; index < command.length; index++) {
    const word = command[index] ?? '';
    if (!word.startsWith('-')) return index;
    if (!word.includes('=') && VALUED.has(word)) index++;
  }
  return null;
}

/** Options of `docker run` whose value is the next word. */
const VALUED: ReadonlySet<string> = new Set(
  (
    '-e --env --env-file -v --volume --mount -p --publish --name -w --workdir -u --user --network --net -m --memory --cpus ' +
    '--entrypoint -h --hostname --label -l --cap-add --cap-drop --security-opt --tmpfs --ulimit --pids-limit --platform ' +
    '--add-host --dns --device --gpus --log-driver --log-opt --restart --runtime --shm-size --stop-signal --userns --ipc --pid'
  ).split(' '),
);
