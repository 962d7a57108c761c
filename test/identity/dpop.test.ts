/** Proofs of possession (RFC 9449, AN-13): one mutation at a time, replay, room, nonces. */
import { generateKeyPairSync } from 'node:crypto';
import * as fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import type { TokenVerifier } from '../../src/identity/access-token.ts';
import type { Possession, ProofSettings } from '../../src/identity/dpop.ts';
import { proofMemory } from '../../src/identity/proof-memory.ts';
import type { ProofDetail, TokenProblem } from '../../src/identity/token-problem.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { holder } from '../support/proofs.ts';
import type { Holder, ProofOptions } from '../support/proofs.ts';
import { NOW, RESOURCE, SIBLING, START_MS, clock, fetchOnLoopback, issuerOn, problemOf } from './rig.ts';

let issuer: TestIssuer;
let mine: Holder;
let other: Holder;
let verifier: TokenVerifier;
let token: string;

const verifierWith = (proofs: ProofSettings = {}): TokenVerifier =>
  createTokenVerifier({ issuers: [{ issuer: issuer.issuer }], fetchJwks: fetchOnLoopback, clock, proofs });
const bound = (to: Holder, claims: Record<string, unknown> = {}): string =>
  issuer.mint({ aud: RESOURCE, cnf: { jkt: to.thumbprint }, ...claims });

beforeAll(async () => {
  [issuer, mine, other] = await Promise.all([issuerOn(), holder(), holder()]);
});
beforeEach(() => {
  clock.set(START_MS);
  verifier = verifierWith();
  token = bound(mine);
});

const proofFor = (options: Partial<ProofOptions> = {}): string =>
  mine.proof({ url: RESOURCE, token, at: NOW, ...options });
const request = (...proofs: readonly string[]): Possession => ({
  rawHeaders: ['Host', 'gw.example', ...proofs.flatMap((proof) => ['DPoP', proof])],
  method: 'POST',
  url: RESOURCE,
});
async function answerTo(possession: Possession, to = verifier, about = token): Promise<TokenProblem | null> {
  const result = await to.verify(about, RESOURCE, possession);
  return result.ok ? null : result.error;
}
const detail = (name: ProofDetail): TokenProblem => ({ kind: 'proof', detail: name });

describe('AN-13: what is accepted', () => {
  test.each(['ES256', 'EdDSA', 'RS256', 'PS256'] as const)(
    'AN-13: a fresh proof by the key of the token, %s',
    async (algorithm) => {
      const key = await holder(algorithm);
      const own = bound(key);
      const proof = key.proof({ url: RESOURCE, token: own, at: NOW });
      const result = await verifier.verify(own, RESOURCE, request(proof));
      expect(result).toMatchObject({ ok: true, value: { keyThumbprint: key.thumbprint, subject: 'user-1' } });
    },
  );

  test.each<[string, Partial<ProofOptions>]>([
    ['the scheme and host in capitals', { url: RESOURCE.replace('https://gw.example', 'HTTPS://GW.Example') }],
    ['the default port written out', { url: RESOURCE.replace('gw.example', 'gw.example:443') }],
    ['a clock that is five minutes behind', { at: NOW - 300 }],
    ['a clock that is five minutes ahead', { at: NOW + 300 }],
    ['further members', { header: { kid: 'x' }, claims: { content_digest: 'x', nonce: 'nobody asked' } }],
  ])('AN-13: %s', async (_title, options) => {
    expect(await answerTo(request(proofFor(options)))).toBe(null);
  });

  test('AN-13: one request may be asked about twice, as a batch is, and its proof counts once', async () => {
    const one = request(proofFor());
    expect(await answerTo(one)).toBe(null);
    expect(await answerTo(one)).toBe(null);
    expect(await answerTo({ ...one, rawHeaders: [...one.rawHeaders] })).toEqual(detail('replayed'));
  });
});

describe('AN-13: a bound token without its holder', () => {
  test('AN-13: is no bearer token, also after its holder has used it', async () => {
    expect(await problemOf(verifier, token)).toEqual({ kind: 'sender_binding' });
    expect(await answerTo(request(proofFor()))).toBe(null);
    expect(await problemOf(verifier, token)).toEqual({ kind: 'sender_binding' });
    expect(verifier.cached(token, RESOURCE)).toBeUndefined();
  });

  test('AN-13: a token that is bound to nothing has no proof', async () => {
    const plain = issuer.mint({ aud: RESOURCE });
    expect(await answerTo(request(proofFor({ token: plain })), verifier, plain)).toEqual(detail('unbound'));
  });

  test.each<[string, () => Possession, ProofDetail]>([
    ['no proof', () => request(), 'missing'],
    ['two proofs', () => request(proofFor(), proofFor()), 'duplicate'],
    [
      'the same proof twice',
      () => {
        const proof = proofFor();
        return request(proof, proof);
      },
      'duplicate',
    ],
    ['two proofs in one header', () => request(`${proofFor()}, ${proofFor()}`), 'malformed'],
    ['an empty header', () => request(''), 'malformed'],
    ['no JWT', () => request('proof'), 'malformed'],
    ['a proof with padding', () => request(proofFor().replace('.', '=.')), 'malformed'],
    ['the type of a token', () => request(proofFor({ header: { typ: 'at+jwt' } })), 'type'],
    ['no type', () => request(proofFor({ header: { typ: undefined } })), 'type'],
    ['the long form of the type', () => request(proofFor({ header: { typ: 'application/dpop+jwt' } })), 'type'],
    ['alg none', () => request(proofFor({ header: { alg: 'none' }, signWith: 'nothing' })), 'algorithm'],
    ['a shared secret', () => request(proofFor({ header: { alg: 'HS256' }, signWith: { secret: 'x' } })), 'algorithm'],
    ['an algorithm that is not offered', () => request(proofFor({ header: { alg: 'ES512' } })), 'algorithm'],
    ['an algorithm of another key', () => request(proofFor({ header: { alg: 'RS256' } })), 'key'],
    ['no key', () => request(proofFor({ header: { jwk: undefined } })), 'key'],
    ['the private key', () => request(proofFor({ header: { jwk: mine.privateJwk } })), 'key'],
    ['a shared key', () => request(proofFor({ header: { jwk: { kty: 'oct', k: 'AAAA' } } })), 'key'],
    [
      'a point that is not on the curve',
      () => request(proofFor({ header: { jwk: { ...mine.publicJwk, x: mine.publicJwk['y'] } } })),
      'key',
    ],
    ['a key that is a text', () => request(proofFor({ header: { jwk: 'x' } })), 'key'],
    ['the key of somebody else', () => request(other.proof({ url: RESOURCE, token, at: NOW })), 'key_mismatch'],
    ['our key, signed by somebody else', () => request(proofFor({ signWith: other.privateKey })), 'signature'],
    ['no signature', () => request(proofFor({ signWith: 'nothing' })), 'signature'],
    [
      'a signature of something else',
      () => request([...proofFor().split('.').slice(0, 2), proofFor().split('.')[2]].join('.')),
      'signature',
    ],
    ['no id', () => request(proofFor({ claims: { jti: undefined } })), 'claims'],
    ['an endless id', () => request(proofFor({ claims: { jti: 'x'.repeat(257) } })), 'claims'],
    ['a time as text', () => request(proofFor({ claims: { iat: String(NOW) } })), 'claims'],
    ['no URL', () => request(proofFor({ claims: { htu: undefined } })), 'claims'],
    ['another method', () => request(proofFor({ method: 'GET' })), 'method'],
    ['the method in small letters', () => request(proofFor({ method: 'post' })), 'method'],
    ['a sibling server', () => request(proofFor({ url: SIBLING })), 'url'],
    ['another host', () => request(proofFor({ url: RESOURCE.replace('gw.example', 'evil.example') })), 'url'],
    ['plain http', () => request(proofFor({ url: RESOURCE.replace('https', 'http') })), 'url'],
    ['a trailing slash', () => request(proofFor({ url: `${RESOURCE}/` })), 'url'],
    ['a query', () => request(proofFor({ url: `${RESOURCE}?x` })), 'url'],
    ['a fragment', () => request(proofFor({ url: `${RESOURCE}#x` })), 'url'],
    ['user information', () => request(proofFor({ url: RESOURCE.replace('https://', 'https://gw.example@') })), 'url'],
    ['no URL at all', () => request(proofFor({ url: 'notes' })), 'url'],
    ['another token', () => request(proofFor({ token: 'another' })), 'token_hash'],
    ['no token hash', () => request(proofFor({ claims: { ath: undefined } })), 'token_hash'],
    ['a time that is past', () => request(proofFor({ at: NOW - 301 })), 'time'],
    ['a time to come', () => request(proofFor({ at: NOW + 301 })), 'time'],
  ])('AN-13: refuses %s', async (_title, make, expected) => {
    expect(await answerTo(make())).toEqual(expected === 'malformed' ? detail('malformed') : detail(expected));
  });

  test('AN-13: a refused proof takes no room, so a made-up one cannot use up the id of a good one', async () => {
    const forged = proofFor({ claims: { jti: 'id-1' }, signWith: other.privateKey });
    expect(await answerTo(request(forged))).toEqual(detail('signature'));
    expect(await answerTo(request(proofFor({ claims: { jti: 'id-1' } })))).toBe(null);
  });
});

describe('AN-13: replay', () => {
  test('AN-13: a proof is good once, for as long as its time would let it pass', async () => {
    const proof = proofFor({ at: NOW + 300 });
    expect(await answerTo(request(proof))).toBe(null);
    const long = bound(mine, { exp: NOW + 900 });
    for (const later of [0, 60, 299, 599, 600]) {
      clock.set(START_MS + later * 1_000);
      const again = mine.proof({ url: RESOURCE, token: long, at: NOW + 300, claims: { jti: 'same' } });
      const expected = later === 0 ? null : detail('replayed');
      expect(await answerTo(request(again), verifier, long)).toEqual(expected);
    }
    clock.set(START_MS + 601_000);
    const last = mine.proof({ url: RESOURCE, token: long, at: NOW + 300, claims: { jti: 'same' } });
    expect(await answerTo(request(last), verifier, long)).toEqual(detail('time'));
  });

  test('AN-13: twin: a checker that remembers nothing takes the same proof again', async () => {
    const proof = proofFor();
    expect(await answerTo(request(proof))).toBe(null);
    expect(await answerTo(request(proof))).toEqual(detail('replayed'));
    // Another node, or this one after a restart: nothing is remembered there.
    expect(await answerTo(request(proof), verifierWith())).toBe(null);
  });

  test('AN-13: with nonces a proof that was made for one node is worth nothing at another', async () => {
    const [here, there] = [verifierWith({ nonces: true }), verifierWith({ nonces: true })];
    const asked = await answerTo(request(proofFor()), here);
    expect(asked).toMatchObject({
      kind: 'proof',
      detail: 'nonce',
      nonce: expect.stringMatching(/^[\w-]{22}$/) as string,
    });
    const { nonce } = asked as { nonce: string };
    const proof = proofFor({ claims: { nonce } });
    expect(await answerTo(request(proof), here)).toBe(null);
    expect(await answerTo(request(proof), there)).toMatchObject({ detail: 'nonce' });
    expect(await answerTo(request(proof), here)).toEqual(detail('replayed'));
  });

  test('AN-13: a nonce ends after five minutes at the latest', async () => {
    const here = verifierWith({ nonces: true });
    const { nonce } = (await answerTo(request(proofFor()), here)) as { nonce: string };
    clock.advance(299_000);
    const late = bound(mine);
    const proof = (): string => mine.proof({ url: RESOURCE, token: late, at: clock.now() / 1000, claims: { nonce } });
    expect(await answerTo(request(proof()), here, late)).toBe(null);
    clock.advance(1_000);
    expect(await answerTo(request(proof()), here, late)).toMatchObject({ kind: 'proof', detail: 'nonce' });
  });

  test('AN-13: a full memory refuses new proofs and forgets no old one', async () => {
    const small = verifierWith({ capacity: 2 });
    const [a, b, c] = [proofFor(), proofFor(), proofFor()];
    expect([await answerTo(request(a), small), await answerTo(request(b), small)]).toEqual([null, null]);
    expect(await answerTo(request(c), small)).toEqual({ kind: 'proofs_full' });
    expect(await answerTo(request(a), small)).toEqual(detail('replayed'));
    clock.advance(601_000);
    const next = bound(mine);
    const later = mine.proof({ url: RESOURCE, token: next, at: NOW + 601 });
    expect(await answerTo(request(later), small, next)).toBe(null);
  });

  test('AN-13: one key cannot take the room of all the others', async () => {
    const small = verifierWith({ perKey: 1 });
    expect(await answerTo(request(proofFor()), small)).toBe(null);
    expect(await answerTo(request(proofFor()), small)).toEqual({ kind: 'proofs_full' });
    const theirs = bound(other);
    expect(await answerTo(request(other.proof({ url: RESOURCE, token: theirs, at: NOW })), small, theirs)).toBe(null);
  });

  test('the memory gives the room of ended proofs back, whole', () => {
    const memory = proofMemory({ clock, keepMs: 1_000, capacity: 10, perKey: 5 });
    for (let i = 0; i < 5; i++) expect(memory.remember('a', `${i}`)).toBe('new');
    expect(memory.remember('a', '5')).toBe('full');
    expect(memory.remember('a', '4')).toBe('seen');
    clock.advance(1_000);
    for (let i = 0; i < 5; i++) expect(memory.remember('a', `${i}`)).toBe('new');
    expect(memory.size()).toBe(5);
  });

  test('the memory agrees with a list that forgets nothing, whatever comes when', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ owner: fc.constantFrom('a', 'b'), id: fc.nat(8), wait: fc.nat(400) }), { maxLength: 60 }),
        (visits) => {
          clock.set(START_MS);
          const memory = proofMemory({ clock, keepMs: 1_000, capacity: 1_000, perKey: 1_000 });
          const seen: { key: string; until: number }[] = [];
          for (const { owner, id, wait } of visits) {
            clock.advance(wait);
            const key = `${owner} ${id}`;
            const known = seen.some((one) => one.key === key && one.until > clock.now());
            expect(memory.remember(owner, String(id))).toBe(known ? 'seen' : 'new');
            if (!known) seen.push({ key, until: clock.now() + 1_000 });
          }
        },
      ),
      { seed: 20_260_105, numRuns: 200 },
    );
  });
});

describe('the token itself', () => {
  test('is checked before its proof: a stranger with a perfect proof is a stranger', async () => {
    const foreign = await issuerOn();
    const theirs = foreign.mint({ aud: RESOURCE, cnf: { jkt: mine.thumbprint } });
    expect(await answerTo(request(proofFor({ token: theirs })), verifier, theirs)).toEqual({ kind: 'issuer' });
  });

  test.each<[string, unknown]>([
    ['a thumbprint of another length', { jkt: 'abc' }],
    ['a key beside the thumbprint', { jkt: 'A'.repeat(43), jwk: {} }],
    ['a certificate', { 'x5t#S256': 'A'.repeat(43) }],
    ['nothing', {}],
    ['a text', 'A'.repeat(43)],
  ])('bound by %s cannot be used in any way', async (_title, cnf) => {
    const odd = issuer.mint({ aud: RESOURCE, cnf });
    expect(await problemOf(verifier, odd)).toEqual({ kind: 'sender_binding' });
    expect(await answerTo(request(proofFor({ token: odd })), verifier, odd)).toEqual({ kind: 'sender_binding' });
  });

  test('is remembered between two requests of its holder, and ends with its time', async () => {
    await answerTo(request(proofFor()));
    const before = issuer.hits.jwks;
    clock.advance(30_000);
    expect(await answerTo(request(proofFor({ at: NOW + 30 })))).toBe(null);
    expect(issuer.hits.jwks).toBe(before);
    clock.set(START_MS + 306_000);
    expect(await answerTo(request(proofFor({ at: NOW + 306 })))).toEqual({ kind: 'expired' });
  });

  test('a weak RSA key proves nothing', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const weak = mine.proof({
      url: RESOURCE,
      token,
      at: NOW,
      header: { alg: 'RS256', jwk: publicKey.export({ format: 'jwk' }) },
      signWith: privateKey,
    });
    expect(await answerTo(request(weak))).toEqual(detail('key'));
  });
});

test('the reader of proofs never throws, and accepts nothing that its holder did not sign', async () => {
  const members = (names: readonly string[]) =>
    fc.dictionary(fc.constantFrom(...names), fc.jsonValue({ maxDepth: 2 }), { minKeys: 1 });
  await fc.assert(
    fc.asyncProperty(
      members(['typ', 'alg', 'jwk', 'crit']),
      members(['jti', 'htm', 'htu', 'iat', 'ath']),
      async (header, claims) => {
        const proof = proofFor({ header, claims });
        expect(await answerTo(request(proof))).toMatchObject({ kind: 'proof' });
      },
    ),
    { seed: 20_260_106, numRuns: 300 },
  );
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 300 }), async (text) => {
      expect(await answerTo(request(text))).toMatchObject({ kind: 'proof' });
    }),
    { seed: 20_260_107, numRuns: 200 },
  );
});
