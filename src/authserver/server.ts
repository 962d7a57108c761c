/**
 * The authorization server as a process part: opens its own database and keys, listens, and closes cleanly. Everything
 * that fails leaves by one exit (`fail`): the reason with a reference to the log, the reference to the person.
 * It knows gateways only by their metadata and never sees a tool call.
 */
import type { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errors } from 'oidc-provider';
import type { Provider } from 'oidc-provider';
import { pino } from 'pino';
import type { Logger } from 'pino';
import type { Clock } from '../lib/clock.ts';
import { systemClock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import { newId } from '../lib/ids.ts';
import { isJsonObject } from '../lib/json.ts';
import { authStorage } from './adapter.ts';
import { parseAuthServerConfig } from './config.ts';
import type { AuthServerConfig, AuthServerSettings } from './config.ts';
import { consents } from './consents.ts';
import { windowCounter } from './counters.ts';
import { openDatabase } from './database.ts';
import { atMostPerMinute, fetchPublicDocument } from './documents.ts';
import type { FetchDocument } from './documents.ts';
import { createEngine } from './engine.ts';
import type { ClientPolicy, TokenClaims } from './engine.ts';
import { SIGN_IN_CLOSED, interactionRoutes } from './interactions.ts';
import { openKeys } from './keys.ts';
import { errorPage, pageHeaders } from './pages.ts';
import { resourceDirectory } from './resources.ts';
import { closedDirectory, createEvaluationUsers, evaluationDirectory, listEvaluationUsers } from './users.ts';
import type { CreatedEvaluationUser, NewEvaluationUser, UserDirectory } from './users.ts';

/** Parts that others replace. Every one has the safe default. */
export interface AuthServerParts {
  readonly log?: Logger;
  readonly clock?: Clock;
  /** Federated sign-in. Default: the evaluation users if they are on, else nobody. */
  readonly directory?: UserDirectory;
  /** Default: every client that got this far. */
  readonly clientPolicy?: ClientPolicy;
  readonly tokenClaims?: TokenClaims;
  /** Default: the guarded dialler, public addresses over https only. */
  readonly fetchDocument?: FetchDocument;
}

export interface RunningAuthServer {
  readonly issuer: string;
  readonly port: number;
  /** New signing and cookie keys from now on; what was issued before stays verifiable until it expires. */
  rotateKeys(): void;
  /** @throws Fault `user_invalid`, `user_exists`; `evaluation_users_off` */
  createEvaluationUsers(users: readonly NewEvaluationUser[]): Promise<readonly CreatedEvaluationUser[]>;
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

    const storage = authStorage(db, clock);
    const remembered = consents(db, clock);
    const resources = resourceDirectory({ issuer, gateways: settings.trustedGateways });
    const directory = given.directory ?? (settings.evaluationUsers ? evaluationDirectory(db, clock) : closedDirectory);
    const fetchDocument = atMostPerMinute(FETCHES_PER_MINUTE, given.fetchDocument ?? fetchPublicDocument, clock);
    const note = (event: string, facts: Record<string, unknown>): void => log.info(facts, event);

    const build = (): ReturnType<Provider['callback']> => {
      const provider = createEngine({
        issuer,
        settings,
        keys,
        storage,
        consents: remembered,
        resources,
        directory,
        clientPolicy: given.clientPolicy ?? (() => ({ allow: true })),
        tokenClaims: given.tokenClaims ?? (() => ({})),
        fetchDocument,
        renderError: (ctx, out, error) => fail(log, ctx, out, error),
        note,
      });
      logEvents(provider, log);
      provider.use(async (ctx, next) => {
        secureHeaders(ctx, issuer);
        try {
          await next();
        } catch (error) {
          const known = error instanceof errors.OIDCProviderError && error.expose;
          ctx.status = known ? error.statusCode : 500;
          if (known && error.error_description === SIGN_IN_CLOSED) ctx.status = 404;
          fail(
            log,
            ctx,
            known ? { error: error.error, error_description: error.error_description } : { error: 'server_error' },
            error,
          );
        }
        if (ctx.status === 404 && ctx.body === undefined) notFound(ctx);
        // The engine hides the reason of a fault; the reference leads an operator to it.
        const answer: unknown = ctx.body;
        if (isJsonObject(answer) && answer['error'] === 'server_error') {
          ctx.body = {
            error: 'server_error',
            error_description: `internal error, reference ${String(ctx.state['reference'])}`,
          };
        }
      });
      provider.use(
        interactionRoutes({
          issuer,
          provider,
          directory,
          signInOpen: given.directory !== undefined || settings.evaluationUsers,
          resources,
          consents: remembered,
          cookieKeys: () => keys.cookieKeys(),
          note,
        }),
      );
      return provider.callback();
    };

    let engine = build();
    handle = doorkeeper({ settings, issuer, port, clock, pass: (request, response) => void engine(request, response) });
    const sweeper = setInterval(() => storage.sweep(10_000), SWEEP_EVERY_MS);
    sweeper.unref();
    if (settings.evaluationUsers) log.warn('evaluation sign-in is on: local users, not for production');
    if (settings.unsafeSilentNativeConsent)
      log.warn('unsafeSilentNativeConsent is on: native clients get tokens without a click');
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
      listEvaluationUsers: () => listEvaluationUsers(db),
      close: () =>
        (closing ??= closeServer(running).finally(() => {
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

/**
 * Adds evaluation users while no server runs on this folder.
 * @throws Fault `user_invalid`, `user_exists`, `authserver_database_locked` (a server runs: ask it instead)
 */
export async function provisionEvaluationUsers(
  dataDir: string,
  users: readonly NewEvaluationUser[],
): Promise<readonly CreatedEvaluationUser[]> {
  const db = openDatabase(dataDir);
  try {
    return await createEvaluationUsers(db, users, systemClock);
  } finally {
    db.close();
  }
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

const plain = (response: ServerResponse, status: number, text: string): void => {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(`${text}\n`);
};

const notReady = (_request: IncomingMessage, response: ServerResponse): void => plain(response, 503, 'starting');

/** Before the engine sees a request: too many, or for somebody else? Then every trace of another host name is removed. */
function doorkeeper(options: {
  readonly settings: AuthServerSettings;
  readonly issuer: string;
  readonly port: number;
  readonly clock: Clock;
  readonly pass: (request: IncomingMessage, response: ServerResponse) => void;
}): (request: IncomingMessage, response: ServerResponse) => void {
  const { settings, issuer } = options;
  const own = new URL(issuer);
  const hosts = new Set([own.host, `${settings.listen.host}:${options.port}`]);
  const requests = windowCounter({ windowMs: 60_000, maxKeys: 20_000, clock: options.clock });
  return (request, response) => {
    if (requests.add(request.socket.remoteAddress ?? '') > settings.requestsPerMinute) {
      response.setHeader('retry-after', '60');
      return plain(response, 429, 'too many requests; try again in a minute');
    }
    // ATTACKER-CONTROLLED: a name that resolves here (DNS rebinding) must not make this server speak for it.
    if (!hosts.has(request.headers.host ?? ''))
      return plain(response, 421, 'this server is not known by that host name');
    delete request.headers['x-forwarded-for'];
    request.headers['x-forwarded-host'] = own.host;
    request.headers['x-forwarded-proto'] = own.protocol.slice(0, -1);
    options.pass(request, response);
  };
}

interface ErrorContext {
  status: number;
  body?: unknown;
  readonly path: string;
  readonly method: string;
  set(headers: Record<string, string>): void;
}

const SENTENCES: Record<string, readonly [title: string, text: string]> = {
  server_error: ['Something went wrong', 'The server could not complete this step.'],
  temporarily_unavailable: [
    'Not available right now',
    'The server behind this request could not be reached. Try again in a moment.',
  ],
  invalid_client: [
    'This application is not known here',
    'An administrator can register it or list the host of its metadata document.',
  ],
};

/** The one exit for errors that end on a page. The log gets the reason, the person a reference to it. */
function fail(
  log: Logger,
  ctx: ErrorContext,
  out: { readonly error: string; readonly error_description?: string | undefined },
  error: unknown,
): void {
  const reference = newId('ref');
  const level = ctx.status >= 500 ? 'error' : 'info';
  log[level](
    {
      reference,
      path: pathForLog(ctx.path),
      method: ctx.method,
      status: ctx.status,
      code: out.error,
      ...reasonOf(error),
    },
    'request failed',
  );
  const [title, text] = SENTENCES[out.error] ?? [
    'This request cannot be continued',
    'The application sent a request that this server does not accept.',
  ];
  const detail =
    out.error === 'server_error' || out.error_description === undefined ? text : `${text} (${out.error_description})`;
  ctx.set(pageHeaders([]));
  ctx.body = errorPage({ title, text: detail, code: out.error, reference });
}

function notFound(ctx: ErrorContext): void {
  ctx.set(pageHeaders([]));
  ctx.body = errorPage({
    title: 'Nothing here',
    text: 'There is no such page on this authorization server.',
    code: null,
    reference: newId('ref'),
  });
  ctx.status = 404;
}

/** Interaction ids are half of a credential: they stay out of the log, like queries. */
const pathForLog = (path: string): string => path.replace(/^\/(interaction|authorize)\/.*/, '/$1/…');

/** The engine's errors hold protocol words only; of anything else only the kind and code are logged, for it may quote its input. */
function reasonOf(error: unknown): Record<string, unknown> {
  if (error instanceof errors.OIDCProviderError) return { reason: error.error_description, detail: error.error_detail };
  if (error instanceof Fault) return { fault: error.code };
  if (error instanceof Error)
    return {
      fault: error.name,
      at: error.stack
        ?.split('\n')
        .slice(1, 6)
        .map((line) => line.trim()),
    };
  return { fault: typeof error };
}

function secureHeaders(ctx: { set(headers: Record<string, string>): void }, issuer: string): void {
  ctx.set({
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    // `no-referrer` would turn the Origin of our own forms into `null`.
    'referrer-policy': 'same-origin',
    'content-security-policy': `default-src 'none'; frame-ancestors 'none'`,
    'cross-origin-opener-policy': 'same-origin',
    ...(issuer.startsWith('https:') && { 'strict-transport-security': 'max-age=31536000' }),
  });
}

function logEvents(provider: Provider, log: Logger): void {
  const failed =
    (event: string) => (ctx: { path: string; oidc?: { client?: { clientId: string } | undefined } }, error: Error) =>
      log.info({ event, clientId: ctx.oidc?.client?.clientId, ...reasonOf(error) }, 'refused');
  provider.on('authorization.error', failed('authorization'));
  provider.on('grant.error', failed('token'));
  provider.on('revocation.error', failed('revocation'));
  provider.on('server_error', (ctx, error) => {
    const reference = newId('ref');
    ctx.state['reference'] = reference;
    log.error({ reference, path: pathForLog(ctx.path), ...reasonOf(error) }, 'server error');
  });
  provider.on('grant.success', (ctx) => {
    const { client, entities, params } = ctx.oidc;
    log.info(
      {
        clientId: client?.clientId,
        sub: entities.Account?.accountId,
        grant: params?.['grant_type'],
        aud: entities.AccessToken?.aud,
        scope: entities.AccessToken?.scope,
        jti: entities.AccessToken?.jti,
      },
      'token issued',
    );
  });
  provider.on('grant.revoked', (ctx) => log.warn({ clientId: ctx.oidc.client?.clientId }, 'grant revoked'));
  // Koa would print to the console.
  (provider as EventEmitter).on('error', (error: unknown) => log.error(reasonOf(error), 'unhandled error'));
}
