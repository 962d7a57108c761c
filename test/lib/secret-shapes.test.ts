import { expect, test } from 'vitest';
import { secretRanges } from '../../src/lib/secret-shapes.ts';

// Put together here so that no scanner takes the test for a leak.
const GITHUB = ['gh', 'p_', 'a1B2'.repeat(9)].join('');

test('gives the range of the secret and of nothing else', () => {
  expect(secretRanges(`token: ${GITHUB}, thanks`)).toEqual([{ kind: 'github', start: 7, end: 7 + GITHUB.length }]);
  expect(secretRanges('postgres://app:s3cret@db')).toEqual([{ kind: 'url_password', start: 15, end: 21 }]);
});
test('overlapping finds are one range', () => {
  const text = `https://x:${GITHUB}@host`;
  expect(secretRanges(text)).toEqual([{ kind: 'github', start: 10, end: 10 + GITHUB.length }]);
});
test('several in one text come in order', () => {
  expect(secretRanges(`${GITHUB} and postgres://a:bcd@e and ${GITHUB}`).map(({ kind }) => kind)).toEqual([
    'github',
    'url_password',
    'github',
  ]);
});
test('a shape inside a longer word is none', () => {
  expect(secretRanges(`x${GITHUB}`)).toEqual([]);
  expect(secretRanges('')).toEqual([]);
});
