/** Connecting a server to its account: who may, in which order, and what is written down. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { type ServerAccounts, serverAccounts } from '../../src/upstream/oauth/accounts.ts';
import {
  type AuthorizationSite,
  type ProtectedSink,
  startAuthorizationSite,
  startProtected,
} from '../support/upstreams/protected.ts';
import { type Plane, SERVER, startPlane } from './plane.ts';

let plane: Plane;
let site: AuthorizationSite;
let sink: ProtectedSink;
let accounts: ServerAccounts;
beforeAll(async () => {
  site = await startAuthorizationSite();
  sink = await startProtected(site);
  accounts = serverAccounts({ clock: systemClock, resolveSecret: () => Promise.reject(new Error('no secrets')) });
  plane = await startPlane({ wrap: (ctx) => ({ ...ctx, accounts }) });
  const upstream = {
    transport: 'http',
    url: sink.url,
    allowedNetworks: ['127.0.0.1/32'],
    auth: { grant: 'authorization_code', client: { method: 'register' } },
  };
  for (const [id, server] of Object.entries({ notes: { ...SERVER, upstream }, plain: SERVER })) {
    const body = { reason: 'asked for', server };
    const reply = await plane.as('omar', 'PUT', `/servers/${id}`, body, { 'if-none-match': '*' });
    expect([reply.status, reply.text]).toEqual([201, reply.text]);
    if (id === 'notes') expect((await begin('omar')).body.error?.['code']).toBe('server_state');
    const record = (await plane.state.load()).records.find((one) => one.kind === 'server' && one.id === id);
    await plane.seed([plane.put('server', id, { ...record!.body, state: 'enabled' })]);
  }
});
afterAll(async () => {
  await plane.close();
  await sink.close();
  await site.close();
});

const redirectUri = 'http://127.0.0.1:4000/callback';
const begin = (who: Parameters<Plane['as']>[0], server = 'notes', uri = redirectUri) =>
  plane.as(who, 'POST', `/servers/${server}/connect`, { redirectUri: uri });
const finish = (who: Parameters<Plane['as']>[0], callback: string, server = 'notes') =>
  plane.as(who, 'POST', `/servers/${server}/connect/finish`, { callback, reason: 'the shared account' });
const answerTo = (url: unknown): string =>
  `${redirectUri}?code=c&state=${new URL(String(url)).searchParams.get('state')}`;

describe('connecting a server', () => {
  test('an operator begins and finishes; the log has it; no answer holds a token', async () => {
    const begun = await begin('omar');
    expect([begun.status, new URL(String(begun.body['url'])).origin]).toEqual([200, site.issuer]);
    const done = await finish('omar', answerTo(begun.body['url']));
    expect([done.status, done.body]).toEqual([200, { server: 'notes', connected: true }]);
    expect(begun.text + done.text).not.toContain(site.given[0]);
    const logged = JSON.stringify(plane.logged);
    expect(logged).not.toContain(site.given[0]);
    const audit = await plane.as('aiko', 'GET', '/audit/entries?limit=20');
    expect(audit.text).toContain('server.connecting');
  });

  test('AN-10: what one operator began nobody else finishes, and the one who did still can', async () => {
    const { body } = await begin('omar');
    const other = await finish('ada', answerTo(body['url']));
    expect([other.status, other.body.error?.['code']]).toEqual([502, 'upstream_auth']);
    expect((await finish('omar', answerTo(body['url']))).status).toBe(200);
    const again = await finish('omar', answerTo(body['url']));
    expect([again.status, again.body.error?.['message']]).toEqual([
      502,
      'The account of the server could not be connected.',
    ]);
  });

  test.each([
    ['dana', 403],
    ['aiko', 403],
  ] as const)('%s may not', async (who, status) => {
    expect((await begin(who)).status).toBe(status);
    expect((await finish(who, answerTo(`${redirectUri}?state=x`))).status).toBe(status);
  });

  test.each([
    ['plain', redirectUri, 409, 'server_account'],
    ['nowhere', redirectUri, 404, 'not_found'],
    ['notes', 'http://evil.example/cb', 422, 'invalid'],
    ['notes', 'http://127.0.0.1.evil.example/cb', 422, 'invalid'],
    ['notes', 'javascript:alert(1)', 422, 'invalid'],
  ])('%s with %s is refused', async (server, uri, status, code) => {
    const reply = await begin('omar', server, uri);
    expect([reply.status, reply.body.error?.['code']]).toEqual([status, code]);
  });

  test('a record may not have both a header for the token and an account', async () => {
    const upstream = {
      transport: 'http',
      url: 'https://notes.example.com/mcp',
      headers: [{ name: 'Authorization', value: { secret: 'env:REMIT_X' } }],
      auth: {
        grant: 'client_credentials',
        issuer: 'https://as.example.com',
        client: { method: 'client_secret_basic', id: 'a', secret: { secret: 'env:REMIT_Y' } },
      },
    };
    const body = { reason: 'x', server: { ...SERVER, upstream } };
    const reply = await plane.as('omar', 'PUT', '/servers/both', body, { 'if-none-match': '*' });
    expect([reply.status, reply.body.error?.['field']]).toEqual([422, 'server.upstream.headers.0.name']);
  });

  test('NH-04: a literal secret, and a client of one issuer without its name, are refused by field', async () => {
    const put = async (auth: object) => {
      const upstream = { transport: 'http', url: 'https://notes.example.com/mcp', auth };
      const body = { reason: 'x', server: { ...SERVER, upstream } };
      return plane.as('omar', 'PUT', '/servers/literal', body, { 'if-none-match': '*' });
    };
    const client = { method: 'client_secret_basic', id: 'a', secret: { secret: 'env:REMIT_Y' } };
    const literal = await put({
      grant: 'client_credentials',
      issuer: 'https://as.example.com',
      client: { ...client, secret: { secret: 's3cr3t' } },
    });
    expect([literal.status, literal.body.error?.['field']]).toEqual([422, 'server.upstream.auth.client.secret.secret']);
    expect(literal.text).not.toContain('s3cr3t');
    const loose = await put({ grant: 'authorization_code', client });
    expect([loose.status, loose.body.error?.['field']]).toEqual([422, 'server.upstream.auth.issuer']);
  });

  test('the account of a server that has ended is gone', async () => {
    const forgotten: string[] = [];
    const { forget } = accounts;
    Object.assign(accounts, { forget: (id: string) => (forgotten.push(id), forget(id)) });
    const reply = await plane.as('ada', 'POST', '/servers/notes/retire', { reason: 'over' });
    expect([reply.status, forgotten]).toEqual([200, ['notes']]);
    expect((await begin('omar')).status).toBe(409);
  });
});
