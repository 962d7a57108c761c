/**
 * From a server's command to what runs inside: `['node', '<npm package>', …]` names a program by package, and is resolved
 * here to one absolute entry file in the artifact that was installed for exactly this version, else in the gateway's own `node_modules`;
 * that `node_modules` is then mounted read-only as a whole at /remit/node_modules (a package's dependencies lie beside it, and all of it
 * is public code). No download, no shell, no PATH.
 * Not checked here: whether anyone approved the command; the contents of the package are artifact-digest.ts.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { NODE_INSIDE } from './arguments.ts';
import { SandboxFault, type SandboxSpec } from './backend.ts';

const MODULES_INSIDE = '/remit/node_modules';
/** npm's rules for names, then `/bin` for the package's one program, or `/bin/NAME` when it has several. */
const PACKAGE = /^((?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*)(?:\/bin(?:\/([A-Za-z0-9._-]+))?)?$/;
const Manifest = z.object({ bin: z.union([z.string(), z.record(z.string(), z.string())]).optional() });

/** The part of a record that names a package of a registry. */
export interface NamedSource {
  readonly package?: string;
  readonly version?: string;
}

export interface Artifact {
  readonly argv: readonly string[];
  readonly mounts: SandboxSpec['mounts'];
}

/**
 * `from`: the folder at or above which `node_modules` is looked for; default: where Remit is installed.
 * `heapMb` becomes node's own limit, so that it collects garbage before the sandbox has to kill it.
 * @throws SandboxFault `sandbox_command`
 */
export function resolveCommand(
  command: readonly string[],
  heapMb: number,
  from: string = import.meta.dirname,
): Artifact {
  const [program, entry, ...rest] = command;
  if (program === undefined) throw refuse('the command is empty');
  if (program !== 'node') {
    if (!isAbsolute(program)) throw refuse(`"${program}" is neither "node" nor an absolute path inside the sandbox`);
    return { argv: command, mounts: [] };
  }
  if (entry === undefined || entry.startsWith('-')) {
    throw refuse('after "node" comes an npm package or an absolute path; options of node are not accepted');
  }
  const node = [NODE_INSIDE, `--max-old-space-size=${Math.max(32, Math.floor(heapMb))}`];
  if (isAbsolute(entry)) return { argv: [...node, entry, ...rest], mounts: [] };

  const { modules, file } = packageProgram(entry, from);
  const inside = `${MODULES_INSIDE}/${relative(modules, file).split(sep).join('/')}`;
  return { argv: [...node, inside, ...rest], mounts: [{ from: modules, to: MODULES_INSIDE, mode: 'read' }] };
}

/** The name of the npm package that a command runs; null: it runs none. */
export function packageOf(command: readonly string[]): string | null {
  const [program, entry = ''] = command;
  return program === 'node' && !isAbsolute(entry) ? (PACKAGE.exec(entry)?.[1] ?? null) : null;
}

/** Where `remit artifact install` puts this one version. Both parts are checked by whoever writes there; see `artifactFrom`. */
export const artifactFolder = (artifacts: string, name: string, version: string): string =>
  join(artifacts, ...name.split('/'), version);

const VERSION = /^[0-9A-Za-z][0-9A-Za-z.+_-]{0,99}$/;

/**
 * The `from` for a server: the artifact of exactly the package and version in its record, if the command runs that package and it is
 * installed; else undefined, which is Remit's own `node_modules`. Another version under the same name is never meant.
 */
export function artifactFrom(
  artifacts: string | undefined,
  command: readonly string[],
  source: NamedSource | undefined,
): string | undefined {
  const name = packageOf(command);
  if (artifacts === undefined || name === null || source?.package !== name) return undefined;
  if (source.version === undefined || !VERSION.test(source.version)) return undefined;
  const place = artifactFolder(artifacts, name, source.version);
  const installed = statSync(join(place, 'node_modules', name, 'package.json'), { throwIfNoEntry: false })?.isFile();
  return installed === true ? realpathSync(place) : undefined;
}

/** The program of an installed package, and the outermost `node_modules` it lies in. Both without symbolic links. */
export function packageProgram(
  specifier: string,
  from: string = import.meta.dirname,
): { readonly modules: string; readonly file: string } {
  const [, name, wanted] = PACKAGE.exec(specifier) ?? [];
  if (name === undefined)
    throw refuse(`"${specifier}" is not the name of an npm package; write name, name/bin or name/bin/PROGRAM`);
  const folder = packageFolder(name, from);
  if (folder === null)
    throw refuse(
      `the package ${name} is not installed with Remit or as an artifact; run: remit artifact install ${name}@VERSION`,
    );

  const { bin } = Manifest.parse(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));
  const programs = typeof bin === 'string' ? { [name.split('/').pop() ?? name]: bin } : (bin ?? {});
  const names = Object.keys(programs);
  const chosen = wanted ?? (names.length === 1 ? names[0] : undefined);
  const path = chosen !== undefined && Object.hasOwn(programs, chosen) ? programs[chosen] : undefined;
  if (path === undefined)
    throw refuse(
      `the package ${name} has ${names.length === 0 ? 'no program' : `the programs ${names.join(', ')}`}; write ${name}/bin/PROGRAM`,
    );

  const file = real(join(folder, path));
  if (file === null) throw refuse(`the program of the package ${name} is missing; install it again`);
  // Of an artifact its own, wherever the folder of artifacts may lie; of Remit the outermost.
  const own = join(from, 'node_modules');
  const modules = file.startsWith(own + sep)
    ? own
    : file.slice(0, file.indexOf(`${sep}node_modules${sep}`)) + `${sep}node_modules`;
  // A linked package (npm link, a workspace) lies elsewhere, and elsewhere is not mounted.
  if (!file.startsWith(modules + sep))
    throw refuse(`the package ${name} is linked from outside node_modules; install it`);
  return { modules, file };
}

function real(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

/** Where a package is that somebody at `from` asks for, without symbolic links; null: it is not installed. */
export function packageFolder(name: string, from: string): string | null {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name);
    if (statSync(join(candidate, 'package.json'), { throwIfNoEntry: false })?.isFile()) return realpathSync(candidate);
    if (folder === dirname(folder)) return null;
  }
}

const refuse = (message: string): SandboxFault => new SandboxFault('sandbox_command', `command: ${message}`);

/** This file or its compiled twin, for mounting a module of ours beside a server. */
export const siblingModule = (name: string): string =>
  fileURLToPath(new URL(`${name}${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url));
