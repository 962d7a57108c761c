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
/** An authorization server has a bound for each of them, and refuses the whole document for one that is longer. */
const MAX_TEXT = 1_000;

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

/** What is known of one scope on one endpoint. */
interface Entry {
  /** Of the items that carry it. */
  readonly own: Set<RiskClass>;
  /** Of all that it opens, also through what its record includes. */
  readonly risks: Set<RiskClass>;
  readonly tools: string[];
  /** Scopes of items here that its record includes. */
  readonly includes: string[];
}

export function describeScopes(snapshot: () => Snapshot): ScopeDescriptions {
  let made: Snapshot | null = null;
  let byServer = new Map<string, { readonly defaults: readonly string[]; readonly all: readonly Described[] }>();

  const of = (server: string | null) => {
    if (made !== snapshot()) {
      made = snapshot();
      byServer = new Map();
    }
    let known = byServer.get(server ?? '');
    if (!known) byServer.set(server ?? '', (known = described(made, server)));
    return known;
  };
  return { defaults: (server) => of(server).defaults, all: (server) => of(server).all };
}

function described(view: Snapshot, server: string | null) {
  const scopes = new Map<string, Entry>();
  const entryOf = (scope: string): Entry => {
    let entry = scopes.get(scope);
    if (!entry) scopes.set(scope, (entry = { own: new Set(), risks: new Set(), tools: [], includes: [] }));
    return entry;
  };
  for (const { facts } of itemsOf(view, server)) {
    if (!facts) continue;
    const entry = entryOf(facts.scope);
    entry.own.add(facts.risk);
    entry.risks.add(facts.risk);
    entry.tools.push(facts.name);
  }
  for (const [scope, { own }] of Array.from(scopes)) {
    for (const wider of view.policies?.scopes.get(scope) ?? []) {
      // What a resource must not advertise stays usable by whoever was given it.
      if (wider === 'offline_access' || wider.includes('*')) continue;
      const entry = entryOf(wider);
      entry.includes.push(scope);
      for (const risk of own) entry.risks.add(risk);
    }
  }
  const title = server === null ? 'your servers' : (view.servers.get(server)?.record.title ?? server);
  const inOrder = [...scopes].sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    // Never one that no item carries: what its record includes may grow, and a first token is for what only reads.
    defaults: inOrder
      .filter(([, { tools, risks }]) => tools.length > 0 && [...risks].every((risk) => risk === 'read'))
      .map(([scope]) => scope)
      .slice(0, MAX_DEFAULTS),
    all: inOrder
      .map(([scope, entry]) => ({
        scope,
        description: sentence(title, entry, view.scopes.get(scope)?.title ?? scope)
          .slice(0, MAX_TEXT)
          .toWellFormed(),
        risk: RISK_CLASSES.findLast((risk) => entry.risks.has(risk)) ?? 'regulated',
      }))
      .slice(0, MAX_SCOPES),
  };
}

function itemsOf(snapshot: Snapshot, server: string | null): Iterable<ToolEntry> {
  if (server !== null) return snapshot.servers.get(server)?.tools.values() ?? [];
  const inService = [...snapshot.servers.values()].filter((entry) => entry.inService);
  return inService.flatMap(({ tools }) => [...tools.values()]);
}

function sentence(title: string, { own, tools, includes }: Entry, ofRecord: string): string {
  const below = listed(includes.toSorted());
  if (tools.length === 0) return `${ofRecord}: ${below}`;
  const what = [...own].map((risk) => IN_WORDS[risk]).join('; ');
  return `${what} with ${title} (${listed(tools)})${includes.length === 0 ? '' : `, and all of ${below}`}`;
}

const listed = (names: readonly string[]): string =>
  `${names.slice(0, 6).join(', ')}${names.length > 6 ? ` and ${names.length - 6} more` : ''}`;
