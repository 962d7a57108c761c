import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeHeaderValue, encodeHeaderValue } from '../../src/protocol/header-codec.ts';

describe('the examples of the specification', () => {
  test.each([
    ['us-west1', 'us-west1'],
    ['Hello, 世界', '=?base64?SGVsbG8sIOS4lueVjA==?='],
    [' padded ', '=?base64?IHBhZGRlZCA=?='],
    ['line1\nline2', '=?base64?bGluZTEKbGluZTI=?='],
    ['=?base64?literal?=', '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?='],
    ['', ''],
    ['two words', 'two words'],
    ['a\tb', 'a\tb'],
    ['\u007f', '=?base64?fw==?='],
    ['=?base64?=', '=?base64?PT9iYXNlNjQ/PQ==?='],
  ])('%j is sent as %j and read back', (text, header) => {
    expect(encodeHeaderValue(text)).toBe(header);
    expect(decodeHeaderValue(header)).toBe(text);
  });
});

describe('reads as literal what only resembles the sentinel', () => {
  test.each(['SGVsbG8=', '=?base64?SGVsbG8=', 'SGVsbG8=?=', '=?BASE64?SGVsbG8=?=', '=?utf-8?SGVsbG8=?='])(
    '%s',
    (value) => {
      expect(decodeHeaderValue(value)).toBe(value);
    },
  );
});

describe('refuses', () => {
  test.each([
    ['missing padding', '=?base64?SGVsbG8?='],
    ['characters outside the alphabet', '=?base64?SGVs!!!bG8=?='],
    ['white space inside', '=?base64?SGVs bG8=?='],
    ['spare bits', '=?base64?SGVsbG9=?='],
    ['base64url', '=?base64?Pz8-?='],
    ['bytes that are not UTF-8', '=?base64?/w==?='],
    ['raw characters above ASCII', 'caf\u00e9'],
    ['control characters', 'a\u0000b'],
    ['DEL', 'a\u007f'],
  ])('%s', (_title, value) => {
    expect(decodeHeaderValue(value)).toBeNull();
  });
});

test('white space around a value is not part of it, however much there is', () => {
  expect(decodeHeaderValue(`${' \t'.repeat(50_000)}x${'\t '.repeat(50_000)}`)).toBe('x');
});

test('every text survives, and what is sent is safe in a header', () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.oneof(
          fc.constantFrom('=?base64?', '?=', ' ', '\n', 'é'),
          fc.string({ unit: 'grapheme', maxLength: 2 }),
        ),
      }),
      (text) => {
        const sent = encodeHeaderValue(text);
        expect(sent).toMatch(/^[\x20-\x7e\t]*$/);
        expect(sent.trim()).toBe(sent);
        expect(decodeHeaderValue(sent)).toBe(text);
      },
    ),
    { seed: 3, numRuns: 2000 },
  );
});

test('no two sentinel values stand for one text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii', maxLength: 12 }), (payload) => {
      const value = `=?base64?${payload}?=`;
      const decoded = decodeHeaderValue(value);
      if (decoded !== null && decoded !== value) expect(Buffer.from(decoded).toString('base64')).toBe(payload);
    }),
    { seed: 3, numRuns: 2000 },
  );
});
