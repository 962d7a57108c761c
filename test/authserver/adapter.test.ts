/** Storage under the engine: one winner per code, no second use of an assertion, no credential on the disk. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { DatabaseSync } from 'node:sqlite';
import type { AdapterFactory } from 'oidc-provider';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { authStorage } from '../../src/authserver/adapter.ts';
import type { AuthStorage } from '../../src/authserver/adapter.ts';
import { parseAuthServerConfig } from '../../src/authserver/config.ts';
import { consents } from '../../src/authserver/consents.ts';
import { staticClients } from '../../src/authserver/clients.ts';
import { openDatabase } from '../../src/authserver/database.ts';
import { deviceFlow } from '../../src/authserver/device.ts';
import { endings } from '../../src/authserver/endings.ts';
import { createEngine } from '../../src/authserver/engine.ts';
import { openKeys } from '../../src/authserver/keys.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { registration } from '../../src/authserver/registration.ts';
import { manualClock, systemClock } from '../../src/lib/clock.ts';
import { ok } from '../../src/lib/result.ts';
import { REDIRECT, post } from './fixture.ts';

let folder: string;
let db: DatabaseSync;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remit-authstore-'));
  db = openDatabase(folder);
});
afterEach(() => {
  if (db.isOpen) db.close();
  rmSync(folder, { recursive: true, force: true });
});

const storageOf = (file: DatabaseSync, clock: Clock): AuthStorage =>
  authStorage(file, clock, (grantId) => endings(file, clock, 600).endGrant(grantId, 'reuse'));

/** The real engine over the given storage; eight redemptions of one code at once. How many got tokens? */
async function raceForOneCode(adapter: AdapterFactory, times = 8): Promise<number> {
  const resource = 'https://gateway.example/mcp/x';
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const person = { sub: 'person_1', name: 'Ada', email: 'ada@example.com' };
  const settings = parseAuthServerConfig({
    issuer,
    listen: { port: 0 },
    dataDir: folder,
    trustedGateways: [{ origin: 'https://gateway.example' }],
  });
  const provider = createEngine({
    issuer,
    settings,
    keys: openKeys(folder, { tokenSeconds: 600, cookieSeconds: 600 }, systemClock),
    storage: { adapter, sweep: () => 0 },
    consents: consents(db, systemClock),
    resources: {
      find: async () =>
        ok({
          resource,
          name: 'x',
          defaultScopes: [],
          offered: new Map([['x:read', { scope: 'x:read', description: '', risk: null }]]),
        }),
    },
    directory: { find: async () => person },
    clientPolicy: () => ({ allow: true }),
    tokenClaims: () => ({}),
    fetchDocument: async () => new Response(null, { status: 404 }),
    clients: staticClients([]),
    moreMetadata: () => ({}),
    registration: registration(db, systemClock, settings.registration, null),
    deviceFlow: deviceFlow(systemClock, () => {}),
    renderError: () => {},
    note: () => {},
  });
  const handle = provider.callback();
  server.on('request', (request, response) => void handle(request, response));
  try {
    const client = await provider.Client.find('mcp-client');
    if (client === undefined) throw new Error('no client');
    const grant = new provider.Grant({ accountId: person.sub, clientId: client.clientId });
    grant.addResourceScope(resource, 'x:read');
    const grantId = await grant.save();
    const code = await new provider.AuthorizationCode({
      client,
      accountId: person.sub,
      grantId,
      redirectUri: REDIRECT,
      resource,
      scope: 'x:read',
      // RFC 7636 appendix B
      codeChallenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM',
      codeChallengeMethod: 'S256',
    } as ConstructorParameters<typeof provider.AuthorizationCode>[0]).save();
    const answers = await Promise.all(
      Array.from({ length: times }, () =>
        post(`${issuer}/token`, {
          grant_type: 'authorization_code',
          client_id: 'mcp-client',
          redirect_uri: REDIRECT,
          code_verifier: 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk',
          code,
        }),
      ),
    );
    return answers.filter(({ status }) => status === 200).length;
  } finally {
    await new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  }
}

/** Nobody writes before all eight have read: the interleaving that two nodes reach by bad luck. */
function barrier(parties: number): () => Promise<void> {
  let arrived = 0;
  let open = (): void => {};
  const all = new Promise<void>((resolve) => (open = resolve));
  return () => {
    if (++arrived === parties) open();
    return all;
  };
}

describe('a code redeemed eight times at once', () => {
  test('the control case: once, it is redeemed', async () => {
    expect(await raceForOneCode(storageOf(db, systemClock).adapter, 1)).toBe(1);
  });

  // The losers end the grant; whether the winner's token was signed before that is luck, and either is right.
  test('is redeemed at most once', async () => {
    const { adapter } = storageOf(db, systemClock);
    const afterTheOthers = barrier(8);
    const slow: AdapterFactory = (model) => {
      const real = adapter(model);
      return {
        ...real,
        consume: async (id) => {
          await afterTheOthers();
          return real.consume(id);
        },
      };
    };
    expect(await raceForOneCode(slow)).toBeLessThanOrEqual(1);
  });

  test('vulnerable twin: with a consume that does not look whether it was first, it is redeemed eight times', async () => {
    const { adapter } = storageOf(db, systemClock);
    const afterTheOthers = barrier(8);
    const naive: AdapterFactory = (model) => ({
      ...adapter(model),
      consume: async () => {
        await afterTheOthers();
        db.prepare('UPDATE entity SET consumed_at = 1 WHERE model = ?').run(model);
      },
    });
    expect(await raceForOneCode(naive)).toBe(8);
  });
});

describe('the adapter', () => {
  test('gives a consumed token back as consumed, also after it is saved again', async () => {
    const tokens = storageOf(db, systemClock).adapter('RefreshToken');
    await tokens.upsert('rt', { grantId: 'g' }, 60);
    await tokens.consume('rt');
    await tokens.upsert('rt', { grantId: 'g' }, 60);
    expect(await tokens.find('rt')).toMatchObject({ jti: 'rt', grantId: 'g', consumed: expect.any(Number) as number });
    await expect(tokens.consume('rt')).rejects.toMatchObject({
      error: 'invalid_grant',
      error_detail: 'already consumed',
    });
  });

  test('ends the whole grant when a token is consumed twice', async () => {
    const { adapter } = storageOf(db, systemClock);
    await adapter('Grant').upsert('g', { accountId: 'a', clientId: 'c' }, 60);
    await adapter('RefreshToken').upsert('other', { grantId: 'g' }, 60);
    await adapter('AuthorizationCode').upsert('code', { grantId: 'g' }, 60);
    await adapter('AuthorizationCode').consume('code');
    await expect(adapter('AuthorizationCode').consume('code')).rejects.toThrow('invalid_grant');
    expect(await adapter('Grant').find('g')).toBeUndefined();
    expect(await adapter('RefreshToken').find('other')).toBeUndefined();
  });

  test('does not find what has expired, does not let it be consumed, and sweeps it', async () => {
    const clock = manualClock(1_000_000);
    const storage = storageOf(db, clock);
    const codes = storage.adapter('AuthorizationCode');
    await codes.upsert('code', { grantId: 'g' }, 60);
    clock.advance(59_000);
    expect(await codes.find('code')).toBeDefined();
    expect(storage.sweep(10)).toBe(0);
    clock.advance(1_000);
    expect(await codes.find('code')).toBeUndefined();
    await expect(codes.consume('code')).rejects.toThrow('invalid_grant');
    expect(storage.sweep(10)).toBe(0); // the failed consume ended the grant with everything on it
    await codes.upsert('lonely', {}, 1);
    clock.advance(1_000);
    expect(storage.sweep(10)).toBe(1);
  });

  test('accepts an assertion id once until it has expired', async () => {
    const clock = manualClock(1_000_000);
    const replay = storageOf(db, clock).adapter('ReplayDetection');
    await replay.upsert('jti', { iss: 'c' }, 60);
    await expect(replay.upsert('jti', { iss: 'c' }, 60)).rejects.toMatchObject({
      error: 'invalid_request',
      error_description: 'the assertion was already used',
    });
    clock.advance(60_000);
    await expect(replay.upsert('jti', { iss: 'c' }, 60)).resolves.toBeUndefined();
  });

  test('keeps models apart: the id of one is nothing in another', async () => {
    const { adapter } = storageOf(db, systemClock);
    await adapter('RefreshToken').upsert('same', { grantId: 'g' }, 60);
    expect(await adapter('AuthorizationCode').find('same')).toBeUndefined();
  });

  test('AN-12: writes no code, refresh token or session cookie to the disk, only their hashes', async () => {
    const { adapter } = storageOf(db, systemClock);
    const canaries = ['canary-code-3f9a', 'canary-refresh-77b1', 'canary-session-c0de', 'canary-cookie-e1e1'];
    await adapter('AuthorizationCode').upsert(
      'canary-code-3f9a',
      { jti: 'canary-code-3f9a', grantId: 'grant-in-clear' },
      60,
    );
    await adapter('RefreshToken').upsert(
      'canary-refresh-77b1',
      { jti: 'canary-refresh-77b1', grantId: 'grant-in-clear' },
      60,
    );
    await adapter('Session').upsert('canary-session-c0de', { jti: 'canary-session-c0de', uid: 'u' }, 60);
    await adapter('Interaction').upsert(
      'i',
      { session: { accountId: 'a', uid: 'u', cookie: 'canary-cookie-e1e1' } },
      60,
    );
    const disk = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
      .join('');
    for (const canary of canaries) expect(disk).not.toContain(canary);
    expect(disk).toContain('grant-in-clear'); // the search does look at what was written
  });
});

describe('the database', () => {
  test('is 0600, WAL with synchronous FULL', () => {
    for (const name of readdirSync(folder))
      expect([name, statSync(join(folder, name)).mode & 0o777]).toEqual([name, 0o600]);
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
  });

  test('belongs to one process: a second one is refused with the file and the remedy', async () => {
    const source = `
      const { parentPort } = require('node:worker_threads');
      import(${JSON.stringify(join(import.meta.dirname, '../../src/authserver/database.ts'))}).then(({ openDatabase }) => {
        try { openDatabase(${JSON.stringify(folder)}).close(); parentPort.postMessage('opened'); }
        catch (error) { parentPort.postMessage(error.code + ': ' + error.message); }
      });`;
    const worker = new Worker(source, { eval: true });
    const message = await new Promise<string>((resolve, reject) =>
      worker.once('message', resolve).once('error', reject),
    );
    await worker.terminate();
    expect(message).toBe(
      `authserver_database_locked: ${join(folder, 'authserver.db')} is in use by another process; stop it first`,
    );
  });

  test('opens again with what was in it', async () => {
    await storageOf(db, systemClock).adapter('Grant').upsert('g', { accountId: 'a' }, 60);
    db.close();
    db = openDatabase(folder);
    expect(await storageOf(db, systemClock).adapter('Grant').find('g')).toMatchObject({ accountId: 'a' });
  });

  test('of a newer version is refused', () => {
    db.exec('PRAGMA user_version = 99');
    db.close();
    expect(() => openDatabase(folder)).toThrow('the database was written by a newer version (schema 99)');
  });
});
