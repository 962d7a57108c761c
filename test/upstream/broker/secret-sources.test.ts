/** The four places of secrets under one contract, and what is special about the sealed store. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { CompactEncrypt, decodeProtectedHeader } from 'jose';
import { describe, expect, test } from 'vitest';
import { manualClock, systemClock } from '../../../src/lib/clock.ts';
import { credentialBroker } from '../../../src/upstream/broker/broker.ts';
import { keyIdOf, keyRing, sealedSource } from '../../../src/upstream/broker/sealed.ts';
import { vaultPlace, vaultSource } from '../../../src/upstream/broker/vault.ts';
import type { VaultLogin } from '../../../src/upstream/broker/vault-session.ts';
import { placesSource } from '../../../src/upstream/secrets.ts';
import { secretSourceContract } from '../../contracts/secret-source.ts';
import { type TestVault, startVault } from '../../support/vault.ts';

const LOOPBACK = { allowedNetworks: ['127.0.0.1/32'], requireHttps: true };
const RESOLVE = async ({ secret }: { readonly secret: string }): Promise<string> => secret.replace('env:', '');

secretSourceContract('variables', async () => {
  const env: Record<string, string> = { OTHER: 'canary of the gateway itself' };
  return {
    source: placesSource(env, { envPrefix: 'REMIT_SECRET_' }),
    put: (value) => ((env['REMIT_SECRET_A'] = value), 'env:REMIT_SECRET_A'),
    absent: 'env:REMIT_SECRET_B',
    refused: ['env:OTHER', 'file:/etc/hostname/x', 'vault:secret/a#b', 'sealed/1'],
  };
});

secretSourceContract('files', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'remit-secrets-'));
  return {
    source: placesSource({}, { folders: [folder] }),
    put: (value) => {
      writeFileSync(join(folder, 'a'), value);
      return `file:${join(folder, 'a')}`;
    },
    absent: `file:${join(folder, 'b')}`,
    refused: ['file:/etc/passwd', `file:${folder}/../x`, `file:${folder}-other/a`, 'file:a'],
    close: async () => rmSync(folder, { recursive: true }),
  };
});

secretSourceContract('sealed store', async () => {
  const ring = keyRing([randomBytes(32)]);
  const kept = new Map<string, string>();
  let version = 0;
  return {
    source: sealedSource(ring, 'acme', (credential, id) => kept.get(`${credential}/${id}`) ?? null),
    put: async (value) => {
      const id = `v${++version}`;
      kept.set(`a/${id}`, await ring.seal(value, { org: 'acme', credential: 'a', version: id }));
      return `a/${id}`;
    },
    absent: 'b/v1',
    refused: ['a', 'a/', '/v1', 'a/v1/x'],
  };
});

function vaultAt(vault: TestVault, login: VaultLogin, more: { namespace?: string; clock?: typeof systemClock } = {}) {
  return vaultSource({
    address: vault.url,
    namespace: more.namespace ?? null,
    login,
    rule: LOOPBACK,
    clock: more.clock ?? systemClock,
    resolveSecret: RESOLVE,
    folders: [{ mount: 'secret', path: 'remit' }],
  });
}
const byToken = (token: string): VaultLogin => ({ method: 'token', token: { secret: `env:${token}` } });

secretSourceContract('Vault', async () => {
  const vault = await startVault({ namespace: 'team' });
  vault.put('secret/other/a', { value: 'canary of somebody else' });
  return {
    source: vaultAt(vault, byToken(vault.token()), { namespace: 'team' }),
    put: (value) => {
      vault.put('secret/remit/a', { value });
      return 'vault:secret/remit/a#value';
    },
    absent: 'vault:secret/remit/b#value',
    refused: [
      'vault:secret/other/a#value',
      'vault:secret/remit/../other/a#value',
      'vault:secret/remit/%2e%2e/other/a#value',
      'vault:secret/remit/a?version=1#value',
      'vault:secret/remit//a#value',
      'vault:secret/remit#value',
      'vault:secret/remitother/a#value',
      'vault:secret/remit/a',
      'vault:secret/remit/a#value#x',
      'vault:sys/remit/a#value',
      'env:PATH',
    ],
    close: vault.close,
  };
});

describe('the sealed store', () => {
  const binding = { org: 'acme', credential: 'github', version: 'v1' };

  test('a value opens only for the organisation, the credential and the version it was sealed for', async () => {
    const ring = keyRing([randomBytes(32)]);
    const sealed = await ring.seal('canary', binding);
    expect(await ring.open(sealed, binding)).toBe('canary');
    for (const other of [{ org: 'other' }, { credential: 'jira' }, { version: 'v2' }])
      expect(await ring.open(sealed, { ...binding, ...other })).toBeNull();
    expect(decodeProtectedHeader(sealed)).toMatchObject({
      alg: 'A256GCMKW',
      enc: 'A256GCM',
      kid: ring.newest,
      ...binding,
    });
    expect(sealed).not.toContain(Buffer.from('canary').toString('base64url'));
  });

  test('the twin: without the comparison of the header a value moved to another credential opens there', async () => {
    const ring = keyRing([randomBytes(32)]);
    const sealed = await ring.seal('canary', binding);
    const believing = { ...ring, open: (text: string) => ring.open(text, binding) };
    const moved = sealedSource(believing, 'acme', () => sealed);
    expect(await moved.read('stolen/v9')).toMatchObject({ value: 'canary' });
    await expect(sealedSource(ring, 'acme', () => sealed).read('stolen/v9')).rejects.toMatchObject({
      code: 'secret_refused',
    });
  });

  test('the first key seals, all open, and a key that is not there opens nothing', async () => {
    const [old, next] = [randomBytes(32), randomBytes(32)];
    const before = await keyRing([old]).seal('canary', binding);
    const both = keyRing([next, old]);
    expect(await both.open(before, binding)).toBe('canary');
    const after = await both.seal('canary', binding);
    expect(keyIdOf(after)).toBe(both.newest);
    expect(await keyRing([next]).open(before, binding)).toBeNull();
    expect(await keyRing([next]).open(after, binding)).toBe('canary');
    expect(() => keyRing([])).toThrow(/at least one key/);
    expect(() => keyRing([randomBytes(16)])).toThrow(/32 bytes/);
  });

  test('another algorithm, a key of the attacker or a changed character open nothing', async () => {
    const secret = randomBytes(32);
    const ring = keyRing([secret]);
    const sealed = await ring.seal('canary', binding);
    const forged = await new CompactEncrypt(Buffer.from('forged'))
      .setProtectedHeader({ alg: 'A256GCMKW', enc: 'A256GCM', typ: 'remit-credential', kid: ring.newest, ...binding })
      .encrypt(randomBytes(32));
    const direct = await new CompactEncrypt(Buffer.from('forged'))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', typ: 'remit-credential', kid: ring.newest, ...binding })
      .encrypt(randomBytes(32));
    for (const text of [forged, direct, '', '.', 'a.b.c.d.e', `${sealed}.`, 'x'.repeat(500_000)])
      expect(await ring.open(text, binding)).toBeNull();
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length - 1), fc.constantFrom('A', 'z', '.', '-'), async (at, letter) => {
        const changed = sealed.slice(0, at) + letter + sealed.slice(at + 1);
        // Spare bits of a last character have several spellings of one byte string.
        const opened = await ring.open(changed, binding);
        expect(opened === null || opened === 'canary').toBe(true);
        if (changed.split('.')[0] !== sealed.split('.')[0]) expect(opened).toBeNull();
      }),
      { seed: 1, numRuns: 200 },
    );
  });
});

test('the broker seals again under the first key while everything still opens, and then the old key may go', async () => {
  const [old, next] = [randomBytes(32), randomBytes(32)];
  const kept = new Map<string, string>();
  const brokerWith = (...keys: Uint8Array[]) =>
    credentialBroker({
      org: 'acme',
      clock: systemClock,
      ring: keyRing(keys),
      fingerprintKey: randomBytes(32),
      book: {
        use: () => ({ ok: true, version: 'v1', reference: null, until: Number.POSITIVE_INFINITY }),
        sealed: (credential, version) => kept.get(`${credential}/${version}`) ?? null,
      },
      places: placesSource({}),
      vault: null,
      lookMs: 0,
    });
  const before = brokerWith(old);
  kept.set('github/v1', await before.vault.seal('canary', 'github', 'v1'));
  const both = brokerWith(next, old);
  const wanted = { secret: 'credential:github' };
  expect(await both.resolve(wanted, 'any')).toBe('canary');
  const again = await both.vault.reseal(kept.get('github/v1')!, 'github', 'v1');
  kept.set('github/v1', again!);
  expect(await both.vault.reseal(again!, 'github', 'v1')).toBeNull();
  expect([await both.resolve(wanted, 'any'), await brokerWith(next).resolve(wanted, 'any')]).toEqual([
    'canary',
    'canary',
  ]);
  await expect(before.resolve(wanted, 'any')).rejects.toMatchObject({ code: 'secret_refused' });
  await expect(both.vault.reseal('x.y', 'github', 'v1')).rejects.toMatchObject({ code: 'secret_refused' });
});

describe('Vault', () => {
  const wanted = 'vault:secret/remit/a#value';
  async function vaultWith(login: (vault: TestVault) => VaultLogin) {
    const vault = await startVault();
    vault.put('secret/remit/a', { value: 'canary', other: 7 });
    const clock = manualClock(Date.now());
    const source = vaultAt(vault, login(vault), { clock });
    const skip = (ms: number): void => {
      clock.set(clock.now() + ms);
      vault.skewMs += ms;
    };
    const logins = (): number => vault.requests.filter(({ path }) => path.endsWith('/login')).length;
    const renewals = (): number => vault.requests.filter(({ path }) => path.endsWith('/renew-self')).length;
    return { vault, source, skip, logins, renewals };
  }
  const approle = ({ roles }: TestVault): VaultLogin => ({
    method: 'approle',
    mount: 'approle',
    roleId: roles.roleId,
    secretId: { secret: `env:${roles.secretId}` },
  });
  const kubernetes = ({ roles }: TestVault): VaultLogin => ({
    method: 'jwt',
    mount: 'kubernetes',
    role: roles.jwtRole,
    jwt: { secret: `env:${roles.jwt}` },
  });

  test.each([
    ['AppRole', approle],
    ['JWT', kubernetes],
  ] as const)(
    'a login by %s is used for many reads, renewed at two thirds of its life, and done anew when renewals end',
    async (_name, login) => {
      const { vault, source, skip, logins, renewals } = await vaultWith(login);
      await Promise.all([source.read(wanted), source.read(wanted)]);
      expect([logins(), renewals()]).toEqual([1, 0]);
      skip(410_000);
      expect(await source.read(wanted)).toMatchObject({ value: 'canary' });
      expect([logins(), renewals()]).toEqual([1, 1]);
      for (let round = 0; round < 10; round++) {
        skip(410_000);
        expect(await source.read(wanted)).toMatchObject({ value: 'canary' });
      }
      expect(logins()).toBe(2);
      skip(3_600_000);
      expect(await source.read(wanted)).toMatchObject({ value: 'canary' });
      expect(logins()).toBe(3);
      await vault.close();
    },
  );

  test('a token that was revoked is replaced once; one that may not is refused', async () => {
    const { vault, source, logins } = await vaultWith(approle);
    await source.read(wanted);
    for (const token of vault.live()) vault.revoke(token);
    expect(await source.read(wanted)).toMatchObject({ value: 'canary' });
    expect(logins()).toBe(2);
    vault.roles.policy = ['secret/data/elsewhere'];
    for (const token of vault.live()) vault.revoke(token);
    await expect(source.read(wanted)).rejects.toMatchObject({
      code: 'secret_refused',
      message: 'the secret "vault:secret/remit/a#value": the vault refuses it (403)',
    });
    await vault.close();
  });

  test.each([
    [
      'sealed',
      (vault: TestVault): boolean => (vault.sealed = true),
      'secret_unavailable',
      /sealed or in maintenance \(503\)/,
    ],
    ['deleted', (vault: TestVault) => vault.remove('secret/remit/a'), 'secret_missing', /is not there/],
    ['destroyed', (vault: TestVault) => vault.destroy('secret/remit/a'), 'secret_missing', /is not there/],
    [
      'a field that is no text',
      (vault: TestVault) => vault.put('secret/remit/a', { value: { a: 1 } }),
      'secret_reference',
      /no text/,
    ],
    [
      'a field that is not there',
      (vault: TestVault) => vault.put('secret/remit/a', { valu: 'canary' }),
      'secret_missing',
      /not set/,
    ],
    [
      'no JSON',
      (vault: TestVault) => (vault.next = { status: 200, body: '<canary>' }),
      'secret_unavailable',
      /not one of KV version 2/,
    ],
    ['a redirect', (vault: TestVault) => (vault.next = { status: 307, body: '' }), 'secret_unavailable', /./],
    [
      'too much',
      (vault: TestVault) => (vault.next = { status: 200, body: `"${'canary'.repeat(100_000)}"` }),
      'secret_unavailable',
      /does not answer/,
    ],
    [
      'a wrong namespace',
      (vault: TestVault) => (vault.next = { status: 404, body: '{"errors":["canary"]}' }),
      'secret_missing',
      /./,
    ],
  ] as const)('%s: the fault says what, and nothing of the answer', async (_name, harm, code, message) => {
    const { vault, source } = await vaultWith((one) => byToken(one.token()));
    await source.read(wanted);
    harm(vault);
    await expect(source.read(wanted)).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    await source
      .read(wanted)
      .catch((error: Error) => expect(`${error.message}${String(error.cause)}`).not.toContain('canary'));
    await vault.close();
  });

  test('a version that Vault will delete by itself says when, and is missing afterwards', async () => {
    const { vault, source, skip } = await vaultWith((one) => byToken(one.token()));
    vault.put('secret/remit/a', { value: 'short' }, 60_000);
    const { expiresAt } = await source.read(wanted);
    expect(expiresAt).toBeGreaterThan(Date.now());
    skip(61_000);
    await expect(source.read(wanted)).rejects.toMatchObject({ code: 'secret_missing' });
    await vault.close();
  });

  test('while Vault is away a login that still holds is used on, and the reads say that it is away', async () => {
    const { vault, source, skip } = await vaultWith(approle);
    await source.read(wanted);
    skip(410_000);
    vault.sealed = true;
    await expect(source.read(wanted)).rejects.toMatchObject({ code: 'secret_unavailable' });
    vault.sealed = false;
    expect(await source.read(wanted)).toMatchObject({ value: 'canary' });
    await vault.close();
  });

  test('the token goes in its header and nowhere else, and only to the address of the configuration', async () => {
    const { vault, source } = await vaultWith((one) => byToken(one.token()));
    await source.read(wanted);
    const [token = ''] = vault.live();
    for (const { path, body, headers } of vault.requests) {
      expect(path + body).not.toContain(token);
      expect(headers['x-vault-token']).toBe(token);
      expect(headers['x-vault-request']).toBe('true');
    }
    await vault.close();
  });

  test('no spelling of a reference leaves its folder', () => {
    const folders = [{ mount: 'secret', path: 'remit' }];
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('secret', 'remit', 'other', '.', '..', '', '%2e', 'a', '#', '?', '/', 'vault:'), {
          maxLength: 8,
        }),
        (parts) => {
          const place = vaultPlace(`vault:${parts.join('/')}#value`, folders);
          if (place === null) return;
          const url = new URL(
            `http://v/v1/${place.mount}/data/${place.path.split('/').map(encodeURIComponent).join('/')}`,
          );
          expect(url.pathname.startsWith('/v1/secret/data/remit/')).toBe(true);
        },
      ),
      { seed: 2, numRuns: 2_000 },
    );
  });
});
