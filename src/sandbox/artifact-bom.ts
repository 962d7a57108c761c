/**
 * What an installation consists of, read from the lockfile that npm wrote: every package with its exact version and integrity, which of them
 * came with install scripts (none is run), and a bill of materials in CycloneDX. Everything comes from the registry by version: what a
 * dependency names by URL, git or folder is refused, because nobody keeps such a thing the same. Pure; the lockfile is untrusted.
 */
import { z } from 'zod';

const LIMITS = { packages: 2_000 } as const;

const Specs = z.record(z.string(), z.string()).optional();
const Lockfile = z.object({
  lockfileVersion: z.number().int().min(2),
  packages: z.record(
    z.string(),
    z.object({
      name: z.string().optional(),
      version: z.string().optional(),
      resolved: z.string().optional(),
      integrity: z.string().optional(),
      link: z.boolean().optional(),
      inBundle: z.boolean().optional(),
      hasInstallScript: z.boolean().optional(),
      dependencies: Specs,
      optionalDependencies: Specs,
    }),
  ),
});

export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** Subresource integrity, `sha512-…`; null: it came inside the archive of another package. */
  readonly integrity: string | null;
  readonly installScript: boolean;
}

export type LockRead =
  | { readonly ok: true; readonly root: LockedPackage; readonly packages: readonly LockedPackage[] }
  | { readonly ok: false; readonly problems: readonly string[] };

const INTEGRITY = /^sha512-[A-Za-z0-9+/]{86}==$/;
/** A version, a range or a tag; `npm:` renames another package of the registry. */
const FROM_REGISTRY = /^(?:npm:(?:@[\w.~-]+\/)?[\w.~-]+(?:@[^:/#]*)?|[^:/#]*)$/;

/** `installed`: whether something lies at a place of the lockfile; what is for other platforms does not. `root`: the package that was asked for. */
export function readLockfile(text: string, root: string, installed: (place: string) => boolean): LockRead {
  const parsed = Lockfile.safeParse(json(text));
  if (!parsed.success) return { ok: false, problems: ['npm wrote no lockfile that can be read'] };
  const entries = Object.entries(parsed.data.packages).filter(([place]) => place !== '');
  if (entries.length > LIMITS.packages)
    return { ok: false, problems: [`it depends on more than ${LIMITS.packages} packages`] };
  const problems: string[] = [];
  const packages: LockedPackage[] = [];
  let asked: LockedPackage | null = null;
  for (const [place, entry] of entries) {
    const name = entry.name ?? place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
    const { version, integrity, inBundle = false, link = false } = entry;
    for (const [dependency, spec] of Object.entries({ ...entry.dependencies, ...entry.optionalDependencies }))
      if (!FROM_REGISTRY.test(spec))
        problems.push(
          `${name} takes ${dependency} from ${JSON.stringify(spec.slice(0, 200))} and not from the registry`,
        );
    if (!installed(place)) continue;
    if (link) problems.push(`${name} is a link`);
    else if (version === undefined) problems.push(`${name} has no version`);
    else if (!inBundle && (integrity === undefined || !INTEGRITY.test(integrity)))
      problems.push(`the registry gives no sha512 integrity for ${name}@${version}`);
    else {
      const found = {
        name,
        version,
        integrity: inBundle ? null : (integrity ?? null),
        installScript: entry.hasInstallScript ?? false,
      };
      packages.push(found);
      if (place === `node_modules/${root}` && name === root) asked = found;
    }
  }
  if (asked === null) problems.push(`${root} is not among what was installed`);
  if (problems.length > 0 || asked === null) return { ok: false, problems };
  const sorted = packages.toSorted((a, b) => order(a.name, b.name) || order(a.version, b.version));
  return { ok: true, root: asked, packages: sorted };
}

/** CycloneDX 1.6. The same installation gives the same text: no time, no serial number. */
export function billOfMaterials(root: LockedPackage, packages: readonly LockedPackage[]): string {
  const seen = new Set<string>();
  const components = packages.flatMap((one) => {
    const key = purl(one);
    if (one === root || seen.has(key)) return [];
    seen.add(key);
    return [component(one, 'library')];
  });
  const bom = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: component(root, 'application') },
    components,
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}

function component(one: LockedPackage, type: 'application' | 'library'): object {
  const { name, version, integrity } = one;
  const slash = name.indexOf('/');
  const key = purl(one);
  return {
    type,
    'bom-ref': key,
    ...(slash > 0 && { group: name.slice(0, slash) }),
    name: name.slice(slash + 1),
    version,
    purl: key,
    ...(integrity !== null && {
      hashes: [{ alg: 'SHA-512', content: Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex') }],
    }),
  };
}

const purl = ({ name, version }: Pick<LockedPackage, 'name' | 'version'>): string =>
  `pkg:npm/${name.split('/').map(encodeURIComponent).join('/')}@${encodeURIComponent(version)}`;

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
