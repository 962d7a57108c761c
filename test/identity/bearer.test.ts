import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type BearerProblem, readBearer } from '../../src/identity/bearer.ts';

const URL_PATH = '/mcp/default/github';

describe('reading the Authorization header', () => {
  test.each([
    ['Authorization', 'Bearer abc.DEF-1_2~3+4/5=='],
    ['authorization', 'bearer abc.DEF-1_2~3+4/5=='],
    ['AUTHORIZATION', 'BEARER  abc.DEF-1_2~3+4/5=='],
  ])('takes the token from %s: %s', (name, value) => {
    const headers = ['Host', 'gw.example', name, value, 'Accept', '*/*'];
    expect(readBearer(headers, URL_PATH)).toEqual({ ok: true, value: 'abc.DEF-1_2~3+4/5==' });
  });

  test.each<[string, readonly string[], BearerProblem]>([
    ['no header at all', [], 'missing'],
    ['only other headers', ['X-Authorization', 'Bearer abc', 'Cookie', 'access_token=abc'], 'missing'],
    ['an empty header', ['Authorization', ''], 'malformed'],
    ['the scheme alone', ['Authorization', 'Bearer'], 'malformed'],
    ['the scheme and a space', ['Authorization', 'Bearer '], 'malformed'],
    ['two tokens', ['Authorization', 'Bearer abc def'], 'malformed'],
    ['a comma', ['Authorization', 'Bearer abc, Bearer def'], 'malformed'],
    ['a quote', ['Authorization', 'Bearer "abc"'], 'malformed'],
    ['padding in the middle', ['Authorization', 'Bearer a=b'], 'malformed'],
    ['a trailing space', ['Authorization', 'Bearer abc '], 'malformed'],
    ['a tab for a space', ['Authorization', 'Bearer\tabc'], 'scheme'],
    ['a letter outside of ASCII', ['Authorization', 'Bearer äbc'], 'malformed'],
    ['a token without scheme', ['Authorization', 'abc'], 'scheme'],
    ['Basic', ['Authorization', 'Basic dXNlcjpwYXNz'], 'scheme'],
    ['DPoP', ['Authorization', 'DPoP abc'], 'scheme'],
    ['a scheme that only begins so', ['Authorization', 'BearerX abc'], 'scheme'],
    ['the header twice', ['Authorization', 'Bearer abc', 'authorization', 'Bearer abc'], 'duplicate'],
    ['the header twice, once empty', ['authorization', '', 'Authorization', 'Bearer abc'], 'duplicate'],
    ['an endless token', ['Authorization', `Bearer ${'a'.repeat(8_193)}`], 'too_long'],
  ])('AN-01: refuses %s', (_name, headers, problem) => {
    expect(readBearer(headers, URL_PATH)).toEqual({ ok: false, error: problem });
  });
});

describe('AN-05: tokens in the URL', () => {
  test.each([
    '?access_token=abc',
    '?access_token',
    '?a=1&access_token=abc',
    '?a=1;access_token=abc',
    '?access%5Ftoken=abc',
    '?%61ccess_token=abc',
    '?ACCESS_TOKEN=abc',
    '?+access_token=abc',
    '??a&access_token=abc',
  ])('AN-05: refuses %s, with and without a good header', (query) => {
    const refused = { ok: false, error: 'in_url' };
    expect(readBearer(['Authorization', 'Bearer abc'], URL_PATH + query)).toEqual(refused);
    expect(readBearer([], URL_PATH + query)).toEqual(refused);
  });

  test.each(['', '?a=access_token', '?not_access_token=1', '/access_token=abc'])('%j is no token', (rest) => {
    expect(readBearer(['Authorization', 'Bearer abc'], URL_PATH + rest)).toEqual({ ok: true, value: 'abc' });
  });
});

test('never throws, and takes only what was there', () => {
  const name = fc.oneof(fc.constantFrom('Authorization', 'authorization'), fc.string());
  const value = fc.oneof(
    fc.string(),
    fc.string().map((text) => `Bearer ${text}`),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 4 }), fc.string(), (headers, url) => {
      const result = readBearer(headers.flat(), url);
      if (result.ok) expect(headers.some(([, text]) => text.endsWith(` ${result.value}`))).toBe(true);
    }),
    { seed: 20_260_104, numRuns: 1_000 },
  );
});
