/** Signing and cookie keys: created once, private, rotated without breaking what was issued. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, createRemoteJWKSet, jwtVerify } from 'jose';
import type { JWK } from 'jose';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openKeys } from '../../src/authserver/keys.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { cookieJar } from '../support/browser.ts';
import { startFixture } from './fixture.ts';

const LIFETIMES = { tokenSeconds: 600, cookieSeconds: 3_600 };
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remit-authkeys-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('are created at first start, 0600 in a folder 0700, and the same at the second', () => {
  const clock = manualClock(0);
  const first = openKeys(folder, LIFETIMES, clock);
  expect(statSync(join(folder, 'keys')).mode & 0o777).toBe(0o700);
  expect(readdirSync(join(folder, 'keys')).sort()).toEqual(['cookie-keys.json', 'signing-keys.json']);
  for (const name of readdirSync(join(folder, 'keys')))
    expect(statSync(join(folder, 'keys', name)).mode & 0o777).toBe(0o600);
  const second = openKeys(folder, LIFETIMES, clock);
  expect(second.signingKey()).toEqual(first.signingKey());
  expect(second.cookieKeys()).toEqual(first.cookieKeys());
});

test('publish no private part', () => {
  const keys = openKeys(folder, LIFETIMES, manualClock(0));
  keys.rotate();
  for (const key of keys.published())
    expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
});

test('a rotated-out private key is gone from the disk; its public half is published until its tokens are dead', () => {
  const clock = manualClock(1_000_000);
  const keys = openKeys(folder, LIFETIMES, clock);
  const old = keys.signingKey();
  keys.rotate();
  expect(keys.signingKey().kid).not.toBe(old.kid);
  expect(readFileSync(join(folder, 'keys', 'signing-keys.json'), 'utf8')).not.toContain(old.d);
  expect(keys.published().map(({ kid }) => kid)).toEqual([keys.signingKey().kid, old.kid]);
  clock.advance(659_000);
  expect(openKeys(folder, LIFETIMES, clock).published()).toHaveLength(2);
  clock.advance(1_000);
  expect(keys.published().map(({ kid }) => kid)).toEqual([keys.signingKey().kid]);
});

test('an unreadable key file stops the start; it is never replaced by new keys', () => {
  openKeys(folder, LIFETIMES, manualClock(0));
  const file = join(folder, 'keys', 'signing-keys.json');
  writeFileSync(file, '{"current":{"d":"canary-private"}}');
  expect(() => openKeys(folder, LIFETIMES, manualClock(0))).toThrow(
    `${file} cannot be read as a key file; restore it from a backup`,
  );
  expect(readFileSync(file, 'utf8')).toBe('{"current":{"d":"canary-private"}}');
});

test('rotation in a running server: old tokens verify, new ones are signed by the new key, the browser stays signed in', async () => {
  const at = await startFixture({ unsafeSilentNativeConsent: true });
  try {
    const jar = cookieJar();
    const before = await at.tokens({ jar });
    const jwks = new URL(`${at.server.issuer}/jwks`);
    const published = async () => (await (await fetch(jwks)).json()) as { keys: JWK[] };
    const [first] = (await published()).keys;
    at.server.rotateKeys();
    const now = await published();
    expect(now.keys).toHaveLength(2);
    expect(now.keys[1]?.kid).toBe(first?.kid);
    expect(JSON.stringify(now)).not.toContain('"d"');

    const options = { issuer: at.server.issuer, typ: 'at+jwt' };
    expect((await jwtVerify(before.access_token, createRemoteJWKSet(jwks), options)).protectedHeader.kid).toBe(
      first?.kid,
    );
    const steps: string[] = [];
    const after = await at.tokens({ jar, onPage: (page) => steps.push(page.url) });
    expect(steps).toEqual([]); // no form: session and consent outlived the rotation
    expect((await jwtVerify(after.access_token, createRemoteJWKSet(jwks), options)).protectedHeader.kid).toBe(
      now.keys[0]?.kid,
    );
    // Twin: without the retired key the old token would not verify.
    const onlyNew = createLocalJWKSet({ keys: now.keys.slice(0, 1) });
    await expect(jwtVerify(before.access_token, onlyNew, options)).rejects.toThrow('no applicable key found');
  } finally {
    await at.stop();
  }
});
