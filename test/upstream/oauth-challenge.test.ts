/** Reading `WWW-Authenticate` and scope lists. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readChallenge, readScopes } from '../../src/upstream/oauth/challenge.ts';

const NONE = { error: null, scopes: null, resourceMetadata: null };

describe('challenges', () => {
  test.each<[string, string | string[] | undefined, unknown]>([
    ['none', undefined, null],
    ['empty', '', null],
    ['bare', 'Bearer', NONE],
    ['another scheme', 'Basic realm="x"', null],
    [
      'parameters',
      'Bearer error="invalid_token", scope="a b"',
      { ...NONE, error: 'invalid_token', scopes: ['a', 'b'] },
    ],
    ['in any letters', 'bEARER SCOPE="a"', { ...NONE, scopes: ['a'] }],
    ['unquoted', 'Bearer error=insufficient_scope', { ...NONE, error: 'insufficient_scope' }],
    ['after another scheme', 'Basic realm="x", Bearer scope="a"', { ...NONE, scopes: ['a'] }],
    ['after a token', 'Negotiate YWJj==, DPoP scope="a", algs="ES256"', { ...NONE, scopes: ['a'] }],
    ['in a list of headers', ['Bearer', 'DPoP error="use_dpop_nonce"'], { ...NONE, error: 'use_dpop_nonce' }],
    [
      'escaped',
      'Bearer resource_metadata="https://a.example/\\"x"',
      { ...NONE, resourceMetadata: 'https://a.example/"x' },
    ],
    ['a comma inside', 'Bearer error_description="no, never", scope="a"', { ...NONE, scopes: ['a'] }],
    ['a name inside a value', 'Basic realm="Bearer scope=admin"', null],
    ['said twice', 'Bearer scope="a", scope="b"', null],
    ['not closed', 'Bearer scope="a', null],
    ['too long', `Bearer scope="${'a'.repeat(9_000)}"`, null],
    ['scopes that are none', 'Bearer scope="a\tb"', NONE],
    ['too many scopes', `Bearer scope="${Array.from({ length: 65 }, (_, i) => i).join(' ')}"`, NONE],
  ])('%s', (_name, header, expected) => {
    expect(readChallenge(header)).toEqual(expected);
  });

  test('any text is read without a fault, in bounds', () => {
    const piece = fc.constantFrom('Bearer', 'DPoP', ' ', ',', '=', '"', '\\', 'scope', 'error', 'a', '==', '\t');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const said = readChallenge(pieces.join(''));
        expect(said === null || (said.scopes ?? []).length <= 64).toBe(true);
      }),
      { seed: 7, numRuns: 2_000 },
    );
  });

  test('what was written is what is read', () => {
    const scope = fc.stringMatching(/^[!#-[\]-~]{1,20}$/);
    fc.assert(
      fc.property(fc.uniqueArray(scope, { minLength: 1, maxLength: 20 }), (scopes) => {
        expect(readChallenge(`Bearer realm="x", scope="${scopes.join(' ')}"`)?.scopes).toEqual(scopes);
        expect(readScopes(scopes.join(' '))).toEqual(scopes);
      }),
      { seed: 7, numRuns: 300 },
    );
  });
});
