import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sealedBox } from '../../src/lib/sealed-box.ts';

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const box = sealedBox([key(1)], 'test');

test('whatever was sealed opens to itself, under its own aad only', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string(), fc.string(), (text, aad, other) => {
      const sealed = box.seal(text, aad);
      expect(sealed).toMatch(/^[\w-]+$/);
      expect(box.open(sealed, aad)).toBe(text);
      if (other !== aad) expect(box.open(sealed, other)).toBeNull();
    }),
    { seed: 1, numRuns: 200 },
  );
});

test('the empty text is a text', () => {
  expect(box.open(box.seal(''))).toBe('');
});

test('sealing twice gives two texts, neither of which shows what it holds', () => {
  const [one, two] = [box.seal('the secret'), box.seal('the secret')];
  expect(one).not.toBe(two);
  expect(Buffer.from(one, 'base64url').toString('latin1')).not.toContain('secret');
});

test('what was sealed for one purpose is unknown to another with the same key', () => {
  expect(sealedBox([key(1)], 'other').open(box.seal('x'))).toBeNull();
});

test('the first key seals, all open, and a key taken away opens nothing', () => {
  const rotated = sealedBox([key(2), key(1)], 'test');
  const fresh = rotated.seal('new');
  expect(rotated.open(box.seal('old'))).toBe('old');
  expect(box.open(fresh)).toBeNull();
  expect(sealedBox([key(2)], 'test').open(fresh)).toBe('new');
});

test('a text beyond the bound is a fault when sealed and unknown when opened', () => {
  const small = sealedBox([key(1)], 'test', 100);
  expect(() => small.seal('x'.repeat(100))).toThrow(
    expect.objectContaining({ code: 'sealed_too_large', message: 'test: the text does not fit' }),
  );
  expect(small.open(box.seal('x'.repeat(100)))).toBeNull();
});

test('keys that are missing or short are refused at start', () => {
  expect(() => sealedBox([], 'test')).toThrow(
    expect.objectContaining({ code: 'sealing_key', message: 'at least one sealing key is needed' }),
  );
  expect(() => sealedBox([new Uint8Array(31)], 'test')).toThrow(
    expect.objectContaining({ code: 'sealing_key', message: 'a sealing key needs at least 32 bytes' }),
  );
});

describe('what is not ours opens to nothing', () => {
  test('a sealed text with any one character changed, cut or added', () => {
    const sealed = box.seal('hello');
    for (let at = 0; at < sealed.length; at++) {
      expect(box.open(sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1))).toBeNull();
      expect(box.open(sealed.slice(0, at))).toBeNull();
    }
    expect(box.open(`${sealed}A`)).toBeNull();
    expect(box.open(`${sealed}=`)).toBeNull();
  });

  test('whatever else comes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String({ maxLength: 200 })), (text) => {
        expect(box.open(text)).toBeNull();
      }),
      { seed: 2, numRuns: 500 },
    );
  });
});
