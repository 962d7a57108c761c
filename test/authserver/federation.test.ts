/** Sign-in at a real OpenID provider in another process: what becomes of a person, and everything that must stop it. */
import { decodeJwt } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { SECOND_FACTOR_ACR } from '../../src/lib/second-factor.ts';
import { cookieJar } from '../support/browser.ts';
import type { Lie } from '../support/idp/openid-provider.ts';
import { oidcSettings, press, startFederated, walk } from './federation-fixture.ts';
import type { Federated, Stop } from './federation-fixture.ts';
import { REDIRECT, post } from './fixture.ts';

const ADA = {
  sub: 'ada-1',
  claims: {
    name: 'Ada Lovelace',
    email: 'ada@corp.example',
    groups: ['engineering', 'on-call'],
    sid: 'corp-session-1',
  },
  acr: 'urn:example:mfa',
  amr: ['pwd', 'otp'],
};

const now = (): number => Math.floor(Date.now() / 1_000);
const failedPage = (stop: Stop): { code: string; reference: string } => ({
  code: /<dt>Code<\/dt><dd><code>([^<]*)/.exec(stop.page?.text ?? '')?.[1] ?? `none: ${stop.page?.text}`,
  reference: /<code>(ref_[^<]*)/.exec(stop.page?.text ?? '')?.[1] ?? '',
});

describe('with one provider for the organisation', () => {
  let at: Federated;
  beforeAll(async () => {
    at = await startFederated((issuer) => [
      oidcSettings(issuer, { forward: ['groups'], scopes: ['groups', 'tenant'] }),
    ]);
  });
  afterAll(() => at.stop());
  afterEach(() => at.idp.lie(null));

  test('the browser goes straight there and comes back to consent; the token says who, how and when', async () => {
    await at.idp.visitor({ ...ADA, authTime: now() - 90 });
    const tokens = await at.signIn();
    const claims = decodeJwt(tokens.access_token);
    expect(claims).toMatchObject({ sub: 'corp|ada-1', aud: at.gateway.resource, iss: at.server.issuer });
    expect(claims['auth_time']).toBe(
      decodeJwt(tokens.access_token)['iat']! - ((claims.iat ?? 0) - Number(claims['auth_time'])),
    );
    expect(now() - Number(claims['auth_time'])).toBeGreaterThanOrEqual(90);
    expect(now() - Number(claims['auth_time'])).toBeLessThan(110);
  });

  test('a refresh needs no provider', async () => {
    await at.idp.visitor(ADA);
    const tokens = await at.signIn();
    const again = await post(`${at.server.issuer}/token`, {
      grant_type: 'refresh_token',
      client_id: 'mcp-client',
      refresh_token: String(tokens.refresh_token),
    });
    expect(again.status).toBe(200);
    expect(decodeJwt(String(again.body['access_token'])).sub).toBe('corp|ada-1');
  });

  test('the request carries PKCE S256, state and nonce, no resource and no audience', async () => {
    await at.idp.visitor(ADA);
    const { url } = await at.visit({ halt: (next) => next.origin === at.idp.issuer });
    const params = Object.fromEntries(url.searchParams);
    expect(params).toMatchObject({ response_type: 'code', code_challenge_method: 'S256', client_id: 'remit' });
    expect(params['code_challenge']).toMatch(/^[\w-]{43}$/);
    expect(params['state']).toMatch(/^[\w-]{43}$/);
    expect(params['nonce']).toMatch(/^[\w-]{43}$/);
    expect(params['redirect_uri']).toBe(`${at.server.issuer}/federation/corp/callback`);
    expect(Object.keys(params)).not.toEqual(expect.arrayContaining(['resource']));
    expect(Object.keys(params)).not.toEqual(expect.arrayContaining(['audience']));
  });

  test('another account: the provider is asked to let the person choose', async () => {
    await at.idp.visitor(ADA);
    const consent = await at.visit();
    const jar = consent.jar;
    const fields = { ...consent };
    const stop = await walk(consent.url, jar);
    expect(stop.page?.text).toContain('Ada Lovelace');
    const asked: string[] = [];
    const action = /<form[^>]* action="([^"]*)"/.exec(fields.page?.text ?? '')?.[1] ?? '';
    await walk(
      new URL(action, consent.url),
      jar,
      (next) => {
        if (next.origin === at.idp.issuer) asked.push(next.searchParams.get('prompt') ?? '');
        return next.origin === at.idp.issuer;
      },
      {
        method: 'POST',
        body: new URLSearchParams({ ...hidden(fields), decision: 'switch' }),
        headers: { origin: at.server.issuer, 'sec-fetch-site': 'same-origin' },
      },
    );
    expect(asked).toEqual(['select_account']);
  });

  describe('an ID token is refused, recorded, and the page does not say why', () => {
    const lies: readonly [title: string, lie: Lie, reason: RegExp][] = [
      ['of another issuer', { claims: { iss: 'https://evil.example' } }, /JWT_CLAIM_COMPARISON/],
      ['for another audience', { claims: { aud: 'someone-else' } }, /JWT_CLAIM_COMPARISON/],
      ['for two audiences without azp', { claims: { aud: ['remit', 'someone-else'] } }, /does not hold/],
      ['for another authorized party', { claims: { aud: ['remit', 'x'], azp: 'x' } }, /does not hold/],
      ['with another nonce', { claims: { nonce: 'another' } }, /JWT_CLAIM_COMPARISON/],
      ['without a nonce', { drop: 'nonce' }, /INVALID_RESPONSE|JWT_CLAIM/],
      ['that has expired beyond the clock skew', { claims: { exp: now() - 60 } }, /JWT_TIMESTAMP/],
      ['not valid yet beyond the clock skew', { claims: { nbf: now() + 3_600 } }, /JWT_TIMESTAMP/],
      ['without an expiry', { drop: 'exp' }, /INVALID_RESPONSE|does not hold/],
      ['without a subject', { drop: 'sub' }, /does not hold/],
      ['unsigned (none)', { alg: 'none' }, /does not hold/],
      ['signed with the client secret (HS256)', { alg: 'HS256' }, /does not hold/],
      ['signed with another key', { foreignKey: true }, /does not hold/],
      ['with an unknown key id', { kid: 'unknown' }, /does not hold/],
      ['with a broken signature', { breakSignature: true }, /does not hold/],
      ['whose subject is too long for a name', { claims: { sub: 'x'.repeat(300) } }, /cannot name a person/],
      ['whose subject has spaces and controls', { claims: { sub: 'ada\u0000 root' } }, /cannot name a person/],
      ['whose subject is a list', { claims: { sub: ['ada-1'] } }, /does not hold|missing/],
    ];
    test.for(lies)('AN-11: %s', async ([, lie, reason]) => {
      await at.idp.visitor(ADA);
      await at.idp.lie(lie);
      const before = at.reasons().length;
      const stop = await at.visit();
      expect(stop.page?.status).toBe(400);
      expect(failedPage(stop).code).toBe('access_denied');
      // As whole words: random values in the page's links can contain any three letters.
      expect(stop.page?.text).not.toMatch(/\b(?:nonce|audience|signature|JWT|issuer)\b/i);
      expect(at.reasons().slice(before).join()).toMatch(reason);
      const back = await press(stop, stop.jar, 'access_denied');
      expect(back.page).toBeNull();
      expect(back.url.href.startsWith(REDIRECT)).toBe(true);
      expect(Object.fromEntries(back.url.searchParams)).toMatchObject({
        error: 'access_denied',
        error_description: 'the person could not be signed in',
        iss: at.server.issuer,
      });
    });

    test('vulnerable twin: told nothing wrong, the same way leads to consent', async () => {
      await at.idp.visitor(ADA);
      await at.idp.lie({ claims: {} });
      expect((await at.visit()).page?.text).toContain('Ada Lovelace');
    });

    test('within the clock skew an ID token still counts', async () => {
      await at.idp.visitor(ADA);
      await at.idp.lie({ claims: { exp: now() - 5 } });
      expect((await at.visit()).page?.text).toContain('Ada Lovelace');
    });
  });

  test("the provider's own error and text reach neither the page nor the client", async () => {
    await at.idp.visitor({ ...ADA, error: 'access_denied' });
    const stop = await at.visit();
    expect(failedPage(stop)).toMatchObject({ code: 'access_denied' });
    expect(stop.page?.text).not.toContain('text of the provider');
    const { reference } = failedPage(stop);
    expect(at.log.some((line) => line.includes(reference))).toBe(true);
    const back = await press(stop, stop.jar, 'access_denied');
    expect(back.url.href).not.toContain('provider+text');
    expect(back.url.searchParams.get('error')).toBe('access_denied');
  });

  test.for([
    ['temporarily_unavailable', 'temporarily_unavailable', 503],
    ['server_error', 'temporarily_unavailable', 503],
    ['unmet_authentication_requirements', 'access_denied', 400],
  ] as const)('the error %s of the provider is %s for the client', async ([error, code, status]) => {
    await at.idp.visitor({ ...ADA, error });
    const stop = await at.visit();
    expect([stop.page?.status, failedPage(stop).code]).toEqual([status, code]);
    const back = await press(stop, stop.jar, code);
    expect(back.url.searchParams.get('error')).toBe(code);
  });

  test('a token endpoint that fails is a reason to try again', async () => {
    await at.idp.visitor(ADA);
    await at.idp.lie({ status: 502 });
    expect(failedPage(await at.visit()).code).toBe('temporarily_unavailable');
  });

  describe('AN-11: the way back', () => {
    const callback = (next: URL) => next.pathname === '/federation/corp/callback';

    test('counts once: the same callback again is refused', async () => {
      await at.idp.visitor(ADA);
      const { url, jar } = await at.visit({ halt: callback });
      expect((await walk(url, jar)).page?.text).toContain('Ada Lovelace');
      const again = await walk(url, jar);
      expect(again.page?.status).toBe(400);
      expect(again.page?.text).toContain('was finished before');
    });

    test('counts only in the browser that asked (login CSRF)', async () => {
      await at.idp.visitor({ ...ADA, sub: 'mallory' });
      const attacker = await at.visit({ halt: callback });
      const victim = await walk(attacker.url, cookieJar());
      expect(victim.page?.status).toBe(400);
      expect(victim.page?.text).not.toContain('mallory');
    });

    test('counts only in the interaction that asked, also when the victim has one of their own', async () => {
      await at.idp.visitor({ ...ADA, sub: 'mallory' });
      const attacker = await at.visit({ halt: callback });
      const victim = await at.visit({ halt: (next) => next.origin === at.idp.issuer });
      const stop = await walk(attacker.url, victim.jar);
      expect(stop.page?.status).toBe(400);
      expect(stop.page?.text).not.toContain('Allow access');
    });

    test('with a code of another sign-in is refused (code injection)', async () => {
      await at.idp.visitor({ ...ADA, sub: 'mallory' });
      const attacker = await at.visit({ halt: callback });
      await at.idp.visitor(ADA);
      const victim = await at.visit({ halt: callback });
      const forged = new URL(victim.url);
      forged.searchParams.set('code', attacker.url.searchParams.get('code') ?? '');
      const stop = await walk(forged, victim.jar);
      expect(failedPage(stop).code).toBe('access_denied');
    });

    const forgeries: readonly [title: string, change: (url: URL) => void][] = [
      ['without state', (url) => url.searchParams.delete('state')],
      ['with a state of ours that nobody has', (url) => url.searchParams.set('state', 'A'.repeat(43))],
      ['with a state of another form', (url) => url.searchParams.set('state', '../x')],
      ['with a second state', (url) => url.searchParams.append('state', 'A'.repeat(43))],
      ['with another issuer (mix-up, RFC 9207)', (url) => url.searchParams.set('iss', 'https://evil.example')],
      ['without the issuer that the provider announces', (url) => url.searchParams.delete('iss')],
      ['with two issuers', (url) => url.searchParams.append('iss', 'https://evil.example')],
      ['without a code', (url) => url.searchParams.delete('code')],
      ['with two codes', (url) => url.searchParams.append('code', 'another')],
      ['with a token in front', (url) => url.searchParams.set('response', 'e30.e30.')],
      ['at the address of another provider', (url) => void (url.pathname = '/federation/other/callback')],
      ['longer than a callback is', (url) => url.searchParams.set('x', 'y'.repeat(9_000))],
    ];
    test.for(forgeries)('%s is refused', async ([, change]) => {
      await at.idp.visitor(ADA);
      const { url, jar } = await at.visit({ halt: callback });
      const forged = new URL(url);
      change(forged);
      const stop = await walk(forged, jar);
      expect(stop.page?.status).toBeGreaterThanOrEqual(400);
      expect(stop.page?.text).not.toContain('Allow access');
      expect(stop.page?.text).not.toContain('    at ');
    });

    test('after ten minutes is refused', async () => {
      await at.idp.visitor(ADA);
      const { url, jar } = await at.visit({ halt: callback });
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 601_000 });
      try {
        expect((await walk(url, jar)).page?.status).toBe(400);
      } finally {
        vi.useRealTimers();
      }
    });

    test('of a newer try voids the older one in the same interaction', async () => {
      await at.idp.visitor(ADA);
      const first = await at.visit({ halt: callback });
      const uid = first.jar;
      const interaction = await at.visit({ jar: uid, halt: (next) => next.pathname.startsWith('/interaction/') });
      const second = await walk(interaction.url, uid, (next) => next.origin === at.idp.issuer);
      expect(second.page).toBeNull();
      // The older answer belongs to another interaction, whose cookie this browser holds as well: it still counts there alone.
      const older = await walk(first.url, uid);
      expect(older.page?.status).toBe(200);
    });
  });

  describe('step-up', () => {
    test('max_age is asked of the provider, and an old sign-in is not taken for a new one', async () => {
      await at.idp.visitor({ ...ADA, authTime: now() - 3_600 });
      const asked: (string | null)[] = [];
      const stop = await at.visit({
        params: { max_age: '300' },
        halt: (next) => {
          if (next.origin === at.idp.issuer && next.pathname === '/auth') asked.push(next.searchParams.get('max_age'));
          return false;
        },
      });
      expect(asked).toEqual(['300']);
      expect(failedPage(stop).code).toBe('unmet_authentication_requirements');
      const back = await press(stop, stop.jar, 'unmet_authentication_requirements');
      expect(back.url.searchParams.get('error')).toBe('unmet_authentication_requirements');
    });

    test('prompt=login sends prompt=login on; a sign-in from before it is refused', async () => {
      await at.idp.visitor({ ...ADA, authTime: now() - 120 });
      const asked: (string | null)[] = [];
      const stop = await at.visit({
        params: { prompt: 'login' },
        halt: (next) => {
          if (next.origin === at.idp.issuer && next.pathname === '/auth') asked.push(next.searchParams.get('prompt'));
          return false;
        },
      });
      expect(asked).toEqual(['login']);
      expect(failedPage(stop).code).toBe('unmet_authentication_requirements');
      await at.idp.visitor(ADA);
      expect((await at.visit({ params: { prompt: 'login' } })).page?.text).toContain('Ada Lovelace');
    });

    test('acr_values: another acr than one of those asked for is refused', async () => {
      await at.idp.visitor({ ...ADA, acr: 'urn:example:pwd' });
      const stop = await at.visit({ params: { acr_values: 'urn:example:mfa' } });
      expect(failedPage(stop).code).toBe('unmet_authentication_requirements');
      await at.idp.visitor(ADA);
      expect((await at.visit({ params: { acr_values: 'urn:example:mfa' } })).page?.text).toContain('Ada Lovelace');
    });

    test('acr_values: the well-known name of a second factor is met by a provider that only lists the methods', async () => {
      const params = { acr_values: SECOND_FACTOR_ACR };
      await at.idp.visitor({ ...ADA, acr: 'urn:example:any', amr: ['pwd', 'pin'] });
      expect(failedPage(await at.visit({ params })).code).toBe('unmet_authentication_requirements');
      await at.idp.visitor({ ...ADA, acr: 'urn:example:any', amr: ['pwd', 'otp'] });
      const jar = cookieJar();
      expect((await at.visit({ jar, params })).page?.text).toContain('Ada Lovelace');
      // The session has it, so that the next request that asks for it needs no sign-in.
      const asked: string[] = [];
      await at.visit({ jar, params, halt: (url) => url.origin === at.idp.issuer && asked.push(url.href) > 0 });
      expect(asked).toEqual([]);
    });

    test('acr_values: somebody who is signed in with less signs in again', async () => {
      await at.idp.visitor({ ...ADA, acr: 'urn:example:pwd' });
      const jar = cookieJar();
      expect((await at.visit({ jar })).page?.text).toContain('Ada Lovelace');
      const next = await at.visit({
        jar,
        params: { acr_values: 'urn:example:mfa' },
        halt: (url) => url.origin === at.idp.issuer,
      });
      expect(next.page).toBeNull();
      expect(next.url.searchParams.get('acr_values')).toBe('urn:example:mfa');
    });
  });

  test('a new key of the provider is found by its id; unknown ids ask at most once a minute', async () => {
    await at.idp.visitor(ADA);
    expect((await at.visit()).page?.status).toBe(200);
    await at.idp.rotate();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 61_000 });
    try {
      const stop = await at.visit();
      expect(stop.page?.text).toContain('Ada Lovelace');
      const keysAsked = async () =>
        ((await (await fetch(`${at.idp.issuer}/seen`)).json()) as string[]).filter((line) => line === 'GET /jwks')
          .length;
      const before = await keysAsked();
      await at.idp.lie({ kid: 'unknown' });
      for (let tries = 0; tries < 3; tries++) expect((await at.visit()).page?.status).toBe(400);
      expect((await keysAsked()) - before).toBeLessThanOrEqual(1);
    } finally {
      vi.useRealTimers();
    }
  });
});

const hidden = (stop: { page: Stop['page'] }): Record<string, string> =>
  Object.fromEntries(
    [...(stop.page?.text ?? '').matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)].map((match) => [
      match[1] ?? '',
      match[2] ?? '',
    ]),
  );
