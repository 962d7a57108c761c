/** Dynamic registration under policy: who, how many, for how long, and never at the cost of somebody who is registered. */
import { afterEach, describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

const TOKEN = 'initial-access-token-0123456789-abcdefgh';
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LOCAL = 'http://127.0.0.1/callback';

let at: Fixture;
afterEach(() => at.stop());

async function register(body: unknown, token?: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${at.server.issuer}/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const opened = async (clientId: unknown): Promise<string> => {
  const { url } = await at.authorizationUrl({ params: { client_id: String(clientId), redirect_uri: LOCAL } });
  const response = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html' } });
  return response.status === 303 ? 'known' : ((/<code>([a-z_]+)<\/code>/.exec(await response.text()) ?? [])[1] ?? '?');
};

describe('AN-09: registration by anybody, with limits', () => {
  const policy = { mayRegister: 'anybody' as const, redirectHosts: ['app.example'], maxPerHour: 3, maxClients: 4 };

  test('gives an id and no secret; the consent page says that nobody vouches for the name', async () => {
    at = await startFixture({ registration: policy });
    const { status, body } = await register({ client_name: 'Claude Code', redirect_uris: [LOCAL] });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      client_name: 'Claude Code',
      redirect_uris: [LOCAL],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
    });
    expect(body['client_id']).toMatch(/^registered-[\w-]{22}$/);
    expect(Object.keys(body)).not.toContain('client_secret');
    expect(Object.keys(body)).not.toContain('registration_access_token');
    const pages: string[] = [];
    const params = { client_id: String(body['client_id']), redirect_uri: 'http://127.0.0.1:5123/callback' };
    await at.authorize({ params, onPage: (page) => pages.push(page.text) });
    expect(pages.at(-1)).toContain('registered itself: nobody vouches for its name');
  });

  const refused: [string, Record<string, unknown>, string][] = [
    ['a redirect host that is not listed', { redirect_uris: ['https://evil.example/cb'] }, 'invalid_redirect_uri'],
    [
      'one listed and one not',
      { redirect_uris: ['https://app.example/cb', 'https://evil.example/cb'] },
      'invalid_redirect_uri',
    ],
    ['a subdomain of a listed host', { redirect_uris: ['https://x.app.example/cb'] }, 'invalid_redirect_uri'],
    ['a private-use scheme', { redirect_uris: ['cursor://x/cb'] }, 'invalid_redirect_uri'],
    ['a wildcard', { redirect_uris: ['https://*.app.example/cb'] }, 'invalid_redirect_uri'],
    ['a script', { redirect_uris: ['javascript:alert(1)'] }, 'invalid_redirect_uri'],
    ['plain http', { redirect_uris: ['http://app.example/cb'] }, 'invalid_redirect_uri'],
    ['no redirect address', { redirect_uris: [] }, 'invalid_redirect_uri'],
    [
      'a secret',
      { redirect_uris: [LOCAL], token_endpoint_auth_method: 'client_secret_basic' },
      'invalid_client_metadata',
    ],
    [
      'a key that is a secret',
      {
        redirect_uris: [LOCAL],
        token_endpoint_auth_method: 'private_key_jwt',
        jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] },
      },
      'invalid_client_metadata',
    ],
  ];
  test('refuses what the policy does not allow, and says what', async () => {
    at = await startFixture({ registration: policy });
    for (const [what, metadata, code] of refused) {
      const { status, body } = await register(metadata);
      expect([what, status, body['error']]).toEqual([what, 400, code]);
      expect(String(body['error_description']).length).toBeGreaterThan(10);
    }
    expect(await register('not an object')).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });

  test('a client may not act alone: grants beyond the flow are left out', async () => {
    at = await startFixture({ registration: policy });
    const { body } = await register({
      redirect_uris: [LOCAL],
      grant_types: ['authorization_code', 'client_credentials', 'urn:ietf:params:oauth:grant-type:device_code'],
    });
    expect(body['grant_types']).toEqual(['authorization_code']);
  });

  test('above the limit within an hour, and when the register is full, others are refused and nobody is evicted', async () => {
    const clock = manualClock(Date.now());
    at = await startFixture({ registration: policy }, { clock });
    const ids: unknown[] = [];
    for (let n = 0; n < 3; n++) ids.push((await register({ redirect_uris: [LOCAL] })).body['client_id']);
    expect(await register({ redirect_uris: [LOCAL] })).toEqual({
      status: 429,
      body: {
        error: 'temporarily_unavailable',
        error_description: 'too many clients registered within the hour; try again later',
      },
    });
    clock.advance(HOUR + 1_000);
    ids.push((await register({ redirect_uris: [LOCAL] })).body['client_id']);
    expect(await register({ redirect_uris: [LOCAL] })).toEqual({
      status: 429,
      body: {
        error: 'temporarily_unavailable',
        error_description: 'the register of clients is full; ask an administrator to register this client',
      },
    });
    for (const id of ids) expect(await opened(id)).toBe('known');
  });

  test('eight at once do not get past the limit of three', async () => {
    at = await startFixture({ registration: policy });
    const answers = await Promise.all(Array.from({ length: 8 }, () => register({ redirect_uris: [LOCAL] })));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(5);
  });

  test('what is not used expires; a client that gets tokens stays', async () => {
    const clock = manualClock(Date.now());
    at = await startFixture({ registration: { ...policy, unusedDays: 2 } }, { clock });
    const unused = (await register({ redirect_uris: [LOCAL] })).body['client_id'];
    const used = String((await register({ redirect_uris: [LOCAL] })).body['client_id']);
    clock.advance(DAY);
    const { callback, verifier } = await at.authorize({ params: { client_id: used, redirect_uri: LOCAL } });
    const response = await fetch(`${at.server.issuer}/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: used,
        redirect_uri: LOCAL,
        code: callback.searchParams.get('code') ?? '',
        code_verifier: verifier,
      }),
    });
    expect(response.status).toBe(200);
    clock.advance(DAY + HOUR);
    expect([await opened(unused), await opened(used)]).toEqual(['invalid_client', 'known']);
    clock.advance(DAY);
    expect(await opened(used)).toBe('invalid_client');
  });
});

describe('AN-09: registration by holders of a token', () => {
  const policy = {
    mayRegister: 'holders',
    initialAccessToken: 'env:REGISTRATION_TOKEN',
    initialAccessTokenExpiresAt: new Date(Date.now() + HOUR).toISOString(),
  } as const;
  const env = { REGISTRATION_TOKEN: TOKEN };

  test('refuses everybody else with one answer, and the token after its end', async () => {
    const clock = manualClock(Date.now());
    at = await startFixture({ registration: policy }, { clock, env });
    const metadata = { redirect_uris: [LOCAL] };
    expect((await register(metadata, TOKEN)).status).toBe(201);
    const answer = {
      status: 401,
      body: {
        error: 'invalid_token',
        error_description: 'registration needs a valid initial access token; ask an administrator for one',
      },
    };
    expect(await register(metadata)).toEqual(answer);
    expect(await register(metadata, 'wrong')).toEqual(answer);
    expect(await register(metadata, `${TOKEN}x`)).toEqual(answer);
    clock.advance(2 * HOUR);
    expect(await register(metadata, TOKEN)).toEqual(answer);
    expect(at.log.join('')).not.toContain(TOKEN);
  });
});

describe('AN-09: registration by nobody, the default', () => {
  test('there is no endpoint', async () => {
    at = await startFixture();
    const response = await fetch(`${at.server.issuer}/register`, { method: 'POST', body: '{}' });
    expect(response.status).toBe(404);
  });
});
