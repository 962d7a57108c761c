/**
 * The only place that builds adapters: opens the stores and keys, wires one gateway node or one authorization server, and takes them
 * apart again in the opposite order. One fixed sequence each; what is opened first is closed last, also when a later step fails.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pino } from 'pino';
import type { Logger } from 'pino';
import { openAdvisories } from '../admin/artifact-feed.ts';
import { watchArtifacts } from '../admin/artifact-watch.ts';
import type { AdminContext } from '../admin/context.ts';
import { eventKey, newEventKey } from '../admin/events/event-key.ts';
import { watchReviews } from '../admin/reviews/due.ts';
import { readEvidence } from '../admin/reviews/evidence.ts';
import { startNotifier } from '../admin/notify/notifier.ts';
import type { Notifier } from '../admin/notify/notifier.ts';
import { startPolling } from '../admin/events/poll.ts';
import { eventReceiver } from '../admin/events/receive.ts';
import { watchSilence } from '../admin/events/silence.ts';
import { watchOwners } from '../admin/owner-watch.ts';
import { transmitter } from '../admin/events/transmit.ts';
import { argumentsBox } from '../approvals/sealed-arguments.ts';
import { breakGlass } from '../admin/break-glass.ts';
import { refusals } from '../admin/refusals.ts';
import { startAdmin } from '../admin/server.ts';
import type { BrowserSignIn } from '../admin/session/code-flow.ts';
import { adminEntry, gateEntry } from '../audit/entries.ts';
import { loadOrCreateLogKey } from '../audit/keys.ts';
import { openAuditLog } from '../audit/log.ts';
import { recover } from '../audit/recover.ts';
import type { UnknownCall } from '../audit/recover.ts';
import { startAuthServer } from '../authserver/server.ts';
import type { RunningAuthServer } from '../authserver/server.ts';
import { startGateway } from '../gateway/gateway.ts';
import { incidentLog } from '../gateway/incidents.ts';
import { honeytokenBox } from '../inventory/honeytokens.ts';
import type { Gateway } from '../gateway/gateway.ts';
import { createTokenVerifier } from '../identity/access-token.ts';
import type { Lock } from '../inventory/records.ts';
import { systemClock } from '../lib/clock.ts';
import { Fault, isFault } from '../lib/fault.ts';
import { sealedBox } from '../lib/sealed-box.ts';
import { serverLauncher } from '../sandbox/launch.ts';
import { runningBook } from '../sandbox/running.ts';
import type { Exchange } from '../store/exchange.ts';
import { openPostgresExchange } from '../store/postgres/exchange.ts';
import { openPostgresLedger } from '../store/postgres/ledger.ts';
import { openPostgresState } from '../store/postgres/state.ts';
import { openSqliteExchange } from '../store/sqlite/exchange.ts';
import { openSqliteLedger } from '../store/sqlite/ledger.ts';
import { openSqliteState } from '../store/sqlite/state.ts';
import type { StateStore } from '../store/state.ts';
import { guardedJson, guardedRequest } from '../upstream/dial.ts';
import type { DialRule } from '../upstream/dial.ts';
import { egressDoors } from '../upstream/egress/doors.ts';
import { serverAccounts } from '../upstream/oauth/accounts.ts';
import { linksInFile } from '../upstream/oauth/link-file.ts';
import { upstreamPool } from '../upstream/pool.ts';
import { resolveSecret } from '../upstream/secrets.ts';
import { openClaimFile, type ClaimFile } from './claim-file.ts';
import type { Config } from './config.ts';
import { unsafeKeysInForce } from './config.ts';
import { ensureFoundation } from './foundation.ts';
import { isolationOf } from './isolation.ts';
import { loadOrCreateSecret, loadOrCreateText } from './secret-file.ts';
import { forget, gatherSelf, judgeSelf, namedVariables } from './self-posture.ts';
import { credentialsOf, giveBack, heldBy, openBroker, recheckOn } from './secrets.ts';
import { openView } from './state-view.ts';
import type { LocalView } from './state-view.ts';
import { countingViolations, startTelemetry } from './telemetry.ts';
import { VERSION } from './version.ts';

export interface RunningGateway {
  /** Origin of the MCP listener. */
  readonly mcpUrl: string;
  /** Origin of the admin listener. */
  readonly adminUrl: string;
  readonly gateway: Gateway;
  readonly state: StateStore;
  readonly view: LocalView;
  /** Where the code lies that makes the first administrator; null: nobody needs one. */
  readonly claimFile: Pick<ClaimFile, 'path' | 'until'> | null;
  /** Public key of the log, C2SP vkey. */
  readonly verifierKey: string;
  /** Calls that were in flight when the last run ended without a word. */
  readonly unknown: readonly UnknownCall[];
  /** Rejects when the ledger can no longer be trusted: the process must stop admitting and end. */
  readonly failed: Promise<never>;
  /** Puts an entry about the installation itself into the log. */
  recordAdmin(
    event: Readonly<Record<string, string | number | readonly string[]>> & { readonly what: string },
  ): Promise<void>;
  /** Orderly: no new calls, running ones cancelled and recorded, last checkpoint signed. Idempotent. */
  close(): Promise<void>;
}

export interface GatewayOptions {
  /** Runs after the state is open and before the first request is taken. */
  readonly prepare?: (parts: { readonly state: StateStore; readonly view: LocalView }) => Promise<void>;
  readonly log?: Logger;
}

/** @throws Fault (config, store, ledger, keys, listen) with a message an operator can act on; nothing is left open then. */
export async function runGateway(config: Config, options: GatewayOptions = {}): Promise<RunningGateway> {
  const clock = systemClock;
  const log = options.log ?? processLog(config, 'remit-gateway');
  const org = config.organisation;
  const unsafeKeys = unsafeKeysInForce(config);
  for (const key of unsafeKeys) log.warn({ key }, 'a check is relaxed by configuration');
  const self = judgeSelf(gatherSelf(process.env), config.secrets.envPrefix, namedVariables(config));
  for (const warning of self.warnings) log.warn({ posture: 'self' }, warning);
  forget(process.env, self.remove);

  const closers: Array<() => Promise<void>> = [];
  const opened = <T extends { close(): Promise<void> }>(part: T): T => {
    closers.unshift(() => part.close());
    return part;
  };
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> =>
    (closing ??= (async () => {
      for (const step of closers)
        await step().catch((error: unknown) => log.error({ error: String(error) }, 'closing failed'));
    })());

  try {
    mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
    const telemetry = opened(
      await startTelemetry(config.telemetry, { name: 'remit-gateway', version: VERSION, node: config.node }),
    );

    const { state, ledger } = await openStores(config);
    opened(ledger);
    opened(state);
    const exchange = opened(await openExchange(config));
    const view = await openView(state, clock);
    closers.unshift(() => view.stop());

    // The name of the log is frozen into every checkpoint: made once, different in every installation.
    const origin = loadOrCreateText(
      join(config.dataDir, 'keys', 'log.origin'),
      () => `remit/${org}/${randomBytes(6).toString('hex')}`,
    );
    const signer = await loadOrCreateLogKey(join(config.dataDir, 'keys'), origin);
    let end: (fault: Error) => void = () => undefined;
    const failed = new Promise<never>((_resolve, reject) => (end = reject));
    failed.catch(() => undefined);
    const fail = (cause: Fault): void =>
      end(
        new Fault(
          cause.code,
          `the audit log can take no further entry (${cause.message}), so the gateway stopped; nothing was admitted after that. ` +
            `Check the disk and the database behind ${config.dataDir}, then start again: the start names the calls that were in flight`,
          { cause },
        ),
      );
    const audit = opened(
      await openAuditLog({
        ledger,
        org,
        origin,
        signer,
        clock,
        node: config.node,
        checkpointEveryMs: config.audit.checkpointEveryMs,
        // Also the guard against a database that was rolled back: at start the ledger must hold what was published.
        publishDir: config.audit.publishDir ?? join(config.dataDir, 'audit-log'),
        onFatal(fault) {
          log.fatal({ fault: fault.code }, 'the audit log failed: no further call is admitted');
          fail(fault);
        },
      }),
    );
    ledger.onFatal((fault) => fail(fault));
    const recovery = await recover({ ledger, audit, scope: config.store.kind === 'sqlite' ? 'all' : 'node' });
    closers.unshift(async () => void (await audit.record(gateEntry(audit.stamp(), { what: 'closed' }))));

    const recordAdmin: RunningGateway['recordAdmin'] = async (event) =>
      void (await audit.record(adminEntry(audit.stamp(), event)));
    const founded = await ensureFoundation(state, view, {
      org,
      issuers: config.issuers.map(({ issuer }) => issuer),
      adminClients: adminClients(config),
      newAgents: config.governance.newAgents,
      firstAdministrator: config.firstAdministrator,
    });
    if (founded) await recordAdmin({ what: 'foundation.written', revision: founded.revision, records: founded.wrote });
    await options.prepare?.({ state, view });
    const claim = openClaimFile({
      dataDir: config.dataDir,
      org,
      view,
      issuers: config.issuers.map(({ issuer }) => issuer),
      named: config.firstAdministrator !== undefined,
      now: clock.now(),
    });
    if (claim) {
      closers.unshift(async () => claim.code.close());
      log.warn(
        { file: claim.path, until: new Date(claim.until).toISOString() },
        'nobody administers this installation yet: sign in with `remit login`, then `remit claim -` with the code in this file',
      );
    }

    // An issuer on this machine or inside the company is reached only through the networks its own entry names.
    const ruleFor = (url: string): DialRule => ({
      allowedNetworks: config.issuers
        .filter(({ issuer, jwksUri, introspection }) =>
          [jwksUri ?? issuer, introspection?.url].some(
            (known) => known && new URL(known).origin === new URL(url).origin,
          ),
        )
        .flatMap(({ allowedNetworks }) => allowedNetworks),
      requireHttps: !isLoopback(url),
    });
    const leftOut = new Set<string>();
    const verifier = createTokenVerifier({
      issuers: config.issuers.map(({ introspection, ...issuer }) => ({
        ...issuer,
        ...(introspection && {
          introspection: {
            ...introspection,
            clientSecret: () => resolveSecret(introspection.clientSecret, process.env),
          },
        }),
      })),
      fetchJwks: (url) => guardedJson(url, { rule: ruleFor(url), timeoutMs: 5_000, maxBytes: 262_144 }),
      async postForm(url, request) {
        const { status, headers, body } = await guardedRequest(url, {
          ...request,
          rule: ruleFor(url),
          method: 'POST',
          maxBytes: 65_536,
        });
        return { status, contentType: String(headers['content-type'] ?? ''), body };
      },
      onLeftOut(issuer, claim, why) {
        // Said once: the operator has to change something at the issuer, not to read it at every sign-in.
        if (leftOut.has(`${issuer} ${claim}`)) return;
        leftOut.add(`${issuer} ${claim}`);
        log.warn({ issuer, claim, why }, 'a token does not hold all of an attribute: nothing is read from it');
      },
      proofs: { windowSeconds: config.tokens.proofWindowSeconds, nonces: config.tokens.proofNonces },
      maxActDepth: config.tokens.maxActDepth,
      clock,
      maxLifetimeSeconds: {
        user: config.tokens.maxLifetimeUserSeconds,
        machine: config.tokens.maxLifetimeMachineSeconds,
      },
      clockSkewSeconds: config.tokens.clockToleranceSeconds,
    });

    const incidents = incidentLog({
      org,
      clock,
      audit,
      state,
      record: (id) => view.get('incident', org, id),
      log: (level, fields, message) => log[level](fields, message),
    });
    const backend = isolationOf(config);
    const probe = await backend.probe();
    if (!probe.available)
      log.warn({ why: probe.why, remedy: probe.remedy }, 'local servers cannot start: isolation is missing');
    // Whoever may register a server must not thereby read the gateway's own environment or files.
    const broker = opened(
      await openBroker(config, {
        view,
        clock,
        onFault: (reference, code) => log.warn({ reference, code }, 'the place of a secret could not be read again'),
      }),
    );
    const egress = opened(
      await egressDoors({
        refused: (server, what) =>
          void incidents.report({ what: 'egress_refused', subject: `server/${server}`, facts: { ...what } }),
      }),
    );
    const linkKey = loadOrCreateSecret(join(config.dataDir, 'keys', 'links.key'), 32);
    const accounts = serverAccounts({
      clock,
      resolveSecret: broker.resolve,
      links: linksInFile(join(config.dataDir, `links-${org}.json`), sealedBox([linkKey], `links ${org}`)),
    });
    const running = runningBook(
      () => clock.now(),
      (server, reason, { backend: by }) =>
        void incidents.report({ what: 'process_ended', subject: `server/${server}`, facts: { reason, backend: by } }),
    );
    const pool = upstreamPool({
      clock,
      accounts,
      startProcess: running.watched(
        serverLauncher(backend, {
          openEgress: egress.open,
          holdsEgress: egress.touches,
          hostNetwork: config.sandbox.unsafeHostNetwork,
          artifacts: config.artifacts.folder,
        }),
      ),
      resolveSecret: broker.resolve,
      standing: broker.standing,
      log: countingViolations(({ level, ...event }) => log[level](event, `upstream ${event.event}`)),
    });

    // Held calls name pages on the admin listener, which opens later.
    let adminUrl: string | null = config.admin.publicUrl?.replace(/\/$/, '') ?? null;
    const sessionKeys = [loadOrCreateSecret(join(config.dataDir, 'keys', 'session.key'), 32)];
    const credentials = credentialsOf(org, view, broker, accounts);
    const tokensOf = (lock: Lock) => giveBack(lock, { org, view, credentials, accounts });
    // In the step that puts a change in force, so that the node that acknowledges it has acted on it.
    closers.unshift(async () => stopRechecking());
    const stopRechecking = recheckOn(view, pool, broker);

    const gateway = opened(
      await listening(
        'public',
        config.public,
        startGateway({
          org,
          node: config.node,
          version: VERSION,
          clock,
          state,
          exchange,
          view,
          audit,
          incidents,
          secrets: heldBy(broker.held, accounts.held),
          verifier,
          pool,
          sessionKeys,
          issuers: config.issuers.map(({ issuer }) => issuer),
          listen: {
            host: config.public.host,
            port: config.public.port,
            publicUrl: config.public.publicUrl ?? null,
            allowedHosts: config.public.allowedHosts,
            allowedOrigins: config.public.allowedOrigins,
          },
          limits: {
            callsPerMinutePerPerson: config.limits.callsPerMinutePerPerson,
            callsPerMinutePerAgent: config.limits.callsPerMinutePerAgent,
            callsPerMinutePerOrganisation: config.limits.callsPerMinutePerOrganisation,
            callsPerMinutePerServer: config.limits.callsPerMinutePerServer,
            callsPerMinutePerTool: config.limits.callsPerMinutePerTool,
            concurrentPerAgent: config.limits.maxConcurrentCallsPerAgent,
            concurrentPerServer: config.limits.maxConcurrentCallsPerServer,
            repeatsPerMinute: config.limits.repeatsPerMinute,
            readRepeatsPerMinute: config.limits.readRepeatsPerMinute,
            refusalsPerMinutePerCaller: config.limits.refusalsPerMinutePerCaller,
            concurrentPerPerson: config.limits.maxConcurrentCallsPerPerson,
            concurrentCalls: config.limits.maxConcurrentCalls,
            openStreams: config.limits.maxOpenStreams,
            maxBodyBytes: config.limits.maxBodyBytes,
            maxResultBytes: config.limits.maxResultBytes,
            callTimeoutMs: config.limits.callTimeoutMs,
            taskTimeoutMs: config.limits.taskTimeoutMs,
          },
          freshnessLimitMs: config.freshness.limitMs,
          catalogueRefreshMs: config.catalogue.refreshMs,
          labelWindowMs: config.informationFlow.windowMinutes * 60_000,
          approvals: {
            pendingMs: config.approvals.pendingMinutes * 60_000,
            validMs: config.approvals.validMinutes * 60_000,
            deniedHoldMs: config.approvals.deniedHoldMinutes * 60_000,
            openPerCaller: config.approvals.openPerCaller,
            holdMs: config.approvals.holdSeconds * 1_000,
            blockMs: config.approvals.blockSeconds * 1_000,
          },
          adminUrl: () => adminUrl,
          log: (level, fields, message) => log[level](fields, message),
        }),
      ),
    );

    const events =
      config.events.authorizationServers.length === 0
        ? null
        : opened(
            transmitter({
              org,
              clock,
              state,
              follower: view.follower,
              key: eventKey(loadOrCreateText(join(config.dataDir, 'keys', 'events.key'), newEventKey)),
              peers: config.events.authorizationServers.map(({ issuer, url, token, allowedNetworks }) => ({
                issuer,
                url,
                rule: { allowedNetworks, requireHttps: !isLoopback(url) },
                token: () => resolveSecret(token, process.env),
              })),
              log,
            }),
          );
    const advisories = await openAdvisories(config.artifacts.advisories, { clock, log });
    let notifier: Notifier | null = null;
    const adminContext: AdminContext = {
      facts: {
        host: config.admin.host,
        port: config.admin.port,
        publicUrl: config.admin.publicUrl ?? null,
        allowedHosts: config.admin.allowedHosts,
        mcpUrl: gateway.listener.url,
        issuers: config.issuers.map(({ issuer }) => issuer),
        version: VERSION,
        unsafeKeys,
        unsafeAuthorMayActivate: config.governance.unsafeAuthorMayActivate,
        unsafeOnePersonMayDecide: config.governance.unsafeOnePersonMayDecide,
        ownerlessAfterHours: config.governance.ownerlessAfterHours,
        unusedGrantsEndAfterDays: config.governance.unusedGrantsEndAfterDays,
        clients: adminClients(config),
        signIn: config.admin.signIn,
        freshnessLimitMs: config.freshness.limitMs,
        longestTokenMs:
          (Math.max(
            config.tokens.maxLifetimeUserSeconds,
            config.tokens.maxLifetimeMachineSeconds,
            ...config.issuers.flatMap(({ maxLifetimeSeconds: own }) => [own?.user ?? 0, own?.machine ?? 0]),
          ) +
            2 * config.tokens.clockToleranceSeconds) *
          1_000,
        posture: {
          store: config.store.kind,
          self: self.shown,
          sandbox: probe.available ? { ...probe.posture } : { backend: 'none', why: probe.why, remedy: probe.remedy },
        },
      },
      org,
      node: config.node,
      clock,
      state,
      follower: view.follower,
      snapshot: () => gateway.snapshot(),
      claim: claim?.code ?? null,
      pages: browserSignIn(config, ruleFor),
      breakGlass: breakGlass({ audit: { log: audit }, clock, log }),
      refusals: refusals({ audit: { log: audit }, clock, log }),
      audit: { log: audit, ledger, verifierKey: signer.vkey.text },
      verifier,
      // The snapshot that carries a lock has already cancelled what it falls on (gateway.ts) when this is called.
      stopped(id, lock) {
        const { calls, settled } = gateway.stoppedBy(id);
        return {
          calls,
          settled: Promise.all([settled(), tokensOf(lock)]).then(([unfinished, { revoked, left }]) => ({
            calls,
            unfinished,
            tokensRevoked: revoked,
            tokensLeft: left,
          })),
        };
      },
      artifacts: { folder: config.artifacts.folder, advisories: advisories.current },
      heldArguments: argumentsBox(sessionKeys, org),
      honeytokens: honeytokenBox(sessionKeys, org),
      onApproval: () => undefined,
      catalogue: {
        async refresh(server) {
          try {
            const value = await gateway.refresh(server);
            // Who asks for a refresh reads the tools next: they must be there.
            await view.advanceTo(await state.head());
            return { ok: true, value };
          } catch (error) {
            const code = isFault(error) ? error.code : 'unexpected';
            return {
              ok: false,
              error: { code, message: isFault(error) ? error.message : 'the server could not be looked at' },
            };
          }
        },
        status(server) {
          const status = pool.status().find(({ serverId }) => serverId === server);
          return {
            state: status === undefined ? 'down' : status.breaker === 'open' ? 'left alone' : status.state,
            seenAt: gateway.catalogue.seen(server)?.at ?? null,
            problem: status?.lastFault ?? null,
          };
        },
      },
      isolation: running.of,
      credentials,
      accounts: {
        ...accounts,
        async finish(server, target, callback, by, forWhom) {
          await accounts.finish(server, target, callback, by, forWhom);
          // A person's link concerns nobody else's connections.
          if (forWhom == null) await pool.close(server, 'its account was connected');
        },
      },
      events,
      shadows: gateway.shadows,
      notices: () => notifier?.status() ?? new Map(),
      metrics: telemetry.scrape,
      notReady: () => gateway.notReady(),
      log,
    };
    const admin = opened(await listening('admin', config.admin, startAdmin(adminContext)));
    adminUrl = admin.url;
    events?.start(admin.url);
    opened(watchSilence(adminContext));
    const { smtp } = config.notifications;
    notifier = opened(
      startNotifier({
        org,
        clock,
        state,
        follower: view.follower,
        snapshot: () => gateway.snapshot(),
        // Of no server: credentials that name servers are not theirs.
        resolveSecret: (reference) => broker.resolve(reference, ''),
        smtp: smtp
          ? {
              host: smtp.host,
              port: smtp.port,
              tls: smtp.tls,
              unsafePlain: smtp.unsafePlain,
              from: smtp.from,
              ...(smtp.user !== undefined && { user: smtp.user }),
              ...(smtp.password && { password: () => resolveSecret(smtp.password!, process.env, config.secrets) }),
            }
          : null,
        publicUrl: config.admin.publicUrl ?? admin.url,
        log,
      }),
    );
    opened(watchOwners(adminContext));
    opened(watchArtifacts(adminContext, { advisories, incidents }));
    opened(readEvidence(adminContext));
    opened(watchReviews(adminContext));
    opened(
      startPolling(adminContext, eventReceiver(adminContext), (reference) =>
        resolveSecret(reference, process.env, config.secrets),
      ),
    );

    return {
      mcpUrl: gateway.listener.url,
      adminUrl: admin.url,
      gateway,
      state,
      view,
      claimFile: claim && { path: claim.path, until: claim.until },
      verifierKey: signer.vkey.text,
      unknown: recovery.unknown,
      failed,
      recordAdmin,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Who may use the admin API; the pages use it as a client of their own. */
const adminClients = (config: Config): string[] => [
  ...new Set([...config.admin.clients, ...(config.issuers.length === 0 ? [] : [config.admin.pages.clientId])]),
];

function browserSignIn(config: Config, ruleFor: (url: string) => DialRule): BrowserSignIn | null {
  const { clientId, scope, idleSeconds, maxSeconds } = config.admin.pages;
  const issuer = config.admin.pages.issuer ?? config.issuers[0]?.issuer;
  if (issuer === undefined) return null;
  return { clientId, issuer, scope, idleMs: idleSeconds * 1_000, maxMs: maxSeconds * 1_000, rule: ruleFor(issuer) };
}

/** @throws Fault `listen_failed` that names the key to change, in place of what the operating system said. */
async function listening<T>(
  key: 'public' | 'admin',
  { host, port }: { readonly host: string; readonly port: number },
  started: Promise<T>,
): Promise<T> {
  try {
    return await started;
  } catch (cause) {
    const { code, syscall } = cause as NodeJS.ErrnoException;
    if (syscall !== 'listen' && syscall !== 'bind') throw cause;
    const why =
      code === 'EADDRINUSE'
        ? `port ${port} on ${host} is taken. Stop what listens there, or change ${key}.port`
        : `cannot listen on ${host} port ${port} (${code ?? 'unknown error'}). Change ${key}.host or ${key}.port`;
    throw new Fault('listen_failed', `${why} in the configuration`, { cause });
  }
}

async function openStores(config: Config) {
  if (config.store.kind === 'sqlite') {
    const state = await openSqliteState(join(config.dataDir, 'state.db'));
    try {
      return { state, ledger: await openSqliteLedger(join(config.dataDir, 'ledger.db')) };
    } catch (error) {
      await state.close();
      throw error;
    }
  }
  const url = await resolveSecret(config.store.url!, process.env);
  const state = await openPostgresState(url);
  try {
    return { state, ledger: await openPostgresLedger(url) };
  } catch (error) {
    await state.close();
    throw error;
  }
}

async function openExchange(config: Config): Promise<Exchange> {
  if (config.store.kind === 'sqlite') return openSqliteExchange(join(config.dataDir, 'exchange.db'));
  return openPostgresExchange(await resolveSecret(config.store.url!, process.env));
}

/** The authorization server of this configuration, in this process. @throws Fault with a message an operator can act on. */
export function runAuthServer(
  config: Config,
  log: Logger = processLog(config, 'remit-authserver'),
): Promise<RunningAuthServer> {
  if (config.authserver === undefined) {
    throw new Fault(
      'config_invalid',
      'the configuration has no "authserver" section; add one, or run `remit up` to try Remit',
    );
  }
  // Checked by the authorization server itself, which names every problem.
  const given = config.authserver as unknown as Parameters<typeof startAuthServer>[0];
  const settings =
    typeof given.dataDir === 'string' ? { ...given, dataDir: resolve(config.baseDir, given.dataDir) } : given;
  return startAuthServer(settings, { log });
}

/** JSON lines on standard error; whoever embeds a token in an error by mistake meets the redaction here. */
export function processLog(config: Pick<Config, 'log'>, name: string): Logger {
  return pino(
    {
      name,
      level: config.log.level,
      redact: {
        paths: ['token', 'authorization', 'password', 'secret', '*.token', '*.authorization', '*.password', '*.secret'],
        censor: '[redacted]',
      },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

function isLoopback(url: string): boolean {
  return ['127.0.0.1', '[::1]', 'localhost'].includes(new URL(url).hostname);
}
