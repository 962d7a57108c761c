/**
 * Where errors leave: one exit for pages, one for JSON, one log. The reason goes to the log under a reference, the
 * reference to whoever asked. Does not decide what is an error.
 */
import type { EventEmitter } from 'node:events';
import { errors } from 'oidc-provider';
import type { Provider } from 'oidc-provider';
import type { Logger } from 'pino';
import { Fault } from '../lib/fault.ts';
import { newId } from '../lib/ids.ts';
import { isJsonObject } from '../lib/json.ts';
import { SIGN_IN_CLOSED } from './interactions.ts';
import { errorPage, pageHeaders } from './pages.ts';

/** Around everything: whatever is thrown below becomes a page, and a fault the engine hid gets its reference. */
export function oneExit(log: Logger): Parameters<Provider['use']>[0] {
  return async (ctx, next) => {
    try {
      await next();
    } catch (error) {
      const known = error instanceof errors.OIDCProviderError && error.expose;
      ctx.status = known ? error.statusCode : 500;
      if (known && error.error_description === SIGN_IN_CLOSED) ctx.status = 404;
      const out = known
        ? { error: error.error, error_description: error.error_description }
        : { error: 'server_error' };
      fail(log, ctx, out, error);
    }
    if (ctx.status === 404 && ctx.body === undefined) notFound(ctx);
    const answer: unknown = ctx.body;
    if (isJsonObject(answer) && answer['error'] === 'server_error') {
      const description = `internal error, reference ${String(ctx.state['reference'])}`;
      ctx.body = { error: 'server_error', error_description: description };
    }
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
export function fail(
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

export function logEvents(provider: Provider, log: Logger): void {
  const failed =
    (event: string) => (ctx: { path: string; oidc?: { client?: { clientId: string } | undefined } }, error: Error) =>
      log.info({ event, clientId: ctx.oidc?.client?.clientId, ...reasonOf(error) }, 'refused');
  provider.on('authorization.error', failed('authorization'));
  provider.on('grant.error', failed('token'));
  // Our own access tokens end up here, and are answered for afterwards (token-status.ts).
  provider.on('revocation.error', (ctx, error) => {
    if (error.error !== 'unsupported_token_type') failed('revocation')(ctx, error);
  });
  provider.on('introspection.error', (ctx, error) => {
    if (error.error !== 'unsupported_token_type') failed('introspection')(ctx, error);
  });
  provider.on('pushed_authorization_request.error', failed('pushed request'));
  provider.on('device_authorization.error', failed('device'));
  provider.on('registration_create.error', failed('registration'));
  provider.on('registration_create.success', (_ctx, client) =>
    log.warn({ clientId: client.clientId, name: client.clientName }, 'a client registered itself'),
  );
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
