import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { manualClock } from '../../src/lib/clock.ts';
import { sessionCapabilities, sessionSealer } from '../../src/protocol/session.ts';

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const FACTS = {
  org: 'default',
  server: 'files',
  issuer: 'https://as.example.com',
  subject: 'person_1',
  clientId: 'https://client.example.com/meta.json',
  version: '2025-11-25',
  capabilities: ['roots'],
  client: { name: 'client', version: '1.0' },
} as const;
const facts = { ...FACTS, capabilities: [...FACTS.capabilities] };

test('a sealed session opens to the same facts, its time and a nonce of its own', () => {
  const sealer = sessionSealer([key(1)], manualClock(1000));
  const id = sealer.seal(facts);
  const opened = sealer.open(id);
  expect(opened).toEqual({
    ok: true,
    value: { ...facts, createdAt: 1000, nonce: expect.stringMatching(/^[\w-]{16}$/) },
  });
  expect(sealer.seal(facts)).not.toBe(id);
});

test('an id is visible ASCII, shows nothing of its facts and stays short', () => {
  const sealer = sessionSealer([key(1)], manualClock(1000));
  const id = sealer.seal({ ...facts, client: { name: 'n'.repeat(10_000), version: '😀'.repeat(1000) } });
  expect(id).toMatch(/^[\x21-\x7e]+$/);
  expect(id.length).toBeLessThan(900);
  expect(Buffer.from(id, 'base64url').toString('latin1')).not.toContain('person_1');
  const opened = sealer.open(id);
  expect(opened.ok && opened.value.client.name).toBe('n'.repeat(64));
  expect(opened.ok && opened.value.client.version.isWellFormed()).toBe(true);
});

test('facts beyond all reason are a fault, not a huge header', () => {
  const sealer = sessionSealer([key(1)], manualClock(1000));
  expect(() => sealer.seal({ ...facts, subject: 'x'.repeat(3000) })).toThrow(
    expect.objectContaining({
      code: 'session_too_large',
      message: 'the facts of this session do not fit a session id',
    }),
  );
});

test('an id expires when its time is over and not before', () => {
  const clock = manualClock(0);
  const sealer = sessionSealer([key(1)], clock, { ttlMs: 1000 });
  const id = sealer.seal(facts);
  clock.set(999);
  expect(sealer.open(id).ok).toBe(true);
  clock.set(1000);
  expect(sealer.open(id)).toEqual({ ok: false, error: 'expired' });
});

describe('keys', () => {
  test('another node with the key goes on with the session; one without does not know it', () => {
    const clock = manualClock(0);
    const id = sessionSealer([key(1)], clock).seal(facts);
    expect(sessionSealer([key(1)], clock).open(id).ok).toBe(true);
    expect(sessionSealer([key(2)], clock).open(id)).toEqual({ ok: false, error: 'unknown' });
  });

  test('after rotation the new key seals and the old one still opens, until it is taken away', () => {
    const clock = manualClock(0);
    const old = sessionSealer([key(1)], clock).seal(facts);
    const rotated = sessionSealer([key(2), key(1)], clock);
    expect(rotated.open(old).ok).toBe(true);
    const fresh = rotated.seal(facts);
    expect(sessionSealer([key(2)], clock).open(fresh).ok).toBe(true);
    expect(sessionSealer([key(2)], clock).open(old)).toEqual({ ok: false, error: 'unknown' });
  });

  test('none at all, or one that is too short, is refused at start', () => {
    expect(() => sessionSealer([], manualClock(0))).toThrow(
      expect.objectContaining({ code: 'sealing_key', message: 'at least one sealing key is needed' }),
    );
    expect(() => sessionSealer([new Uint8Array(16)], manualClock(0))).toThrow(
      expect.objectContaining({ code: 'sealing_key', message: 'a sealing key needs at least 32 bytes' }),
    );
  });
});

describe('what is not an id of ours is unknown', () => {
  const sealer = sessionSealer([key(1)], manualClock(0));
  const id = sealer.seal(facts);

  test.each([
    ['empty', ''],
    ['a UUID', '2f1c6a9e-6f0e-4a0e-9a3e-0d8f5d0f9b1a'],
    ['with padding', `${id}=`],
    ['with a space', `${id} `],
    ['cut', id.slice(0, -1)],
    ['cut to its head', id.slice(0, 40)],
    ['doubled', id + id],
    ['too long', 'A'.repeat(1_000_000)],
    ['in base64 instead of base64url', `+/${id}`],
  ])('%s', (_title, text) => {
    expect(sealer.open(text)).toEqual({ ok: false, error: 'unknown' });
  });

  test('with any one character changed', () => {
    for (let at = 0; at < id.length; at++) {
      const changed = id.slice(0, at) + (id[at] === 'A' ? 'B' : 'A') + id.slice(at + 1);
      expect(sealer.open(changed)).toEqual({ ok: false, error: 'unknown' });
    }
  });

  test('written with other spare bits: a session has one id, not four', () => {
    for (const org of ['a', 'ab', 'abc']) {
      const sealed = sealer.seal({ ...facts, org });
      if (sealed.length % 4 === 0) continue;
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      const twin = sealed.slice(0, -1) + alphabet[alphabet.indexOf(sealed.at(-1) ?? '') + 1];
      expect(Buffer.from(twin, 'base64url').equals(Buffer.from(sealed, 'base64url'))).toBe(true);
      expect(sealer.open(twin)).toEqual({ ok: false, error: 'unknown' });
    }
    expect.assertions(4);
  });

  test('whatever else comes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String({ maxLength: 400 })), (text) => {
        expect(sealer.open(text)).toEqual({ ok: false, error: 'unknown' });
      }),
      { seed: 4, numRuns: 500 },
    );
  });
});

describe('the capabilities that are kept', () => {
  test.each([
    ['none', {}, []],
    ['roots and sampling', { roots: { listChanged: true }, sampling: {} }, ['roots', 'sampling']],
    ['sampling with tools', { sampling: { tools: {} } }, ['sampling', 'sampling.tools']],
    ['bare elicitation means forms', { elicitation: {} }, ['elicitation.form']],
    ['elicitation by URL only', { elicitation: { url: {} } }, ['elicitation.url']],
    ['both kinds', { elicitation: { url: {}, form: {} } }, ['elicitation.form', 'elicitation.url']],
    ['tasks', { tasks: {} }, ['tasks']],
    ['what is no object counts for nothing', { roots: true, sampling: null, elicitation: [] }, []],
    ['unknown ones are left out', { experimental: { x: {} } }, []],
  ])('%s', (_title, declared, kept) => {
    expect(sessionCapabilities(declared)).toEqual(kept);
  });
});
