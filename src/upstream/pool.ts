/**
 * One live connection per server: opened when somebody needs it (single flight), closed when its definition changes,
 * opened again after it broke, with a pause that grows while it keeps failing. While it pauses every caller gets the
 * last fault at once. Owns what it opens: after `closeAll` no process, socket or timer of it is left.
 * Not done here: whether a server may be used (policy, locks), one connection per person.
 */
import type { Dispatcher } from 'undici';
import { digestOf } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { Fault, isFault } from '../lib/fault.ts';
import { type Connection, UpstreamFault, type UpstreamFaultCode, type UpstreamIdentity } from './connection.ts';
import { type DialRule, dialUrl, guardedDispatcher } from './dial.ts';
import { type EraMemory, agreeByAsking, agreeIn, eraMemory, eraOfSibling } from './era.ts';
import { headerProblem, httpWire } from './http.ts';
import { connectionOver } from './link.ts';
import { stdioWire } from './stdio.ts';
import type {
  HttpTarget,
  SecretReference,
  ServerStatus,
  ServerTarget,
  StartProcess,
  StdioTarget,
  UpstreamLog,
  UpstreamPool,
} from './target.ts';
import type { Wire } from './wire.ts';

export interface PoolOptions {
  readonly clock: Clock;
  readonly startProcess: StartProcess;
  readonly resolveSecret: (reference: SecretReference) => Promise<string>;
  readonly log: UpstreamLog;
  /** Default: the guarded dialler. */
  readonly dispatcherFor?: (rule: DialRule) => Dispatcher;
  /** Longest time for process start, era question and handshake together, ms. */
  readonly openTimeoutMs?: number;
  /** How long a throw-away sibling may think about the era question, ms. */
  readonly probeTimeoutMs?: number;
  /** Largest message of an HTTP server, bytes. stdio servers have their own limit. */
  readonly maxMessageBytes?: number;
}

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
    connection: async (serverId, server) => {
      if (over) throw new UpstreamFault('upstream_closed', 'the gateway is stopping', { dispatched: 'no' });
      const entry = entryOf(serverId, server);
      if (entry.current !== null) return entry.current.promise;
      if (entry.retryAt !== null && clock.now() < entry.retryAt) {
        const { code, message } = entry.last ?? { code: 'upstream_unreachable', message: 'it failed' };
        throw new UpstreamFault(
          code,
          `${serverId} is down: ${message}; next attempt in ${entry.retryAt - clock.now()} ms`,
          { dispatched: 'no' },
        );
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

async function openConnection(
  serverId: string,
  server: ServerTarget,
  eras: EraMemory,
  options: PoolOptions,
  signal: AbortSignal,
): Promise<Connection> {
  const { upstream, timeoutMs } = server;
  const definition = digestOf(upstream);
  const remembered = upstream.era === 'auto' ? eras.recall(serverId, definition) : upstream.era;
  const opened: Wire[] = [];
  try {
    let identity: UpstreamIdentity;
    if (upstream.transport === 'http') {
      const wire = await httpTo(upstream, options);
      opened.push(wire);
      identity = await (remembered === null
        ? agreeByAsking(wire, signal, timeoutMs)
        : agreeIn(remembered, wire, signal, timeoutMs));
    } else {
      const env = await resolvedEnvironment(upstream, options);
      const start = async (): Promise<Wire> => {
        const wire = await processFor(serverId, upstream, env, options);
        opened.push(wire);
        return wire;
      };
      const era = remembered ?? (await eraOfSibling(await start(), signal, options.probeTimeoutMs ?? 10_000));
      identity = await agreeIn(era, await start(), signal, options.openTimeoutMs ?? 30_000);
    }
    if (upstream.era === 'auto') eras.remember(serverId, definition, identity.era);
    const wire = opened.pop() as Wire;
    if (signal.aborted) {
      opened.push(wire);
      throw new UpstreamFault('upstream_closed', String(signal.reason), { dispatched: 'no' });
    }
    return connectionOver(wire, identity, timeoutMs);
  } catch (error) {
    // A verdict may be what was wrong; the next attempt asks again.
    eras.forget(serverId);
    await Promise.all(opened.map((wire) => wire.close('it could not be opened')));
    throw error;
  }
}

async function httpTo(target: HttpTarget, options: PoolOptions): Promise<Wire> {
  const url = dialUrl(target.url);
  const headers: Array<readonly [string, string]> = [];
  for (const { name, value } of target.headers) {
    const text = await options.resolveSecret(value);
    const problem = headerProblem(name, text);
    if (problem !== null) throw new Fault('upstream_header', problem);
    headers.push([name, text]);
  }
  const rule = { allowedNetworks: target.allowedNetworks, requireHttps: true };
  const dispatcher = (options.dispatcherFor ?? guardedDispatcher)(rule);
  return httpWire({ url, dispatcher, headers, maxBytes: options.maxMessageBytes ?? 4 * 1024 * 1024 });
}

async function resolvedEnvironment(
  target: StdioTarget,
  options: PoolOptions,
): Promise<ReadonlyMap<string, { value: string; secret: boolean }>> {
  const env = new Map<string, { value: string; secret: boolean }>();
  for (const [name, value] of Object.entries(target.env)) {
    const secret = typeof value !== 'string';
    env.set(name, { value: secret ? await options.resolveSecret(value) : value, secret });
  }
  return env;
}

async function processFor(
  serverId: string,
  target: StdioTarget,
  env: ReadonlyMap<string, { value: string; secret: boolean }>,
  { startProcess, clock, log }: PoolOptions,
): Promise<Wire> {
  const process = await startProcess({
    serverId,
    target,
    env: Object.fromEntries([...env].map(([name, { value }]) => [name, value])),
  });
  return stdioWire(process, {
    clock,
    outputBytes: target.limits.outputBytes,
    secrets: [...env.values()].filter(({ secret }) => secret).map(({ value }) => value),
    onStderr: (message) => log({ level: 'debug', serverId, event: 'stderr', message }),
    onViolation: (message) => log({ level: 'warn', serverId, event: 'violation', message }),
  });
}

/** Whatever went wrong while opening: no call was sent yet. */
function openingFault(serverId: string, error: unknown): UpstreamFault {
  if (error instanceof UpstreamFault)
    return new UpstreamFault(error.code, error.message, { dispatched: 'no', cause: error });
  const code: UpstreamFaultCode = !isFault(error)
    ? 'upstream_unreachable'
    : error.code.startsWith('sandbox_')
      ? 'upstream_sandbox'
      : error.code.startsWith('secret_') || error.code === 'upstream_header'
        ? 'upstream_auth'
        : error.code.startsWith('dial_')
          ? 'upstream_refused_address'
          : 'upstream_unreachable';
  const message = isFault(error) ? error.message : `${serverId} could not be opened`;
  return new UpstreamFault(code, message, { dispatched: 'no', cause: error });
}
