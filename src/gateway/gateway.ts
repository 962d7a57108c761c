/**
 * One gateway node: follows the state, keeps its picture, watches the servers, listens.
 * Adapters (state, ledger, pool, verifier) arrive built; `cli/serve.ts` is the only place that builds them.
 * Order at the end: stop listening, end what runs, then let the log close. Nothing admitted is left without an outcome entry.
 */
import type { AuditLog } from '../audit/audit-log.ts';
import { adminEntry } from '../audit/entries.ts';
import { personKey } from '../directory/records.ts';
import { lockedBy } from '../inventory/locks.ts';
import type { TokenVerifier } from '../identity/access-token.ts';
import type { Clock } from '../lib/clock.ts';
import { isFault } from '../lib/fault.ts';
import { sessionSealer } from '../protocol/session.ts';
import type { StateStore, StoredRecord } from '../store/state.ts';
import type { UpstreamPool } from '../upstream/target.ts';
import { approvalDesk } from './approval-desk.ts';
import { createCatalogue } from './catalogue.ts';
import type { Catalogue, Drift } from './catalogue.ts';
import { endedSessions } from './ended-sessions.ts';
import { listCache } from './greeting.ts';
import type { GuardPorts } from './guard.ts';
import { inflightRegistry } from './inflight.ts';
import type { InflightFacts } from './inflight.ts';
import { memoryLimits } from './limits.ts';
import type { LimitSettings } from './limits.ts';
import { startListener } from './listener.ts';
import type { Listener } from './listener.ts';
import { noiseCounter } from './noise.ts';
import { describeScopes } from './scopes.ts';
import { buildSnapshot } from './snapshot.ts';
import type { ServerEntry, Snapshot } from './snapshot.ts';
import { createTelemetry } from './telemetry.ts';

/** This node's copy of the governance state, kept current by the store's follower. */
export interface StateView {
  readonly revision: number;
  records(kind: string, org: string): Iterable<StoredRecord>;
  /** Calls back after changes were applied, with the kinds they touched. Returns the unsubscribe function. */
  onApplied(listener: (kinds: ReadonlySet<string>) => void): () => void;
  /** Milliseconds since the copy was last confirmed to be the newest. */
  ageMs(): number;
  advanceTo(revision: number): Promise<void>;
}

export interface GatewayDeps {
  readonly org: string;
  readonly node: string;
  readonly version: string;
  readonly clock: Clock;
  readonly state: StateStore;
  readonly view: StateView;
  readonly audit: AuditLog;
  readonly verifier: TokenVerifier;
  readonly pool: UpstreamPool;
  /** 32 random bytes each; the first seals sessions, all open them. */
  readonly sessionKeys: readonly Uint8Array[];
  readonly issuers: readonly string[];
  readonly listen: {
    readonly host: string;
    readonly port: number;
    readonly publicUrl: string | null;
    readonly allowedHosts: readonly string[];
    readonly allowedOrigins: readonly string[];
  };
  readonly limits: LimitSettings & {
    readonly maxBodyBytes: number;
    readonly maxResultBytes: number;
    readonly callTimeoutMs: number;
  };
  readonly freshnessLimitMs: number;
  readonly catalogueRefreshMs: number;
  readonly approvalTtlMs: number;
  readonly log: (level: 'info' | 'warn' | 'error', fields: object, message: string) => void;
}

export interface Gateway {
  readonly listener: Listener;
  readonly catalogue: Catalogue;
  snapshot(): Snapshot;
  /** Looks at one server now. @throws the upstream's fault, or Fault when there is no such server. */
  refresh(server: string): Promise<{ readonly tools: number }>;
  /** Reason codes why this node should get no traffic; empty when ready. */
  notReady(): readonly string[];
  close(): Promise<void>;
}

const NOISE_EVERY_MS = 60_000;

export async function startGateway(deps: GatewayDeps): Promise<Gateway> {
  const { org, clock, view, audit, pool, log } = deps;
  const inflight = inflightRegistry();
  const noise = noiseCounter(clock);
  const sessions = sessionSealer(deps.sessionKeys, clock);
  const ended = endedSessions(clock);
  const limits = memoryLimits(deps.limits);

  const build = (previous: Snapshot | null, changed: ReadonlySet<string> | null): Snapshot => {
    const next = buildSnapshot({
      org,
      revision: view.revision,
      at: clock.now(),
      records: (kind) => view.records(kind, org),
      previous,
      changed,
    });
    for (const problem of next.problems)
      if (!previous?.problems.includes(problem)) log('error', { problem }, 'record left out');
    return next;
  };
  let snapshot = build(null, null);

  const connect = (server: ServerEntry) => pool.connection(server.id, server.record);
  const onDrift = (drift: Drift): void =>
    log(drift.what === 'changed' ? 'warn' : 'info', drift, 'tool definition seen that is not the approved one');
  const catalogue = createCatalogue({
    org,
    clock,
    snapshot: () => snapshot,
    state: deps.state,
    connect,
    refreshTimeoutMs: 15_000,
    onDrift,
    onFault: (server, error) =>
      log('warn', { server, fault: isFault(error) ? error.code : String(error) }, 'server could not be looked at'),
  });

  const ports: GuardPorts = {
    clock,
    verifier: deps.verifier,
    sessions,
    catalogue,
    limits,
    approvals: approvalDesk({
      org,
      clock,
      state: deps.state,
      snapshot: () => snapshot,
      ttlMs: deps.approvalTtlMs,
      advanceTo: (revision) => view.advanceTo(revision),
    }),
    snapshotAgeMs: () => view.ageMs(),
    freshnessLimitMs: deps.freshnessLimitMs,
    endedSessions: ended,
  };

  /** Why a call that is under way may not go on; null while it may. Asked of every call whenever the state changed (TRUST.md R4). */
  const standsNoMore = (facts: Partial<InflightFacts>, personIds: ReadonlyMap<string, boolean>): string | null => {
    if (!facts.person || !facts.agent || !facts.server || !facts.token) return null; // not admitted yet: the guards will read the new snapshot
    const tool = facts.tool?.slice(facts.server.length + 1) ?? null;
    const lock = lockedBy(
      snapshot.locks,
      { person: facts.person, agent: facts.agent, server: facts.server, tool, token: facts.token },
      clock.now(),
    );
    if (lock) return `lock:${lock.id}`;
    const stands =
      personIds.get(facts.person) === true && snapshot.servers.get(facts.server)?.record.state === 'enabled';
    return stands ? null : 'standing';
  };

  const stopFollowing = view.onApplied((kinds) => {
    const before = snapshot;
    snapshot = build(before, kinds);
    if (kinds.has('lock') || kinds.has('person') || kinds.has('server')) {
      const active = new Map(
        [...snapshot.people.values()].map((person) => [
          person.id,
          person.state === 'active' && person.roles.length > 0,
        ]),
      );
      inflight.cancelWhere((facts) => standsNoMore(facts, active));
      deps.verifier.forget((caller) => {
        const person = snapshot.people.get(personKey(caller.issuer, caller.subject));
        return (
          person?.state !== 'active' ||
          lockedBy(
            snapshot.locks,
            { person: person.id, agent: caller.clientId, server: null, tool: null, token: caller.tokenId },
            clock.now(),
          ) !== null
        );
      });
    }
    if (kinds.has('server') || kinds.has('lock')) {
      for (const [id, entry] of before.servers) {
        const now = snapshot.servers.get(id);
        const usable =
          now?.record.state === 'enabled' &&
          lockedBy(snapshot.locks, { person: null, agent: '', server: id, tool: null, token: '' }, clock.now()) ===
            null;
        if (!usable || now.revision !== entry.revision) {
          catalogue.forget(id);
          void pool.close(id, usable ? 'definition changed' : 'not in service');
        }
      }
      for (const [id, entry] of snapshot.servers)
        if (before.servers.get(id)?.revision !== entry.revision) refreshQuietly(entry);
    }
  });

  function refreshQuietly(server: ServerEntry): void {
    if (server.record.state !== 'enabled') return;
    catalogue.refresh(server).catch((error: unknown) => {
      log(
        'warn',
        { server: server.id, fault: isFault(error) ? error.code : String(error) },
        'server could not be looked at',
      );
    });
  }

  const looking = setInterval(() => {
    for (const server of snapshot.servers.values()) refreshQuietly(server);
  }, deps.catalogueRefreshMs);
  const counting = setInterval(() => void recordNoise(), NOISE_EVERY_MS);
  looking.unref();
  counting.unref();

  async function recordNoise(): Promise<void> {
    const drained = noise.drain();
    if (!drained) return;
    const counts = Object.entries(drained.counts).map(([reason, count]) => `${reason}=${count}`);
    const event = { what: 'unauthenticated.counted', since: drained.since, until: drained.until, counts };
    await audit.record(adminEntry(audit.stamp(), event)).catch(() => undefined);
  }

  const describe = describeScopes(() => snapshot);
  const listener = await startListener({
    ports,
    sessions,
    version: deps.version,
    defaultScopes: describe.defaults,
    lists: listCache(),
    snapshot: () => snapshot,
    audit,
    inflight,
    noise,
    telemetry: createTelemetry({ inflight: () => inflight.size }),
    connect,
    maxResultBytes: deps.limits.maxResultBytes,
    log,
    clock,
    org,
    ...deps.listen,
    readLimits: { maxBytes: deps.limits.maxBodyBytes, maxDepth: 64 },
    callTimeoutMs: deps.limits.callTimeoutMs,
    issuers: deps.issuers,
    scopesOf: describe.all,
    serverTitle: (id) => {
      const server = snapshot.servers.get(id)?.record;
      return server && (server.state === 'enabled' || server.state === 'suspended') ? server.title : null;
    },
    sessionsEnded: ended,
  });
  for (const server of snapshot.servers.values()) refreshQuietly(server);

  return {
    listener,
    catalogue,
    snapshot: () => snapshot,
    async refresh(id) {
      const server = snapshot.servers.get(id);
      if (!server) throw new Error(`no server ${id}`);
      const sighting = await catalogue.refresh(server);
      return { tools: sighting.tools.size };
    },
    notReady() {
      const reasons: string[] = [];
      if (audit.status().fatal) reasons.push('ledger');
      if (view.ageMs() > deps.freshnessLimitMs) reasons.push('state_stale');
      if (!snapshot.policies) reasons.push('policies');
      return reasons;
    },
    async close() {
      clearInterval(looking);
      clearInterval(counting);
      const closed = listener.close();
      inflight.cancelWhere(() => 'shutdown');
      await closed;
      stopFollowing();
      await pool.closeAll();
      await recordNoise();
    },
  };
}
