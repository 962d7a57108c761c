/**
 * What exactly a stdio server is made of (TD-08): one digest over every file that is installed for it, own and of the packages it depends on,
 * by sorted relative path. Compared with the record before a process is started, so that what runs is what was reviewed, byte for byte.
 * Not promised: that nobody writes to the folder between the look and the start (its owner is to be somebody else than the server's user),
 * nor anything about the interpreter and the libraries of the system.
 */
import { hash } from 'node:crypto';
import { lstatSync, readFileSync, readlinkSync, readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';
import { z } from 'zod';
import { packageFolder, packageOf, packageProgram } from './artifact.ts';
import { SandboxFault, type SandboxSpec } from './backend.ts';

const LIMITS = { files: 50_000, bytes: 1_073_741_824, packages: 2_000 } as const;

/** The part of a server record that says what runs. */
export interface Runs {
  readonly command: readonly string[];
  readonly mounts: SandboxSpec['mounts'];
}

export interface ArtifactIdentity {
  readonly digest: `sha256:${string}`;
  /** Of the package; null: it is none, or says none. */
  readonly package: string | null;
  readonly version: string | null;
  readonly files: number;
}

/** Hash over folders and files, each under the name it has for the server. */
interface Part {
  readonly name: string;
  readonly path: string;
}

/**
 * `from`: as for `resolveCommand`.
 * @throws SandboxFault `sandbox_command`, `sandbox_identity`
 */
export async function artifactIdentity(runs: Runs, from?: string): Promise<ArtifactIdentity> {
  const [program, entry] = runs.command;
  if (program === 'node' && entry !== undefined && !isAbsolute(entry)) return packageIdentity(entry, from);
  const target = program === 'node' ? entry : program;
  if (target === undefined || !isAbsolute(target)) throw refuse('the command names nothing that has a digest');
  const parts = [placeOf(target, runs.mounts), ...interpretedBy(target, runs)];
  const { digest, files } = await digestOfParts(parts);
  return { digest, files, package: null, version: null };
}

/** @throws SandboxFault `sandbox_identity` when what is installed is something else. */
export async function mustBe(runs: Runs, digest: string, from?: string): Promise<void> {
  const found = await artifactIdentity(runs, from);
  if (found.digest !== digest)
    throw refuse(
      `what is installed is ${found.digest}, and ${digest} was reviewed; review the new one, or install the old`,
    );
}

const Manifest = z.object({
  name: z.string().optional(),
  version: z.string().optional(),
  dependencies: z.record(z.string(), z.unknown()).optional(),
  optionalDependencies: z.record(z.string(), z.unknown()).optional(),
  peerDependencies: z.record(z.string(), z.unknown()).optional(),
});

async function packageIdentity(specifier: string, from: string | undefined): Promise<ArtifactIdentity> {
  const { modules, file } = packageProgram(specifier, from);
  const folder = folderOf(file);
  const { name = null, version = null } = manifestOf(folder);
  const parts = closureOf(folder, modules).map((path): Part => ({
    name: relative(modules, path).split(sep).join('/'),
    path,
  }));
  const { digest, files } = await digestOfParts(parts);
  return { digest, files, package: name, version };
}

export interface InstalledPackage {
  readonly name: string;
  readonly version: string;
}

/**
 * What is installed for a command that runs an npm package: that package first, then what it depends on, as their own files say (the digest
 * covers those). Hashes nothing. Null: the command runs no package.
 * @throws SandboxFault
 */
export function installedFor(command: readonly string[], from?: string): readonly InstalledPackage[] | null {
  if (packageOf(command) === null) return null;
  const { modules, file } = packageProgram(command[1] ?? '', from);
  const own = folderOf(file);
  const folders = [own, ...closureOf(own, modules).filter((folder) => folder !== own)];
  return folders.map((folder) => {
    const { name, version } = manifestOf(folder);
    return { name: name ?? relative(modules, folder).split(sep).join('/'), version: version ?? '' };
  });
}

/** The folder of the package that a file belongs to: the nearest one above with a name in its package.json, inside `node_modules`. */
function folderOf(file: string): string {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const above = dirname(folder).split(sep);
    if (above.at(-1) === 'node_modules' || (above.at(-1)?.startsWith('@') && above.at(-2) === 'node_modules'))
      return folder;
    if (folder === dirname(folder)) throw refuse('the program lies in no package');
  }
}

/** The package and everything it finds when it asks for what it declares, transitively; sorted. What is not mounted with it does not count. */
function closureOf(folder: string, modules: string): readonly string[] {
  const found = new Set<string>();
  const open = [folder];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (found.has(next)) continue;
    if (found.size >= LIMITS.packages) throw refuse(`the package depends on more than ${LIMITS.packages} others`);
    found.add(next);
    const { dependencies = {}, optionalDependencies = {}, peerDependencies = {} } = manifestOf(next);
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      // What is not installed cannot run. If it is later, the digest is another one.
      const place = /^(?:@[\w.~-]+\/)?[\w.~-]+$/.test(name) ? packageFolder(name, next) : null;
      if (place?.startsWith(modules + sep)) open.push(place);
    }
  }
  return [...found].toSorted();
}

function manifestOf(folder: string): z.infer<typeof Manifest> {
  const read = Manifest.safeParse(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));
  if (!read.success) throw refuse('a package.json cannot be read');
  return read.data;
}

/** Where on this machine a path of the sandbox lies. Of a folder that is mounted, all of it counts: the program may load any of it. */
function placeOf(target: string, mounts: SandboxSpec['mounts']): Part {
  const mount = mounts
    .filter(({ to }) => target === to || target.startsWith(`${to.replace(/\/$/, '')}/`))
    .toSorted((a, b) => b.to.length - a.to.length)[0];
  if (mount === undefined) return { name: target, path: target };
  if (mount.mode === 'write') throw refuse('the program lies in a folder that the server itself may write');
  return { name: mount.to, path: mount.from };
}

const INTERPRETER =
  /^(?:node(?:js)?|bun|deno|tsx|(?:python|pypy|ruby|perl|php|lua)[\d.]*|java|dotnet|pwsh|Rscript|uv|(?:ba|da|a|z|k)?sh|busybox|env|timeout|nice|setsid|nohup|stdbuf)$/;

/**
 * What a program of the system is given to run: its own bytes say nothing about that. The folder of the first path among its arguments that
 * is mounted; without one, every folder that is mounted to be read, because it may load any.
 */
function interpretedBy(program: string, { command, mounts }: Runs): readonly Part[] {
  const inside = ({ to }: { readonly to: string }, text: string): boolean =>
    text === to || text.includes(`${to.replace(/\/$/, '')}/`);
  if (!INTERPRETER.test(basename(program)) || mounts.some((mount) => inside(mount, program))) return [];
  const given = command
    .slice(command.indexOf(program) + 1)
    .find((text) => !text.startsWith('-') && mounts.some((mount) => inside(mount, text)));
  if (given !== undefined && isAbsolute(given)) return [placeOf(given, mounts)];
  return mounts
    .filter((mount) => mount.mode === 'read' && (given === undefined || inside(mount, given)))
    .map(({ from, to }) => ({ name: to, path: from }));
}

/** How many files are read at once. */
const AT_ONCE = 16;

async function digestOfParts(parts: readonly Part[]): Promise<{ digest: `sha256:${string}`; files: number }> {
  const files: Array<{ readonly inside: string; readonly file: string; readonly link: boolean }> = [];
  let bytes = 0;
  for (const { name, path } of parts) {
    for (const file of filesIn(path)) {
      const inside = file === path ? name : `${name}/${relative(path, file).split(sep).join('/')}`;
      const link = file !== path && lstatSync(file).isSymbolicLink();
      if (!link) bytes += statSync(file).size;
      files.push({ inside, file, link });
      if (files.length > LIMITS.files || bytes > LIMITS.bytes)
        throw refuse(`it has more than ${LIMITS.files} files or ${LIMITS.bytes} bytes`);
    }
  }
  const lines: string[] = [];
  for (let at = 0; at < files.length; at += AT_ONCE) {
    const batch = files.slice(at, at + AT_ONCE).map(async ({ inside, file, link }) => {
      const what = link ? `link ${JSON.stringify(readlinkSync(file))}` : hash('sha256', await readFile(file));
      return `${JSON.stringify(inside)} ${what}`;
    });
    lines.push(...(await Promise.all(batch)));
  }
  // By code unit, so that no locale changes the order.
  return { digest: `sha256:${hash('sha256', lines.toSorted().join('\n'))}`, files: files.length };
}

/** Every file and link below, or the file itself. A nested `node_modules` belongs to the package it lies in. */
function* filesIn(path: string): Generator<string> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw refuse('what the command names is not there');
  if (!stat.isDirectory()) return yield path;
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) yield* filesIn(below);
    else if (entry.isFile() || entry.isSymbolicLink()) yield below;
    else throw refuse('it has something that is neither a file nor a link');
  }
}

const refuse = (message: string): SandboxFault => new SandboxFault('sandbox_identity', `source.digest: ${message}`);
