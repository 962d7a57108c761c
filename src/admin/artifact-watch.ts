/**
 * Looks whether the advisories changed, and what they say of servers that are enabled (NH-11): a server that is known to be vulnerable is a
 * finding as long as it is, and an alarm once. It goes on working: whether it is stopped is for people to decide, with a lock or by suspending it.
 * CRASH between the alarm and its record: the alarm is raised once more.
 */
import { incidentId, type Incidents } from '../gateway/incidents.ts';
import { IncidentRecord } from '../inventory/incidents.ts';
import { worksIn } from '../inventory/lifecycle.ts';
import type { Server } from '../inventory/records.ts';
import type { Advisories } from './artifact-feed.ts';
import { knownOf, sayKnown, type Known } from './artifact-known.ts';
import type { AdminContext } from './context.ts';
import { lookEvery, type Looking } from './looking.ts';

const LOOK_EVERY_MS = 30_000;
/** What is installed is looked at again after this long, ms. */
const KEPT_MS = 30_000;
const FACT = 2_000;

/** Records are replaced as a whole, and so is the feed. */
const kept = new WeakMap<Server, { readonly feed: unknown; readonly at: number; readonly known: readonly Known[] }>();

interface KnownServer {
  readonly id: string;
  readonly title: string;
  readonly known: readonly Known[];
}

/** Enabled servers with an advisory against them. */
export function knownServers(ctx: AdminContext): readonly KnownServer[] {
  const feed = ctx.artifacts.advisories();
  if (feed.kind !== 'read') return [];
  const now = ctx.clock.now();
  return [...ctx.snapshot().servers.values()].flatMap(({ id, record }) => {
    if (!worksIn('server', record.state)) return [];
    let one = kept.get(record);
    if (one === undefined || one.feed !== feed.feed || now - one.at >= KEPT_MS || now < one.at)
      kept.set(record, (one = { feed: feed.feed, at: now, known: knownOf(ctx, record) }));
    return one.known.length === 0 ? [] : [{ id, title: record.title, known: one.known }];
  });
}

export interface ArtifactFinding {
  readonly kind: 'server' | 'advisories';
  readonly id: string;
  readonly title: string;
  readonly code: 'known_vulnerable' | 'advisories_unreadable' | 'advisories_stale' | 'advisories_incomplete';
  readonly message: string;
}

export function artifactFindings(ctx: AdminContext): readonly ArtifactFinding[] {
  const servers = knownServers(ctx).flatMap(({ id, title, known }) =>
    known.map((one): ArtifactFinding => ({
      kind: 'server',
      id,
      title,
      code: 'known_vulnerable',
      message: `${sayKnown(one)}. It works and would not be enabled today.`,
    })),
  );
  const of = (code: ArtifactFinding['code'], message: string): ArtifactFinding => ({
    kind: 'advisories',
    id: 'artifacts.advisories',
    title: 'Advisories',
    code,
    message,
  });
  const state = ctx.artifacts.advisories();
  if (state.kind === 'none') return servers;
  if (state.kind === 'unreadable')
    return [of('advisories_unreadable', `They cannot be read, so no local server is enabled: ${state.why}.`)];
  const { feed, stale, at } = state;
  const [first] = feed.problems;
  return [
    ...servers,
    ...(stale === null
      ? []
      : [
          of(
            'advisories_stale',
            `What is there now cannot be read (${stale}); compared is with what was read at ${new Date(at).toISOString()}.`,
          ),
        ]),
    ...(first === undefined
      ? []
      : [
          of(
            'advisories_incomplete',
            `${feed.bad} of its entries are left out, first ${first.id}${first.field === '' ? '' : ` (${first.field})`}: it ${first.message}.`,
          ),
        ]),
  ];
}

export function watchArtifacts(
  ctx: AdminContext,
  { advisories, incidents }: { readonly advisories: Advisories; readonly incidents: Pick<Incidents, 'report'> },
): Looking {
  const told = new Map<string, string>();
  async function look(): Promise<void> {
    await advisories.look();
    if (!ctx.follower.isFresh(ctx.facts.freshnessLimitMs)) return;
    for (const { id, known } of knownServers(ctx)) {
      const ids = [...new Set(known.flatMap((one) => one.advisories.map((hit) => hit.id)))].toSorted();
      const said = ids.join(' ').slice(0, FACT);
      const subject = `server/${id}`;
      if (told.get(id) === said) continue;
      told.set(id, said);
      // Another process, or this one before it was started anew, may have said so; people may have closed it.
      const before = ctx.follower.records.get('incident', ctx.org, incidentId('artifact', subject));
      if (IncidentRecord.safeParse(before?.body).data?.facts['advisories'] === said) continue;
      const [first] = known;
      await incidents.report({
        what: 'artifact',
        subject,
        facts: {
          why: 'known_vulnerable',
          advisories: said,
          package: first?.package ?? '',
          version: first?.version ?? '',
        },
      });
    }
  }
  const looking = lookEvery(LOOK_EVERY_MS, look, 'advisories could not be compared with servers', ctx.log);
  void looking.look();
  return looking;
}
