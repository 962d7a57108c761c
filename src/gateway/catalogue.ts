/**
 * What each server says it offers right now, on this node: tools, prompts, resources, templates, instructions, in one look. Fetched in
 * the background, on `list_changed`, on reconnect, and again before a call when the last look is older than the item's risk class allows.
 * A difference from the approved definition makes the item invisible and unusable at once, here; committing the sighting tells the
 * reviewers and the other nodes. What a server shows on a lane (a connection of its own) is kept apart and told to nobody: it only refuses.
 *
 * ATTACKER-CONTROLLED: everything a server says. A server that answers the reviewer one thing and a caller another is caught
 * only as often as we look; `confirmWithinMs` is that bound, per risk class, and 0 means before every call (TD-02).
 */
import { LRUCache } from 'lru-cache';
import { readDefinition, serverDefinition, withVolatile } from '../integrity/definition.ts';
import type { SeenDefinition } from '../integrity/definition.ts';
import { observe, vanish } from '../integrity/review.ts';
import { itemKey, toolId } from '../integrity/records.ts';
import type { ItemKind, RiskClass, ToolRecord } from '../integrity/records.ts';
import { scanDefinition } from '../integrity/scan.ts';
import { compileTemplate } from '../integrity/uri-template.ts';
import type { Server } from '../inventory/records.ts';
import { abortable } from '../lib/abortable.ts';
import type { Digest } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { Fault, isFault } from '../lib/fault.ts';
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject } from '../lib/json.ts';
import { slices } from '../lib/slices.ts';
import { shown } from '../protocol/errors.ts';
import { headerDeclarations } from '../protocol/param-headers.ts';
import type { StateStore, Write } from '../store/state.ts';
import { UpstreamFault } from '../upstream/connection.ts';
import type { Connection } from '../upstream/connection.ts';
import { LIST_KINDS, listItems } from '../upstream/lists.ts';
import type { ListKind } from '../upstream/lists.ts';
import type { Lane } from '../upstream/target.ts';
import { cancelApprovals } from './ended-approvals.ts';
import type { ServerEntry, Snapshot, ToolEntry } from './snapshot.ts';

export interface Drift {
  readonly server: string;
  /** Key of the item. */
  readonly tool: string;
  readonly what: 'new' | 'changed' | 'gone';
  /** Digest of what it was approved as; null: never. */
  readonly approved: Digest | null;
  /** Digest of what it is now; null: it is gone. */
  readonly seen: Digest | null;
}

export interface Sighting {
  /** When the server was asked; `-Infinity` once there is reason to think that it would answer otherwise now. */
  readonly at: number;
  /** Digests of items of every kind, by key. The same map as long as the server says the same. */
  readonly tools: ReadonlyMap<string, Digest>;
  /** The resources it lists, in its order; those that hide something from a reader are left out. Nobody has reviewed them. */
  readonly resources: readonly JsonObject[];
}

/** Older than any bound. */
const DOUBTED = Number.NEGATIVE_INFINITY;

export interface Catalogue {
  /** The last sighting of a server, on this lane; undefined when this node never saw it there. */
  seen(server: string, lane?: Lane): Sighting | undefined;
  /** A sighting no older than `maxAgeMs`: the last one, or a new one. Single flight per server and lane. Rejects with the upstream's fault. */
  confirm(server: ServerEntry, maxAgeMs: number, signal: AbortSignal, lane?: Lane): Promise<Sighting>;
  /** For lists: the last sighting, looked at again in the background beyond 30 s; beyond 5 min this waits for a new one. */
  forLists(server: ServerEntry, signal: AbortSignal): Promise<Sighting>;
  /** Looks again now. */
  refresh(server: ServerEntry): Promise<Sighting>;
  /**
   * Takes a server out of service because it is not the one that was reviewed (TD-07, TD-08). Once: what somebody decided meanwhile stands.
   * Never rejects.
   */
  suspend(server: string, why: string): Promise<void>;
  /** Drops what was seen of a server, on every lane. */
  forget(server: string): void;
  /** Called after what a server shows changed; not for the first sighting, and not for lanes. Returns the unsubscribe function. */
  onChanged(listener: (server: string) => void): () => void;
  /** Called when a watched resource changed, or may have changed while nobody was listening. */
  onResource(listener: (server: string, uri: string) => void): () => void;
  /** The resources of a server whose changes are wanted from now on, on this connection and on those that follow it. */
  watch(server: string, uris: ReadonlySet<string>): void;
  /** Changes whenever any sighting changed: part of the key of cached lists. */
  readonly version: number;
}

/** How old a sighting may be when a call is dispatched, ms. */
export const CONFIRM_WITHIN_MS: Readonly<Record<RiskClass, number>> = {
  read: 60_000,
  write: 5_000,
  destructive: 0,
  execute: 0,
  regulated: 0,
};
/** How old a sighting may be when a list is made of it: without looking again, and at all. */
const LIST_FRESH_MS = 30_000;
const LIST_STALE_MS = 300_000;
/** Records of listed resources per server. Whoever has more than that names them with a template. */
const MAX_RESOURCE_RECORDS = 200;
/** Sightings on lanes kept at once; the one that was made longest ago goes first. */
const MAX_LANES = 2_000;

export function createCatalogue(deps: {
  readonly org: string;
  readonly clock: Clock;
  readonly snapshot: () => Snapshot;
  readonly state: StateStore;
  readonly connect: (server: ServerEntry, lane?: Lane) => Promise<Connection>;
  readonly refreshTimeoutMs: number;
  /** What one look at a server found different from the records; already committed as `revision`. */
  readonly onDrift: (drifts: readonly Drift[], revision: number, approvalsEnded: readonly string[]) => void;
  /** A server that is not the one that was reviewed was taken out of service; already committed. */
  readonly onSuspended: (server: string, why: string, revision: number) => void;
  readonly onFault: (server: string, error: unknown) => void;
}): Catalogue {
  // By spot: the id of a server, and with it the key of a lane.
  const sightings = new Map<string, Sighting>();
  const running = new Map<string, Promise<Sighting>>();
  /** Raised when what was seen of a server, or is being read of it now, may not be true any more. */
  const doubts = new Map<string, number>();
  /** Spots of lanes that have a sighting, oldest first. */
  const lanes = new Set<string>();

  // By server.
  const told = new Map<string, Sighting>();
  const live = new Map<string, Connection>();
  const watched = new Map<string, ReadonlySet<string>>();
  const unheard = new Set<string>();

  const attended = new WeakMap<Connection, Set<string>>();
  const changeListeners = new Set<(server: string) => void>();
  const resourceListeners = new Set<(server: string, uri: string) => void>();
  let version = 0;

  function doubt(spot: string): void {
    doubts.set(spot, (doubts.get(spot) ?? 0) + 1);
    const last = sightings.get(spot);
    if (last) sightings.set(spot, { ...last, at: DOUBTED });
  }

  /** Listens to a connection from its first look on. */
  function attend(connection: Connection, server: string, lane: Lane | undefined): Set<string> {
    const known = attended.get(connection);
    if (known) return known;
    const unknownMethods = new Set<string>();
    attended.set(connection, unknownMethods);
    const spot = spotOf(server, lane);
    connection.onChange((change) => {
      if (change.what !== 'resource') {
        doubt(spot);
        if (!lane) void refreshQuietly(server);
      } else if (!lane && watched.get(server)?.has(change.uri)) {
        for (const listener of resourceListeners) listener(server, change.uri);
      }
    });
    void connection.closed.then(() => ended(connection, server, spot));
    if (!lane) {
      live.set(server, connection);
      const uris = watched.get(server);
      if (uris) connection.watch(uris);
      if (unheard.delete(server))
        for (const uri of uris ?? []) for (const listener of resourceListeners) listener(server, uri);
    }
    return unknownMethods;
  }

  function ended(connection: Connection, server: string, spot: string): void {
    dropSpot(spot);
    if (live.get(server) !== connection) return;
    live.delete(server);
    if (!watched.has(server)) return;
    unheard.add(server);
    void refreshQuietly(server);
  }

  async function look(server: ServerEntry, lane: Lane | undefined): Promise<Sighting> {
    try {
      return await lookAt(server, lane);
    } catch (error) {
      // Another key or package than the reviewed one: nothing was sent, and nothing will be until somebody has looked.
      if (isFault(error, 'upstream_identity')) await suspend(server.id, error.message);
      throw error;
    }
  }

  async function lookAt(server: ServerEntry, lane: Lane | undefined): Promise<Sighting> {
    const spot = spotOf(server.id, lane);
    const connection = await deps.connect(server, lane);
    const unknownMethods = attend(connection, server.id, lane);
    const doubtsBefore = doubts.get(spot);
    // The age of a sighting counts from the question: when in between the server made up its answer is unknown.
    const at = deps.clock.now();
    const { definitions, resources, unread } = await readAll(connection, server.id, unknownMethods);
    const before = sightings.get(spot) ?? (lane ? undefined : told.get(server.id));
    const found = new Map(definitions.map(({ key, digest }) => [key, digest]));
    const same = before !== undefined && sameTools(before.tools, found) && sameResources(before.resources, resources);
    const sighting: Sighting = {
      at: doubts.get(spot) === doubtsBefore ? at : DOUBTED,
      tools: same ? before.tools : found,
      resources: same ? before.resources : resources,
    };
    const fresh = !sightings.has(spot);
    sightings.set(spot, sighting);
    if (lane) {
      keepLane(spot);
      const shared = sightings.get(server.id);
      if (!same && shared && !sameTools(shared.tools, found))
        deps.onFault(server.id, new Fault('catalogue_lane_differs', 'it shows one caller something else than others'));
      return sighting;
    }
    told.set(server.id, sighting);
    if (!same || fresh) version++;
    if (before !== undefined && !same) for (const listener of changeListeners) listener(server.id);
    await report(server.id, definitions, sighting.tools, unread, at);
    return sighting;
  }

  /** Everything the server offers. Only a tool list that cannot be read ends the look; of another kind there is then nothing. */
  async function readAll(
    connection: Connection,
    server: string,
    unknownMethods: Set<string>,
  ): Promise<{
    readonly definitions: readonly SeenDefinition[];
    readonly resources: readonly JsonObject[];
    readonly unread: ReadonlySet<ItemKind>;
  }> {
    const signal = AbortSignal.timeout(deps.refreshTimeoutMs);
    const definitions: SeenDefinition[] = [];
    const resources: JsonObject[] = [];
    const unread = new Set<ItemKind>();
    const take = (kind: ItemKind, value: JsonObject): void => {
      const read = readDefinition(kind, value);
      // A definition that cannot be pinned cannot be approved: the item does not exist for anybody.
      if (!read.ok) return deps.onFault(server, new Fault(read.error.code, `a ${kind} definition cannot be pinned`));
      // What cannot be offered over HTTP is left out, and its server's reviewers are told why (C3).
      const impossible = kind === 'tool' ? impossibleHeader(read.value.definition) : null;
      if (impossible !== null) return deps.onFault(server, new Fault('catalogue_param_header', impossible));
      definitions.push(read.value);
      if (kind === 'resource' && !hidesSomething(read.value))
        resources.push(withVolatile(read.value.definition, value));
    };
    const list = async (kind: ListKind): Promise<readonly JsonObject[]> => {
      try {
        const { items, unknownMethod } = await listItems(connection, kind, signal);
        if (unknownMethod !== null && !unknownMethods.has(unknownMethod)) {
          unknownMethods.add(unknownMethod);
          deps.onFault(
            server,
            new Fault('catalogue_unknown_method', `it advertises and does not know ${unknownMethod}`),
          );
        }
        return items;
      } catch (error) {
        const theirs =
          error instanceof UpstreamFault && (error.code === 'upstream_protocol' || error.code === 'upstream_too_large');
        if (kind === 'tool' || !theirs) throw error;
        unread.add(kind);
        deps.onFault(server, error);
        return [];
      }
    };
    const lists = await Promise.all(LIST_KINDS.map(list));
    const due = slices();
    for (const [index, kind] of LIST_KINDS.entries())
      for (const item of lists[index]!) {
        take(kind, item);
        const others = due();
        if (others) await others;
      }
    const own = serverDefinition(connection.identity);
    if (own) take('server', own);
    return { definitions, resources, unread };
  }

  /** Commits what is new about the server's items. CRASH: the sighting already rules this node; the next look commits again. */
  async function report(
    server: string,
    definitions: readonly SeenDefinition[],
    tools: ReadonlyMap<string, Digest>,
    unread: ReadonlySet<ItemKind>,
    at: number,
  ): Promise<void> {
    const entries: ReadonlyMap<string, ToolEntry> = deps.snapshot().servers.get(server)?.tools ?? new Map();
    const writes: Write[] = [];
    const drifts: Drift[] = [];
    // A reviewer may decide at this moment: writing over an older revision would undo that, so the commit refuses it.
    const put = (
      entry: Pick<ToolEntry, 'key' | 'approved'> & Partial<ToolEntry>,
      body: ToolRecord | null,
      what: Drift['what'],
    ): void => {
      const { key, approved, revision = null } = entry;
      writes.push({ kind: 'tool', org: deps.org, id: toolId(server, key), expectedRevision: revision, body });
      drifts.push({ server, tool: key, what, approved: approved?.digest ?? null, seen: tools.get(key) ?? null });
    };
    const wanted = recordable(definitions, entries);
    for (const definition of definitions) {
      const entry = entries.get(definition.key);
      if (!entry && !wanted(definition)) continue;
      const next = observe(entry?.record, server, definition, at);
      const { key } = definition;
      if (next) put(entry ?? { key, approved: null }, next, entry?.record.observed ? 'changed' : 'new');
    }
    const moved = new Set<string>();
    for (const entry of entries.values()) {
      const { key, kind, record, approved } = entry;
      if (approved && !unread.has(kind) && tools.get(key) !== approved.digest) moved.add(key);
      if (tools.has(key) || unread.has(kind)) continue;
      // Resources come and go by the hundred: one that nobody approved leaves nothing behind.
      if (kind === 'resource' && !approved) put(entry, null, 'gone');
      else {
        const next = vanish(record, at);
        if (next) put(entry, next, 'gone');
      }
    }
    // Whatever people agreed to, they did not agree to this (AP-07). Not only with the first sighting: one that was asked for since ends, too.
    const ended = cancelApprovals(deps.snapshot(), deps.org, server, moved, 'what it was asked for has changed');
    if (writes.length + ended.length === 0) return;
    const commit = (all: readonly Write[]): Promise<{ readonly revision: number }> =>
      deps.state.commit({ actor: 'remit:catalogue', reason: `sighting of ${server}`, writes: all });
    try {
      const { revision } = await commit([...writes, ...ended]).catch((error: unknown) => {
        // One was decided at this moment. That must not keep the other nodes from learning of the change; the next look ends it.
        if (isFault(error, 'store_conflict') && writes.length > 0 && ended.length > 0) return commit(writes);
        throw error;
      });
      if (drifts.length > 0)
        deps.onDrift(
          drifts,
          revision,
          ended.map(({ id }) => id),
        );
    } catch (error) {
      if (!isFault(error)) throw error;
      deps.onFault(server, error);
    }
  }

  async function suspend(id: string, why: string): Promise<void> {
    const server = deps.snapshot().servers.get(id);
    if (server?.record.state !== 'enabled') return;
    const body: Server = { ...server.record, state: 'suspended' };
    try {
      const { revision } = await deps.state.commit({
        actor: 'remit:catalogue',
        reason: `not the server that was reviewed: ${why}`.slice(0, 1000),
        writes: [{ kind: 'server', org: deps.org, id, expectedRevision: server.revision, body }],
      });
      deps.onSuspended(id, why, revision);
    } catch (error) {
      deps.onFault(id, error);
    }
  }

  function refresh(server: ServerEntry, lane?: Lane): Promise<Sighting> {
    const spot = spotOf(server.id, lane);
    const already = running.get(spot);
    if (already) return already;
    const started = look(server, lane).finally(() => running.delete(spot));
    running.set(spot, started);
    return started;
  }

  async function refreshQuietly(serverId: string): Promise<void> {
    // A look already under way may have been answered before the change: what it saw proves nothing about now.
    await running.get(serverId)?.catch(() => undefined);
    const server = deps.snapshot().servers.get(serverId);
    if (!server?.inService) return;
    await refresh(server).catch((error: unknown) => deps.onFault(serverId, error));
  }

  function keepLane(spot: string): void {
    lanes.delete(spot);
    lanes.add(spot);
    for (const oldest of lanes) {
      if (lanes.size <= MAX_LANES) break;
      dropSpot(oldest);
    }
  }

  function dropSpot(spot: string): void {
    doubt(spot);
    const gone = sightings.delete(spot);
    if (lanes.delete(spot)) doubts.delete(spot);
    else if (gone) version++;
  }

  function forget(server: string): void {
    dropSpot(server);
    told.delete(server);
    for (const spot of lanes) if (spot.startsWith(spotOf(server, { key: '', capabilities: {} }))) dropSpot(spot);
  }

  async function confirm(server: ServerEntry, maxAgeMs: number, signal: AbortSignal, lane?: Lane): Promise<Sighting> {
    const spot = spotOf(server.id, lane);
    const asked = deps.clock.now();
    const last = sightings.get(spot);
    if (last && asked - last.at <= maxAgeMs && maxAgeMs > 0) return last;
    // With a bound of 0 a look that began before this call does not count either.
    if (maxAgeMs === 0) await running.get(spot)?.catch(() => undefined);
    const sighting = await abortable(refresh(server, lane), signal);
    if (sighting.at !== DOUBTED) return sighting;
    // The list changed while it was read.
    const again = await abortable(refresh(server, lane), signal);
    if (again.at !== DOUBTED) return again;
    throw new Fault('catalogue_unsettled', 'what the server offers changes while it is read');
  }

  return {
    seen: (server, lane) => sightings.get(spotOf(server, lane)),
    confirm,
    forLists(server, signal) {
      const last = sightings.get(server.id);
      const age = last ? deps.clock.now() - last.at : Number.POSITIVE_INFINITY;
      if (!last || age > LIST_STALE_MS) return confirm(server, LIST_STALE_MS, signal);
      if (age > LIST_FRESH_MS && !running.has(server.id)) void refreshQuietly(server.id);
      return Promise.resolve(last);
    },
    refresh: (server) => refresh(server),
    suspend,
    forget,
    onChanged(listener) {
      changeListeners.add(listener);
      return () => void changeListeners.delete(listener);
    },
    onResource(listener) {
      resourceListeners.add(listener);
      return () => void resourceListeners.delete(listener);
    },
    watch(server, uris) {
      if (uris.size === 0) watched.delete(server);
      else watched.set(server, uris);
      const connection = live.get(server);
      if (connection) connection.watch(uris);
      else if (uris.size > 0) void refreshQuietly(server);
    },
    get version() {
      return version;
    },
  };
}

/** INVARIANT: no id of a server holds a line break, so no lane has the spot of a server or of another one's lane. */
const spotOf = (server: string, lane: Lane | undefined): string => (lane ? `${server}\n${lane.key}` : server);

/** Which definitions without a record get one: all, but of resources only those that no template of the server covers, and not too many. */
function recordable(
  definitions: readonly SeenDefinition[],
  entries: ReadonlyMap<string, ToolEntry>,
): (definition: SeenDefinition) => boolean {
  const templates = definitions.flatMap(({ kind, name }) => {
    const template = kind === 'template' ? compileTemplate(name) : null;
    return template?.ok ? [template.value] : [];
  });
  let room = MAX_RESOURCE_RECORDS;
  for (const { kind } of entries.values()) if (kind === 'resource') room--;
  return ({ kind, name }) =>
    kind !== 'resource' || (!templates.some(({ match }) => match(name) !== null) && room-- > 0);
}

/** What is wrong with the `x-mcp-header` declarations of a tool; null: nothing. */
function impossibleHeader({ name, inputSchema }: JsonObject): string | null {
  const declared = isJsonObject(inputSchema) ? headerDeclarations(inputSchema) : null;
  if (declared === null || declared.ok) return null;
  const { problem, where } = declared.error;
  return `the tool ${shown(name as string)} is left out: its x-mcp-header at ${shown(where)} is ${problem}`;
}

/** Whether a reader would not see all of it, by digest: the same resources come with every look. */
const HIDING = new LRUCache<Digest, boolean>({ max: 20_000 });

function hidesSomething({ definition, digest }: SeenDefinition): boolean {
  let hides = HIDING.get(digest);
  if (hides === undefined) {
    hides = scanDefinition(definition).some(({ severity }) => severity === 'block');
    HIDING.set(digest, hides);
  }
  return hides;
}

export type ItemCounts = Readonly<Record<'tools' | 'prompts' | 'resources' | 'templates', number>>;

/** How many items of each kind a sighting has. */
export function itemCounts(sighting: Sighting): ItemCounts {
  const counts = { tools: 0, prompts: 0, resources: 0, templates: 0 };
  for (const key of sighting.tools.keys()) {
    if (!key.includes(' ')) counts.tools++;
    else if (key.startsWith(itemKey('prompt', ''))) counts.prompts++;
    else if (key.startsWith(itemKey('resource', ''))) counts.resources++;
    else if (key.startsWith(itemKey('template', ''))) counts.templates++;
  }
  return counts;
}

function sameResources(a: readonly JsonObject[], b: readonly JsonObject[]): boolean {
  return a.length === b.length && a.every((one, index) => JSON.stringify(one) === JSON.stringify(b[index]));
}

function sameTools(a: ReadonlyMap<string, Digest>, b: ReadonlyMap<string, Digest>): boolean {
  return a.size === b.size && [...a].every(([name, digest]) => b.get(name) === digest);
}
