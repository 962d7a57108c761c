/**
 * Puts one exact version of an npm package beside the gateway (TD-08), in the folder of artifacts: `NAME/VERSION/` with `node_modules`,
 * `artifact.json` (what it is) and `bom.json` (what it consists of). A version that is there is never touched again.
 * CRASH: everything is made in a folder that nothing looks into and renamed as the last step; half an installation is never found. After a
 * power cut a file may be short; the digest in the server's record shows it before anything runs.
 * Not promised: that the package is harmless. A package that must be compiled or that fetches its program in a script does not run.
 */
import { randomBytes } from 'node:crypto';
import { hash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { valid } from 'semver';
import { Fault } from '../lib/fault.ts';
import { artifactIdentity } from './artifact-digest.ts';
import { billOfMaterials, readLockfile } from './artifact-bom.ts';
import { npmInstall } from './artifact-npm.ts';
import { readPrograms, type ArtifactRecord } from './artifact-record.ts';
import { artifactFolder, packageOf } from './artifact.ts';

export interface InstallRequest {
  /** Absolute: the folder of artifacts. Made when it is not there. */
  readonly artifacts: string;
  /** `NAME@1.2.3`. */
  readonly spec: string;
  readonly registry?: string | undefined;
  /** Absolute. */
  readonly npmrc?: string | undefined;
  /** What the archive must be: `sha512-…`, as the vendor published it. */
  readonly integrity?: string | undefined;
  readonly searchPath: string;
  /** ms since the epoch. */
  readonly now: number;
  readonly progress: (text: string) => void;
}

/** Folders of installations that were under way when the process ended; older ones are of nobody. */
const PARTIAL = '.partial-';
const PARTIAL_MS = 3_600_000;

/** A name and one version; no tag, range, URL, file or git address. @throws Fault `artifact_spec` */
export function readSpec(spec: string): { readonly name: string; readonly version: string } {
  const at = spec.lastIndexOf('@');
  const [name, version] = at > 0 ? [spec.slice(0, at), spec.slice(at + 1)] : [spec, ''];
  if (name.length > 214 || packageOf(['node', name]) !== name || /\/bin(?:\/|$)/.test(name))
    throw new Fault(
      'artifact_spec',
      `${JSON.stringify(spec)} does not begin with the name of an npm package; write NAME@1.2.3`,
    );
  if (version.length > 100 || valid(version) !== version)
    throw new Fault(
      'artifact_spec',
      `${JSON.stringify(spec)} does not name one exact version; write ${name}@1.2.3, never a tag, a range or an address`,
    );
  return { name, version };
}

/** @throws Fault `artifact_spec`, `artifact_exists`, `artifact_npm`, `artifact_refused`, `artifact_registry`, `artifact_folder` */
export async function installArtifact(request: InstallRequest): Promise<ArtifactRecord> {
  const { artifacts, progress } = request;
  const { name, version } = readSpec(request.spec);
  const registry = request.registry === undefined ? null : registryOf(request.registry);
  const target = artifactFolder(artifacts, name, version);
  if (existsSync(target)) throw exists(name, version);
  const work = join(artifacts, `${PARTIAL}${randomBytes(9).toString('hex')}`);
  try {
    mkdirSync(artifacts, { recursive: true, mode: 0o755 });
    sweep(artifacts, request.now);
    mkdirSync(join(work, 'out'), { recursive: true, mode: 0o700 });
    mkdirSync(join(work, 'scratch'), { mode: 0o700 });
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw new Fault('artifact_folder', `the folder ${artifacts} cannot be written (${code})`, { cause });
  }
  try {
    const out = join(work, 'out');
    progress(`Fetching ${name}@${version} and what it depends on; no script of a package is run.`);
    await npmInstall({
      folder: out,
      scratch: join(work, 'scratch'),
      name,
      version,
      registry,
      npmrc: request.npmrc ?? null,
      searchPath: request.searchPath,
    });
    const record = await describe(out, name, version, request);
    progress(`Checked ${record.packages} packages, ${record.files} files.`);
    // Where from is nobody's business who runs inside: the lockfiles name hosts.
    for (const file of ['package.json', 'package-lock.json', join('node_modules', '.package-lock.json')])
      rmSync(join(out, file), { force: true });
    readable(out);
    mkdirSync(dirname(target), { recursive: true, mode: 0o755 });
    try {
      renameSync(out, target);
    } catch (cause) {
      if (existsSync(target)) throw exists(name, version);
      throw cause;
    }
    return record;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function describe(out: string, name: string, version: string, request: InstallRequest): Promise<ArtifactRecord> {
  const lockfile = readFileSync(join(out, 'package-lock.json'), 'utf8');
  const locked = readLockfile(lockfile, name, (place) => existsSync(join(out, place, 'package.json')));
  if (!locked.ok) throw refuse(name, version, locked.problems.slice(0, 10).join('; '));
  const { root, packages } = locked;
  if (root.version !== version) throw refuse(name, version, `the registry gave ${root.version}`);
  if (request.integrity !== undefined && root.integrity !== request.integrity)
    throw refuse(name, version, `the archive is ${root.integrity}, and ${request.integrity} was expected`);
  const programs = readPrograms(join(out, 'node_modules', name));
  const [first] = programs;
  if (first === undefined) throw refuse(name, version, 'it has no program, so there is nothing to start');
  const identity = await artifactIdentity({ command: ['node', `${name}/bin/${first}`], mounts: [] }, out);
  if (identity.package !== name || identity.version !== version)
    throw refuse(name, version, `its package.json says ${identity.package}@${identity.version}`);
  const bom = billOfMaterials(root, packages);
  const record: ArtifactRecord = {
    format: 1,
    name,
    version,
    integrity: root.integrity ?? '',
    digest: identity.digest,
    files: identity.files,
    programs,
    packages: packages.length,
    scriptsNotRun: packages.filter(({ installScript }) => installScript).map((one) => `${one.name}@${one.version}`),
    bom: `sha256:${hash('sha256', bom)}`,
    installedAt: new Date(request.now).toISOString(),
  };
  writeFileSync(join(out, 'bom.json'), bom);
  writeFileSync(join(out, 'artifact.json'), `${JSON.stringify(record, null, 2)}\n`);
  return record;
}

/** A server runs as a user of its own: everybody may read, nobody but the owner may write. */
function readable(folder: string): void {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) readable(path);
    else if (entry.isFile()) chmodSync(path, (statSync(path).mode & 0o111) === 0 ? 0o644 : 0o755);
  }
}

function sweep(artifacts: string, now: number): void {
  for (const entry of readdirSync(artifacts)) {
    const path = join(artifacts, entry);
    if (entry.startsWith(PARTIAL) && now - statSync(path).mtimeMs > PARTIAL_MS)
      rmSync(path, { recursive: true, force: true });
  }
}

/** What is fetched decides what runs: not over a network in the clear. */
function registryOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const here = url !== null && /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
  if (url === null || !(url.protocol === 'https:' || (url.protocol === 'http:' && here)))
    throw new Fault('artifact_registry', 'the registry must be an https address, or http on this machine');
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw new Fault(
      'artifact_registry',
      'the registry is an address alone; what it asks for stands in a file, see --npmrc',
    );
  return url.href;
}

const exists = (name: string, version: string): Fault =>
  new Fault(
    'artifact_exists',
    `${name}@${version} is installed already and is left as it is; \`remit artifact verify ${name}@${version}\` says whether it is whole`,
  );
const refuse = (name: string, version: string, why: string): Fault =>
  new Fault('artifact_refused', `${name}@${version} is not installed: ${why}`);
