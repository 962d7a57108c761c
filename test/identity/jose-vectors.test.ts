/**
 * AN-03: the attack vectors against our reader of tokens. The published collection of such vectors was run once against the same reader; it
 * is not kept here. What differed from it, and why: docs/guides/authorization-servers.md, "Signatures".
 */
import { compactVerify, importJWK } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import type { TokenVerifier } from '../../src/identity/access-token.ts';
import { readPublicJwk } from '../../src/identity/public-jwk.ts';
import { KEYS, vectors } from './jose-vectors.ts';
import type { Vector } from './jose-vectors.ts';
import { NOW, RESOURCE, START_MS, clock } from './rig.ts';

const ISSUER = 'https://as.example';
const CLAIMS = { iss: ISSUER, sub: 'user-1', client_id: 'agent-1', jti: 'j', aud: RESOURCE, iat: NOW, exp: NOW + 300 };
const ALL = vectors(CLAIMS);
const groups = Map.groupBy(ALL, ({ group }) => group);

let verifier: TokenVerifier;
beforeAll(() => {
  clock.set(START_MS);
  verifier = createTokenVerifier({
    issuers: [{ issuer: ISSUER, jwksUri: `${ISSUER}/jwks` }],
    fetchJwks: () => Promise.resolve({ keys: KEYS.published }),
    clock,
  });
});

describe.each([...groups])('%s', (_group, rows) => {
  test.each(rows.map((row): [string, Vector] => [row.comment, row]))(
    'AN-03: %s',
    async (_comment, { token, result }) => {
      const answer = await verifier.verify(token, RESOURCE);
      expect(answer.ok ? 'accepted' : 'refused').toBe(result);
      expect(verifier.cached(token, RESOURCE) !== undefined).toBe(answer.ok);
    },
  );
});

test('AN-03: the collection is whole: forty and more of them, one good token for every algorithm', () => {
  expect(ALL.filter(({ result }) => result === 'refused').length).toBeGreaterThan(300);
  expect(ALL.filter(({ comment }) => comment === 'as it should be')).toHaveLength(5);
  expect(new Set(ALL.map(({ group, comment }) => `${group}: ${comment}`)).size).toBe(ALL.length);
});

test('AN-03 twin: a reader that takes key and algorithm as they come lets the exponent of 1 and the shared secret through', async () => {
  const naive = async ({ token }: Vector): Promise<boolean> => {
    const header = JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()) as {
      kid: string;
      alg: string;
    };
    const jwk = KEYS.published.find(({ kid }) => kid === header.kid)!;
    return compactVerify(token, await importJWK(jwk, header.alg)).then(
      () => true,
      () => false,
    );
  };
  const row = (start: string): Vector => ALL.find(({ comment }) => comment.startsWith(start))!;
  expect(await naive(row('one with the exponent 1'))).toBe(true);
  expect(await naive(row('a shared secret in the key set'))).toBe(true);
});

test.each([
  ['an RSA key with the exponent 1', { kty: 'RSA', e: 'AQ' }],
  ['an RSA key with the exponent 3', { kty: 'RSA', e: 'Aw' }],
  ['an RSA key with an endless exponent', { kty: 'RSA', e: 'AQAAAAAB' }],
  ['a key without a type', {}],
  ['a type that is a name of Object.prototype', { kty: 'constructor' }],
])('%s is no key', (_title, members) => {
  const { n } = KEYS.published[0] as { n: string };
  expect(readPublicJwk({ n, ...members })).toBe(null);
  expect(readPublicJwk({ n, kty: 'RSA', e: 'AQAB' })).not.toBe(null);
});
