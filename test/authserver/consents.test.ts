/** What a person allowed: listed and taken back by themselves; and the confused-deputy sequence, step by step. */
import { get as httpGet } from 'node:http';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { flowCookies } from '../../src/authserver/cookies.ts';
import type { Revoked } from '../../src/authserver/endings.ts';
import { startAuthServer } from '../../src/authserver/server.ts';
import { browser, cookieJar, hiddenFields } from '../support/browser.ts';
import type { CookieJar, Page } from '../support/browser.ts';
import { oidcSettings, startFederated, walk } from './federation-fixture.ts';
import { post, REDIRECT, startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

let at: Fixture;
let other: { username: string; password: string; sub: string };
const revoked: Revoked[] = [];

beforeAll(async () => {
  at = await startFixture();
  const [created] = await at.server.createEvaluationUsers([{ username: 'bob', name: 'Bob', email: 'bob@example.com' }]);
  if (created === undefined) throw new Error('no user');
  other = created;
  at.server.endings.onRevoked((event) => revoked.push(event));
});
afterAll(() => at.stop());
afterEach(() => void revoked.splice(0));

const pageOf = (result: { page: Page } | { leftFor: URL }): Page => {
  if ('leftFor' in result) throw new Error(`left for ${result.leftFor.href}`);
  return result.page;
};
const refresh = (token: unknown, client = 'mcp-client') =>
  post(`${at.server.issuer}/token`, { grant_type: 'refresh_token', client_id: client, refresh_token: String(token) });
const tokensIn = async (jar: CookieJar) => at.tokens({ jar });

describe('/consents', () => {
  test('lists what the person who is signed in allowed, escaped and dated, and offers to take it back', async () => {
    const jar = cookieJar();
    await tokensIn(jar);
    const page = pageOf(await browser(jar).open(`${at.server.issuer}/consents`));
    expect(page.status).toBe(200);
    for (const text of ['Ada Lovelace', 'mcp-client', at.gateway.resource, 'files:read', 'Take back'])
      expect(page.text).toContain(text);
    expect(page.text).not.toContain('<script');
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).toContain("form-action 'self'");
    expect(page.headers.get('cache-control')).toBe('no-store');
  });

  test('AN-08: what is taken back ends its refresh tokens at once, tells who listens, and is asked again', async () => {
    const jar = cookieJar();
    const tokens = await tokensIn(jar);
    const elsewhere = await at.tokens();
    const visit = browser(jar);
    let page = pageOf(await visit.open(`${at.server.issuer}/consents`));
    page = pageOf(await visit.submit(page, {}));
    expect(page.text).toContain('You have not allowed anything');
    for (const { refresh_token: token } of [tokens, elsewhere])
      expect((await refresh(token)).body['error']).toBe('invalid_grant');
    const ended = revoked.map((event) => (event.kind === 'grant' ? event.grantId : event.kind));
    for (const { access_token: token } of [tokens, elsewhere]) expect(ended).toContain(decodeJwt(token)['grant_id']);
    expect(revoked.every((event) => event.kind === 'grant' && event.sub === at.user.sub && event.by === 'person')).toBe(
      true,
    );
  });

  test('asks whoever is not signed in to sign in, by a client that gets no token, and comes back', async () => {
    const jar = cookieJar();
    const visit = browser(jar);
    const signIn = pageOf(await visit.open(`${at.server.issuer}/consents`));
    expect(signIn.text).toContain('Sign in to continue to your list of consents');
    const page = pageOf(
      await visit.submit(signIn, { username: other.username, password: other.password, decision: 'continue' }),
    );
    expect([page.status, page.text]).toEqual([200, expect.stringContaining('You have not allowed anything')]);
    // The same client with a resource gets nothing.
    const greedy = new URL(`${at.server.issuer}/authorize`);
    greedy.search = new URLSearchParams({
      client_id: 'remit-consents',
      response_type: 'code',
      scope: 'files:read',
      resource: at.gateway.resource,
      redirect_uri: `${at.server.issuer}/consents/signed-in`,
      code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      code_challenge_method: 'S256',
    }).toString();
    const refused = await fetch(greedy, { redirect: 'manual', headers: { accept: 'text/html' } });
    expect(refused.headers.get('location')).toContain('error=invalid_target');
  });

  test('shows and ends nobody else’s', async () => {
    const ada = cookieJar();
    const tokens = await tokensIn(ada);
    const adaPage = pageOf(await browser(ada).open(`${at.server.issuer}/consents`));
    const bob = cookieJar();
    const visit = browser(bob);
    const signIn = pageOf(await visit.open(`${at.server.issuer}/consents`));
    const bobPage = pageOf(
      await visit.submit(signIn, { username: other.username, password: other.password, decision: 'continue' }),
    );
    expect(bobPage.text).not.toContain('mcp-client');
    // Bob's session with the form of Ada's page: the token in it is for her session.
    const stolen = await fetch(`${at.server.issuer}/consents`, {
      method: 'POST',
      redirect: 'manual',
      headers: { cookie: bob.header(new URL(`${at.server.issuer}/consents`)), origin: at.server.issuer },
      body: new URLSearchParams(hiddenFields(adaPage.text)),
    });
    expect(stolen.status).toBe(403);
    expect((await refresh(tokens.refresh_token)).status).toBe(200);
  });

  const forgeries: [string, Record<string, string>, Record<string, string>][] = [
    ['from another site', { origin: 'https://evil.example' }, {}],
    ['from another port of this machine', { origin: 'http://127.0.0.1:1' }, {}],
    ['from no origin', {}, {}],
    ['with a guessed token', { origin: 'own' }, { form_token: 'AAAA' }],
    ['that says it is cross-site', { origin: 'own', 'sec-fetch-site': 'cross-site' }, {}],
  ];
  test.for(forgeries)('AN-11: a form %s is refused and ends nothing', async ([, headers, fields]) => {
    const jar = cookieJar();
    const tokens = await tokensIn(jar);
    const page = pageOf(await browser(jar).open(`${at.server.issuer}/consents`));
    const answer = await fetch(`${at.server.issuer}/consents`, {
      method: 'POST',
      redirect: 'manual',
      headers: {
        cookie: jar.header(new URL(page.url)),
        ...headers,
        ...(headers['origin'] === 'own' && { origin: at.server.issuer }),
      },
      body: new URLSearchParams({ ...hiddenFields(page.text), ...fields }),
    });
    expect(answer.status).toBe(403);
    expect((await refresh(tokens.refresh_token)).status).toBe(200);
    expect(revoked).toEqual([]);
  });
});

test('/consents of somebody who signs in at an identity provider asks that provider, whatever their organisation', async () => {
  const federated = await startFederated((issuer) => [oidcSettings(issuer, { organisation: 'globex' })]);
  try {
    await federated.idp.visitor({ sub: 'ada-1', claims: { name: 'Ada of Globex' } });
    const stop = await walk(`${federated.server.issuer}/consents`, cookieJar());
    expect(stop.page?.status).toBe(200);
    expect(stop.page?.text).toContain('Signed in as Ada of Globex');
  } finally {
    await federated.stop();
  }
});

describe('AN-11: the confused deputy', () => {
  const jar = cookieJar();

  test('a consent to one client gives another client nothing: the page is shown, and no code leaves before it is answered', async () => {
    await tokensIn(jar);
    // The person's browser, signed in and with a consent, is sent to the attacker's request.
    const { url } = await at.authorizationUrl({
      params: { client_id: 'mcp-inspector', redirect_uri: 'http://127.0.0.1:6666/oauth/callback' },
    });
    const page = pageOf(await browser(jar).open(url));
    expect(page.text).toContain('MCP Inspector');
    expect(page.text).toContain('127.0.0.1:6666');
    expect(page.headers.get('x-frame-options')).toBe('DENY');
    expect(page.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    const denied = await browser(jar).submit(page, { decision: 'deny' });
    expect('leftFor' in denied && denied.leftFor.searchParams.get('error')).toBe('access_denied');
  });

  test('the same client with another redirect address gets an error page and no redirect', async () => {
    const { url } = await at.authorizationUrl({ params: { redirect_uri: 'https://evil.example/callback' } });
    const page = pageOf(await browser(jar).open(url));
    expect([page.status, page.text]).toEqual([400, expect.stringContaining('invalid_redirect_uri')]);
  });

  test('the attacker’s own flow cannot be finished by the person: its page is not shown without its cookie', async () => {
    const attacker = cookieJar();
    const { url } = await at.authorizationUrl();
    const page = pageOf(await browser(attacker).open(url));
    const shown = pageOf(await browser(jar).open(page.url));
    expect([shown.status, shown.text]).toEqual([400, expect.stringContaining('invalid_request')]);
    // The twin: with the attacker's cookies it is shown. What keeps them out of the person's browser is their name.
    expect(pageOf(await browser(attacker).open(page.url)).status).toBe(200);
  });

  test('a flow is answered once: the second answer finds nothing', async () => {
    const visit = browser(jar);
    const { url } = await at.authorizationUrl();
    const page = pageOf(await visit.open(url));
    const first = await visit.submit(page, { decision: 'allow' });
    expect('leftFor' in first && first.leftFor.searchParams.has('code')).toBe(true);
    const second = await visit.submit(page, { decision: 'allow' });
    expect(pageOf(second).status).toBe(400);
  });

  test('three flows at once in one browser each come to their end', async () => {
    const visit = browser(jar);
    const urls = await Promise.all([at.authorizationUrl(), at.authorizationUrl(), at.authorizationUrl()]);
    const pages: Page[] = [];
    for (const { url } of urls) pages.push(pageOf(await visit.open(url)));
    for (const [n, page] of pages.entries()) {
      const end = await visit.submit(page, { decision: 'allow' });
      if (!('leftFor' in end)) throw new Error('no end');
      expect(end.leftFor.href.startsWith(REDIRECT)).toBe(true);
      expect(end.leftFor.searchParams.get('state')).toBe(urls[n]?.state);
    }
  });
});

describe('AN-11: a flow that a neighbour host plants into the browser', () => {
  const get = (
    port: number,
    path: string,
    cookie = '',
  ): Promise<{ status: number; cookies: string[]; location: string }> =>
    new Promise((resolve, reject) => {
      const headers = { host: 'as.example', cookie, accept: 'text/html' };
      httpGet({ host: '127.0.0.1', port, path, headers }, (response) => {
        response.resume();
        const { 'set-cookie': cookies = [], location = '' } = response.headers;
        resolve({
          status: response.statusCode ?? 0,
          cookies: cookies.map((line) => line.split(';', 1)[0] ?? ''),
          location,
        });
      }).on('error', reject);
    });

  test('is not shown: the names it can set are not those of a flow. Under the names it cannot set, it would be', async () => {
    const nobody = { authenticate: async () => null, find: async () => null };
    const secure = await startAuthServer(
      {
        issuer: 'https://as.example',
        listen: { host: '127.0.0.1', port: 0 },
        dataDir: join(at.dataDir, 'planted'),
        trustedGateways: [{ origin: at.gateway.origin }],
      },
      { log: pino({ level: 'silent' }), directory: nobody },
    );
    const document = at.gateway.document;
    try {
      at.gateway.document = { ...document, authorization_servers: ['https://as.example'] };
      const { search } = (await at.authorizationUrl()).url;
      const started = await get(secure.port, `/authorize${search}`);
      expect([started.status, started.cookies.length]).toEqual([303, 4]);
      expect(started.cookies.every((pair) => pair.startsWith('__Host-'))).toBe(true);
      const { pathname } = new URL(started.location, 'https://as.example');
      const uid = pathname.split('/').at(-1) ?? '';
      const engines = started.cookies.map((pair) => pair.replace('__Host-', '').replace(`-${uid}`, ''));
      const planted = [
        started.cookies.map((pair) => pair.replace('__Host-', '')),
        started.cookies.map((pair) => pair.replace('__Host-', '__Secure-')),
        engines,
      ];
      for (const pairs of planted) expect((await get(secure.port, pathname, pairs.join('; '))).status).toBe(400);
      // The twin: the same values are a flow as soon as the browser vouches for who set them.
      expect((await get(secure.port, pathname, started.cookies.join('; '))).status).toBe(200);
    } finally {
      at.gateway.document = document;
      await secure.close();
    }
  });
});

describe('AN-11: the cookies of a flow', () => {
  const FLOW = 'a'.repeat(43);
  const shown = (secure: boolean, path: string, cookie: string): string | undefined => {
    const request = { url: path, headers: { cookie } } as { url: string; headers: { cookie?: string } };
    flowCookies(secure)(
      request as unknown as Parameters<ReturnType<typeof flowCookies>>[0],
      { setHeader: () => undefined } as unknown as Parameters<ReturnType<typeof flowCookies>>[1],
    );
    return request.headers.cookie;
  };
  const rows: [string, boolean, string, string, string | undefined][] = [
    ['the own one', true, `/interaction/${FLOW}`, `__Host-remit_interaction-${FLOW}=v`, 'remit_interaction=v'],
    [
      'below its page',
      true,
      `/interaction/${FLOW}/federation/okta`,
      `__Host-remit_interaction-${FLOW}=v`,
      'remit_interaction=v',
    ],
    ['its signature', true, `/authorize/${FLOW}?x=1`, `__Host-remit_resume-${FLOW}.sig=s`, 'remit_resume.sig=s'],
    ['of another flow', true, `/interaction/${FLOW}`, `__Host-remit_interaction-${'b'.repeat(43)}=v`, undefined],
    [
      'planted by a neighbour host, without the prefix',
      true,
      `/interaction/${FLOW}`,
      `remit_interaction-${FLOW}=v`,
      undefined,
    ],
    ['planted under the engine’s own name', true, `/interaction/${FLOW}`, 'remit_interaction=v', undefined],
    [
      'planted under the old name',
      true,
      `/interaction/${FLOW}`,
      '__Secure-remit_interaction=v',
      '__Secure-remit_interaction=v',
    ],
    ['on another path', true, '/token', `__Host-remit_interaction-${FLOW}=v`, undefined],
    ['others pass', true, '/x', 'a=b; c=d', 'a=b; c=d'],
    [
      'over loopback http, where no prefix is possible',
      false,
      `/device/${FLOW}`,
      `remit_resume-${FLOW}=v`,
      'remit_resume=v',
    ],
  ];
  test.for(rows)('%s: what the engine sees', ([, secure, path, cookie, expected]) => {
    expect(shown(secure, path, cookie)).toBe(expected);
  });
});
