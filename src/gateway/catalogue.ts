/**
 * What each server says its tools are right now, on this node. Fetched in the background, on `list_changed`, on reconnect,
 * and again before a call when the last look is older than the tool's risk class allows. A difference from the approved
 * definition makes the tool invisible and uncallable at once, here; committing the sighting tells the reviewers and the other nodes.
 *
 * ATTACKER-CONTROLLED: everything a server says. A server that answers the reviewer one thing and a caller another is caught
 * only as often as we look; `confirmWithinMs` is that bound, per risk class, and 0 means before every call (TD-02).
 */
import { readDefinition } from '../integrity/definition.ts';
import type { SeenDefinition } from '../integrity/definition.ts';
import { observe, vanish } from '../integrity/review.ts';
import { ToolRecord, toolId } from '../integrity/records.ts';
import type { RiskClass } from '../integrity/records.ts';
import type { Digest } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { Fault, isFault } from '../lib/fault.ts';
import type { StateStore, Write } from '../store/state.ts';
import type { Connection } from '../upstream/connection.ts';
import { listTools } from '../upstream/tools.ts';
import type { ServerEntry, Snapshot, ToolEntry } from './snapshot.ts';

export interface Drift {
  readonly server: string;
  readonly tool: string;
  readonly what: 'new' | 'changed' | 'gone';
}

export interface Sighting {
  /** When the server was asked; `-Infinity` once there is reason to think that it would answer otherwise now. */
  readonly at: number;
  /** The same map as long as the server says the same. */
  readonly tools: ReadonlyMap<string, Digest>;
}

/** Older than any bound. */
const DOUBTED = Number.NEGATIVE_INFINITY;

export interface Catalogue {
  /** The last sighting of a server; undefined when this node never saw it. */
  seen(server: string): Sighting | undefined;
  /** A sighting no older than `maxAgeMs`: the last one, or a new one. Single flight per server. Rejects with the upstream's fault. */
  confirm(server: ServerEntry, maxAgeMs: number, signal: AbortSignal): Promise<Sighting>;
  /** Looks again now. */
  refresh(server: ServerEntry): Promise<Sighting>;
  forget(server: string): void;
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

export function createCatalogue(deps: {
  readonly org: string;
  readonly clock: Clock;
  readonly snapshot: () => Snapshot;
  readonly state: StateStore;
  readonly connect: (server: ServerEntry) => Promise<Connection>;
  readonly refreshTimeoutMs: number;
  /** What one look at a server found different from the records; already committed as `revision`. */
  readonly onDrift: (drifts: readonly Drift[], revision: number) => void;
  readonly onFault: (server: string, error: unknown) => void;
}): Catalogue {
  const sightings = new Map<string, Sighting>();
  const running = new Map<string, Promise<Sighting>>();
  const watched = new WeakSet<Connection>();
  /** Raised when what was seen of a server, or is being read of it now, may not be true any more. */
  const doubts = new Map<string, number>();
  let version = 0;

  function doubt(server: string): void {
    doubts.set(server, (doubts.get(server) ?? 0) + 1);
    const last = sightings.get(server);
    if (last) sightings.set(server, { ...last, at: DOUBTED });
  }

  async function look(server: ServerEntry): Promise<Sighting> {
    const connection = await deps.connect(server);
    if (!watched.has(connection)) {
      watched.add(connection);
      connection.onChange(({ what }) => {
        if (what === 'resource') return;
        doubt(server.id);
        void refreshQuietly(server.id);
      });
      void connection.closed.then(() => forget(server.id));
    }
    const doubtsBefore = doubts.get(server.id);
    // The age of a sighting counts from the question: when in between the server made up its answer is unknown.
    const at = deps.clock.now();
    const listed = await listTools(connection, AbortSignal.timeout(deps.refreshTimeoutMs));
    const definitions: SeenDefinition[] = [];
    for (const entry of listed) {
      const read = readDefinition(entry);
      // A definition that cannot be pinned cannot be approved: the tool does not exist for anybody.
      if (read.ok) definitions.push(read.value);
      else deps.onFault(server.id, new Fault(read.error.code, 'a tool definition cannot be pinned'));
    }
    const before = sightings.get(server.id);
    const found = new Map(definitions.map(({ name, digest }) => [name, digest]));
    const same = before !== undefined && sameTools(before.tools, found);
    const tools = same ? before.tools : found;
    const sighting: Sighting = { at: doubts.get(server.id) === doubtsBefore ? at : DOUBTED, tools };
    sightings.set(server.id, sighting);
    if (!same) version++;
    await report(server.id, definitions, tools, at);
    return sighting;
  }

  /** Commits what is new about the server's tools. CRASH: the sighting already rules this node; the next look commits again. */
  async function report(
    server: string,
    definitions: readonly SeenDefinition[],
    tools: ReadonlyMap<string, Digest>,
    at: number,
  ): Promise<void> {
    const entries: ReadonlyMap<string, ToolEntry> = deps.snapshot().servers.get(server)?.tools ?? new Map();
    const writes: Write[] = [];
    const drifts: Drift[] = [];
    // A reviewer may decide at this moment: writing over an older revision would undo that, so the commit refuses it.
    const put = (record: ToolRecord, expectedRevision: number | null, what: Drift['what']): void => {
      writes.push({
        kind: 'tool',
        org: deps.org,
        id: toolId(server, record.name),
        expectedRevision,
        body: record,
      });
      drifts.push({ server, tool: record.name, what });
    };
    for (const definition of definitions) {
      const entry = entries.get(definition.name);
      const next = observe(entry?.record, server, definition, at);
      if (next) put(next, entry?.revision ?? null, entry?.record.observed ? 'changed' : 'new');
    }
    for (const { record, revision } of entries.values()) {
      const next = tools.has(record.name) ? null : vanish(record);
      if (next) put(next, revision, 'gone');
    }
    if (writes.length === 0) return;
    try {
      const { revision } = await deps.state.commit({
        actor: 'remit:catalogue',
        reason: `sighting of ${server}`,
        writes,
      });
      deps.onDrift(drifts, revision);
    } catch (error) {
      if (!isFault(error)) throw error;
      deps.onFault(server, error);
    }
  }

  function refresh(server: ServerEntry): Promise<Sighting> {
    const already = running.get(server.id);
    if (already) return already;
    const started = look(server).finally(() => running.delete(server.id));
    running.set(server.id, started);
    return started;
  }

  async function refreshQuietly(serverId: string): Promise<void> {
    const server = deps.snapshot().servers.get(serverId);
    if (!server) return;
    // A look already under way may have been answered before the change: what it saw proves nothing about now.
    await running.get(serverId)?.catch(() => undefined);
    await refresh(server).catch((error: unknown) => deps.onFault(serverId, error));
  }

  function forget(server: string): void {
    doubt(server);
    if (sightings.delete(server)) version++;
  }

  return {
    seen: (server) => sightings.get(server),
    async confirm(server, maxAgeMs, signal) {
      const asked = deps.clock.now();
      const last = sightings.get(server.id);
      if (last && asked - last.at <= maxAgeMs && maxAgeMs > 0) return last;
      // With a bound of 0 a look that began before this call does not count either.
      if (maxAgeMs === 0) await running.get(server.id)?.catch(() => undefined);
      const sighting = await abortable(refresh(server), signal);
      if (sighting.at !== DOUBTED) return sighting;
      // The list changed while it was read.
      const again = await abortable(refresh(server), signal);
      if (again.at !== DOUBTED) return again;
      throw new Fault('catalogue_unsettled', 'the tools of the server change while they are read');
    },
    refresh,
    forget,
    get version() {
      return version;
    },
  };
}

function sameTools(a: ReadonlyMap<string, Digest>, b: ReadonlyMap<string, Digest>): boolean {
  return a.size === b.size && [...a].every(([name, digest]) => b.get(name) === digest);
}

function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(signal.reason as Error);
  return new Promise<T>((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
