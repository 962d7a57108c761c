import { createPublicKey, randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import * as jose from 'jose';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TokenVerifier, createTokenVerifier } from '../../src/identity/access-token.ts';
import { type TokenProblem, publicDescription } from '../../src/identity/token-problem.ts';
import { type TestIssuer, publicJwk } from '../support/issuer.ts';
import { NOW, RESOURCE, SIBLING, START_MS, callerOf, clock, fetchOnLoopback, issuerOn, problemOf } from './rig.ts';

let es: TestIssuer;
let rsa: TestIssuer;
let stranger: TestIssuer;
let verifier: TokenVerifier;

beforeAll(async () => {
  [es, rsa, stranger] = await Promise.all([issuerOn(), issuerOn({ algorithm: 'RS256' }), issuerOn()]);
});
beforeEach(() => {
  clock.set(START_MS);
  verifier = createTokenVerifier({
    issuers: [es, rsa].map(({ issuer, jwksUri }) => ({ issuer, jwksUri })),
    fetchJwks: fetchOnLoopback,
    clock,
  });
});

const good = (claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string =>
  es.mint({ aud: RESOURCE, scope: 'github:read github:write', ...claims }, header);
const b64 = (text: string | Buffer): string => Buffer.from(text).toString('base64url');
const parts = (token: string): [string, string, string] => token.split('.') as [string, string, string];
const rsaPem = (): string => rsa.currentKey().publicKey.export({ type: 'spki', format: 'pem' }).toString();
const nested = (depth: number): object => (depth === 1 ? { sub: 'a' } : { sub: 'a', act: nested(depth - 1) });
const header = (): string => JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid: es.currentKey().kid });
const payload = (extra = ''): string =>
  `{"iss":"${es.issuer}","sub":"u","client_id":"c","jti":"j","aud":"${RESOURCE}","iat":${NOW},"exp":${NOW + 60}${extra}}`;

/** The last character of an ES256 signature carries four unused bits: a sloppy decoder reads sixteen spellings as one. */
function respell(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(token.at(-1) ?? '');
  return token.slice(0, -1) + alphabet.charAt(last + 1);
}

describe('AN-03: what is accepted', () => {
  test('AN-03: a token for this resource becomes exactly this caller', async () => {
    const token = good({ jti: 'token-1', act: { sub: 'agent-2', act: { sub: 'agent-1' } } });
    expect(await callerOf(verifier, token)).toEqual({
      issuer: es.issuer,
      subject: 'user-1',
      clientId: 'agent-1',
      alone: false,
      scopes: new Set(['github:read', 'github:write']),
      tokenId: 'token-1',
      issuedAt: NOW,
      expiresAt: NOW + 300,
      actChain: ['agent-2', 'agent-1'],
      grantId: null,
      sessionId: null,
      acr: null,
      amr: [],
      authTime: null,
      keyThumbprint: null,
      attributes: {},
    });
  });

  test.each(['ES256', 'RS256', 'PS256', 'EdDSA'] as const)('AN-03: %s signatures verify', async (algorithm) => {
    const issuer = await issuerOn({ algorithm });
    const own = createTokenVerifier({ issuers: [issuer], fetchJwks: fetchOnLoopback, clock });
    expect((await callerOf(own, issuer.mint({ aud: RESOURCE }))).issuer).toBe(issuer.issuer);
  });

  test.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['the long form of typ', {}, { typ: 'application/at+jwt' }],
    ['an audience list of one', { aud: [RESOURCE] }, {}],
    ['no scope claim', { scope: undefined }, {}],
    ['expired within the skew', { iat: NOW - 300, exp: NOW - 4 }, {}],
    ['nbf within the skew', { nbf: NOW + 5 }, {}],
    ['exactly the longest lifetime for a person', { exp: NOW + 900 }, {}],
    ['exactly the longest lifetime for a machine', { sub: 'agent-1', exp: NOW + 3600 }, {}],
    ['two actors', { act: nested(2) }, {}],
    ['further claims and header members', { email: 'a@example.com', roles: ['x'] }, { x5t: 'abc' }],
  ])('AN-03: accepts %s', async (_name, claims, header) => {
    expect((await callerOf(verifier, good(claims, header))).clientId).toBe('agent-1');
  });

  test('a token without scope has no scopes', async () => {
    expect((await callerOf(verifier, good({ scope: undefined }))).scopes.size).toBe(0);
  });

  test('a list of audiences is accepted only where the issuer rule says so', async () => {
    const token = good({ aud: [SIBLING, RESOURCE] });
    const lax = createTokenVerifier({
      issuers: [{ issuer: es.issuer, unsafeMultipleAudiences: true }],
      fetchJwks: fetchOnLoopback,
      clock,
    });
    expect((await callerOf(lax, token)).subject).toBe('user-1');
    expect(await problemOf(lax, good({ aud: [SIBLING, 'x'] }))).toEqual({ kind: 'audience' });
  });
});

/** One mutation per row, and exactly what is said about it. */
const MUTATIONS: readonly (readonly [name: string, make: () => string, problem: TokenProblem])[] = [
  // Audience
  ['another audience', () => good({ aud: 'https://other.example/' }), { kind: 'audience' }],
  ['the audience of a sibling server', () => good({ aud: SIBLING }), { kind: 'audience' }],
  ['the audience with a trailing slash', () => good({ aud: `${RESOURCE}/` }), { kind: 'audience' }],
  ['the audience in other case', () => good({ aud: RESOURCE.toUpperCase() }), { kind: 'audience' }],
  ['the gateway as audience', () => good({ aud: 'https://gw.example' }), { kind: 'audience' }],
  ['a list of two audiences', () => good({ aud: [RESOURCE, SIBLING] }), { kind: 'audience' }],
  ['an empty list of audiences', () => good({ aud: [] }), { kind: 'audience' }],
  ['a nested list of audiences', () => good({ aud: [[RESOURCE]] }), { kind: 'audience' }],
  ['no audience', () => good({ aud: undefined }), { kind: 'claims_missing', claim: 'aud' }],
  // Algorithm and type
  [
    'HS256 with the RSA public key as secret',
    () => rsa.mint({ aud: RESOURCE }, { alg: 'HS256' }, { hmacSecret: rsaPem() }),
    { kind: 'algorithm' },
  ],
  ['alg none', () => es.mint({ aud: RESOURCE }, { alg: 'none' }, { unsigned: true }), { kind: 'algorithm' }],
  ['alg nOnE', () => es.mint({ aud: RESOURCE }, { alg: 'nOnE' }, { unsigned: true }), { kind: 'algorithm' }],
  ['no alg', () => good({}, { alg: undefined }), { kind: 'algorithm' }],
  ['an alg that is a name of Object.prototype', () => good({}, { alg: 'toString' }), { kind: 'algorithm' }],
  ['an asymmetric alg that is not on the list', () => good({}, { alg: 'ES512' }), { kind: 'algorithm' }],
  ['an alg of another key type', () => good({}, { alg: 'RS256' }), { kind: 'key_unknown' }],
  ['an alg the key is not published for', () => rsa.mint({ aud: RESOURCE }, { alg: 'PS256' }), { kind: 'key_unknown' }],
  ['an id_token', () => good({ nonce: 'n' }, { typ: 'JWT' }), { kind: 'type' }],
  ['no typ', () => good({}, { typ: undefined }), { kind: 'type' }],
  ['a logout token', () => good({}, { typ: 'logout+jwt' }), { kind: 'type' }],
  ['a DPoP proof', () => good({}, { typ: 'dpop+jwt' }), { kind: 'type' }],
  // Keys
  [
    'a key header',
    () => good({}, { jwk: publicJwk(stranger.currentKey()) }),
    { kind: 'header_refused', member: 'jwk' },
  ],
  ['a key URL', () => good({}, { jku: stranger.jwksUri }), { kind: 'header_refused', member: 'jku' }],
  ['a certificate URL', () => good({}, { x5u: 'https://evil.example/' }), { kind: 'header_refused', member: 'x5u' }],
  ['a certificate', () => good({}, { x5c: ['AAAA'] }), { kind: 'header_refused', member: 'x5c' }],
  ['crit', () => good({}, { crit: ['exp'] }), { kind: 'header_refused', member: 'crit' }],
  ['b64 false', () => good({}, { b64: false }), { kind: 'header_refused', member: 'b64' }],
  ['compression', () => good({}, { zip: 'DEF' }), { kind: 'header_refused', member: 'zip' }],
  ['no kid', () => good({}, { kid: undefined }), { kind: 'key_unknown' }],
  ['a kid that is a number', () => good({}, { kid: 0 }), { kind: 'key_unknown' }],
  ['an endless kid', () => good({}, { kid: 'k'.repeat(300) }), { kind: 'key_unknown' }],
  ['a kid that climbs', () => good({}, { kid: '../../../../dev/null' }), { kind: 'key_unknown' }],
  ['a kid that queries', () => good({}, { kid: "x' UNION SELECT 'key" }), { kind: 'key_unknown' }],
  ['a kid that is __proto__', () => good({}, { kid: '__proto__' }), { kind: 'key_unknown' }],
  [
    'another key under the kid of ours',
    () => es.mint({ aud: RESOURCE }, { kid: es.currentKey().kid }, { key: stranger.currentKey() }),
    { kind: 'signature' },
  ],
  [
    'the key of another trusted issuer',
    () => es.mint({ aud: RESOURCE }, {}, { key: rsa.currentKey() }),
    { kind: 'key_unknown' },
  ],
  // Issuer
  ['an unknown issuer', () => stranger.mint({ aud: RESOURCE }), { kind: 'issuer' }],
  ['the issuer with a trailing slash', () => good({ iss: `${es.issuer}/` }), { kind: 'issuer' }],
  ['no issuer', () => good({ iss: undefined }), { kind: 'issuer' }],
  ['an issuer list', () => good({ iss: [es.issuer] }), { kind: 'issuer' }],
  // Time
  ['expired beyond the skew', () => good({ iat: NOW - 300, exp: NOW - 5 }), { kind: 'expired' }],
  ['a future nbf', () => good({ nbf: NOW + 6 }), { kind: 'not_yet_valid' }],
  ['a future iat', () => good({ iat: NOW + 6, exp: NOW + 60 }), { kind: 'not_yet_valid' }],
  ['exp as text', () => good({ exp: String(NOW + 60) }), { kind: 'claim_invalid', claim: 'exp' }],
  ['exp with a fraction', () => good({ exp: NOW + 60.5 }), { kind: 'claim_invalid', claim: 'exp' }],
  ['exp before iat', () => good({ exp: NOW - 1 }), { kind: 'claim_invalid', claim: 'exp' }],
  ['exp null', () => good({ exp: null }), { kind: 'claim_invalid', claim: 'exp' }],
  ['a negative iat', () => good({ iat: -1 }), { kind: 'claim_invalid', claim: 'iat' }],
  ['nbf as text', () => good({ nbf: '0' }), { kind: 'claim_invalid', claim: 'nbf' }],
  // Other claims
  ...['sub', 'client_id', 'jti', 'exp', 'iat'].map(
    (claim) => [`no ${claim}`, () => good({ [claim]: undefined }), { kind: 'claims_missing', claim }] as const,
  ),
  ['an empty sub', () => good({ sub: '' }), { kind: 'claim_invalid', claim: 'sub' }],
  ['a sub that is a number', () => good({ sub: 7 }), { kind: 'claim_invalid', claim: 'sub' }],
  ['a client_id with a line break', () => good({ client_id: 'a\nb' }), { kind: 'claim_invalid', claim: 'client_id' }],
  ['an endless jti', () => good({ jti: 'j'.repeat(513) }), { kind: 'claim_invalid', claim: 'jti' }],
  ['scopes as a list', () => good({ scope: ['a'] }), { kind: 'claim_invalid', claim: 'scope' }],
  ['a scope with a quote', () => good({ scope: 'a "b' }), { kind: 'claim_invalid', claim: 'scope' }],
  ['a doubled space between scopes', () => good({ scope: 'a  b' }), { kind: 'claim_invalid', claim: 'scope' }],
  ['act as text', () => good({ act: 'agent' }), { kind: 'claim_invalid', claim: 'act' }],
  ['an actor without sub', () => good({ act: { act: { sub: 'a' } } }), { kind: 'claim_invalid', claim: 'act' }],
  ['three actors', () => good({ act: nested(3) }), { kind: 'claim_invalid', claim: 'act' }],
  ['a token bound to a key', () => good({ cnf: { jkt: 'abc' } }), { kind: 'sender_binding' }],
  // Form
  [
    'a claim twice',
    () => es.mintRaw(header(), payload(`,"aud":"${SIBLING}"`)),
    { kind: 'malformed', detail: 'payload' },
  ],
  [
    'a claim twice, once with an escape',
    () => es.mintRaw(header(), payload(String.raw`,"\u0061ud":"x"`)),
    { kind: 'malformed', detail: 'payload' },
  ],
  [
    'a header member twice',
    () => es.mintRaw(header().replace('{', '{"alg":"none",'), payload()),
    { kind: 'malformed', detail: 'header' },
  ],
  ['a payload that is a list', () => es.mintRaw(header(), '[]'), { kind: 'malformed', detail: 'payload' }],
  ['a payload that is no JSON', () => es.mintRaw(header(), `${payload()}}`), { kind: 'malformed', detail: 'payload' }],
  [
    '__proto__ as a claim',
    () => es.mintRaw(header(), payload(',"__proto__":{}')),
    { kind: 'malformed', detail: 'payload' },
  ],
  ['padding', () => good().replace('.', '=.'), { kind: 'malformed', detail: 'header' }],
  ['a space inside a segment', () => good().replace(/^(.{5})/, '$1 '), { kind: 'malformed', detail: 'header' }],
  ['a line break at the end', () => `${good()}\n`, { kind: 'malformed', detail: 'signature' }],
  ['the same signature spelled otherwise', () => respell(good()), { kind: 'malformed', detail: 'signature' }],
  ['four segments', () => `${good()}.`, { kind: 'malformed', detail: 'not three segments' }],
  ['an encrypted form of five', () => 'a.b.c.d.e', { kind: 'malformed', detail: 'not three segments' }],
  ['two segments', () => parts(good()).slice(0, 2).join('.'), { kind: 'malformed', detail: 'not three segments' }],
  ['nothing', () => '', { kind: 'malformed', detail: 'not three segments' }],
  [
    'nine thousand characters',
    () => good({ pad: 'x'.repeat(9_000) }),
    { kind: 'malformed', detail: 'longer than 8192 characters' },
  ],
  // Signature
  ['no signature', () => `${parts(good()).slice(0, 2).join('.')}.`, { kind: 'signature' }],
  [
    'the signature of another token',
    () => [...parts(good()).slice(0, 2), parts(good())[2]].join('.'),
    { kind: 'signature' },
  ],
  [
    'a changed claim',
    () => {
      const [head, body, signature] = parts(good());
      const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as object;
      return [head, b64(JSON.stringify({ ...claims, sub: 'admin' })), signature].join('.');
    },
    { kind: 'signature' },
  ],
  [
    'a DER signature',
    () => [...parts(good()).slice(0, 2), b64(Buffer.alloc(70, 0x30))].join('.'),
    { kind: 'signature' },
  ],
];

describe('AN-03: one mutation at a time', () => {
  test.each(MUTATIONS)('AN-03: refuses %s', async (_name, make, problem) => {
    const token = make();
    expect(await problemOf(verifier, token)).toEqual(problem);
    expect(verifier.cached(token, RESOURCE)).toBeUndefined();
    expect(publicDescription(problem.kind)).toMatch(/^[A-Z][A-Za-z ]+$/);
  });

  test('AN-03: the matrix has its rows, and unmutated the token is good', async () => {
    expect(MUTATIONS.length).toBeGreaterThan(60);
    expect((await callerOf(verifier, good())).subject).toBe('user-1');
  });

  test('AN-03: a key id never becomes part of a request', async () => {
    const asked: string[] = [];
    const watching = createTokenVerifier({
      issuers: [{ issuer: es.issuer, jwksUri: es.jwksUri }],
      fetchJwks: (url) => (asked.push(url), fetchOnLoopback(url)),
      clock,
    });
    await problemOf(watching, good({}, { kid: '../../secrets' }));
    expect(asked).toEqual([es.jwksUri]);
  });

  test('AN-03: a token whose key was rotated out is refused', async () => {
    const issuer = await issuerOn();
    const own = createTokenVerifier({ issuers: [issuer], fetchJwks: fetchOnLoopback, clock });
    const old = issuer.currentKey();
    await callerOf(own, issuer.mint({ aud: RESOURCE }));
    issuer.rotate({ withdraw: true });
    clock.advance(30_000); // the cooldown; the new key makes the verifier look
    await callerOf(own, issuer.mint({ aud: RESOURCE }));
    expect(await problemOf(own, issuer.mint({ aud: RESOURCE }, {}, { key: old }))).toEqual({ kind: 'key_unknown' });
  });
});

describe('AN-03 twin: what lands without our checks', () => {
  const key = (): ReturnType<typeof createPublicKey> => es.currentKey().publicKey;
  const options = { currentDate: new Date(START_MS) };

  test.each<[string, () => string]>([
    ['the token of a sibling server', () => good({ aud: SIBLING })],
    ['an id_token', () => good({}, { typ: 'JWT' })],
    ['a token that lives ten years', () => good({ exp: NOW + 315_360_000 })],
    ['a token bound to a key', () => good({ cnf: { jkt: 'abc' } })],
    ['a token without sub, client_id and jti', () => good({ sub: undefined, client_id: undefined, jti: undefined })],
  ])('AN-03 twin: jwtVerify by key alone accepts %s', async (_name, make) => {
    const token = make();
    expect((await jose.jwtVerify(token, key(), options)).payload.iss).toBe(es.issuer);
    expect((await verifier.verify(token, RESOURCE)).ok).toBe(false);
  });

  test('AN-03 twin: with an audience, jwtVerify still accepts a list with strangers and a claim written twice', async () => {
    const strict = { ...options, audience: RESOURCE };
    const list = good({ aud: [RESOURCE, SIBLING] });
    const twice = es.mintRaw(header(), payload().replace('{', `{"aud":"${SIBLING}",`));
    for (const token of [list, twice]) {
      expect((await jose.jwtVerify(token, key(), strict)).payload.iss).toBe(es.issuer);
      expect((await verifier.verify(token, RESOURCE)).ok).toBe(false);
    }
  });

  test('AN-03 twin: a verifier that believes alg takes the public key for a secret', async () => {
    const token = rsa.mint({ aud: RESOURCE }, { alg: 'HS256' }, { hmacSecret: rsaPem() });
    const landed = await jose.jwtVerify(token, Buffer.from(rsaPem()), options);
    expect(landed.protectedHeader.alg).toBe('HS256');
    expect(await problemOf(verifier, token)).toEqual({ kind: 'algorithm' });
  });

  test('AN-03 twin: a verifier that believes the jwk header accepts anybody', async () => {
    const jwk = publicJwk(stranger.currentKey());
    const token = es.mint({ aud: RESOURCE, sub: 'admin' }, { jwk }, { key: stranger.currentKey() });
    expect((await jose.jwtVerify(token, jose.EmbeddedJWK, options)).payload.sub).toBe('admin');
    expect(await problemOf(verifier, token)).toEqual({ kind: 'header_refused', member: 'jwk' });
  });

  test('AN-03 twin: one bag of keys lets one issuer speak for another', async () => {
    const token = es.mint({ aud: RESOURCE, sub: 'admin' }, {}, { key: rsa.currentKey() });
    const bag = jose.createLocalJWKSet({
      keys: [publicJwk(es.currentKey()), publicJwk(rsa.currentKey())] as jose.JWK[],
    });
    expect((await jose.jwtVerify(token, bag, { ...options, issuer: es.issuer })).payload.sub).toBe('admin');
    expect(await problemOf(verifier, token)).toEqual({ kind: 'key_unknown' });
  });
});

describe('AN-07: lifetime', () => {
  test.each([
    ['a person', 901, {}, 900],
    ['a person', 3_600, {}, 900],
    ['a person', 86_400, {}, 900],
    ['a person', 315_360_000, {}, 900],
    ['a machine', 3_601, { sub: 'agent-1' }, 3600],
    ['a machine', 86_400, { sub: 'agent-1' }, 3600],
  ])('AN-07: refuses a token for %s that lives %d s', async (_who, seconds, claims, maxSeconds) => {
    const token = good({ ...claims, exp: NOW + seconds });
    expect(await problemOf(verifier, token)).toEqual({ kind: 'lifetime', seconds, maxSeconds });
  });

  test('AN-07: counts from iat, so an old token near its end is refused too', async () => {
    const token = good({ iat: NOW - 86_000, exp: NOW + 400 });
    expect(await problemOf(verifier, token)).toEqual({ kind: 'lifetime', seconds: 86_400, maxSeconds: 900 });
  });

  test('AN-07: the limit of an issuer replaces the general one', async () => {
    const own = createTokenVerifier({
      issuers: [{ issuer: es.issuer, maxLifetimeSeconds: { user: 60, machine: 60 } }],
      fetchJwks: fetchOnLoopback,
      clock,
    });
    expect(await problemOf(own, good({ exp: NOW + 61 }))).toEqual({ kind: 'lifetime', seconds: 61, maxSeconds: 60 });
  });
});

describe('what is remembered', () => {
  test('a verified token is answered synchronously, for its audience only', async () => {
    const token = good();
    expect(verifier.cached(token, RESOURCE)).toBeUndefined();
    const caller = await callerOf(verifier, token);
    expect(verifier.cached(token, RESOURCE)).toBe(caller);
    expect(verifier.cached(token, SIBLING)).toBeUndefined();
    expect(verifier.cached(`${token}x`, RESOURCE)).toBeUndefined();
  });

  test('a refused token is not remembered', async () => {
    const token = good({ aud: SIBLING });
    await problemOf(verifier, token, RESOURCE);
    expect(verifier.cached(token, RESOURCE)).toBeUndefined();
    expect(verifier.cached(token, SIBLING)).toBeUndefined();
  });

  test('an entry ends with the token, without the skew', async () => {
    const token = good({ exp: NOW + 30 });
    await callerOf(verifier, token);
    clock.set((NOW + 30) * 1000 - 1);
    expect(verifier.cached(token, RESOURCE)).toBeDefined();
    clock.advance(1);
    expect(verifier.cached(token, RESOURCE)).toBeUndefined();
    await callerOf(verifier, token); // within the skew it is verified anew each time
    expect(verifier.cached(token, RESOURCE)).toBeUndefined();
    clock.advance(5_000);
    expect(await problemOf(verifier, token)).toEqual({ kind: 'expired' });
  });

  test('an entry ends after its time even when the token lives on', async () => {
    const token = good();
    await callerOf(verifier, token);
    clock.advance(59_999);
    expect(verifier.cached(token, RESOURCE)).toBeDefined();
    clock.advance(1);
    expect(verifier.cached(token, RESOURCE)).toBeUndefined();
  });

  test('AN-08: forget drops what matches and nothing else', async () => {
    const [one, two] = [good({ sub: 'user-1' }), good({ sub: 'user-2' })];
    await callerOf(verifier, one);
    await callerOf(verifier, two);
    expect(verifier.forget(({ subject }) => subject === 'user-1')).toBe(1);
    expect(verifier.cached(one, RESOURCE)).toBeUndefined();
    expect(verifier.cached(two, RESOURCE)?.subject).toBe('user-2');
  });

  test('AN-08: a token that was being verified when forget came is not remembered', async () => {
    const token = good();
    const verifying = verifier.verify(token, RESOURCE);
    expect(verifier.forget(() => true)).toBe(0);
    expect((await verifying).ok).toBe(true);
    expect(verifier.cached(token, RESOURCE)).toBeUndefined();
  });

  test('entries of a withdrawn key go with the key', async () => {
    const issuer = await issuerOn();
    const own = createTokenVerifier({ issuers: [issuer], fetchJwks: fetchOnLoopback, clock });
    const before = issuer.mint({ aud: RESOURCE });
    await callerOf(own, before);
    issuer.rotate({ withdraw: true });
    clock.advance(30_000);
    await callerOf(own, issuer.mint({ aud: RESOURCE }));
    expect(own.cached(before, RESOURCE)).toBeUndefined();
  });

  test('holds no more tokens than it was given room for', async () => {
    const small = createTokenVerifier({ issuers: [es], fetchJwks: fetchOnLoopback, clock, cacheSize: 2 });
    const tokens = [good(), good(), good()];
    for (const token of tokens) await callerOf(small, token);
    expect(tokens.map((token) => small.cached(token, RESOURCE) !== undefined)).toEqual([false, true, true]);
  });
});

describe('rules that cannot be meant', () => {
  test.each([
    [
      [{ issuer: 'https://a.example', algorithms: ['HS256' as 'ES256'] }],
      '"HS256" is not an asymmetric signature algorithm',
    ],
    [
      [{ issuer: 'https://a.example', algorithms: ['none' as 'ES256'] }],
      '"none" is not an asymmetric signature algorithm',
    ],
    [[{ issuer: 'https://a.example' }, { issuer: 'https://a.example' }], 'issuer https://a.example is listed twice'],
    [[{ issuer: 'not a url' }], 'issuer not a url: it is not a URL'],
  ])('are refused: %j', (issuers, message) => {
    expect(() => createTokenVerifier({ issuers, fetchJwks: fetchOnLoopback })).toThrow(message);
  });
});

describe('the reader of tokens never throws', () => {
  const json = fc.json({ maxDepth: 3 });
  const segment = fc.oneof(fc.base64String(), json.map(b64), fc.string(), fc.constant(b64('{"alg":"none"}')));
  const claims = fc.dictionary(
    fc.constantFrom('iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'act', 'scope', 'cnf', 'client_id', 'jti'),
    fc.jsonValue({ maxDepth: 3 }),
  );
  const headers = fc.dictionary(fc.constantFrom('alg', 'kid', 'typ', 'crit', 'x'), fc.jsonValue({ maxDepth: 2 }));

  test('on segments of any kind', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(segment, { maxLength: 5 }), async (segments) => {
        expect((await verifier.verify(segments.join('.'), RESOURCE)).ok).toBe(false);
      }),
      { seed: 20_260_101, numRuns: 400 },
    );
  });

  test('on signed tokens with any claims, and accepts none of them', async () => {
    await fc.assert(
      fc.asyncProperty(headers, claims, async (header, body) => {
        // A trusted signature over nonsense; the audience is left as generated, so nothing can be right.
        const result = await verifier.verify(es.mint({ aud: randomUUID(), ...body }, header), RESOURCE);
        expect(result.ok).toBe(false);
      }),
      { seed: 20_260_102, numRuns: 300 },
    );
  });

  test('on one flipped bit anywhere, and accepts none of them', async () => {
    const token = Buffer.from(good());
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), fc.nat(7), async (at, bit) => {
        const flipped = Buffer.from(token);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit);
        expect((await verifier.verify(flipped.toString('latin1'), RESOURCE)).ok).toBe(false);
      }),
      { seed: 20_260_103, numRuns: 400 },
    );
  });
});
