/**
 * Dynamic registration (RFC 7591), off by default. Promises: who may register is decided before anything is stored, no
 * secret is handed out, nobody is evicted to make room (a full register refuses), and what is not used expires. What a
 * client says of itself is its own claim; the consent page says so. Clients that stay should be pre-registered.
 */
import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { errors } from 'oidc-provider';
import type { AdapterFactory, Configuration, Provider } from 'oidc-provider';
import type { Clock } from '../lib/clock.ts';
import { REGISTERED_PREFIX } from './clients.ts';
import type { AuthServerSettings } from './config.ts';
import { isLoopbackHost } from './config.ts';

type Middleware = Parameters<Provider['use']>[0];

export const REGISTRATION_PATH = '/register';

export interface Registration {
  readonly feature: NonNullable<NonNullable<Configuration['features']>['registration']>;
  readonly middleware: Middleware;
  /** Stores registered clients within their limits. Leaves every other model alone. */
  storage(adapter: AdapterFactory): AdapterFactory;
  /** Why this metadata may not be registered, or null. Asked again at every use, so that a stricter policy holds for old ones. */
  problem(metadata: { readonly redirect_uris?: unknown; readonly token_endpoint_auth_method?: unknown }): string | null;
  /** A client that gets tokens is in use: its registration lives on. */
  used(clientId: string): void;
}

const HOUR_SECONDS = 3_600;

export function registration(
  db: DatabaseSync,
  clock: Clock,
  settings: AuthServerSettings['registration'],
  initialAccessToken: string | null,
): Registration {
  const nowSeconds = (): number => Math.floor(clock.now() / 1_000);
  const keepSeconds = settings.unusedDays * 86_400;
  const countAll = db.prepare(
    `SELECT count(*) AS n FROM entity WHERE model = 'Client' AND (expires_at IS NULL OR expires_at > ?)`,
  );
  const countSince = db.prepare(
    `SELECT count(*) AS n FROM entity WHERE model = 'Client' AND json_extract(payload, '$.client_id_issued_at') > ?`,
  );
  const prolong = db.prepare(`UPDATE entity SET expires_at = ? WHERE model = 'Client' AND id = ?`);
  const hosts = new Set(settings.redirectHosts);

  return {
    feature: {
      enabled: settings.mayRegister !== 'nobody',
      idFactory: () => `${REGISTERED_PREFIX}${randomBytes(16).toString('base64url')}`,
      initialAccessToken: initialAccessToken ?? false,
      issueRegistrationAccessToken: false,
    },
    middleware: async (ctx, next) => {
      if (ctx.path !== REGISTRATION_PATH || ctx.method !== 'POST') return next();
      const until = settings.initialAccessTokenExpiresAt;
      if (settings.mayRegister === 'holders' && until !== undefined && Date.parse(until) <= clock.now()) {
        ctx.status = 401;
        ctx.set('www-authenticate', 'Bearer error="invalid_token"');
        ctx.body = {
          error: 'invalid_token',
          error_description: 'registration needs a valid initial access token; ask an administrator for one',
        };
        return;
      }
      await next();
    },
    storage: (factory) => (model) => {
      const inner = factory(model);
      if (model !== 'Client') return inner;
      return {
        ...inner,
        upsert: async (id, payload) => {
          // INVARIANT: nothing is awaited between the count and the insert.
          const now = nowSeconds();
          if (Number(countAll.get(now)?.['n']) >= settings.maxClients)
            throw full('the register of clients is full; ask an administrator to register this client');
          if (Number(countSince.get(now - HOUR_SECONDS)?.['n']) >= settings.maxPerHour)
            throw full('too many clients registered within the hour; try again later');
          return inner.upsert(id, payload, keepSeconds);
        },
      };
    },
    problem: ({ redirect_uris: uris, token_endpoint_auth_method: method }) => {
      if (method !== 'none' && method !== 'private_key_jwt')
        return 'token_endpoint_auth_method must be none (with PKCE) or private_key_jwt: registration hands out no secrets';
      for (const uri of Array.isArray(uris) ? uris : []) {
        const url = URL.parse(String(uri));
        const local = url?.protocol === 'http:' && isLoopbackHost(url.hostname);
        const listed = url?.protocol === 'https:' && hosts.has(url.hostname);
        if (!local && !listed)
          return 'redirect_uris may name loopback addresses and hosts that an administrator has listed, and no others';
      }
      return null;
    },
    used: (clientId) => {
      if (clientId.startsWith(REGISTERED_PREFIX)) prolong.run(nowSeconds() + keepSeconds, clientId);
    },
  };
}

function full(description: string): errors.OIDCProviderError {
  const error = new errors.TemporarilyUnavailable(description);
  error.status = 429;
  error.statusCode = 429;
  return error;
}
