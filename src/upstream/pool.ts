/**
 * One live connection per server and lane: opened when somebody needs it (single flight), closed when the definition
 * changes, when it was idle or old (`lane-book.ts`), opened again after it broke, with a pause that grows while it keeps
 * failing. Where a credential changed, the next connection is opened first and the old one ends once nothing is under way on it;
 * where one may no longer be had, everything ends at once. While it pauses every caller gets the last fault at once. Owns what it opens: after `closeAll` no process,
 * socket or timer of it is left.
 * Longer than a page because it is one closure over one table.
 * Not done here: whether a server may be used (policy, locks), whose lane is whose.
 */
import { digestOf } from '../lib/canonical-json.ts';
import type { JsonObject } from '../lib/json.ts';
import { type Breaker, began, ended, newBreaker, open as openBreaker, phaseOf, refusedFor } from './breaker.ts';
import { UpstreamFault } from './connection.ts';
import { eraMemory } from './era.ts';
import {
  type Entry,
  KEEP,
  type KeepRules,
  type Site,
  entriesOf,
  forgettable,
  makesRoom,
  newEntry,
  outlived,
  retired,
} from './lane-book.ts';
import type { LinkedConnection, RequestWatch } from './link.ts';
import { type ServerAccounts, serverAccounts } from './oauth/accounts.ts';
import { type OpenOptions, type Opened, openConnection, openingFault } from './open-connection.ts';
import type { Lane, LeftAlone, ServerStatus, ServerTarget, UpstreamPool } from './target.ts';

export interface PoolOptions extends Omit<OpenOptions, 'accounts'> {
  /** Default: accounts of this pool alone, whose links end with it. */
  readonly accounts?: ServerAccounts;
  /** Default: 10 min idle, lanes live 1 h, 100 lanes per server. */
  readonly keep?: Partial<KeepRules>;
  /** How often that is looked at, ms. */
  readonly sweepMs?: number;
  /** How long somebody who asked for a connection before it was replaced may take to use it, ms. */
  readonly graceMs?: number;
}

/** A connection that held this long owes nothing to earlier failures. */
const HELD_MS = 10_000;
const GRACE_MS = 5_000;
const DRAIN_LOOK_MS = 100;
const NOTHING: JsonObject = {};

export function upstreamPool(given: PoolOptions): UpstreamPool {
  const options: OpenOptions & PoolOptions = { ...given, accounts: given.accounts ?? serverAccounts(given) };
  const { clock, log } = options;
  const keep: KeepRules = { ...KEEP, ...options.keep };
  const sites = new Map<string, Site>();
  /** Told to end and not gone yet, of servers that have no site any more too. */
  const leaving = new Set<Promise<unknown>>();
  /** Replaced, and still under way for somebody. */
  const drainingNow = new Set<Drain>();
  let drainer: NodeJS.Timeout | null = null;
  const eras = eraMemory(clock);
  const listeners = new Set<(event: LeftAlone) => void>();
  let draining = 0;
  let over = false;
  const sweeper = setInterval(sweep, options.sweepMs ?? 15_000);
  sweeper.unref();

  function siteOf(serverId: string, server: ServerTarget): Site {
    const known = sites.get(serverId);
    // Records are frozen and replaced as a whole: the same object is the same definition, and the hot path hashes nothing.
    if (known?.server === server) return known;
    const { package: name = null, version = null, digest = null } = server.source ?? {};
    const definition = digestOf({
      timeoutMs: server.timeoutMs,
      upstream: server.upstream,
      runs: [name, version, digest],
    });
    if (known !== undefined) {
      if (known.definition !== definition) {
        for (const entry of entriesOf(known)) {
          end(entry, 'its definition changed');
          entry.breaker = newBreaker();
        }
        Object.assign(known.breaker, newBreaker());
        endDrains(serverId);
        known.lanes.clear();
        known.definition = definition;
      }
      known.server = server;
      look(serverId, known);
      return known;
    }
    const site: Site = {
      server,
      definition,
      refused: null,
      stamp: '',
      lookAt: 0,
      breaker: newBreaker(),
      shared: null,
      lanes: new Map(),
    };
    sites.set(serverId, site);
    look(serverId, site);
    return site;
  }

  /** What its credentials are now, and what follows for its connections (NH-03, NH-06). */
  function look(serverId: string, site: Site): void {
    const now = options.standing?.(serverId, site.server.upstream);
    const refused = now?.ok === false ? now.why : null;
    site.lookAt = now?.ok === false ? Number.POSITIVE_INFINITY : (now?.until ?? Number.POSITIVE_INFINITY);
    const stamp = now?.ok === true ? now.stamp : '';
    // What failed with the old value need not be waited for.
    if (refused !== site.refused || stamp !== site.stamp)
      for (const entry of entriesOf(site)) if (entry.current === null) entry.breaker = newBreaker();
    Object.assign(site, { refused, stamp });
    if (refused !== null) {
      for (const entry of entriesOf(site)) end(entry, refused);
      endDrains(serverId);
    } else {
      for (const entry of entriesOf(site))
        if (entry.live !== null && entry.stamp !== stamp && entry.replacing === null) void replace(entry, site);
    }
  }

  /** Opens the next connection while the old one serves. If it cannot be opened, the old one goes on, and the next look tries again. */
  async function replace(entry: Entry, site: Site): Promise<void> {
    const { serverId } = entry;
    const abort = new AbortController();
    entry.replacing = abort;
    const before = entry.current;
    const late = setTimeout(() => abort.abort('deadline'), options.openTimeoutMs ?? 30_000);
    try {
      const { connection, stamp } = await openConnection(
        serverId,
        site.server,
        entry,
        eras,
        options,
        abort.signal,
        watchOf(serverId, site),
      );
      const old = entry.live;
      if (abort.signal.aborted || entry.current !== before || old === null) {
        await connection.close();
        return;
      }
      const current = { promise: Promise.resolve(connection), abort: new AbortController() };
      entry.current = current;
      drain({ serverId, connection: old, since: clock.now() });
      log({
        level: 'info',
        serverId,
        event: 'closed',
        message: 'its credential changed: the old connection ends once it is unused',
      });
      came(entry, current, { connection, stamp });
    } catch (error) {
      log({
        level: 'warn',
        serverId,
        event: 'backoff',
        message: `the connection with the new credential could not be opened, the old one serves on: ${openingFault(serverId, error).message}`,
      });
    } finally {
      clearTimeout(late);
      if (entry.replacing === abort) entry.replacing = null;
    }
  }

  function drain(one: Drain): void {
    drainingNow.add(one);
    drainer ??= setInterval(drained, DRAIN_LOOK_MS).unref();
  }

  function drained(): void {
    for (const one of drainingNow)
      if (one.connection.inFlight() === 0 && clock.now() - one.since >= (options.graceMs ?? GRACE_MS)) endDrain(one);
    if (drainingNow.size === 0 && drainer !== null) {
      clearInterval(drainer);
      drainer = null;
    }
  }

  function endDrain(one: Drain): void {
    drainingNow.delete(one);
    const ending = one.connection.close().finally(() => leaving.delete(ending));
    leaving.add(ending);
  }

  function endDrains(serverId: string): void {
    for (const one of drainingNow) if (one.serverId === serverId) endDrain(one);
  }

  function laneOf(serverId: string, site: Site, { key, capabilities, holder }: Lane): Entry {
    const now = clock.now();
    const known = site.lanes.get(key);
    if (known !== undefined && !retired(known, now, keep)) {
      known.usedAt = now;
      if (holder !== undefined) {
        known.holder = holder;
        options.accounts.present(serverId, holder);
      }
      return known;
    }
    // What is under way on the old one is let finish; it is nobody's lane any more.
    if (known !== undefined) site.lanes.set(`${key}\0${draining++}`, known);
    else if (site.lanes.size >= keep.maxLanes) {
      const room = makesRoom(site.lanes.values());
      if (room === null) {
        throw new UpstreamFault(
          'upstream_unreachable',
          `${serverId} has ${keep.maxLanes} connections of single callers, and all are in use`,
          { dispatched: 'no' },
        );
      }
      end(room, 'another caller needs the room');
      site.lanes.delete(room.lane as string);
    }
    const entry = newEntry(serverId, key, capabilities, now);
    if (holder !== undefined) entry.holder = holder;
    site.lanes.set(key, entry);
    return entry;
  }

  function enter(entry: Entry, state: Entry['state']): void {
    entry.state = state;
    entry.since = clock.now();
    if (state !== 'up') Object.assign(entry, { identity: null, live: null });
  }

  /** Turns away whoever waits, and lets the old connection go in the background. */
  function end(entry: Entry, reason: string): void {
    entry.replacing?.abort(reason);
    const { current } = entry;
    if (current === null) return;
    entry.current = null;
    enter(entry, 'down');
    current.abort.abort(reason);
    const gone = current.promise.then(
      (connection) => connection.close(),
      () => {},
    );
    const ending = Promise.all([entry.ending, gone]).finally(() => leaving.delete(ending));
    leaving.add(ending);
    entry.ending = ending;
    log({ level: 'info', serverId: entry.serverId, event: 'closed', message: reason });
  }

  /** `held`: it worked long enough that trying again at once is right. */
  function failed(entry: Entry, fault: UpstreamFault, held: boolean): void {
    const { breaker, serverId } = entry;
    entry.current = null;
    if (held) Object.assign(breaker, newBreaker());
    breaker.failures++;
    // Who links their account now is not turned away for a while.
    const pauseMs = openBreaker(breaker, fault, clock.now(), !held && fault.code !== 'upstream_unlinked');
    enter(entry, 'down');
    if (entry.lane === null && breaker.openings === 1 && pauseMs > 0)
      tell({ serverId, code: fault.code, forMs: pauseMs });
    log({
      level: 'warn',
      serverId: entry.serverId,
      event: 'backoff',
      message: `${fault.message}; next attempt in ${pauseMs} ms at the earliest`,
    });
  }

  function tell(event: LeftAlone): void {
    for (const listener of listeners) listener(event);
  }

  /** How the requests of all connections of a server fare (RL-04). */
  function watchOf(serverId: string, site: Site): RequestWatch {
    const { breaker } = site;
    return {
      began: () => breaker.retryAt !== null && began(breaker, clock.now()),
      ended(tried, how) {
        if (how === 'answered' && breaker.failures === 0 && !tried) return;
        const { transport } = site.server.upstream;
        // Off HTTP it says that the whole connection is gone, which is for the breaker of its opening.
        const gone = typeof how === 'object' && how.code === 'upstream_closed' && transport !== 'http';
        const again = breaker.openings > 0;
        const forMs = ended(breaker, tried, gone ? 'dropped' : how, clock.now());
        if (forMs === null || typeof how === 'string') return;
        log({
          level: 'warn',
          serverId,
          event: 'backoff',
          message: `requests fail (${how.message}); nothing is sent for ${forMs} ms`,
        });
        if (!again) return tell({ serverId, code: how.code, forMs });
        // A process that hangs comes to life only as a new one.
        if (transport === 'stdio')
          for (const entry of entriesOf(site)) if (entry.live?.inFlight() === 1) end(entry, 'it does not answer');
      },
    };
  }

  async function openFor(entry: Entry, server: ServerTarget, abort: AbortController): Promise<Opened> {
    const { serverId } = entry;
    const late = setTimeout(() => abort.abort('deadline'), options.openTimeoutMs ?? 30_000);
    try {
      await entry.ending;
      if (abort.signal.aborted)
        throw new UpstreamFault('upstream_closed', String(abort.signal.reason), { dispatched: 'no' });
      const site = sites.get(serverId);
      const watch = site && watchOf(serverId, site);
      return await openConnection(serverId, server, entry, eras, options, abort.signal, watch);
    } catch (error) {
      throw openingFault(serverId, error);
    } finally {
      clearTimeout(late);
    }
  }

  function came(entry: Entry, mine: Entry['current'], { connection, stamp }: Opened): void {
    if (entry.current !== mine) return; // `end` closes it
    const { serverId } = entry;
    const { identity } = connection;
    enter(entry, 'up');
    Object.assign(entry, { identity, live: connection, stamp, usedAt: clock.now() });
    entry.breaker.retryAt = null;
    log({ level: 'info', serverId, event: 'connected', message: `${identity.era} ${identity.protocolVersion}` });
    const broke = ({ reason }: { readonly reason: string }): void => {
      if (entry.current !== mine) return;
      entry.replacing?.abort(reason);
      failed(
        entry,
        new UpstreamFault('upstream_closed', reason, { dispatched: 'no' }),
        clock.now() - entry.since >= HELD_MS,
      );
    };
    void connection.closed.then(broke);
    // A credential may have changed while it was opened.
    const site = sites.get(serverId);
    if (site !== undefined) look(serverId, site);
  }

  function open(entry: Entry, server: ServerTarget): Promise<LinkedConnection> {
    const abort = new AbortController();
    enter(entry, 'connecting');
    const opening = openFor(entry, server, abort);
    const promise = opening.then(({ connection }) => connection);
    const mine = { promise, abort };
    entry.current = mine;
    opening.then(
      (opened) => came(entry, mine, opened),
      (fault: UpstreamFault) => {
        if (entry.current === mine) failed(entry, fault, false);
      },
    );
    return promise;
  }

  /** Ends what nobody needs any more. */
  function sweep(): void {
    const now = clock.now();
    for (const [serverId, site] of sites) {
      look(serverId, site);
      for (const entry of entriesOf(site)) {
        const reason = outlived(entry, site.server.upstream.transport, now, keep);
        if (reason !== null) end(entry, reason);
      }
      for (const [key, entry] of site.lanes) if (forgettable(entry, now)) site.lanes.delete(key);
    }
  }

  function connection(serverId: string, server: ServerTarget, lane?: Lane): Promise<LinkedConnection> {
    if (over)
      return Promise.reject(new UpstreamFault('upstream_closed', 'the gateway is stopping', { dispatched: 'no' }));
    const site = siteOf(serverId, server);
    if (clock.now() >= site.lookAt) look(serverId, site);
    if (site.refused !== null)
      return Promise.reject(
        new UpstreamFault('upstream_auth', `${serverId} cannot be used: ${site.refused}`, { dispatched: 'no' }),
      );
    const waitMs = site.breaker.retryAt === null ? null : refusedFor(site.breaker, clock.now());
    if (waitMs !== null) return Promise.reject(leftAlone(serverId, site.breaker, waitMs));
    let entry: Entry;
    if (lane === undefined) {
      entry = site.shared ??= newEntry(serverId, null, NOTHING, clock.now());
      entry.usedAt = clock.now();
    } else {
      try {
        entry = laneOf(serverId, site, lane);
      } catch (fault) {
        return Promise.reject(fault);
      }
    }
    if (entry.current !== null) return entry.current.promise;
    // Not `refusedFor`: opening is single flight, so whoever comes first is who tries.
    const { retryAt } = entry.breaker;
    if (retryAt !== null && clock.now() < retryAt)
      return Promise.reject(leftAlone(serverId, entry.breaker, retryAt - clock.now()));
    return open(entry, server);
  }

  return {
    // Not async: a live connection is one promise away on every call.
    connection,
    recheck: () => {
      for (const [serverId, site] of sites) look(serverId, site);
    },
    close: async (serverId, reason) => {
      endDrains(serverId);
      const site = sites.get(serverId);
      if (site === undefined) return;
      const entries = entriesOf(site);
      for (const entry of entries) end(entry, reason);
      sites.delete(serverId);
      await Promise.all(entries.map((entry) => entry.ending));
    },
    closeAll: async () => {
      over = true;
      clearInterval(sweeper);
      for (const one of drainingNow) endDrain(one);
      if (drainer !== null) clearInterval(drainer);
      for (const site of sites.values()) for (const entry of entriesOf(site)) end(entry, 'the gateway is stopping');
      await Promise.all(leaving);
    },
    status: () => [...sites].map(([serverId, site]) => statusOf(serverId, site, clock.now())),
    unwell(serverId) {
      const site = sites.get(serverId);
      return site !== undefined && (site.breaker.failures > 0 || (site.shared?.breaker.retryAt ?? null) !== null);
    },
    onLeftAlone(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

function leftAlone(serverId: string, { last }: Breaker, retryAfterMs: number): UpstreamFault {
  const { code, message } = last ?? { code: 'upstream_unreachable', message: 'it failed' };
  const text = `${serverId} is down: ${message}; next attempt in ${retryAfterMs} ms`;
  return new UpstreamFault(code, text, { dispatched: 'no', retryAfterMs });
}

interface Drain {
  readonly serverId: string;
  readonly connection: LinkedConnection;
  readonly since: number;
}

/** Of the shared connection; of a server that has only lanes, of the one that changed last. */
function statusOf(serverId: string, site: Site, now: number): ServerStatus {
  const newest = [...site.lanes.values()].reduce<Entry | null>(
    (best, entry) => (best === null || entry.since > best.since ? entry : best),
    null,
  );
  const entry = site.shared ?? newest ?? newEntry(serverId, null, NOTHING, 0);
  const { state, since, identity } = entry;
  const breaker = site.breaker.retryAt === null ? entry.breaker : site.breaker;
  const { failures, last, retryAt } = breaker;
  return {
    serverId,
    state,
    since,
    failures,
    retryAt,
    era: identity?.era ?? null,
    protocolVersion: identity?.protocolVersion ?? null,
    lastFault: last?.message ?? null,
    breaker: phaseOf(breaker, now),
  };
}
