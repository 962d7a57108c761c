/**
 * Security events at the authorization server: what a gateway tells ends sessions, grants and codes; what is refused; what is revoked here
 * is told in order, kept over a restart, and never told back. The gateway is a signing issuer and an HTTP server that keeps what it got.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import * as oidc from 'openid-client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CAEP, OAUTH, RISC, push, startTransmitter } from '../admin/events/transmitter.ts';
import type { EventTransmitter, Reply } from '../admin/events/transmitter.ts';
import type { Members } from '../support/issuer.ts';
import { until } from '../support/upstreams/open.ts';
import { startFixture } from './fixture.ts';
import type { Fixture } from './fixture.ts';

const TO_AUTH = 'token-for-the-authorization-server-00000';
const TO_GATEWAY = 'token-for-the-gateway-0000000000000000';

let dir: string;
let gateway: EventTransmitter;
let sink: Awaited<ReturnType<typeof startSink>>;
let fixture: Fixture;

/** Keeps every token pushed to it; answers as told. */
async function startSink() {
  const tokens: string[] = [];
  const bearers: (string | undefined)[] = [];
  const state = { status: 202, body: '' };
  const server = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    request.on('end', () => {
      bearers.push(request.headers.authorization);
      if (state.status === 202) tokens.push(text);
      response.writeHead(state.status, { 'content-type': 'application/json' }).end(state.body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events/authserver`,
    tokens,
    bearers,
    state,
    events: () =>
      tokens.map((token) => {
        const { events, sub_id: subject } = decodeJwt(token);
        const [[type, members]] = Object.entries(events as Record<string, Members>) as [[string, Members]];
        return { type, members, subject };
      }),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'remit-events-'));
  writeFileSync(join(dir, 'to-auth'), TO_AUTH, { mode: 0o600 });
  writeFileSync(join(dir, 'to-gateway'), TO_GATEWAY, { mode: 0o600 });
  gateway = await startTransmitter();
  sink = await startSink();
  fixture = await startFixture({
    events: {
      gateways: [
        {
          issuer: gateway.issuer.issuer,
          jwksUri: gateway.issuer.jwksUri,
          receive: { token: `file:${join(dir, 'to-auth')}` },
          send: { url: sink.url, token: `file:${join(dir, 'to-gateway')}` },
        },
      ],
    },
  });
});
afterEach(async () => {
  await fixture?.stop();
  await sink?.close();
  await gateway?.close();
  rmSync(dir, { recursive: true, force: true });
});

const told = (
  type: string,
  members: Members,
  more: Members = {},
  headers: Record<string, string | undefined> = {},
): Promise<Reply> =>
  push(`${fixture.server.issuer}/events`, gateway.event(type, members, { aud: fixture.server.issuer, ...more }), {
    authorization: `Bearer ${TO_AUTH}`,
    ...headers,
  });
const person = (): Members => ({ sub_id: { format: 'iss_sub', iss: fixture.server.issuer, sub: fixture.user.sub } });
const refresh = async (token: string): Promise<string> =>
  oidc.refreshTokenGrant(fixture.client, token, { resource: fixture.gateway.resource }).then(
    () => 'refreshed',
    (error: { error?: string }) => error.error ?? 'failed',
  );

describe('what a gateway tells', () => {
  test.for([
    ['session-revoked', `${CAEP}session-revoked`],
    ['account-disabled', `${RISC}account-disabled`],
    ['account-purged', `${RISC}account-purged`],
    ['credential-change', `${CAEP}credential-change`],
    ['tokens-revoked', `${OAUTH}tokens-revoked`],
  ] as const)('ID-04: %s of a person ends their refresh grants before it is acknowledged', async ([, type]) => {
    const { refresh_token: token } = await fixture.tokens();
    expect((await told(type, {}, person())).status).toBe(202);
    expect(await refresh(token!)).toBe('invalid_grant');
  });

  test('a refresh grant of somebody whom no event names goes on', async () => {
    const { refresh_token: token } = await fixture.tokens();
    const other = { sub_id: { format: 'iss_sub', iss: fixture.server.issuer, sub: 'somebody-else' } };
    expect((await told(`${CAEP}session-revoked`, {}, other)).status).toBe(202);
    const elsewhere = { sub_id: { format: 'iss_sub', iss: 'https://other.example', sub: fixture.user.sub } };
    expect((await told(`${CAEP}session-revoked`, {}, elsewhere)).status).toBe(202);
    expect(await refresh(token!)).toBe('refreshed');
  });

  test('a code that was handed out before is worth nothing after', async () => {
    const { callback, verifier, state } = await fixture.authorize();
    expect((await told(`${CAEP}session-revoked`, {}, person())).status).toBe(202);
    await expect(
      oidc.authorizationCodeGrant(
        fixture.client,
        callback,
        { pkceCodeVerifier: verifier, expectedState: state },
        { resource: fixture.gateway.resource },
      ),
    ).rejects.toMatchObject({ error: 'invalid_grant' });
  });

  test('a client’s grants, for everybody', async () => {
    const { refresh_token: token } = await fixture.tokens();
    expect((await told(`${OAUTH}tokens-revoked`, {}, { sub_id: { format: 'opaque', id: 'mcp-client' } })).status).toBe(
      202,
    );
    expect(await refresh(token!)).toBe('invalid_grant');
  });

  test('somebody disabled cannot sign in until they are enabled again', async () => {
    expect((await told(`${RISC}account-disabled`, {}, person())).status).toBe(202);
    await expect(fixture.tokens()).rejects.toThrow();
    expect((await told(`${RISC}account-enabled`, {}, person())).status).toBe(202);
    expect((await fixture.tokens()).refresh_token).toBeTypeOf('string');
  });

  test('ID-04: somebody disabled who is purged is barred no more: they may be hired again', async () => {
    expect((await told(`${RISC}account-disabled`, {}, person())).status).toBe(202);
    await expect(fixture.tokens()).rejects.toThrow();
    expect((await told(`${RISC}account-purged`, {}, person())).status).toBe(202);
    expect((await fixture.tokens()).refresh_token).toBeTypeOf('string');
  });

  test('a token that comes again ends nothing that began after it', async () => {
    const token = gateway.event(`${CAEP}session-revoked`, {}, { aud: fixture.server.issuer, ...person() });
    const send = (): Promise<Reply> =>
      push(`${fixture.server.issuer}/events`, token, { authorization: `Bearer ${TO_AUTH}` });
    expect((await send()).status).toBe(202);
    const { refresh_token: fresh } = await fixture.tokens();
    expect((await send()).status).toBe(202);
    expect(await refresh(fresh!)).toBe('refreshed');
  });

  test('grants that ended by an event are told to the gateway: tokens may have left under them since', async () => {
    await fixture.tokens();
    expect((await told(`${CAEP}session-revoked`, {}, person())).status).toBe(202);
    await until('the grant', () => sink.tokens.length >= 1);
    expect(sink.events()[0]).toMatchObject({
      type: `${OAUTH}token-revoked`,
      members: { grant_id: expect.any(String) },
    });
  });
});

describe('what is refused', () => {
  test.for([
    ['another audience', { aud: 'https://other.example' }, {}, 'invalid_audience'],
    ['another issuer', { iss: 'https://evil.example' }, {}, 'invalid_issuer'],
    ['no jti', { jti: undefined }, {}, 'invalid_request'],
    ['another content type', {}, { 'content-type': 'application/json' }, 'invalid_request'],
    ['no bearer token', {}, { authorization: undefined }, 'authentication_failed'],
    ['another bearer token', {}, { authorization: `Bearer ${TO_GATEWAY}` }, 'authentication_failed'],
    ['a body of a hundred thousand characters', { txn: 'x'.repeat(100_000) }, {}, 'invalid_request'],
  ] as const)('%s', async ([, claims, headers, code]) => {
    const { refresh_token: token } = await fixture.tokens();
    const { status, body } = await told(`${CAEP}session-revoked`, {}, { ...person(), ...claims }, headers);
    expect([status, body.err]).toEqual([400, code]);
    expect(await refresh(token!)).toBe('refreshed');
  });

  test('an access token of this server, and an event of another key', async () => {
    const { access_token: access, refresh_token: token } = await fixture.tokens();
    const headers = { authorization: `Bearer ${TO_AUTH}` };
    expect((await push(`${fixture.server.issuer}/events`, access, headers)).body.err).toBe('invalid_request');
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = { ...gateway.issuer.currentKey(), ...pair };
    const claims = gateway.claims(`${CAEP}session-revoked`, {}, { aud: fixture.server.issuer, ...person() });
    expect((await push(`${fixture.server.issuer}/events`, gateway.sign(claims, {}, { key }), headers)).body.err).toBe(
      'invalid_key',
    );
    expect(await refresh(token!)).toBe('refreshed');
  });

  test('GET, and a gateway that nobody configured', async () => {
    expect((await fetch(`${fixture.server.issuer}/events`)).status).toBe(405);
    const plain = await startFixture();
    const { status } = await push(`${plain.server.issuer}/events`, 'x', { authorization: `Bearer ${TO_AUTH}` });
    await plain.stop();
    expect(status).toBe(404);
  });
});

describe('what is told', () => {
  test('AN-08: a grant that its client revokes (RFC 7009) is told at once, signed, typed and addressed', async () => {
    const { refresh_token: token } = await fixture.tokens();
    await oidc.tokenRevocation(fixture.client, token!, { token_type_hint: 'refresh_token' });
    await until('the event', () => sink.tokens.length === 1);
    expect(decodeProtectedHeader(sink.tokens[0]!)).toMatchObject({ typ: 'secevent+jwt', alg: 'ES256' });
    expect(decodeJwt(sink.tokens[0]!)).toMatchObject({ iss: fixture.server.issuer, aud: gateway.issuer.issuer });
    expect(sink.events()[0]).toMatchObject({
      type: `${OAUTH}token-revoked`,
      members: { grant_id: expect.any(String) },
    });
    expect(sink.bearers[0]).toBe(`Bearer ${TO_GATEWAY}`);
  });

  test('in order, each once, also when the gateway was away', async () => {
    sink.state.status = 503;
    for (const client of ['a', 'b', 'c']) fixture.server.endings.endClient(client, 'administrator');
    await until('a try', () => sink.bearers.length >= 1);
    expect(sink.tokens).toEqual([]);
    sink.state.status = 202;
    await until('all', () => sink.tokens.length === 3);
    expect(sink.events().map(({ subject }) => (subject as Members)['id'])).toEqual(['a', 'b', 'c']);
  });

  test('CRASH: what was not taken is told after a restart', async () => {
    sink.state.status = 503;
    fixture.server.endings.endClient('a', 'administrator');
    await until('a try', () => sink.bearers.length >= 1);
    sink.state.status = 202;
    await fixture.restart({ gatewayStatus: 200 });
    await until('the event', () => sink.tokens.length >= 1);
    expect(sink.events()[0]?.subject).toEqual({ format: 'opaque', id: 'a' });
  });

  test('one that the gateway refuses holds up nothing; one for which our token or key is not known there yet is kept', async () => {
    sink.state.status = 400;
    sink.state.body = '{"err":"authentication_failed"}';
    fixture.server.endings.endClient('a', 'administrator');
    await until('two tries', () => sink.bearers.length >= 2);
    sink.state.body = '{"err":"invalid_request"}';
    await until('a note', () => fixture.log.some((line) => line.includes('a gateway refused a security event')));
    sink.state.status = 202;
    fixture.server.endings.endClient('b', 'administrator');
    await until('the next', () => sink.tokens.length === 1);
    expect(sink.events()[0]?.subject).toEqual({ format: 'opaque', id: 'b' });
  });

  test('what the gateway told is not told back', async () => {
    expect((await told(`${OAUTH}tokens-revoked`, {}, { sub_id: { format: 'opaque', id: 'mcp-client' } })).status).toBe(
      202,
    );
    expect((await told(`${OAUTH}token-revoked`, { grant_id: 'g' })).status).toBe(202);
    fixture.server.endings.endClient('mark', 'administrator');
    await until('the mark', () => sink.tokens.length >= 1);
    expect(sink.events().map(({ subject }) => (subject as Members)['id'])).toEqual(['mark']);
  });
});

describe('several organisations', () => {
  test('a gateway ends nothing of another organisation’s people: not them, their grants, nor a client of theirs', async () => {
    const other = await startTransmitter();
    const both = await startFixture({
      events: {
        gateways: [
          {
            issuer: gateway.issuer.issuer,
            organisation: 'globex',
            jwksUri: gateway.issuer.jwksUri,
            receive: { token: `file:${join(dir, 'to-auth')}` },
          },
          {
            issuer: other.issuer.issuer,
            jwksUri: other.issuer.jwksUri,
            receive: { token: `file:${join(dir, 'to-gateway')}` },
          },
        ],
      },
    });
    try {
      const { refresh_token: token } = await both.tokens();
      const subject = { sub_id: { format: 'iss_sub', iss: both.server.issuer, sub: both.user.sub } };
      const tell = (from: EventTransmitter, bearer: string, type: string, more: Members): Promise<Reply> =>
        push(`${both.server.issuer}/events`, from.event(type, {}, { aud: both.server.issuer, ...more }), {
          authorization: `Bearer ${bearer}`,
        });
      const client = { sub_id: { format: 'opaque', id: 'mcp-client' } };
      for (const [type, more] of [
        [`${CAEP}session-revoked`, subject],
        [`${RISC}account-disabled`, subject],
        [`${OAUTH}tokens-revoked`, client],
      ] as const)
        expect((await tell(gateway, TO_AUTH, type, more)).status).toBe(202);
      const used = await oidc.refreshTokenGrant(both.client, token!, { resource: both.gateway.resource });
      expect(used.refresh_token).toBeTypeOf('string');
      expect((await tell(other, TO_GATEWAY, `${OAUTH}tokens-revoked`, client)).status).toBe(202);
      await expect(
        oidc.refreshTokenGrant(both.client, used.refresh_token!, { resource: both.gateway.resource }),
      ).rejects.toMatchObject({ error: 'invalid_grant' });
    } finally {
      await both.stop();
      await other.close();
    }
  });
});
