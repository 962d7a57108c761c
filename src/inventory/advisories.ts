/**
 * What is known of versions of packages (NH-11): advisories in the OSV format (schema 1.x), read strictly from text that somebody else wrote, and
 * the question whether one version is affected. A bad entry is named and left out, the rest is kept; what was withdrawn does not count.
 * Where it is unclear whether a version is affected, it is: a version that cannot be ordered is within every range that is known of its package.
 * Not here: where the text comes from and when it is read again (admin/artifact-feed.ts).
 */
import { compare, valid } from 'semver';
import { z } from 'zod';

const LIMITS = { entries: 200_000, problems: 100 } as const;

const Text = z.string().max(1_000);
const Event = z.union([
  z.object({ introduced: Text }).transform(({ introduced }) => ({ kind: 'introduced' as const, version: introduced })),
  z.object({ fixed: Text }).transform(({ fixed }) => ({ kind: 'fixed' as const, version: fixed })),
  z
    .object({ last_affected: Text })
    .transform((event) => ({ kind: 'last_affected' as const, version: event.last_affected })),
  // Of ranges over commits, and a bound on what was looked at.
  z.object({ limit: Text }).transform(({ limit }) => ({ kind: 'limit' as const, version: limit })),
]);
const Range = z.object({ type: z.enum(['SEMVER', 'ECOSYSTEM', 'GIT']), events: z.array(Event).min(1).max(1_000) });
const Entry = z.object({
  id: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$/),
  aliases: z.array(Text).max(1_000).nullish(),
  withdrawn: z.iso.datetime({ offset: true }).nullish(),
  affected: z
    .array(
      z.object({
        // Without a package it is about commits, which no record names.
        package: z.object({ ecosystem: z.string().min(1).max(100), name: z.string().min(1).max(500) }).nullish(),
        ranges: z.array(Range).max(1_000).nullish(),
        versions: z.array(Text).max(100_000).nullish(),
      }),
    )
    .max(10_000)
    .nullish(),
});

type Event = z.infer<typeof Event>;

interface Affected {
  readonly id: string;
  readonly aliases: readonly string[];
  /** Events of ranges over versions, in the order of the versions. */
  readonly ranges: ReadonlyArray<readonly Event[]>;
  readonly versions: ReadonlySet<string>;
}

export interface AdvisoryProblem {
  /** As the entry says, or its place. */
  readonly id: string;
  readonly field: string;
  readonly message: string;
}

export interface AdvisoryFeed {
  /** By ecosystem and name. */
  readonly byPackage: ReadonlyMap<string, readonly Affected[]>;
  readonly ecosystems: ReadonlySet<string>;
  readonly entries: number;
  /** The first hundred. */
  readonly problems: readonly AdvisoryProblem[];
  /** All that were left out, in part or as a whole. */
  readonly bad: number;
}

export interface PackageVersion {
  /** As OSV writes it: `npm`, `PyPI`; null: nobody has said, so each that the feed knows. */
  readonly ecosystem: string | null;
  readonly package: string;
  readonly version: string;
}

export interface Hit {
  readonly id: string;
  readonly aliases: readonly string[];
  /** The first version that is known to be free of it; null: nobody has said. */
  readonly fixed: string | null;
}

export interface AdvisoryReader {
  /** The text of one OSV file: an entry, or a list of them. `name` is for messages. */
  add(name: string, text: string): void;
  feed(): AdvisoryFeed;
}

/** Bit by bit, so that whoever reads many files can do other things in between. */
export function advisoryReader(): AdvisoryReader {
  const byPackage = new Map<string, Affected[]>();
  const ecosystems = new Set<string>();
  const problems: AdvisoryProblem[] = [];
  let [entries, bad] = [0, 0];
  const problem = (id: string, field: string, message: string): void => {
    bad++;
    if (problems.length < LIMITS.problems) problems.push({ id, field, message });
  };
  function addEntry({ id, aliases, affected }: z.infer<typeof Entry>): void {
    for (const [at, part] of (affected ?? []).entries()) {
      if (part.package == null) continue;
      const { ecosystem, name } = part.package;
      const ranges = (part.ranges ?? []).flatMap((range, place) => {
        const read = readRange(range, ecosystem);
        if (read === 'unordered')
          problem(
            id,
            `affected.${at}.ranges.${place}.events`,
            'has versions that are none; every version counts as affected',
          );
        return read === 'unordered' ? [EVERY] : read === null ? [] : [read];
      });
      ecosystems.add(family(ecosystem));
      const key = keyOf(ecosystem, name);
      const known = byPackage.get(key) ?? [];
      byPackage.set(key, known);
      known.push({ id, aliases: aliases ?? [], ranges, versions: new Set(part.versions) });
    }
  }
  return {
    add(name, text) {
      const value = json(text);
      if (typeof value !== 'object' || value === null)
        return problem(name, '', 'is not JSON with an advisory or a list of them');
      for (const [index, one] of (Array.isArray(value) ? value : [value]).entries()) {
        if (entries >= LIMITS.entries)
          return problem(name, '', `has more than ${LIMITS.entries} advisories; the rest is left out`);
        const parsed = Entry.safeParse(one);
        if (parsed.success) {
          entries++;
          if (parsed.data.withdrawn == null) addEntry(parsed.data);
        } else {
          const field = parsed.error.issues[0]?.path.join('.') ?? '';
          problem(idOf(one) ?? `${name}[${index}]`, field, 'is not as OSV says; the advisory is left out');
        }
      }
    },
    feed: () => ({ byPackage, ecosystems, entries, problems, bad }),
  };
}

const EVERY: readonly Event[] = [{ kind: 'introduced', version: '0' }];

/** Null: it says nothing about versions that have an order here; the list of versions of that ecosystem does. */
function readRange({ type, events }: z.infer<typeof Range>, ecosystem: string): readonly Event[] | 'unordered' | null {
  if (type === 'GIT') return null;
  const ordered = inOrder(events.filter(({ kind }) => kind !== 'limit'));
  return ordered ?? (type === 'SEMVER' || family(ecosystem) === 'npm' ? 'unordered' : null);
}

/** The advisories that this version is affected by, each once. */
export function advisoriesFor(feed: AdvisoryFeed, asked: PackageVersion): readonly Hit[] {
  const hits = new Map<string, Hit>();
  const version = semver(asked.version);
  const families = asked.ecosystem === null ? [...feed.ecosystems] : [asked.ecosystem];
  const known = families.flatMap((ecosystem) => feed.byPackage.get(keyOf(ecosystem, asked.package)) ?? []);
  for (const { id, aliases, ranges, versions } of known) {
    const within = ranges.filter((events) => version === null || isWithin(events, version));
    if (within.length === 0 && !versions.has(asked.version)) continue;
    const fixed = version === null ? null : firstFixed(within.length > 0 ? within : ranges, version);
    if ((hits.get(id)?.fixed ?? null) === null) hits.set(id, { id, aliases, fixed });
  }
  return [...hits.values()];
}

/** The rule of the OSV schema: what the last event at or below the version says. At one version a fix comes before a new beginning. */
function isWithin(events: readonly Event[], version: string): boolean {
  let affected = false;
  for (const { kind, version: at } of events) {
    const than = at === '0' ? 1 : compare(version, semver(at) ?? at);
    if (kind === 'introduced' && than >= 0) affected = true;
    else if (kind === 'fixed' && than >= 0) affected = false;
    else if (kind === 'last_affected' && than > 0) affected = false;
  }
  return affected;
}

function firstFixed(ranges: ReadonlyArray<readonly Event[]>, version: string): string | null {
  const fixes = ranges
    .flat()
    .flatMap(({ kind, version: at }) => (kind === 'fixed' && compare(semver(at) ?? at, version) > 0 ? [at] : []));
  return fixes.toSorted((a, b) => compare(semver(a) ?? a, semver(b) ?? b))[0] ?? null;
}

const RANK: Readonly<Record<Event['kind'], number>> = { limit: 0, fixed: 1, introduced: 2, last_affected: 3 };

/** Null: they cannot be ordered. */
function inOrder(events: readonly Event[]): Event[] | null {
  if (events.length === 0 || events.some(({ version }) => version !== '0' && semver(version) === null)) return null;
  return events.toSorted((a, b) => {
    const [lowA, lowB] = [a.version === '0', b.version === '0'];
    const order = lowA || lowB ? Number(lowB) - Number(lowA) : compare(semver(a.version)!, semver(b.version)!);
    return order === 0 ? RANK[a.kind] - RANK[b.kind] : order;
  });
}

/** A version in the order of semantic versioning; `1.2` counts as `1.2.0`. */
function semver(version: string): string | null {
  const plain = version.replace(/^v/, '');
  const [, major, minor = '0', patch = '0'] = /^(\d{1,15})(?:\.(\d{1,15}))?(?:\.(\d{1,15}))?$/.exec(plain) ?? [];
  return valid(major === undefined ? plain : [major, minor, patch].map(Number).join('.'));
}

/** `Debian:12` is of Debian. */
const family = (ecosystem: string): string => (ecosystem.split(':')[0] ?? '').toLowerCase();
/** PyPI has its own idea of which names are one. */
const keyOf = (ecosystem: string, name: string): string =>
  `${family(ecosystem)} ${family(ecosystem) === 'pypi' ? name.toLowerCase().replace(/[-_.]+/g, '-') : name}`;

function idOf(one: unknown): string | null {
  if (typeof one !== 'object' || one === null || !('id' in one)) return null;
  return typeof one.id === 'string' && /^[\w.:-]{1,100}$/.test(one.id) ? one.id : null;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
