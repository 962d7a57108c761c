/**
 * The scopes of a server, derived from its approved items: the few a first token should carry (those of what only reads),
 * and all of them in plain words for the consent page. Scopes nobody approved do not exist.
 */
import { RISK_CLASSES } from '../integrity/records.ts';
import type { RiskClass } from '../integrity/records.ts';
import type { Snapshot, ToolEntry } from './snapshot.ts';

const IN_WORDS: Readonly<Record<RiskClass, string>> = {
  read: 'Read',
  write: 'Change data',
  destructive: 'Delete or overwrite data',
  execute: 'Run commands or programs',
  regulated: 'Act on regulated data',
};

/** A challenge is a header, and a metadata document has its bound at the authorization server: an aggregate of many servers names the first. */
const MAX_DEFAULTS = 50;
const MAX_SCOPES = 2_000;

export interface ScopeDescriptions {
  /** Null: of every server that is enabled, for the aggregate. */
  defaults(server: string | null): readonly string[];
  all(server: string | null): readonly Described[];
}

interface Described {
  readonly scope: string;
  readonly description: string;
  readonly risk: RiskClass;
}

const highest = (risks: ReadonlySet<RiskClass>): RiskClass =>
  RISK_CLASSES.findLast((risk) => risks.has(risk)) ?? 'regulated';
const listed = (names: readonly string[]): string =>
  `${names.slice(0, 6).join(', ')}${names.length > 6 ? ` and ${names.length - 6} more` : ''}`;

export function describeScopes(snapshot: () => Snapshot): ScopeDescriptions {
  let made: Snapshot | null = null;
  let byServer = new Map<string, Map<string, { risks: Set<RiskClass>; tools: string[] }>>();

  const of = (
    server: string | null,
  ): ReadonlyMap<string, { risks: ReadonlySet<RiskClass>; tools: readonly string[] }> => {
    if (made !== snapshot()) {
      made = snapshot();
      byServer = new Map();
    }
    let scopes = byServer.get(server ?? '');
    if (!scopes) {
      scopes = new Map();
      for (const { facts } of itemsOf(made, server)) {
        if (!facts) continue;
        const entry = scopes.get(facts.scope) ?? { risks: new Set<RiskClass>(), tools: [] };
        entry.risks.add(facts.risk);
        entry.tools.push(facts.name);
        scopes.set(facts.scope, entry);
      }
      byServer.set(server ?? '', scopes);
    }
    return scopes;
  };

  /** Scopes that no item carries and that include some of these: known by their record alone. */
  const umbrellas = (server: string | null): Described[] => {
    const { scopes, policies } = snapshot();
    const carried = of(server);
    return [...scopes].flatMap(([scope, { title }]): Described[] => {
      // What a resource must not advertise stays usable by whoever was given it.
      if (carried.has(scope) || scope === 'offline_access' || scope.includes('*')) return [];
      const below = [...carried].filter(([one]) => policies?.scopes.get(one)?.has(scope));
      if (below.length === 0) return [];
      const risks = new Set(below.flatMap(([, entry]) => [...entry.risks]));
      const names = below.map(([one]) => one).sort();
      return [{ scope, description: `${title}: ${listed(names)}`, risk: highest(risks) }];
    });
  };

  return {
    defaults: (server) =>
      [...of(server)]
        .filter(([, { risks }]) => [...risks].every((risk) => risk === 'read'))
        .map(([scope]) => scope)
        .sort()
        .slice(0, MAX_DEFAULTS),
    // Never among the first: what an umbrella includes may grow, and a first token is for what only reads.
    all: (server) =>
      [...of(server)]
        .map(([scope, { risks, tools }]) => ({
          scope,
          description: sentence(
            server === null ? 'your servers' : (snapshot().servers.get(server)?.record.title ?? server),
            risks,
            tools,
          ),
          risk: highest(risks),
        }))
        .concat(umbrellas(server))
        .sort((a, b) => (a.scope < b.scope ? -1 : 1))
        .slice(0, MAX_SCOPES),
  };
}

function itemsOf(snapshot: Snapshot, server: string | null): Iterable<ToolEntry> {
  if (server !== null) return snapshot.servers.get(server)?.tools.values() ?? [];
  const inService = [...snapshot.servers.values()].filter((entry) => entry.inService);
  return inService.flatMap(({ tools }) => [...tools.values()]);
}

function sentence(title: string, risks: ReadonlySet<RiskClass>, tools: readonly string[]): string {
  const what = [...risks].map((risk) => IN_WORDS[risk]).join('; ');
  return `${what} with ${title} (${listed(tools)})`;
}
