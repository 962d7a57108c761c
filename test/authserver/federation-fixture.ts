/** An authorization server whose people sign in at a real OpenID provider, and a browser that walks between the two. */
import * as oidc from 'openid-client';
import type { AuthServerConfig } from '../../src/authserver/config.ts';
import type { IdentityProvider } from '../../src/authserver/federation/settings.ts';
import type { AskedSignIn } from '../../src/authserver/federation/step-up.ts';
import { cookieJar, hiddenFields } from '../support/browser.ts';
import type { CookieJar } from '../support/browser.ts';
import { IDP_SECRET, startOpenIdProvider } from '../support/idp/start.ts';
import type { TestProvider } from '../support/idp/start.ts';
import { REDIRECT, startFixture } from './fixture.ts';
import type { AuthorizeOptions, Fixture } from './fixture.ts';

export const NOTHING_ASKED: AskedSignIn = { maxAge: null, fresh: false, acr: [] };

type ProviderInput = Record<string, unknown>;

export const oidcSettings = (issuer: string, change: ProviderInput = {}): ProviderInput => ({
  id: 'corp',
  title: 'Corporate account',
  protocol: 'oidc',
  issuer,
  clientId: 'remit',
  clientAuthentication: { method: 'client_secret_basic', secret: 'env:IDP_SECRET' },
  ...(!('tenants' in change) && { organisation: 'default' }),
  ...change,
});

export interface Stop {
  readonly url: URL;
  /** null: the browser was sent to the client. */
  readonly page: { readonly status: number; readonly text: string; readonly headers: Headers } | null;
}

/** Follows redirects across origins until a page, the client's address, or an address that `halt` wants to see. */
export async function walk(
  start: string | URL,
  jar: CookieJar,
  halt: (url: URL) => boolean = () => false,
  init: RequestInit = {},
): Promise<Stop> {
  let url = new URL(start);
  let next: RequestInit = init;
  for (let hop = 0; hop < 20; hop++) {
    if (url.href.startsWith(REDIRECT) || (hop > 0 && halt(url))) return { url, page: null };
    const headers = new Headers(next.headers);
    const cookie = jar.header(url);
    if (cookie !== '') headers.set('cookie', cookie);
    const response = await fetch(url, { ...next, headers, redirect: 'manual', signal: AbortSignal.timeout(30_000) });
    jar.store(url, response);
    const location = response.headers.get('location');
    if (location === null)
      return { url, page: { status: response.status, text: await response.text(), headers: response.headers } };
    await response.body?.cancel();
    url = new URL(location, url);
    next = {};
  }
  throw new Error('too many redirects');
}

/** Sends the form of a page of our server. */
export const press = (stop: Stop, jar: CookieJar, decision: string): Promise<Stop> => {
  const fields = hiddenFields(stop.page?.text ?? '');
  const action = /<form[^>]* action="([^"]*)"/.exec(stop.page?.text ?? '')?.[1] ?? '';
  return walk(new URL(action, stop.url), jar, () => false, {
    method: 'POST',
    body: new URLSearchParams({ ...fields, decision }),
    headers: { origin: stop.url.origin, 'sec-fetch-site': 'same-origin' },
  });
};

export interface Federated extends Fixture {
  readonly idp: TestProvider;
  /** From the client to the page after sign-in, or wherever `halt` says. */
  visit(
    options?: AuthorizeOptions & { halt?: (url: URL) => boolean },
  ): Promise<Stop & { jar: CookieJar; verifier: string; state: string }>;
  /** The whole flow, to tokens. */
  signIn(options?: AuthorizeOptions): Promise<oidc.TokenEndpointResponse>;
  /** What the log says of refused sign-ins, newest last. */
  reasons(): string[];
}

export async function startFederated(
  settings: (issuer: string) => readonly ProviderInput[] = (issuer) => [oidcSettings(issuer)],
  change: (gatewayOrigin: string) => Partial<AuthServerConfig> = () => ({}),
): Promise<Federated> {
  const idp = await startOpenIdProvider();
  const at = await startFixture(
    (gateway) => ({
      evaluationUsers: false,
      identityProviders: settings(idp.issuer) as unknown as IdentityProvider[],
      ...change(gateway.origin),
    }),
    { env: { IDP_SECRET } },
  );
  await idp.configure(`${at.server.issuer}/federation/corp/callback`);
  const visit: Federated['visit'] = async ({ halt, jar = cookieJar(), ...options } = {}) => {
    const { url, verifier, state } = await at.authorizationUrl(options);
    return { ...(await walk(url, jar, halt)), jar, verifier, state };
  };
  return {
    ...at,
    idp,
    visit,
    signIn: async (options = {}) => {
      const first = await visit(options);
      const last = first.page === null ? first : await press(first, first.jar, 'allow');
      if (last.page !== null) throw new Error(`stopped at ${last.page.status} ${last.url.pathname} ${last.page.text}`);
      return oidc.authorizationCodeGrant(at.client, last.url, {
        pkceCodeVerifier: first.verifier,
        expectedState: first.state,
      });
    },
    reasons: () =>
      at.log.flatMap((line) => {
        const { msg, reason } = JSON.parse(line) as { msg?: string; reason?: string };
        return msg === 'federated sign-in refused' && reason !== undefined ? [reason] : [];
      }),
    stop: async () => {
      await at.stop();
      await idp.stop();
    },
  };
}
