/**
 * What is known of the packages that a server is made of (NH-11): of the one its record names, and for a local server of everything that is
 * installed for it, transitively. Asked when a server is to be enabled and when findings are listed. A package that is not installed on this
 * node counts by the record alone; it cannot start here either.
 */
import { advisoriesFor, type Hit } from '../inventory/advisories.ts';
import type { Missing } from '../inventory/lifecycle.ts';
import type { Server } from '../inventory/records.ts';
import { isFault } from '../lib/fault.ts';
import { installedFor, type InstalledPackage } from '../sandbox/artifact-digest.ts';
import { artifactFrom, packageOf } from '../sandbox/artifact.ts';
import type { AdminContext } from './context.ts';
import { conflict, invalid, type Problem } from './problem.ts';

export interface Known {
  readonly package: string;
  readonly version: string;
  /** Of the server itself, not of something it depends on. */
  readonly own: boolean;
  readonly advisories: readonly Hit[];
}

type Ask = Pick<AdminContext, 'artifacts'>;

/** Every package with at least one advisory, the server's own first. */
export function knownOf({ artifacts }: Ask, server: Server): readonly Known[] {
  const state = artifacts.advisories();
  if (state.kind !== 'read') return [];
  const { source, upstream } = server;
  const asked = new Map<string, { package: string; version: string; own: boolean; ecosystem: string | null }>();
  const add = (name: string, version: string, own: boolean, ecosystem: string | null): void => {
    const key = `${name}@${version}`;
    if (!asked.has(key)) asked.set(key, { package: name, version, own, ecosystem });
  };
  const runs = upstream.transport === 'stdio' ? packageOf(upstream.command) : null;
  if (source?.package !== undefined) add(source.package, source.version, true, source.package === runs ? 'npm' : null);
  for (const [index, { name, version }] of installedHere({ artifacts }, server).entries())
    add(name, version, index === 0, 'npm');
  return [...asked.values()].flatMap(({ ecosystem, own, ...one }) => {
    const advisories = advisoriesFor(state.feed, { ecosystem, ...one });
    return advisories.length === 0 ? [] : [{ ...one, own, advisories }];
  });
}

/** What keeps a server from being enabled because of its packages. */
export function artifactLacks(ctx: Ask, server: Server): readonly Missing[] {
  const { source, upstream } = server;
  const [installed] = installedHere(ctx, server);
  const runs = upstream.transport === 'stdio' ? packageOf(upstream.command) : null;
  const other: Missing[] = [];
  if (runs !== null && source !== undefined && source.package !== runs)
    other.push({
      field: 'source.package',
      message: `The command runs the package ${runs}, and the record names ${source.package ?? 'none'}.`,
      remedy: `Set \`source.package\` to ${runs}.`,
    });
  else if (installed !== undefined && installed.version !== source?.version)
    other.push({
      field: 'source.version',
      message: `The record says ${source?.version}, and what would run is ${installed.name}@${installed.version}.`,
      remedy: `Run \`remit artifact install ${installed.name}@${source?.version}\` on the host of the gateway, or write ${installed.version}.`,
    });
  return [
    ...other,
    ...knownOf(ctx, server).map((known) => ({
      field: 'source.version',
      message: `${sayKnown(known)}.`,
      remedy: remedyFor(known),
    })),
  ];
}

/** Null: nothing known stands against enabling it. */
export function artifactRefusal(ctx: Ask, server: Server): Problem | null {
  const state = ctx.artifacts.advisories();
  if (server.upstream.transport === 'stdio' && state.kind === 'unreadable')
    return conflict(
      'advisories_unreadable',
      `No local server is enabled while the advisories of the configuration cannot be read: ${state.why}.`,
      'Correct artifacts.advisories on the host of the gateway; it is read again by itself.',
    );
  const lacks = artifactLacks(ctx, server);
  const [first] = lacks;
  if (first === undefined) return null;
  const problem = invalid(
    `server.${first.field}`,
    `The server cannot be enabled. ${lacks.map(({ message }) => message).join(' ')}`,
    lacks.map(({ remedy }) => remedy).join(' '),
  );
  return knownOf(ctx, server).length > 0 ? { ...problem, code: 'known_vulnerable' } : problem;
}

const NAMED = 5;

/** Ids and versions, without a full stop. */
export function sayKnown({ package: name, version, own, advisories }: Known): string {
  const ids = advisories.map(({ id, aliases }) => (aliases[0] === undefined ? id : `${id} (${aliases[0]})`));
  const named =
    ids.length <= NAMED ? ids.join(', ') : `${ids.slice(0, NAMED).join(', ')} and ${ids.length - NAMED} more`;
  return `${own ? '' : 'It depends on '}${name}@${version}${own ? ' is' : ', which is'} known to be vulnerable: ${named}`;
}

function remedyFor({ package: name, own, advisories }: Known): string {
  const fixes = advisories.map(({ fixed }) => fixed);
  if (fixes.some((fixed) => fixed === null))
    return own
      ? `No version of ${name} is known to be free of it; use another server, or have the advisory withdrawn.`
      : `No version of ${name} is known to be free of it; use a version of the server that does without it.`;
  const versions = [...new Set(fixes)].join(' and ');
  return own
    ? `Install and review a version that has the fix (${versions} or newer).`
    : `Install and review a version of the server that depends on ${name} ${versions} or newer.`;
}

/** Own package first; nothing when it runs no package, or when that is not installed on this node. */
function installedHere({ artifacts }: Ask, { upstream, source }: Server): readonly InstalledPackage[] {
  if (upstream.transport !== 'stdio') return [];
  try {
    return installedFor(upstream.command, artifactFrom(artifacts.folder, upstream.command, source)) ?? [];
  } catch (error) {
    if (isFault(error) || (error as NodeJS.ErrnoException).code !== undefined) return [];
    throw error;
  }
}
