/**
 * One live connection per server: opened when somebody needs it (single flight), closed when its definition changes,
 * opened again after it broke, with a pause that grows while it keeps failing. While it pauses every caller gets the
 * last fault at once. Owns what it opens: after `closeAll` no process, socket or timer of it is left.
 * Not done here: whether a server may be used (policy, locks), one connection per person.
 */
import { digestOf } from '../lib/canonical-json.ts';
import { type Connection, UpstreamFault, type UpstreamFaultCode, type UpstreamIdentity } from './connection.ts';
import { eraMemory } from './era.ts';
import { type OpenOptions, openConnection, openingFault } from './open-connection.ts';
import type { ServerStatus, ServerTarget, UpstreamPool } from './target.ts';

export type PoolOptions = OpenOptions;

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30_000;
/** A connection that held this long owes nothing to earlier failures. */
const HELD_MS = 10_000;

interface Entry {
  readonly serverId: string;
  server: ServerTarget;
  definition: string;
  state: ServerStatus['state'];
  since: number;
  failures: number;
  retryAt: number | null;
  last: { readonly code: UpstreamFaultCode; readonly message: string } | null;
  identity: UpstreamIdentity | null;
  /** Of the running attempt or the live connection; null when down. */
  current: { readonly promise: Promise<Connection>; readonly abort: AbortController } | null;
  /** Everything that was told to end and has not yet. */
  ending: Promise<unknown>;
}

export function upstreamPool(options: PoolOptions): UpstreamPool {
  const { clock, log } = options;
  const entries = new Map<string, Entry>();
  const eras = eraMemory(clock);
  let over = false;

  function entryOf(serverId: string, server: ServerTarget): Entry {
    const known = entries.get(serverId);
    // Records are frozen and replaced as a whole: the same object is the same definition, and the hot path hashes nothing.
    if (known?.server === server) return known;
    const definition = digestOf({ timeoutMs: server.timeoutMs, upstream: server.upstream });
    if (known !== undefined) {
      if (known.definition !== definition) {
        end(known, 'its definition changed');
        Object.assign(known, { definition, failures: 0, retryAt: null, last: null });
      }
      known.server = server;
      return known;
    }
    const entry: Entry = {
      serverId,
      server,
      definition,
      state: 'down',
      since: clock.now(),
      failures: 0,
      retryAt: null,
      last: null,
      identity: null,
      current: null,
      ending: Promise.resolve(),
    };
    entries.set(serverId, entry);
    return entry;
  }

  function enter(entry: Entry, state: Entry['state']): void {
    entry.state = state;
    entry.since = clock.now();
    if (state !== 'up') entry.identity = null;
  }

  /** Turns away whoever waits, and lets the old connection go in the background. */
  function end(entry: Entry, reason: string): void {
    const { current } = entry;
    if (current === null) return;
    entry.current = null;
    enter(entry, 'down');
    current.abort.abort(reason);
    const gone = current.promise.then(
      (connection) => connection.close(),
      () => {},
    );
    entry.ending = Promise.all([entry.ending, gone]);
    log({ level: 'info', serverId: entry.serverId, event: 'closed', message: reason });
  }

  /** `held`: it worked long enough that trying again at once is right. */
  function failed(entry: Entry, fault: UpstreamFault, held: boolean): void {
    entry.current = null;
    entry.failures = held ? 1 : entry.failures + 1;
    const pauseMs = held ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (entry.failures - 1), LONGEST_PAUSE_MS);
    entry.retryAt = clock.now() + pauseMs;
    entry.last = { code: fault.code, message: fault.message };
    enter(entry, 'down');
    log({
      level: 'warn',
      serverId: entry.serverId,
      event: 'backoff',
      message: `${fault.message}; next attempt in ${pauseMs} ms at the earliest`,
    });
  }

  async function openFor(entry: Entry, abort: AbortController): Promise<Connection> {
    const { serverId, server } = entry;
    const late = setTimeout(() => abort.abort('deadline'), options.openTimeoutMs ?? 30_000);
    try {
      await entry.ending;
      if (abort.signal.aborted)
        throw new UpstreamFault('upstream_closed', String(abort.signal.reason), { dispatched: 'no' });
      return await openConnection(serverId, server, eras, options, abort.signal);
    } catch (error) {
      throw openingFault(serverId, error);
    } finally {
      clearTimeout(late);
    }
  }

  function came(entry: Entry, mine: Entry['current'], connection: Connection): void {
    if (entry.current !== mine) return; // `end` closes it
    const { serverId } = entry;
    const { identity } = connection;
    enter(entry, 'up');
    Object.assign(entry, { identity, retryAt: null });
    log({ level: 'info', serverId, event: 'connected', message: `${identity.era} ${identity.protocolVersion}` });
    const broke = ({ reason }: { readonly reason: string }): void => {
      if (entry.current !== mine) return;
      failed(
        entry,
        new UpstreamFault('upstream_closed', reason, { dispatched: 'no' }),
        clock.now() - entry.since >= HELD_MS,
      );
    };
    void connection.closed.then(broke);
  }

  function open(entry: Entry): Promise<Connection> {
    const abort = new AbortController();
    enter(entry, 'connecting');
    const promise = openFor(entry, abort);
    const mine = { promise, abort };
    entry.current = mine;
    promise.then(
      (connection) => came(entry, mine, connection),
      (fault: UpstreamFault) => {
        if (entry.current === mine) failed(entry, fault, false);
      },
    );
    return promise;
  }

  return {
    // Not async: a live connection is one promise away on every call.
    connection: (serverId, server) => {
      if (over)
        return Promise.reject(new UpstreamFault('upstream_closed', 'the gateway is stopping', { dispatched: 'no' }));
      const entry = entryOf(serverId, server);
      if (entry.current !== null) return entry.current.promise;
      if (entry.retryAt !== null && clock.now() < entry.retryAt) {
        const { code, message } = entry.last ?? { code: 'upstream_unreachable', message: 'it failed' };
        const text = `${serverId} is down: ${message}; next attempt in ${entry.retryAt - clock.now()} ms`;
        return Promise.reject(new UpstreamFault(code, text, { dispatched: 'no' }));
      }
      return open(entry);
    },
    close: async (serverId, reason) => {
      const entry = entries.get(serverId);
      if (entry === undefined) return;
      end(entry, reason);
      entries.delete(serverId);
      await entry.ending;
    },
    closeAll: async () => {
      over = true;
      for (const entry of entries.values()) end(entry, 'the gateway is stopping');
      await Promise.all([...entries.values()].map((entry) => entry.ending));
    },
    status: () =>
      [...entries.values()].map(({ serverId, state, since, failures, last, retryAt, identity }) => ({
        serverId,
        state,
        since,
        failures,
        retryAt,
        era: identity?.era ?? null,
        protocolVersion: identity?.protocolVersion ?? null,
        lastFault: last?.message ?? null,
      })),
  };
}
