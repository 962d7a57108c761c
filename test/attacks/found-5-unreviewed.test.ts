/**
 * What stands in a record that nobody has agreed to yet: nothing is dialled, started or signed in to by it, whoever asks for a look. One
 * operator alone could otherwise turn an enabled server towards a host of their own and have its secrets sent there before any review.
 * The oracle is the attacker's own server.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { credentialBook } from '../../src/gateway/credential-book.ts';
import { Credential, sealedSecretId } from '../../src/inventory/credentials.ts';
import { Server } from '../../src/inventory/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ORG, startRig, type Rig } from '../support/rig.ts';
import { testPool } from '../support/upstreams/open.ts';
import { startAuthorizationSite, startProtected } from '../support/upstreams/protected.ts';
import { startSink, type Sink } from '../support/upstreams/sink.ts';

const DAY = 86_400_000;
const SEALED = 'canary-sealed-0001';
const PLACE = 'canary-place-0001';
const NAME = 'REMIT_TEST_FOUND_5';

let rig: Rig;
let thief: Sink;
beforeEach(async () => {
  process.env[NAME] = PLACE;
  thief = await startSink({ era: 'modern', answer: 'json' });
  rig = await startRig({ admin: true, servers: {} });
  const now = rig.clock.now();
  const version = { id: 'v1', fingerprint: rig.broker.vault.fingerprint(SEALED), at: now, by: 'sven' };
  const credential = Credential.parse({
    title: 'Token',
    owner: 'sven',
    purpose: 'reads notes',
    environment: 'production',
    riskTier: 'low',
    revocation: 'at the issuer',
    reviewBy: now + DAY,
    state: 'enabled',
    source: { kind: 'sealed' },
    servers: ['notes'],
    maxAgeDays: 30,
    versions: [{ ...version, expiresAt: now + DAY }],
  });
  const jwe = await rig.broker.vault.seal(SEALED, 'token', 'v1');
  await rig.commit([
    { kind: 'credential', org: ORG, id: 'token', body: credential },
    { kind: 'sealed_secret', org: ORG, id: sealedSecretId('token', 'v1'), body: { jwe } },
  ]);
  await rig.addServer('notes', {
    upstream: { headers: [{ name: 'X-Api-Key', value: { secret: 'credential:token' } }] },
  });
});
afterEach(async () => {
  delete process.env[NAME];
  await rig.stop();
  await thief.close();
});

const WHY = { reason: 'moved' };

/** What an operator may do alone: change the record. */
async function turn(upstream: object): Promise<void> {
  const { headers, body } = await rig.admin('omar', 'GET', '/servers/notes');
  const allowed = new Set(Object.keys(Server.shape).filter((name) => name !== 'state' && name !== 'switches'));
  const server = { ...Object.fromEntries(Object.entries(body).filter(([name]) => allowed.has(name))), upstream };
  const put = await rig.admin('omar', 'PUT', '/servers/notes', { ...WHY, server } as JsonObject, {
    'if-match': String(headers['etag']),
  });
  expect([put.status, put.text]).toEqual([200, put.text]);
}

const towardsThief = () => ({
  transport: 'http',
  url: thief.url,
  allowedNetworks: ['127.0.0.1/32'],
  headers: [
    { name: 'X-Api-Key', value: { secret: 'credential:token' } },
    { name: 'X-Other', value: { secret: `env:${NAME}` } },
  ],
});

test('AZ-11: whoever turns a server elsewhere and asks for a look gets no request and no secret', async () => {
  await turn(towardsThief());
  const look = await rig.admin('omar', 'POST', '/servers/notes/refresh', {});
  expect(thief.received).toEqual([]);
  expect([look.status, (look.body['error'] as JsonObject)['code']]).toEqual([409, 'server_state']);
});

test('AZ-11: a locked server is not looked at either', async () => {
  await rig.lock({ kind: 'server', value: 'notes' }, rig.clock.now() + DAY);
  const before = rig.sink().received.length;
  const look = await rig.admin('omar', 'POST', '/servers/notes/refresh', {});
  expect([look.status, (look.body['error'] as JsonObject)['code']]).toEqual([409, 'server_locked']);
  expect(rig.sink().received.slice(before)).toEqual([]);
});

test('AZ-11: nor does a program of the record start', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'remit-found-5-'));
  try {
    await turn({
      transport: 'stdio',
      command: ['/bin/sh', '-c', 'echo started > /out/here'],
      mounts: [{ from: folder, to: '/out', mode: 'write' }],
    });
    expect((await rig.admin('omar', 'POST', '/servers/notes/refresh', {})).status).toBe(409);
    expect(existsSync(join(folder, 'here'))).toBe(false);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('AZ-11: nobody connects by a record that is in review: its client secret would prove itself to whoever it names', async () => {
  const site = await startAuthorizationSite();
  const sink = await startProtected(site);
  try {
    await turn({
      transport: 'http',
      url: sink.url,
      allowedNetworks: ['127.0.0.1/32'],
      auth: {
        grant: 'authorization_code',
        issuer: site.issuer,
        client: { method: 'client_secret_post', id: 'us', secret: { secret: `env:${NAME}` } },
      },
    });
    const begun = await rig.admin('omar', 'POST', '/servers/notes/connect', { redirectUri: 'http://127.0.0.1:4000/c' });
    expect([begun.status, (begun.body['error'] as JsonObject)['code']]).toEqual([409, 'server_state']);
    expect([site.asked, sink.received]).toEqual([[], []]);
  } finally {
    await sink.close();
    await site.close();
  }
});

describe('each part refuses by itself', () => {
  test('AZ-11: the gateway, whoever asks it', async () => {
    await turn(towardsThief());
    await expect(rig.gateway.refresh('notes')).rejects.toMatchObject({ code: 'server_out_of_service' });
    const entry = rig.gateway.snapshot().servers.get('notes')!;
    await expect(rig.gateway.catalogue.refresh(entry)).rejects.toThrow('not in service');
    expect(thief.received).toEqual([]);
  });

  test('AZ-11: the book of credentials', async () => {
    const use = () => credentialBook(ORG, rig.view, rig.clock).use('token', 'notes');
    expect(use()).toMatchObject({ ok: true, version: 'v1' });
    await turn(towardsThief());
    expect(use()).toEqual({ ok: false, why: 'is not for notes while that is in_review' });
  });

  test('AZ-11: twin: where only the connections are asked, the secrets arrive at whoever is written there', async () => {
    await turn(towardsThief());
    const record = Server.parse(rig.view.get('server', ORG, 'notes')!.body);
    const pool = testPool({
      clock: rig.clock,
      resolveSecret: async ({ secret }) => (secret.startsWith('credential:') ? SEALED : PLACE),
    });
    await pool.connection('notes', record).catch(() => undefined);
    await pool.closeAll();
    expect(thief.received[0]?.headers).toMatchObject({ 'x-api-key': SEALED, 'x-other': PLACE });
  });
});
