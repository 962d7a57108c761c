/** Bad input at every endpoint: the standard's shape and code, a description with a remedy, no stack, no half of a credential named. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

let at: Fixture;
beforeAll(async () => {
  at = await startFixture({ registration: { mayRegister: 'anybody' } });
});
afterAll(() => at.stop());

type Body = Record<string, string> | string | { readonly json: unknown };
interface Row {
  readonly what: string;
  readonly path: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: Body;
  readonly status: number;
  readonly error: string;
  /** Part of the description. */
  readonly says: string;
}

const CLIENT = { client_id: 'mcp-client' };
const FAILED = 'client authentication failed: check the client id';
const start = {
  ...CLIENT,
  response_type: 'code',
  redirect_uri: 'http://127.0.0.1/callback',
  scope: 'files:read',
  code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
  code_challenge_method: 'S256',
};

const ROWS: Row[] = [
  // The token endpoint.
  { what: 'nothing', path: '/token', status: 400, error: 'invalid_request', says: 'send client_id' },
  {
    what: 'JSON',
    path: '/token',
    body: { json: { grant_type: 'refresh_token' } },
    status: 400,
    error: 'invalid_request',
    says: 'application/x-www-form-urlencoded',
  },
  { what: 'GET', path: '/token', method: 'GET', status: 405, error: 'invalid_request', says: 'takes POST' },
  { what: 'no grant type', path: '/token', body: CLIENT, status: 400, error: 'invalid_request', says: 'grant_type' },
  {
    what: 'an unknown grant',
    path: '/token',
    body: { ...CLIENT, grant_type: 'password' },
    status: 400,
    error: 'unsupported_grant_type',
    says: 'grant_types_supported',
  },
  {
    what: 'a grant that is not for this client',
    path: '/token',
    body: { ...CLIENT, grant_type: 'client_credentials' },
    status: 400,
    error: 'unauthorized_client',
    says: 'an administrator can allow it',
  },
  {
    what: 'a code that is none',
    path: '/token',
    body: {
      ...CLIENT,
      grant_type: 'authorization_code',
      code: 'x',
      redirect_uri: 'http://127.0.0.1/callback',
      code_verifier: 'x'.repeat(43),
    },
    status: 400,
    error: 'invalid_grant',
    says: 'start again',
  },
  {
    what: 'a refresh token that is none',
    path: '/token',
    body: { ...CLIENT, grant_type: 'refresh_token', refresh_token: 'x' },
    status: 400,
    error: 'invalid_grant',
    says: 'start again',
  },
  {
    what: 'a device code that is none',
    path: '/token',
    body: { client_id: 'remit-cli', grant_type: 'urn:ietf:params:oauth:grant-type:device_code', device_code: 'x' },
    status: 400,
    error: 'invalid_grant',
    says: 'start again',
  },
  {
    what: 'a parameter twice',
    path: '/token',
    body: 'client_id=mcp-client&client_id=mcp-client&grant_type=refresh_token',
    status: 400,
    error: 'invalid_request',
    says: 'client_id',
  },
  {
    what: 'an unknown client',
    path: '/token',
    body: { client_id: 'nobody', grant_type: 'refresh_token' },
    status: 401,
    error: 'invalid_client',
    says: FAILED,
  },
  {
    what: 'an unknown client by header',
    path: '/token',
    headers: { authorization: `Basic ${btoa('nobody:x')}` },
    body: { grant_type: 'refresh_token' },
    status: 401,
    error: 'invalid_client',
    says: FAILED,
  },
  {
    what: 'a secret of a public client',
    path: '/token',
    body: { ...CLIENT, client_secret: 'x', grant_type: 'refresh_token' },
    status: 401,
    error: 'invalid_client',
    says: FAILED,
  },
  {
    what: 'an unlisted metadata document',
    path: '/token',
    body: { client_id: 'https://evil.example/client.json', grant_type: 'refresh_token' },
    status: 401,
    error: 'invalid_client',
    says: FAILED,
  },
  {
    what: 'a header that is not Basic',
    path: '/token',
    headers: { authorization: 'Bearer x' },
    body: { grant_type: 'refresh_token' },
    status: 400,
    error: 'invalid_request',
    says: 'authorization header',
  },
  {
    what: 'two ways to authenticate',
    path: '/token',
    headers: { authorization: `Basic ${btoa('a:b')}` },
    body: { client_secret: 'x' },
    status: 400,
    error: 'invalid_request',
    says: 'one mechanism',
  },
  {
    what: 'an assertion that is none',
    path: '/token',
    body: {
      client_assertion: 'x',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      grant_type: 'refresh_token',
    },
    status: 400,
    error: 'invalid_request',
    says: 'client_assertion',
  },
  {
    what: 'a proof that is none',
    path: '/token',
    headers: { dpop: 'x' },
    body: { ...CLIENT, grant_type: 'refresh_token', refresh_token: 'x' },
    status: 400,
    error: 'invalid_dpop_proof',
    says: 'DPoP',
  },
  {
    what: 'a body without end',
    path: '/token',
    body: `client_id=${'x'.repeat(80_000)}`,
    status: 400,
    error: 'invalid_request',
    says: 'body',
  },
  // The others that programs call.
  { what: 'no token', path: '/revoke', body: CLIENT, status: 400, error: 'invalid_request', says: 'token' },
  {
    what: 'an unknown client',
    path: '/revoke',
    body: { client_id: 'nobody', token: 'x' },
    status: 401,
    error: 'invalid_client',
    says: FAILED,
  },
  {
    what: 'no client',
    path: '/introspect',
    body: { token: 'x' },
    status: 400,
    error: 'invalid_request',
    says: 'send client_id',
  },
  {
    what: 'a public client',
    path: '/introspect',
    body: { ...CLIENT, token: 'x' },
    status: 401,
    error: 'invalid_client',
    says: FAILED,
  },
  { what: 'nothing', path: '/par', status: 400, error: 'invalid_request', says: 'send client_id' },
  {
    what: 'no PKCE',
    path: '/par',
    body: { ...start, code_challenge: '', code_challenge_method: '' },
    status: 400,
    error: 'invalid_request',
    says: 'code_challenge',
  },
  {
    what: 'plain PKCE',
    path: '/par',
    body: { ...start, code_challenge_method: 'plain' },
    status: 400,
    error: 'invalid_request',
    says: 'code_challenge_method',
  },
  {
    what: 'no resource',
    path: '/par',
    body: start,
    status: 400,
    error: 'invalid_target',
    says: 'the resource parameter is required',
  },
  {
    what: 'an implicit response',
    path: '/par',
    body: { ...start, response_type: 'token' },
    status: 400,
    error: 'invalid_request',
    says: 'response_type=code',
  },
  { what: 'nothing', path: '/device_authorization', status: 400, error: 'invalid_request', says: 'send client_id' },
  {
    what: 'no resource',
    path: '/device_authorization',
    body: { client_id: 'remit-cli', scope: 'files:read' },
    status: 400,
    error: 'invalid_target',
    says: 'the resource parameter is required',
  },
  {
    what: 'no metadata',
    path: '/register',
    body: { json: {} },
    status: 400,
    error: 'invalid_redirect_uri',
    says: 'redirect_uris',
  },
  {
    what: 'broken JSON',
    path: '/register',
    headers: { 'content-type': 'application/json' },
    body: '{',
    status: 400,
    error: 'invalid_request',
    says: 'request',
  },
  {
    what: 'PUT',
    path: '/register',
    method: 'PUT',
    body: { json: {} },
    status: 405,
    error: 'invalid_request',
    says: 'takes POST',
  },
];

const SECRETS_OF_THE_INSIDE = /node_modules|\.ts:\d|\bat \w+ \(|oidc-provider|oops|TypeError|undefined/;

async function send(row: Row, accept: string) {
  const { body } = row;
  const json = typeof body === 'object' && 'json' in body;
  const response = await fetch(at.server.issuer + row.path, {
    method: row.method ?? 'POST',
    headers: {
      accept,
      ...(body !== undefined && { 'content-type': json ? 'application/json' : 'application/x-www-form-urlencoded' }),
      ...row.headers,
    },
    ...(body !== undefined && {
      body: json ? JSON.stringify(body.json) : typeof body === 'string' ? body : new URLSearchParams(body).toString(),
    }),
  });
  return { response, text: await response.text() };
}

describe('what programs call', () => {
  test.for(ROWS)('$path with $what: $error', async (row) => {
    // A browser's preferences change nothing: JSON it is.
    for (const accept of ['*/*', 'text/html,application/xhtml+xml']) {
      const { response, text } = await send(row, accept);
      const answer = JSON.parse(text) as Record<string, unknown>;
      expect([response.status, answer['error']], text).toEqual([row.status, row.error]);
      expect(answer['error_description']).toContain(row.says);
      expect(response.headers.get('content-type')).toContain('application/json');
      expect(text).not.toMatch(SECRETS_OF_THE_INSIDE);
      expect(Object.keys(answer).filter((key) => !['error', 'error_description', 'scope'].includes(key))).toEqual([]);
    }
  });
});

describe('what a browser opens', () => {
  const RESOURCE = (): Record<string, string> => ({ ...start, resource: at.gateway.resource, state: 's' });
  const open = (query: Record<string, string>) =>
    fetch(`${at.server.issuer}/authorize?${new URLSearchParams(query).toString()}`, {
      redirect: 'manual',
      headers: { accept: 'text/html' },
    });

  const redirected: [string, Record<string, string>, string, string][] = [
    ['no PKCE', { code_challenge: '', code_challenge_method: '' }, 'invalid_request', 'PKCE'],
    ['a scope that nobody offers', { scope: 'files:everything' }, 'invalid_scope', 'does not offer'],
    ['a foreign resource', { resource: 'https://elsewhere.example/mcp' }, 'invalid_target', 'not known'],
    ['an unknown prompt', { prompt: 'dance' }, 'invalid_request', 'prompt'],
    ['a negative max_age', { max_age: '-1' }, 'invalid_request', 'max_age'],
    ['a request object', { request: 'x.y.z' }, 'request_not_supported', ''],
    [
      'a pushed request that is none',
      { request_uri: 'urn:ietf:params:oauth:request_uri:x' },
      'invalid_request_uri',
      '',
    ],
    ['prompt=none without a session', { prompt: 'none' }, 'login_required', ''],
  ];
  test.for(redirected)(
    '/authorize with %s sends the client back with the error, its state and the issuer',
    async ([, change, error, says]) => {
      const response = await open({ ...RESOURCE(), ...change });
      const back = new URL(response.headers.get('location') ?? '');
      expect(back.origin + back.pathname).toBe('http://127.0.0.1/callback');
      expect(Object.fromEntries(back.searchParams)).toMatchObject({ error, state: 's', iss: at.server.issuer });
      expect(back.searchParams.get('error_description') ?? '').toContain(says);
    },
  );

  const shown: [string, Record<string, string>, string][] = [
    ['an unknown client', { client_id: 'nobody' }, 'invalid_client'],
    ['a redirect address that is not registered', { redirect_uri: 'https://evil.example/cb' }, 'invalid_redirect_uri'],
  ];
  test.for(shown)('/authorize with %s shows a page and redirects nowhere', async ([, change, code]) => {
    const response = await open({ ...RESOURCE(), ...change });
    const text = await response.text();
    expect([response.status, response.headers.get('location')]).toEqual([400, null]);
    expect(text).toContain(`<code>${code}</code>`);
    expect(text).toContain('Quote the reference');
    expect(text.replace(/<style>.*<\/style>/s, '')).not.toMatch(SECRETS_OF_THE_INSIDE);
  });
});

test('what is refused at the door is JSON for programs, too, and text for a browser', async () => {
  const own = await startFixture({ requestsPerMinute: 20 });
  try {
    const ask = (path: string) => fetch(own.server.issuer + path, { method: 'POST', body: 'x' });
    for (let n = 0; n < 20; n++) await (await ask('/token')).text();
    const program = await ask('/token?x=1');
    expect([program.status, program.headers.get('retry-after')]).toEqual([429, '60']);
    expect(await program.json()).toEqual({
      error: 'temporarily_unavailable',
      error_description: 'too many requests; try again in a minute',
    });
    const page = await ask('/interaction/x');
    expect([page.status, await page.text()]).toEqual([429, 'too many requests; try again in a minute\n']);
  } finally {
    await own.stop();
  }
  const { port } = new URL(at.server.issuer);
  const elsewhere = await fetch(`http://localhost:${port}/token`, { method: 'POST', body: 'x' });
  expect([elsewhere.status, await elsewhere.json()]).toEqual([
    421,
    { error: 'invalid_request', error_description: 'this server is not known by that host name' },
  ]);
});
