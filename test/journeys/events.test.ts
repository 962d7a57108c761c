/**
 * `remit up` with both processes: what is revoked at the authorization server is refused at the gateway, and who leaves at the gateway has
 * nothing left at the authorization server. Nothing is scripted between the two; times are taken from answer to refusal.
 */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { signInAndConsent } from '../support/browser.ts';
import { endAll, startRemit, temporaryFolder } from '../support/processes.ts';
import { JSON_HEADERS, modernHeaders, modernMessage } from '../support/rig.ts';
import { CALLBACK, adminToken, passwordOf, urlOf } from './people.ts';
import type { UpReady } from './people.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let ready: UpReady;
beforeAll(async () => {
  const dir = join(temporaryFolder(), 'data');
  ready = await startRemit(['up', '--dir', dir, '--port', '0', '--json']).ready<UpReady>();
});
afterAll(endAll);

interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
}

async function tokensOf(username: string): Promise<Tokens> {
  const verifier = randomBytes(32).toString('base64url');
  const resource = urlOf(ready, 'files');
  const authorizationUrl = new URL(`${ready.issuer}/authorize`);
  authorizationUrl.search = new URLSearchParams({
    response_type: 'code',
    client_id: 'mcp-client',
    redirect_uri: CALLBACK,
    resource,
    scope: 'files:read',
    state: 'events',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  }).toString();
  const callback = await signInAndConsent({
    authorizationUrl,
    username,
    password: passwordOf(ready, username),
    decision: 'allow',
  });
  const answer = await token({
    grant_type: 'authorization_code',
    code: callback.searchParams.get('code') ?? `none: ${callback.search}`,
    redirect_uri: CALLBACK,
    code_verifier: verifier,
  });
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body as unknown as Tokens;
}

async function token(form: Record<string, string>): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${ready.issuer}/token`, {
    method: 'POST',
    body: new URLSearchParams({ client_id: 'mcp-client', resource: urlOf(ready, 'files'), ...form }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
const refresh = ({ refresh_token: value }: Tokens) => token({ grant_type: 'refresh_token', refresh_token: value });

async function list({ access_token: bearer }: Tokens): Promise<number> {
  const response = await fetch(urlOf(ready, 'files'), {
    method: 'POST',
    headers: { ...JSON_HEADERS, ...modernHeaders('tools/list'), authorization: `Bearer ${bearer}` },
    body: JSON.stringify(modernMessage('tools/list')),
  });
  await response.text();
  return response.status;
}

/** ms until what `ask` says is no longer 200. */
async function refusedAfter(ask: () => Promise<number>): Promise<number> {
  const startedAt = performance.now();
  for (;;) {
    if ((await ask()) !== 200) return performance.now() - startedAt;
    const waited = performance.now() - startedAt;
    if (waited > 15_000) throw new Error('still let through after 15 s');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('AN-08: a grant that is revoked at the authorization server (RFC 7009) is refused at the gateway within 5 s', async () => {
  const tokens = await tokensOf('dana');
  expect(await list(tokens)).toBe(200);
  const response = await fetch(`${ready.issuer}/revoke`, {
    method: 'POST',
    body: new URLSearchParams({
      client_id: 'mcp-client',
      token: tokens.refresh_token,
      token_type_hint: 'refresh_token',
    }),
  });
  expect(response.status).toBe(200);
  expect(await refusedAfter(() => list(tokens))).toBeLessThan(5_000);
  // Not the person, nor the client: whoever signs in anew gets in.
  expect(await list(await tokensOf('dana'))).toBe(200);
});

test('ID-04: whoever is made inactive is refused with the answer, and has no refresh grant and no sign-in left within 5 s', async () => {
  const tokens = await tokensOf('omar');
  expect(await list(tokens)).toBe(200);
  const bearer = await adminToken(ready, 'ada', passwordOf(ready, 'ada'));
  const headers = { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' };
  const url = `${ready.adminUrl}/api/v1/people/omar`;
  const before = await fetch(url, { headers });
  const { id: _, revision: __, ...person } = (await before.json()) as Record<string, unknown>;
  const changed = await fetch(url, {
    method: 'PUT',
    headers: { ...headers, 'if-match': before.headers.get('etag') ?? '' },
    body: JSON.stringify({ reason: 'left', person: { ...person, state: 'inactive' } }),
  });
  expect([changed.status, await list(tokens)]).toEqual([200, 401]);
  let last = tokens;
  const took = await refusedAfter(async () => {
    const { status, body } = await refresh(last);
    if (status === 200) last = body as unknown as Tokens;
    return status;
  });
  expect(took).toBeLessThan(5_000);
  expect((await refresh(last)).body['error']).toBe('invalid_grant');
  await expect(tokensOf('omar')).rejects.toThrow();
});

test('the status names what was told, and that nothing is silent', async () => {
  const bearer = await adminToken(ready, 'ada', passwordOf(ready, 'ada'));
  const status = await fetch(`${ready.adminUrl}/api/v1/status`, { headers: { authorization: `Bearer ${bearer}` } });
  expect(await status.json()).toMatchObject({
    alarms: [],
    sources: [{ id: 'authserver', kind: 'event_stream', silent: false, contactAt: expect.any(Number) }],
    events: [{ issuer: ready.issuer, waitingSince: null, problem: null, refused: 0 }],
  });
});
