/**
 * What is installed in the folder of artifacts: the record that `remit artifact install` left beside each, and whether what lies there is still
 * what it says. The record helps people; what decides at a start is the digest in the server's record (artifact-digest.ts).
 */
import { hash } from 'node:crypto';
import { readFileSync, readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { isFault } from '../lib/fault.ts';
import { artifactIdentity, installedFor } from './artifact-digest.ts';
import { artifactFolder } from './artifact.ts';

const Digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const ArtifactRecord = z.object({
  format: z.literal(1),
  name: z.string(),
  version: z.string(),
  /** Of the archive of the package itself, as the registry vouches for it. */
  integrity: z.string(),
  /** Goes into `source.digest` of the server. */
  digest: Digest,
  files: z.number().int(),
  /** What may follow `/bin/` in a command. */
  programs: z.array(z.string()).min(1),
  packages: z.number().int(),
  /** They came with install scripts: what those do was not done. */
  scriptsNotRun: z.array(z.string()),
  /** Of bom.json. */
  bom: Digest,
  installedAt: z.string(),
});
export type ArtifactRecord = z.infer<typeof ArtifactRecord>;

const Manifest = z.object({
  name: z.string(),
  bin: z.union([z.string(), z.record(z.string(), z.string())]).optional(),
});

/** The programs of the package in a folder, as `resolveCommand` accepts them. */
export function readPrograms(folder: string): string[] {
  const read = Manifest.safeParse(parsed(join(folder, 'package.json')));
  if (!read.success) return [];
  const { name, bin } = read.data;
  const names = typeof bin === 'string' ? [name.split('/').pop() ?? name] : Object.keys(bin ?? {});
  return names.filter((one) => /^[A-Za-z0-9._-]+$/.test(one)).toSorted();
}

/** Null: nothing of this name and version is there, or its record cannot be read. */
export function readArtifact(artifacts: string, name: string, version: string): ArtifactRecord | null {
  const read = ArtifactRecord.safeParse(parsed(join(artifactFolder(artifacts, name, version), 'artifact.json')));
  return read.success && read.data.name === name && read.data.version === version ? read.data : null;
}

/** By name and version. What has no record is not in the list. */
export function listArtifacts(artifacts: string): readonly ArtifactRecord[] {
  const names = below(artifacts).flatMap((first) =>
    first.startsWith('@') ? below(join(artifacts, first)).map((second) => `${first}/${second}`) : [first],
  );
  return names.flatMap((name) =>
    below(join(artifacts, ...name.split('/'))).flatMap((version) => readArtifact(artifacts, name, version) ?? []),
  );
}

/** What is not as it was installed; empty: everything is. */
export async function verifyArtifact(artifacts: string, record: ArtifactRecord): Promise<readonly string[]> {
  const place = artifactFolder(artifacts, record.name, record.version);
  const command = ['node', `${record.name}/bin/${record.programs[0]}`];
  const problems: string[] = [];
  try {
    const from = realpathSync(place);
    const { digest } = await artifactIdentity({ command, mounts: [] }, from);
    if (digest !== record.digest) problems.push(`its files are ${digest}, and ${record.digest} was installed`);
    const bom = readFileSync(join(place, 'bom.json'), 'utf8');
    if (`sha256:${hash('sha256', bom)}` !== record.bom) problems.push('bom.json is not the one that was written');
    const named = new Set(bomPackages(bom));
    for (const { name, version } of installedFor(command, from) ?? [])
      if (!named.has(`${name}@${version}`)) problems.push(`${name}@${version} is installed and not in bom.json`);
  } catch (error) {
    problems.push(isFault(error) ? error.message : 'its files cannot be read');
  }
  return problems;
}

const Component = z.object({ group: z.string().optional(), name: z.string(), version: z.string() });
const Bom = z.object({ metadata: z.object({ component: Component }), components: z.array(Component) });

function bomPackages(text: string): readonly string[] {
  const read = Bom.safeParse(JSON.parse(text));
  if (!read.success) return [];
  const { metadata, components } = read.data;
  return [metadata.component, ...components].map(
    ({ group, name, version }) => `${group === undefined ? '' : `${group}/`}${name}@${version}`,
  );
}

function below(folder: string): readonly string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map(({ name }) => name)
      .toSorted();
  } catch {
    return [];
  }
}

function parsed(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return null;
  }
}
