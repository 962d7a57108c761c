/** A protected sink, its authorization server, and the accounts of a gateway that knows it, for the tests of upstream/oauth. */
import { afterEach } from 'vitest';
import type { Clock } from '../../src/lib/clock.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { AccountTarget } from '../../src/upstream/oauth/account.ts';
import { serverAccounts } from '../../src/upstream/oauth/accounts.ts';
import type { AuthTarget } from '../../src/upstream/oauth/auth-target.ts';
import { type LinkStore, linksInMemory } from '../../src/upstream/oauth/link.ts';
import { resolveSecret } from '../../src/upstream/secrets.ts';
import { httpServer, testPool } from '../support/upstreams/open.ts';
import { startAuthorizationSite, startProtected } from '../support/upstreams/protected.ts';
import type { SinkOptions } from '../support/upstreams/sink.ts';

const closers: Array<() => Promise<void>> = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

export const SECRET = 'canary-client-secret-5f1c';
process.env['REMIT_TEST_OAUTH_SECRET'] = SECRET;
export const secretRef = { secret: 'env:REMIT_TEST_OAUTH_SECRET' };
export const COMMON = { scopes: [], dpop: false, unsafeOriginIsAuthorizationServer: false };
export const CALLBACK = 'http://127.0.0.1:3999/callback';

export const credentials = (issuer: string, more: Partial<AuthTarget> = {}): AuthTarget =>
  ({
    grant: 'client_credentials',
    issuer,
    client: { method: 'client_secret_basic', id: 'remit', secret: secretRef },
    ...COMMON,
    ...more,
  }) as AuthTarget;

export const consented = (more: Partial<AuthTarget> = {}): AuthTarget =>
  ({ grant: 'authorization_code', client: { method: 'register', name: 'Remit' }, ...COMMON, ...more }) as AuthTarget;

export interface RigOptions extends SinkOptions {
  readonly clock?: Clock;
  readonly links?: LinkStore;
}

export async function startOAuthRig(options: RigOptions = {}) {
  const { clock = systemClock, links = linksInMemory() } = options;
  const site = await startAuthorizationSite();
  closers.push(site.close);
  const sink = await startProtected(site, options);
  closers.push(sink.close);
  const secrets = (reference: { readonly secret: string }) => resolveSecret(reference, process.env);
  const accounts = serverAccounts({ clock, resolveSecret: secrets, links });
  const pool = testPool({ clock, accounts });
  closers.push(pool.closeAll);
  const target = (auth: AuthTarget): AccountTarget => ({ url: sink.url, allowedNetworks: ['127.0.0.1/32'], auth });
  return {
    site,
    sink,
    accounts,
    pool,
    links,
    target,
    /** Another process with the same links. */
    restarted: () => serverAccounts({ clock, resolveSecret: secrets, links }),
    pass: (auth: AuthTarget, by = accounts) => by.of('sink', target(auth)).pass('POST', sink.url),
    connect: (auth: AuthTarget) =>
      pool.connection('sink', httpServer(sink.url, { era: options.era ?? 'modern', auth }, 5_000)),
    /** A second authorization server, of somebody else. */
    rogue: async () => {
      const other = await startAuthorizationSite();
      closers.push(other.close);
      return other;
    },
    begin: (auth: AuthTarget, by = 'omar') => accounts.begin('sink', target(auth), { redirectUri: CALLBACK, by }),
    finish: (auth: AuthTarget, callback: string, by = 'omar') => accounts.finish('sink', target(auth), callback, by),
    /** The answer of an honest authorization server to what `begin` gave. */
    callback: (url: string, more: Readonly<Record<string, string>> = {}): string => {
      const answer = new URL(CALLBACK);
      answer.searchParams.set('code', 'code-1');
      answer.searchParams.set('state', new URL(url).searchParams.get('state') ?? '');
      for (const [name, value] of Object.entries(more)) answer.searchParams.set(name, value);
      return answer.href;
    },
  };
}
