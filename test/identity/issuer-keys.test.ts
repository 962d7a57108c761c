import { generateKeyPairSync } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import { type IssuerMode, publicJwk } from '../support/issuer.ts';
import { RESOURCE, START_MS, callerOf, clock, fetchOnLoopback, issuerOn, problemOf, verifierFor } from './rig.ts';

beforeEach(() => clock.set(START_MS));

const claims = { aud: RESOURCE };

describe('fetching', () => {
  test('many calls at once make one fetch', async () => {
    const issuer = await issuerOn();
    const verifier = verifierFor(issuer);
    await Promise.all(Array.from({ length: 20 }, () => callerOf(verifier, issuer.mint(claims))));
    expect(issuer.hits.jwks).toBe(1);
  });

  test('a hundred unknown key ids make one fetch per cooldown', async () => {
    const issuer = await issuerOn();
    const verifier = verifierFor(issuer);
    await callerOf(verifier, issuer.mint(claims));
    const attack = async (): Promise<void> => {
      const problems = await Promise.all(
        Array.from({ length: 100 }, (_, i) => problemOf(verifier, issuer.mint(claims, { kid: `made-up-${i}` }))),
      );
      expect(new Set(problems.map(({ kind }) => kind))).toEqual(new Set(['key_unknown']));
    };
    await attack();
    expect(issuer.hits.jwks).toBe(1);
    clock.advance(29_999);
    await attack();
    expect(issuer.hits.jwks).toBe(1);
    clock.advance(1);
    await attack();
    await attack();
    expect(issuer.hits.jwks).toBe(2);
  });

  test('twin: a verifier without cooldown fetches for every made-up key id', async () => {
    const issuer = await issuerOn();
    const verifier = verifierFor(issuer, { jwksCooldownMs: 0 });
    for (let i = 0; i < 5; i++) await problemOf(verifier, issuer.mint(claims, { kid: `made-up-${i}` }));
    expect(issuer.hits.jwks).toBeGreaterThanOrEqual(5);
  });

  test('a new key is found as soon as the cooldown allows', async () => {
    const issuer = await issuerOn();
    const verifier = verifierFor(issuer);
    await callerOf(verifier, issuer.mint(claims));
    issuer.rotate();
    expect(await problemOf(verifier, issuer.mint(claims))).toEqual({ kind: 'key_unknown' });
    clock.advance(30_000);
    expect((await callerOf(verifier, issuer.mint(claims))).issuer).toBe(issuer.issuer);
  });

  test('a withdrawn key stops verifying when the keys are due, before anything is accepted with it', async () => {
    const issuer = await issuerOn();
    const verifier = verifierFor(issuer);
    const old = issuer.currentKey();
    await callerOf(verifier, issuer.mint(claims));
    issuer.rotate({ withdraw: true });
    clock.advance(299_999);
    await callerOf(verifier, issuer.mint(claims, {}, { key: old })); // not yet due: nobody has told us
    clock.advance(1);
    expect(await problemOf(verifier, issuer.mint(claims, {}, { key: old }))).toEqual({ kind: 'key_unknown' });
  });

  test('a key may have the same id at two issuers, and each verifies only its own', async () => {
    const [one, two] = [await issuerOn(), await issuerOn()];
    one.setPublished([{ ...publicJwk(one.currentKey()), kid: 'shared' }]);
    two.setPublished([{ ...publicJwk(two.currentKey()), kid: 'shared' }]);
    const verifier = createTokenVerifier({ issuers: [one, two], fetchJwks: fetchOnLoopback, clock });
    await callerOf(verifier, one.mint(claims, { kid: 'shared' }));
    await callerOf(verifier, two.mint(claims, { kid: 'shared' }));
    expect(await problemOf(verifier, one.mint(claims, { kid: 'shared' }, { key: two.currentKey() }))).toEqual({
      kind: 'signature',
    });
  });
});

describe('outage', () => {
  test.each<IssuerMode>(['down', 'hang', 'garbage'])(
    '%s: known keys serve to a stated age, then nobody is let in',
    async (mode) => {
      const issuer = await issuerOn();
      const verifier = verifierFor(issuer);
      await callerOf(verifier, issuer.mint(claims));
      issuer.setMode(mode);
      clock.advance(300_000);
      await callerOf(verifier, issuer.mint(claims));
      expect(verifier.jwksStatus()[0]).toMatchObject({ state: 'stale', fetchedAt: START_MS });
      clock.set(START_MS + 599_999);
      await callerOf(verifier, issuer.mint(claims));
      clock.set(START_MS + 600_000);
      expect(await problemOf(verifier, issuer.mint(claims))).toEqual({ kind: 'keys_unavailable' });
      expect(verifier.jwksStatus()[0]?.state).toBe('unavailable');

      issuer.setMode('up');
      clock.advance(5_000);
      await callerOf(verifier, issuer.mint(claims));
      expect(verifier.jwksStatus()[0]).toMatchObject({ state: 'fresh', lastFault: null });
    },
  );

  test('only the first caller of an outage waits for the issuer', async () => {
    const issuer = await issuerOn();
    let asked = 0;
    let release = (): void => {};
    const verifier = verifierFor(issuer, {
      fetchJwks: (url) => {
        if (++asked === 1) return fetchOnLoopback(url);
        if (asked === 2) return Promise.reject(new Error('down'));
        return new Promise((_resolve, reject) => (release = () => reject(new Error('down'))));
      },
    });
    await callerOf(verifier, issuer.mint(claims));
    clock.advance(300_000);
    await callerOf(verifier, issuer.mint(claims)); // asks, is told no
    clock.advance(5_000);
    await callerOf(verifier, issuer.mint(claims)); // asks again; the answer never comes, and nobody waits for it
    expect(asked).toBe(3);
    release();
  });

  test('an unknown key in an outage is our trouble, not the caller’s', async () => {
    const issuer = await issuerOn();
    const verifier = verifierFor(issuer);
    await callerOf(verifier, issuer.mint(claims));
    issuer.rotate();
    issuer.setMode('down');
    clock.advance(30_000);
    expect(await problemOf(verifier, issuer.mint(claims))).toEqual({ kind: 'keys_unavailable' });
  });

  test('an issuer that was never reached lets nobody in, and is asked again soon', async () => {
    const issuer = await issuerOn();
    const verifier = verifierFor(issuer);
    issuer.setMode('down');
    for (let i = 0; i < 10; i++) {
      expect(await problemOf(verifier, issuer.mint(claims))).toEqual({ kind: 'keys_unavailable' });
    }
    expect(issuer.hits.jwks).toBe(1);
    expect(verifier.jwksStatus()).toEqual([
      { issuer: issuer.issuer, state: 'unavailable', keyIds: [], fetchedAt: null, lastFault: 'dial_status' },
    ]);
    issuer.setMode('up');
    clock.advance(5_000);
    await callerOf(verifier, issuer.mint(claims));
  });
});

describe('keys that are not used', () => {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 });

  test.each<[string, (jwk: Readonly<Record<string, unknown>>) => readonly unknown[]]>([
    ['for encryption', (jwk) => [{ ...jwk, use: 'enc' }]],
    ['for signing only', (jwk) => [{ ...jwk, key_ops: ['sign'] }]],
    ['without an id', (jwk) => [{ ...jwk, kid: undefined }]],
    ['of another algorithm', (jwk) => [{ ...jwk, alg: 'ES384' }]],
    ['published with its private half', (jwk) => [{ ...jwk, d: pair.privateKey.export({ format: 'jwk' }).d }]],
    ['of a shared secret', (jwk) => [{ kty: 'oct', kid: jwk['kid'], k: 'c2VjcmV0' }]],
    ['off the curve', (jwk) => [{ ...jwk, x: 'AAAA' }]],
    ['of an unknown type', (jwk) => [{ ...jwk, kty: 'XYZ' }]],
    [
      'under an id that two keys have',
      (jwk) => [jwk, { ...pair.publicKey.export({ format: 'jwk' }), kid: jwk['kid'] }],
    ],
    ['that are no keys', () => [null, 'key', [], 7]],
  ])('%s', async (_name, publish) => {
    const issuer = await issuerOn();
    issuer.setPublished(publish(publicJwk(issuer.currentKey())));
    expect(await problemOf(verifierFor(issuer), issuer.mint(claims))).toEqual({ kind: 'key_unknown' });
  });

  test('RSA below 2048 bits', async () => {
    const issuer = await issuerOn({ algorithm: 'RS256' });
    const key = { kid: 'weak', algorithm: 'RS256', ...weak } as const;
    issuer.setPublished([publicJwk(key)]);
    expect(await problemOf(verifierFor(issuer), issuer.mint(claims, {}, { key }))).toEqual({ kind: 'key_unknown' });
  });

  test('more than a hundred of them', async () => {
    const issuer = await issuerOn();
    issuer.setPublished(Array.from({ length: 101 }, () => publicJwk(issuer.currentKey())));
    const verifier = verifierFor(issuer);
    expect(await problemOf(verifier, issuer.mint(claims))).toEqual({ kind: 'keys_unavailable' });
    expect(verifier.jwksStatus()[0]?.lastFault).toBe('jwks_malformed');
  });
});

describe('metadata', () => {
  test.each(['oauth', 'oidc', 'both'] as const)('finds the keys of an issuer with a path (%s)', async (discovery) => {
    const issuer = await issuerOn({ path: '/realms/main', discovery });
    const verifier = createTokenVerifier({ issuers: [{ issuer: issuer.issuer }], fetchJwks: fetchOnLoopback, clock });
    await callerOf(verifier, issuer.mint(claims));
    expect(issuer.hits).toEqual({ jwks: 1, metadata: 1 });
  });

  test.each<[string, Readonly<Record<string, unknown>>, string]>([
    ['of another issuer', { issuer: 'https://evil.example' }, 'jwks_issuer_mismatch'],
    ['with a trailing slash more', { issuer: 'SELF/' }, 'jwks_issuer_mismatch'],
    ['without an issuer', { issuer: undefined }, 'jwks_issuer_mismatch'],
    ['without a key set', { jwks_uri: undefined }, 'jwks_uri_missing'],
    ['whose key set lies inside', { jwks_uri: 'http://169.254.169.254/keys' }, 'dial_address'],
    ['whose key set is a file', { jwks_uri: 'file:///etc/passwd' }, 'dial_scheme'],
  ])('refuses a document %s', async (_name, members, fault) => {
    const issuer = await issuerOn();
    issuer.setMetadata(members['issuer'] === 'SELF/' ? { issuer: `${issuer.issuer}/` } : members);
    const verifier = createTokenVerifier({ issuers: [{ issuer: issuer.issuer }], fetchJwks: fetchOnLoopback, clock });
    expect(await problemOf(verifier, issuer.mint(claims))).toEqual({ kind: 'keys_unavailable' });
    expect(verifier.jwksStatus()[0]?.lastFault).toBe(fault);
  });

  test('an issuer without metadata and without a configured key set lets nobody in', async () => {
    const issuer = await issuerOn({ discovery: 'none' });
    const verifier = createTokenVerifier({ issuers: [{ issuer: issuer.issuer }], fetchJwks: fetchOnLoopback, clock });
    expect(await problemOf(verifier, issuer.mint(claims))).toEqual({ kind: 'keys_unavailable' });
    expect(verifier.jwksStatus()[0]?.lastFault).toBe('jwks_metadata_missing');
  });
});
