/**
 * One gateway node: follows the state, keeps its picture, watches the servers, listens.
 * Adapters (state, ledger, pool, verifier) arrive built; `cli/serve.ts` is the only place that builds them.
 * Order at the end: stop listening, end what runs, then let the log close. Nothing admitted is left without an outcome entry.
 */
import { Approval } from '../approvals/records.ts';
import { argumentsBox } from '../approvals/sealed-arguments.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import { adminEntry } from '../audit/entries.ts';
import { inspector } from '../content/inspector.ts';
import type { TokenVerifier } from '../identity/access-token.ts';
import type { Clock } from '../lib/clock.ts';
import { honeytokenBox } from '../inventory/honeytokens.ts';
import { Fault, isFault } from '../lib/fault.ts';
import { cursors } from '../protocol/cursors.ts';
import { READ_LIMITS } from '../protocol/read-request.ts';
import { requestStates } from '../protocol/request-state.ts';
import { sessionSealer } from '../protocol/session.ts';
import type { Exchange } from '../store/exchange.ts';
import type { RecordName, StateStore, StoredRecord } from '../store/state.ts';
import { UpstreamFault } from '../upstream/connection.ts';
import type { Lane, UpstreamPool } from '../upstream/target.ts';
import { APPROVAL_SETTINGS, approvalDesk } from './approval-desk.ts';
import type { ApprovalSettings } from './approval-desk.ts';
import { askDesk } from './ask-desk.ts';
import { known } from './call.ts';
import { cancels } from './cancels.ts';
import { createCatalogue, itemCounts } from './catalogue.ts';
import type { Catalogue, Drift, ItemCounts } from './catalogue.ts';
import { elicited } from './elicited.ts';
import { actorOf, callFacts } from './entry-facts.ts';
import { eventLogs } from './event-log.ts';
import { sealedExchange } from './exchange-box.ts';
import { fanOut } from './fan-out.ts';
import { listCache } from './greeting.ts';
import type { GuardPorts } from './guard.ts';
import { inspectionBooks } from './inspection-books.ts';
import type { HeldSecrets } from './inspection-books.ts';
import { incidentLog } from './incidents.ts';
import type { Incidents } from './incidents.ts';
import { inflightRegistry } from './inflight.ts';
import { lockEffect } from './lock-effect.ts';
import type { LockEffect } from './lock-effect.ts';
import { agentOf } from './limits-who.ts';
import { nodeLimits } from './limits.ts';
import type { LimitSettings } from './limits.ts';
import { laneOf } from './lanes.ts';
import { startListener } from './listener.ts';
import type { Listener, ListenerDeps } from './listener.ts';
import { mail } from './mail.ts';
import { newcomers } from './newcomers.ts';
import { noiseCounter } from './noise.ts';
import { parking } from './parking.ts';
import { PIPELINE, pipelineOf } from './pipeline.ts';
import { places } from './places.ts';
import type { Row } from './pipeline.ts';
import { relay } from './relay.ts';
import { describeScopes } from './scopes.ts';
import { watchShadows } from './shadow.ts';
import type { Shadows } from './shadow.ts';
import { buildSnapshot, touchedBy } from './snapshot.ts';
import type { ServerEntry, Snapshot } from './snapshot.ts';
import { sessionBook } from './session-book.ts';
import { sseStreams } from './sse-endpoint.ts';
import { TASK_SETTINGS, taskBook } from './task-book.ts';
import { createTelemetry } from './telemetry.ts';
import { traceLabels } from './trace-labels.ts';
import { withdraw } from './withdraw.ts';

/** This node's copy of the governance state, kept current by the store's follower. */
export interface StateView {
  readonly revision: number;
  records(kind: string, org: string): Iterable<StoredRecord>;
  get(kind: string, org: string, id: string): StoredRecord | undefined;
  /** Calls back after changes were applied, with the records they touched. Returns the unsubscribe function. */
  onApplied(listener: (changed: readonly RecordName[]) => void): () => void;
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
  readonly exchange: Exchange;
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
    /** Long streams open on this node. Default: `STREAMS_PER_NODE`. */
    readonly openStreams?: number;
    readonly callTimeoutMs: number;
    /** How long a task may run. Default: an hour. */
    readonly taskTimeoutMs?: number;
  };
  readonly freshnessLimitMs: number;
  readonly catalogueRefreshMs: number;
  /** How long a trace counts as labelled after the last output that labels it, ms. Default: an hour. */
  readonly labelWindowMs?: number;
  /** Default: `APPROVAL_SETTINGS`. */
  readonly approvals?: Partial<ApprovalSettings>;
  /** Secrets that connections were given, to be recognised in content; left out: none. */
  readonly secrets?: HeldSecrets;
  /** Where what was contained is told; left out: a log of this gateway's own. */
  readonly incidents?: Incidents;
  /** Origin of the admin listener, where people see and decide held calls; null: nobody knows it yet. */
  readonly adminUrl: () => string | null;
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', fields: object, message: string) => void;
}

export interface Gateway {
  readonly listener: Listener;
  readonly catalogue: Catalogue;
  snapshot(): Snapshot;
  /** Looks at one server now. @throws the upstream's fault, or Fault when there is no such server. */
  refresh(server: string): Promise<ItemCounts>;
  /** Long streams open on this node now. */
  readonly openStreams: number;
  /** Reason codes why this node should get no traffic; empty when ready. */
  notReady(): readonly string[];
  /** Drafts that are asked about live calls. */
  readonly shadows: Pick<Shadows, 'report' | 'reset' | 'idle'>;
  /** What this lock, which is in force already, has ended here. */
  stoppedBy(lock: string): LockEffect;
  /** Writes off held calls that nobody decided or used in time. */
  sweep(): Promise<void>;
  /** Messages under way, parked calls and tasks included. */
  inflight(): number;
  close(): Promise<void>;
}

const NOISE_EVERY_MS = 60_000;
const SWEEP_EVERY_MS = 15_000;

/** `table` is the product's for everybody but tests that take a guard out to see the harm; no configuration reaches it. */
export async function startGateway(deps: GatewayDeps, table: readonly Row[] = PIPELINE): Promise<Gateway> {
  const { org, clock, view, audit, pool, log } = deps;
  const approvals: ApprovalSettings = { ...APPROVAL_SETTINGS, ...deps.approvals };
  const inflight = inflightRegistry();
  const noise = noiseCounter(clock);
  const sessions = sessionSealer(deps.sessionKeys, clock);
  const exchange = sealedExchange(deps.exchange, deps.sessionKeys);
  const incidents =
    deps.incidents ??
    incidentLog({ org, clock, audit, state: deps.state, record: (id) => view.get('incident', org, id), log });
  const stopHearing = pool.onLeftAlone(({ serverId, code, forMs }) => {
    void incidents.report({ what: 'breaker_open', subject: `server/${serverId}`, facts: { code, forMs } });
  });
  const limits = nodeLimits(deps.limits, {
    unwell: (server) => pool.unwell(server),
    onLoop(call, times) {
      const { id } = known(call, 'tool');
      const facts = { times, person: known(call, 'person').id, agent: agentOf(call) };
      void incidents.report({
        what: 'loop',
        subject: `tool/${id}`,
        facts,
        actor: actorOf(call),
        call: callFacts(call),
      });
    },
  });
  const { taskTimeoutMs = TASK_SETTINGS.timeLimitMs } = deps.limits;
  const tasks = taskBook(exchange, clock, log, { ...TASK_SETTINGS, timeLimitMs: taskTimeoutMs });

  const build = (previous: Snapshot | null, names: readonly RecordName[] | null): Snapshot => {
    const next = buildSnapshot({
      org,
      revision: view.revision,
      at: clock.now(),
      records: (kind) => view.records(kind, org),
      previous,
      changed: names && new Set(names.map(({ kind }) => kind)),
      ...(names && { touched: touchedBy(names, org, view.get) }),
    });
    for (const [kind, problems] of next.problems) {
      if (previous?.problems.get(kind) === problems) continue;
      for (const problem of problems) log('error', { problem }, 'record left out');
    }
    return next;
  };
  let snapshot = build(null, null);
  const large = inspector();
  const books = inspectionBooks(honeytokenBox(deps.sessionKeys, org), deps.secrets);
  const replant = (): void => {
    for (const id of books.replant(view.records('honeytoken', org)))
      log('error', { honeytoken: id }, 'a planted secret does not open, so it is not looked for');
  };
  replant();

  // Whoever asks: what stands in a record that nobody has agreed to is neither dialled nor started, and gets no secret.
  const agreed = (server: ServerEntry | undefined): boolean => server?.record.state === 'enabled';
  const connect = (server: ServerEntry, lane?: Lane) =>
    agreed(server) && agreed(snapshot.servers.get(server.id))
      ? pool.connection(server.id, server.record, lane)
      : Promise.reject(new UpstreamFault('upstream_closed', `${server.id} is not in service`, { dispatched: 'no' }));
  const onDrift: Parameters<typeof createCatalogue>[0]['onDrift'] = (drifts, revision, approvalsEnded) => {
    for (const drift of drifts)
      log(drift.what === 'changed' ? 'warn' : 'info', drift, 'tool definition seen that is not the approved one');
    const named = (what: Drift['what']): string[] =>
      drifts.filter((drift) => drift.what === what).map(({ tool }) => tool);
    const subject = drifts[0]?.server ?? '';
    const event = {
      what: 'tools.sighted',
      subject,
      revision,
      new: named('new'),
      changed: named('changed'),
      gone: named('gone'),
      // What was approved and what is there now, so that the log alone says what moved.
      digests: drifts.map(({ tool, approved, seen }) => `${tool} ${approved ?? 'never'} ${seen ?? 'gone'}`),
      approvalsEnded,
    };
    // The sighting is in force and in the history whether or not the log takes this; the log's own fault closes the gate.
    audit.record(adminEntry(audit.stamp(), event)).catch((error: unknown) => {
      log('error', { subject, fault: isFault(error) ? error.code : String(error) }, 'sighting not recorded');
    });
  };
  const catalogue = createCatalogue({
    org,
    clock,
    snapshot: () => snapshot,
    state: deps.state,
    connect,
    refreshTimeoutMs: 15_000,
    onDrift,
    onSuspended(server, why, revision) {
      log('error', { server, why }, 'a server is not the one that was reviewed and is suspended');
      const event = {
        what: 'server.suspended',
        subject: `server/${server}`,
        reason: why,
        revision,
        stateBefore: 'enabled',
      };
      audit.record(adminEntry(audit.stamp(), { ...event, source: 'remit:catalogue' })).catch((error: unknown) => {
        log('error', { server, fault: isFault(error) ? error.code : String(error) }, 'suspension not recorded');
      });
      void incidents.report({ what: 'artifact', subject: `server/${server}`, facts: { why: 'identity', revision } });
    },
    onFault: (server, error) =>
      log(
        'warn',
        { server, ...(isFault(error) ? { fault: error.code, why: error.message } : { fault: String(error) }) },
        'server could not be looked at, or not whole',
      ),
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
      settings: approvals,
      stored: (id) => {
        const parsed = Approval.safeParse(view.get('approval', org, id)?.body);
        return parsed.success ? parsed.data : null;
      },
      arguments: argumentsBox(deps.sessionKeys, org),
      page: (id) => {
        const origin = deps.adminUrl();
        return origin === null ? null : `${origin}/requests/${id}`;
      },
      advanceTo: (revision) => view.advanceTo(revision),
    }),
    newcomers: newcomers({
      org,
      clock,
      state: deps.state,
      snapshot: () => snapshot,
      advanceTo: (revision) => view.advanceTo(revision),
      onNew(kind, id, facts) {
        log('info', { kind, id, ...facts }, 'somebody is new here');
        audit
          .record(adminEntry(audit.stamp(), { what: `${kind}.first_seen`, subject: `${kind}/${id}`, ...facts }))
          .catch(() => undefined);
      },
    }),
    snapshotAgeMs: () => view.ageMs(),
    freshnessLimitMs: deps.freshnessLimitMs,
    book: sessionBook(exchange, clock),
    traces: traceLabels(exchange, clock, deps.labelWindowMs ?? 3_600_000),
    tasks,
    inspection: { books, inspector: large, report: (incident) => void incidents.report(incident) },
    states: requestStates(deps.sessionKeys, clock),
    laneOf: (call) => laneOf(call, deps, connect),
  };

  const shadows = watchShadows({
    snapshot: () => snapshot,
    records: () => view.records('policy', org),
    now: () => clock.now(),
  });
  shadows.refresh();
  const visited = elicited();
  const pipeline = pipelineOf(table);
  const streams = {
    fanOut: fanOut({
      ports,
      pipeline,
      snapshot: () => snapshot,
      version: deps.version,
      onFault: (error) => log('error', { error: String(error) }, 'a change could not be told'),
    }),
    logs: eventLogs(exchange, clock),
    places: places(deps.limits.openStreams),
  };

  const stopFollowing = view.onApplied((changed) => {
    const before = snapshot;
    snapshot = build(before, changed);
    withdraw(before, snapshot, changed, { inflight, verifier: deps.verifier, catalogue, pool }, clock.now());
    if (changed.some(({ kind }) => kind === 'policy')) shadows.refresh();
    if (changed.some(({ kind }) => kind === 'honeytoken')) replant();
    const decided = changed.filter(({ kind }) => kind === 'approval');
    if (decided.length > 0) {
      const ids = decided.map(({ id }) => id);
      ports.approvals.noticed(ids);
      visited.over(ids.filter((id) => ports.approvals.read(id)?.state !== 'pending'));
    }
    streams.fanOut.stateChanged(snapshot.rulesRevision === before.rulesRevision ? peopleAmong(changed) : null);
    for (const [id, server] of snapshot.servers)
      if (before.servers.get(id)?.revision !== server.revision) refreshQuietly(server);
  });

  function refreshQuietly(server: ServerEntry): void {
    if (!server.inService) return;
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
  const sweeping = setInterval(() => void sweep(), SWEEP_EVERY_MS).unref();
  looking.unref();
  counting.unref();

  async function sweep(): Promise<void> {
    try {
      for (const id of await ports.approvals.sweep())
        await audit.record(
          adminEntry(audit.stamp(), { what: 'approval.expired', subject: `approval/${id}`, approval: id }),
        );
    } catch (error) {
      // Expired is expired, whoever writes it down: the next round tries again.
      log('warn', { fault: isFault(error) ? error.code : String(error) }, 'expired approvals not written off');
    }
  }

  async function recordNoise(): Promise<void> {
    const drained = noise.drain();
    if (!drained) return;
    const counts = Object.entries(drained.counts).map(([reason, count]) => `${reason}=${count}`);
    const event = { what: 'unauthenticated.counted', since: drained.since, until: drained.until, counts };
    await audit.record(adminEntry(audit.stamp(), event)).catch(() => undefined);
  }

  const describe = describeScopes(() => snapshot);
  const onLost = (error: unknown): void =>
    log('warn', { fault: isFault(error) ? error.code : String(error) }, 'a message between nodes was lost');
  const between = relay(mail(exchange, clock, onLost));
  const node: ListenerDeps = {
    ports,
    pipeline,
    sessions,
    cursors: cursors(deps.sessionKeys),
    node: deps.node,
    exchange,
    approvals,
    elicited: visited,
    desk: askDesk(deps.node, deps.sessionKeys),
    parking: parking(inflight),
    shadows,
    streams,
    cancels: cancels(exchange, inflight, clock),
    sse: sseStreams(exchange, clock, onLost),
    relayAnswer: between.relayAnswer,
    relayRetry: between.relayRetry,
    version: deps.version,
    defaultScopes: describe.defaults,
    lists: listCache(),
    snapshot: () => snapshot,
    audit,
    inflight,
    incidents,
    noise,
    telemetry: createTelemetry({ inflight: () => inflight.size }),
    connect,
    maxResultBytes: deps.limits.maxResultBytes,
    log,
    clock,
    org,
    ...deps.listen,
    readLimits: { ...READ_LIMITS, maxBytes: deps.limits.maxBodyBytes },
    callTimeoutMs: deps.limits.callTimeoutMs,
    issuers: deps.issuers,
    scopesOf: describe.all,
    serverTitle: (id) => {
      if (id === null) return snapshot.organisation ? 'All servers' : null;
      const server = snapshot.servers.get(id)?.record;
      return server && (server.state === 'enabled' || server.state === 'suspended') ? server.title : null;
    },
  };
  const stopTaking = await between.attend(node);
  const listener = await startListener(node);
  for (const server of snapshot.servers.values()) refreshQuietly(server);

  return {
    listener,
    catalogue,
    snapshot: () => snapshot,
    async refresh(id) {
      const server = snapshot.servers.get(id);
      if (!server) throw new Fault('server_unknown', `there is no server ${id}`);
      if (!server.inService) throw new Fault('server_out_of_service', `nothing goes to ${id}: it is not in service`);
      return itemCounts(await catalogue.refresh(server));
    },
    sweep,
    shadows,
    inflight: () => inflight.size,
    stoppedBy: (lock) => lockEffect(inflight, lock),
    get openStreams() {
      return streams.places.size;
    },
    notReady() {
      const reasons: string[] = [];
      if (audit.status().fatal) reasons.push('ledger');
      if (view.ageMs() > deps.freshnessLimitMs) reasons.push('state_stale');
      if (!snapshot.policies) reasons.push('policies');
      if (!snapshot.locks) reasons.push('locks');
      return reasons;
    },
    async close() {
      clearInterval(looking);
      clearInterval(counting);
      clearInterval(sweeping);
      const closed = listener.close();
      inflight.cancelWhere(() => 'shutdown');
      await closed;
      await tasks.close();
      stopFollowing();
      stopHearing();
      shadows.close();
      streams.fanOut.close();
      node.cancels.close();
      stopTaking();
      await pool.closeAll();
      await large.close();
      await recordNoise();
    },
  };
}

const peopleAmong = (changed: readonly RecordName[]): ReadonlySet<string> =>
  new Set(changed.filter(({ kind }) => kind === 'person').map(({ id }) => id));
