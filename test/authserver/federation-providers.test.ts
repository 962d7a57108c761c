/** Several providers and several organisations at one authorization server, and the page on which a person chooses. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cookieJar } from '../support/browser.ts';
import { oidcSettings, press, startFederated, walk } from './federation-fixture.ts';
import type { Federated } from './federation-fixture.ts';
import { fakeGateway, post } from './fixture.ts';
import type { FakeGateway } from './fixture.ts';

const PERSON = { name: 'Ada Lovelace', email: 'ada@globex.example' };

describe('ID-01: two organisations', () => {
  let at: Federated;
  let globex: FakeGateway;
  beforeAll(async () => {
    globex = await fakeGateway('/mcp/globex/files');
    at = await startFederated(
      (issuer) => [
        oidcSettings(issuer, {
          tenants: { claim: 'tid', organisations: { 't-acme': 'default', 't-globex': 'globex' } },
          scopes: ['tenant', 'groups'],
          forward: ['groups', 'department'],
        }),
        oidcSettings(issuer, { id: 'other', title: 'Globex only', organisation: 'globex' }),
      ],
      (gateway) => ({
        trustedGateways: [{ origin: gateway }, { origin: globex.origin, organisation: 'globex' }],
      }),
    );
    globex.document = { ...at.gateway.document, resource: globex.resource };
  });
  afterAll(async () => {
    await at.stop();
    await globex.stop();
  });

  test('the tenant claim says the organisation, and the token carries it with what is forwarded', async () => {
    await at.idp.visitor({ sub: 'ada', claims: { ...PERSON, tid: 't-acme', groups: ['dev'], department: 'R&D' } });
    const tokens = await at.signIn();
    expect(decodeJwt(tokens.access_token)).toMatchObject({
      sub: 'corp|ada',
      org: 'default',
      groups: ['dev'],
      department: 'R&D',
    });
  });

  test.for([
    ['another tenant of the table', { tid: 't-globex' }],
    ['a tenant that is not in the table', { tid: 't-evil' }],
    ['no tenant', {}],
    ['a list with the right tenant', { tid: ['t-acme'] }],
    ['the right tenant in other letters', { tid: 'T-ACME' }],
    ['the name of a member of every object', { tid: 'constructor' }],
    ['an e-mail address of the right domain and no tenant', { email: 'ada@t-acme' }],
  ] as const)('%s does not get in', async ([, claims]) => {
    await at.idp.visitor({ sub: 'mallory', claims: { ...PERSON, ...claims } });
    const stop = await at.visit();
    expect(stop.page?.status).toBe(400);
    expect(stop.page?.text).toContain('Sign-in did not work');
    expect(stop.page?.text).not.toMatch(/tenant/i);
  });

  test('a session of one organisation brings no consent and no code for a resource of the other', async () => {
    await at.idp.visitor({ sub: 'ada', claims: { ...PERSON, tid: 't-acme' } });
    const jar = cookieJar();
    expect((await at.visit({ jar })).page?.text).toContain('Ada Lovelace');
    const { url } = await at.visit({ jar, params: { resource: globex.resource } });
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      error: 'access_denied',
      error_description: 'the signed-in person may not use this server',
    });
  });

  test('a refresh token of one organisation buys nothing for the other', async () => {
    await at.idp.visitor({ sub: 'ada', claims: { ...PERSON, tid: 't-acme' } });
    const tokens = await at.signIn();
    const { status, body } = await post(`${at.server.issuer}/token`, {
      grant_type: 'refresh_token',
      client_id: 'mcp-client',
      refresh_token: String(tokens.refresh_token),
      resource: globex.resource,
    });
    expect([status, body['error']]).toEqual([400, 'invalid_target']);
  });

  test('somebody whom the provider moves to another tenant is of it from the next sign-in', async () => {
    await at.idp.visitor({ sub: 'mover', claims: { ...PERSON, tid: 't-acme' } });
    const tokens = await at.signIn();
    await at.idp.visitor({ sub: 'mover', claims: { ...PERSON, tid: 't-globex' } });
    const jar = cookieJar();
    const page = await at.visit({ jar, params: { resource: globex.resource } });
    expect(page.page?.text).toContain('Globex only');
    const link = [...(page.page?.text ?? '').matchAll(/href="([^"]*)">Corporate/g)][0]?.[1] ?? '';
    expect((await walk(new URL(link, page.url), jar)).page?.text).toContain('Allow');
    const { status, body } = await post(`${at.server.issuer}/token`, {
      grant_type: 'refresh_token',
      client_id: 'mcp-client',
      refresh_token: String(tokens.refresh_token),
    });
    expect([status, body['error']]).toEqual([400, 'invalid_target']);
  });

  describe('the page of several providers', () => {
    test('names those of the organisation, as links with a name, and works without a script', async () => {
      const { page } = await at.visit({ params: { resource: globex.resource } });
      expect(page?.status).toBe(200);
      const links = [...(page?.text ?? '').matchAll(/<a class="button" href="([^"]*)">([^<]*)<\/a>/g)];
      expect(links.map(([, , title]) => title)).toEqual(['Corporate account', 'Globex only']);
      expect(page?.text).not.toMatch(/<script|type="password"/i);
      expect(page?.headers.get('content-security-policy')).toContain("default-src 'none'");
    });

    test('cancel goes back to the client', async () => {
      const stop = await at.visit({ params: { resource: globex.resource } });
      const back = await press(stop, stop.jar, 'cancel');
      expect(back.url.searchParams.get('error')).toBe('access_denied');
    });

    test('a password is not asked for and not taken', async () => {
      const stop = await at.visit({ params: { resource: globex.resource } });
      expect((await press(stop, stop.jar, 'continue')).page?.status).toBe(400);
    });

    test('mix-up: the answer of one provider at the address of the other is refused', async () => {
      await at.idp.visitor({ sub: 'ada', claims: { ...PERSON, tid: 't-acme' } });
      const { url, jar } = await at.visit({ halt: (next) => next.pathname === '/federation/corp/callback' });
      const mixed = new URL(url);
      mixed.pathname = '/federation/other/callback';
      expect((await walk(mixed, jar)).page?.status).toBe(400);
      expect((await walk(url, jar)).page?.text).toContain('Ada Lovelace');
    });

    test('a provider of another organisation cannot be chosen by its address', async () => {
      const { url, jar } = await at.visit({ halt: (next) => next.pathname.startsWith('/interaction/') });
      const stop = await walk(new URL(`${url.pathname}/federation/other`, url), jar);
      expect(stop.page?.status).toBe(400);
      expect(stop.page?.text).toContain('Sign-in did not work');
    });
  });
});

test('what cannot be reached is said so, and the next try asks again', async () => {
  const at = await startFederated(() => [oidcSettings('http://127.0.0.1:9')]);
  try {
    const stop = await at.visit();
    expect([stop.page?.status, stop.page?.text.includes('temporarily_unavailable')]).toEqual([503, true]);
    const back = await press(stop, stop.jar, 'temporarily_unavailable');
    expect(back.url.searchParams.get('error')).toBe('temporarily_unavailable');
  } finally {
    await at.stop();
  }
});

test('metadata of another issuer is refused: the address is the same, the letters are not', async () => {
  const at = await startFederated((issuer) => [oidcSettings(`${issuer}/`)]);
  try {
    const stop = await at.visit();
    expect(stop.page?.status).toBe(400);
    expect(at.reasons().join()).toContain('another issuer');
  } finally {
    await at.stop();
  }
});

test('without evaluation users and without a provider nobody signs in, and the page says what to do', async () => {
  const at = await startFederated(() => []);
  try {
    expect((await at.visit()).page?.status).toBe(404);
  } finally {
    await at.stop();
  }
});
