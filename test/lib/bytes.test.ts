import { expect, test } from 'vitest';
import { sameText, sha256, sha256Hex } from '../../src/lib/bytes.ts';

test('sha256 gives the FIPS 180-4 sample digest for text and bytes alike', () => {
  const abc = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  expect(sha256Hex('abc')).toBe(abc);
  expect(sha256(Buffer.from('abc')).toString('hex')).toBe(abc);
});

test.each([
  ['secret', 'secret', true],
  ['secret', 'secreT', false],
  ['secret', 'secre', false],
  ['', '', true],
  ['é', 'e\u0301', false],
])('sameText(%j, %j) is %s', (a, b, same) => {
  expect(sameText(a, b)).toBe(same);
});
