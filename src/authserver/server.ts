/**
 * The authorization server as a process part: opens its own database and keys, listens, and closes cleanly.
 * One sequence of construction, in order. It knows gateways only by their metadata and never sees a tool call.
 */
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { KoaContextWithOIDC, Provider } from 'oidc-provider';
import { pino } from 'pino';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import { authStorage } from './adapter.ts';
import { programPaths, standardAnswers } from './answers.ts';
import type { ClientPolicy, TokenClaims } from './client-facts.ts';
import { CONSOLE_CLIENT, consoleClient, resolveSecrets, staticClients, strongSecret } from './clients.ts';
import { parseAuthServerConfig } from './config.ts';
import type { AuthServerConfig, AuthServerSettings } from './config.ts';
import { consentsClient, consentsPage } from './consents-page.ts';
import { consents } from './consents.ts';
import { flowCookies } from './cookies.ts';
import { openDatabase } from './database.ts';
import { deviceFlow } from './device.ts';
import { atMostPerMinute, fetchPublicDocument } from './documents.ts';
import type { FetchDocument } from './documents.ts';
import { doorkeeper, notReady, readRest, secureHeaders } from './edge.ts';
import { endings } from './endings.ts';
import type { Endings } from './endings.ts';
import { createEngine } from './engine.ts';
import { disabledAccounts, enabledOnly } from './events/accounts.ts';
import { startEvents } from './events/start.ts';
import { fail, logEvents, oneExit } from './failure.ts';
import { federation } from './federation/federation.ts';
import { clientsOfGrants, registerGrants } from './grants/register.ts';
import type { RegisteredGrants } from './grants/register.ts';
import { relaxedGrants } from './grants/settings.ts';
import { interactionRoutes } from './interactions.ts';
import { openKeys } from './keys.ts';
import { resourceDirectory } from './resources.ts';
import { registration } from './registration.ts';
import type { SharedParts } from './shared.ts';
import { tokenStatus } from './token-status.ts';
import { anyDirectory, createEvaluationUsers, evaluationDirectory, listEvaluationUsers } from './users.ts';
import type { CreatedEvaluationUser, NewEvaluationUser, PasswordDirectory } from './users.ts';

/** Parts that others replace. Every one has the safe default. */
export interface AuthServerParts {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** Local users. Default: the evaluation users if they are on, else nobody. */
  readonly directory?: PasswordDirectory;
  /** Default: every client that got this far. */
  readonly clientPolicy?: ClientPolicy;
  readonly tokenClaims?: TokenClaims;
  /** Default: the guarded dialler, public addresses over https only. */
  readonly fetchDocument?: FetchDocument;
  /** Where `env:NAME` references look. Default: this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface RunningAuthServer {
  readonly issuer: string;
  readonly port: number;
  /** New signing and cookie keys from now on; what was issued before stays verifiable until it expires. */
  rotateKeys(): void;
  /** @throws Fault `user_invalid`, `user_exists`; `evaluation_users_off` */
  createEvaluationUsers(users: readonly NewEvaluationUser[]): Promise<readonly CreatedEvaluationUser[]>;
  /** Ends people, clients, grants, sessions, and tells who must know. */
  readonly endings: Endings;
  listEvaluationUsers(): readonly { username: string; sub: string; name: string; email: string }[];
  /** Idempotent. Answers what is under way (for at most 5 s), then closes the database. */
  close(): Promise<void>;
}

/** Of clients' metadata documents and key sets, for all clients together. */
const FETCHES_PER_MINUTE = 120;
const SWEEP_EVERY_MS = 60_000;
const CLOSE_WITHIN_MS = 5_000;

/** @throws Fault `config_invalid`, `authserver_database_*`, `authserver_keys_unusable`, `authserver_listen_failed` */
export async function startAuthServer(
  config: AuthServerConfig,
  given: AuthServerParts = {},
): Promise<RunningAuthServer> {
  const settings = parseAuthServerConfig(config);
  const clock = given.clock ?? systemClock;
  const log = given.log ?? pino({ name: 'remit-authserver' });
  const env = given.env ?? process.env;
  const configured = staticClients(await resolveSecrets(settings.preregisteredClients, env));
  const ownConsole =
    configured.some(({ client_id: id }) => id === CONSOLE_CLIENT) || settings.trustedGateways.length === 0;
  const clients = ownConsole ? configured : [consoleClient(settings.trustedGateways), ...configured];
  const { initialAccessToken } = settings.registration;
  const registrationToken =
    initialAccessToken === undefined ? null : await strongSecret(initialAccessToken, 'registration', env);
  const db = openDatabase(settings.dataDir);
  let server: Server | undefined;
  try {
    const { accessSeconds, sessionSeconds, interactionSeconds } = settings.lifetimes;
    const keys = openKeys(
      settings.dataDir,
      { tokenSeconds: accessSeconds, cookieSeconds: Math.max(sessionSeconds, interactionSeconds) },
      clock,
    );
    let handle: (request: IncomingMessage, response: ServerResponse) => void = notReady;
    server = createServer(
      { requestTimeout: 15_000, headersTimeout: 10_000, maxHeaderSize: 16_384 },
      (request, response) => handle(request, response),
    );
    server.maxConnections = 1_000;
    const port = await listen(server, settings);
    const issuer = settings.issuer.replace(/:0$/, `:${port}`);

    const ends = endings(db, clock, accessSeconds);
    const note = (event: string, facts: Record<string, unknown>): void => log.info(facts, event);
    const passwords = given.directory ?? (settings.evaluationUsers ? evaluationDirectory(db, clock) : null);
    const federated = federation({
      issuer,
      providers: settings.identityProviders,
      db,
      clock,
      env,
      note,
    });
    const storage = authStorage(db, clock, (grantId) => ends.endGrant(grantId, 'reuse'));
    const shared: SharedParts = {
      issuer,
      settings,
      db,
      clock,
      keys,
      storage,
      consents: consents(db, clock),
      endings: ends,
      resources: resourceDirectory({ issuer, gateways: settings.trustedGateways }),
      directory: enabledOnly(
        anyDirectory(...(passwords === null ? [] : [passwords]), federated.accounts),
        disabledAccounts(db, clock),
      ),
      clientPolicy: given.clientPolicy ?? (() => ({ allow: true })),
      tokenClaims: given.tokenClaims ?? (() => ({})),
      fetchDocument: atMostPerMinute(FETCHES_PER_MINUTE, given.fetchDocument ?? fetchPublicDocument, clock),
      note,
    };
    const events = startEvents(shared);
    const registered = registration(db, clock, settings.registration, registrationToken);
    const devices = deviceFlow(clock, note);

    const programs = programPaths(settings.registration.mayRegister !== 'nobody');

    const build = (): ReturnType<Provider['callback']> => {
      let grants: RegisteredGrants = { metadata: {} };
      const provider = createEngine({
        ...shared,
        clients: [consentsClient(issuer), ...clients, ...clientsOfGrants(settings)],
        registration: registered,
        deviceFlow: devices,
        moreMetadata: () => grants.metadata,
        renderError: (ctx, out, error) => fail(log, ctx, out, error),
      });
      grants = registerGrants(provider, shared);
      logEvents(provider, log);
      provider.on('grant.success', (ctx) => registered.used(ctx.oidc.client?.clientId ?? ''));
      provider.on('grant.revoked', (ctx, grantId) => endRevoked(ends, ctx, grantId));
      provider.use(async (ctx, next) => {
        ctx.set(secureHeaders(issuer));
        await next();
      });
      provider.use(oneExit(log));
      provider.use(standardAnswers(issuer, programs));
      provider.use(events.middleware);
      provider.use(registered.middleware);
      provider.use(devices.middleware);
      provider.use(tokenStatus(provider, { issuer, keys, endings: ends, clients: settings.preregisteredClients }));
      provider.use(consentsPage({ ...shared, provider, cookieKeys: () => keys.cookieKeys() }));
      provider.use(federated.routes);
      provider.use(
        interactionRoutes({
          ...shared,
          provider,
          passwords,
          federation: federated,
          cookieKeys: () => keys.cookieKeys(),
        }),
      );
      return provider.callback();
    };

    let engine = build();
    const renameCookies = flowCookies(issuer.startsWith('https:'));
    handle = doorkeeper({
      issuer,
      listener: `${settings.listen.host}:${port}`,
      requestsPerMinute: settings.requestsPerMinute,
      clock,
      programs,
      pass: (request, response) => {
        readRest(request, response);
        renameCookies(request, response);
        void engine(request, response);
      },
    });
    const sweeper = setInterval(() => {
      storage.sweep(10_000);
      ends.sweep();
    }, SWEEP_EVERY_MS);
    sweeper.unref();
    if (settings.evaluationUsers) log.warn('evaluation sign-in is on: local users, not for production');
    if (settings.unsafeSilentNativeConsent)
      log.warn('unsafeSilentNativeConsent is on: native clients get tokens without a click');
    for (const key of relaxedGrants(settings.grants)) log.warn(`${key} is on: a check of who gets a token is relaxed`);
    log.info({ issuer, port }, 'authorization server listening');

    let closing: Promise<void> | undefined;
    const running = server;
    return {
      issuer,
      port,
      rotateKeys: () => {
        keys.rotate();
        engine = build();
        log.info({ kid: keys.signingKey().kid }, 'keys rotated');
      },
      createEvaluationUsers: async (users) => {
        if (!settings.evaluationUsers)
          throw new Fault('evaluation_users_off', 'evaluationUsers is off in the configuration');
        return createEvaluationUsers(db, users, clock);
      },
      endings: ends,
      listEvaluationUsers: () => listEvaluationUsers(db),
      close: () =>
        (closing ??= closeServer(running)
          .then(() => events.close())
          .finally(() => {
            clearInterval(sweeper);
            db.close();
          })),
    };
  } catch (error) {
    server?.close();
    db.close();
    throw error;
  }
}

/** The engine has ended a grant by its own rules: given back by the client (RFC 7009), or a code or refresh token came twice. */
function endRevoked(ends: Endings, ctx: KoaContextWithOIDC, grantId: string): void {
  const { RefreshToken, AuthorizationCode, DeviceCode } = ctx.oidc.entities;
  const source = RefreshToken ?? AuthorizationCode ?? DeviceCode;
  const known = { sub: source?.accountId ?? null, clientId: ctx.oidc.client?.clientId ?? null };
  ends.endGrant(grantId, ctx.oidc.route === 'revocation' ? 'client' : 'reuse', known);
}

async function listen(server: Server, settings: AuthServerSettings): Promise<number> {
  const { host, port } = settings.listen;
  await new Promise<void>((resolve, reject) => {
    const failed = (cause: Error): void =>
      reject(new Fault('authserver_listen_failed', `cannot listen on ${host} port ${port}`, { cause }));
    server.once('error', failed);
    server.listen({ host, port }, () => {
      server.off('error', failed);
      resolve();
    });
  });
  return (server.address() as AddressInfo).port;
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const hurry = setTimeout(() => server.closeAllConnections(), CLOSE_WITHIN_MS);
  await closed;
  clearTimeout(hurry);
}
