/** One strict reading of JSON: a table of refusals with tag and place, and fuzz against JSON.parse as the reference. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseStrictJson } from '../../src/lib/strict-json.ts';

const LIMITS = { maxBytes: 1_000_000, maxDepth: 64, maxMembers: 1000 };
const bytes = (text: string): Buffer => Buffer.from(text, 'utf8');
const read = (text: string) => parseStrictJson(bytes(text), LIMITS);

describe('refuses', () => {
  const cases: readonly (readonly [title: string, text: string, problem: object])[] = [
    ['an empty text', '', { tag: 'syntax', at: 0 }],
    ['only white space', ' \n', { tag: 'syntax', at: 2 }],
    ['a byte order mark', '\uFEFF{}', { tag: 'syntax', at: 0 }],
    ['trailing data', '{} {}', { tag: 'syntax', at: 3 }],
    ['a trailing comma in an object', '{"a":1,}', { tag: 'syntax', at: 7 }],
    ['a trailing comma in an array', '[1,]', { tag: 'syntax', at: 3 }],
    ['single quotes', "{'a':1}", { tag: 'syntax', at: 1 }],
    ['a bare key', '{a:1}', { tag: 'syntax', at: 1 }],
    ['a comment', '{/**/}', { tag: 'syntax', at: 1 }],
    ['NaN', '[NaN]', { tag: 'syntax', at: 1 }],
    ['Infinity', '[Infinity]', { tag: 'syntax', at: 1 }],
    ['a leading zero', '[01]', { tag: 'syntax', at: 2 }],
    ['a leading plus', '[+1]', { tag: 'syntax', at: 1 }],
    ['a point without digits', '[1.]', { tag: 'syntax', at: 3 }],
    ['an exponent without digits', '[1e]', { tag: 'syntax', at: 3 }],
    ['a lone minus', '[-]', { tag: 'syntax', at: 2 }],
    ['a raw line break in a string', '["a\nb"]', { tag: 'syntax', at: 3 }],
    ['an unknown escape', String.raw`["\x41"]`, { tag: 'syntax', at: 2 }],
    ['a short unicode escape', String.raw`["\u12"]`, { tag: 'syntax', at: 6 }],
    ['an unfinished string', '["abc', { tag: 'syntax', at: 5 }],
    ['an unfinished escape', '["abc\\', { tag: 'syntax', at: 5 }],
    ['a no-break space between tokens', '[\u00a01]', { tag: 'syntax', at: 1 }],
    ['a duplicate key', '{"a":1,"a":2}', { tag: 'duplicate_key', at: 7, key: 'a' }],
    ['a duplicate key with an equal value', '{"a":1,"a":1}', { tag: 'duplicate_key', at: 7, key: 'a' }],
    ['a duplicate key deep inside', '[{"x":{"a":1,"b":2,"a":3}}]', { tag: 'duplicate_key', at: 19, key: 'a' }],
    [
      'a duplicate key written with an escape',
      String.raw`{"a":1,"\u0061":2}`,
      { tag: 'duplicate_key', at: 7, key: 'a' },
    ],
    ['a duplicate empty key', '{"":1,"":2}', { tag: 'duplicate_key', at: 6, key: '' }],
    [
      'a key named like a method of objects, twice',
      '{"toString":1,"toString":2}',
      { tag: 'duplicate_key', at: 14, key: 'toString' },
    ],
    ['__proto__', '{"__proto__":{}}', { tag: 'forbidden_key', at: 1, key: '__proto__' }],
    [
      '__proto__ written with an escape',
      String.raw`{"\u005f_proto__":{}}`,
      { tag: 'forbidden_key', at: 1, key: '__proto__' },
    ],
    ['NUL in a key', String.raw`{"name\u0000":1}`, { tag: 'forbidden_key', at: 1, key: 'name\0' }],
    ['an integer beyond 2^53 - 1', '[9007199254740992]', { tag: 'unsafe_integer', at: 1 }],
    ['a negative integer beyond', '[-9007199254740993]', { tag: 'unsafe_integer', at: 1 }],
    ['a number that rounds to infinity', '[1e400]', { tag: 'unsafe_integer', at: 1 }],
    ['a lone high surrogate', String.raw`["\ud83d"]`, { tag: 'not_utf8', at: 2 }],
    ['a lone low surrogate', String.raw`["\ude00\ud83d"]`, { tag: 'not_utf8', at: 2 }],
    ['a lone surrogate in a key', String.raw`{"\udfff":1}`, { tag: 'not_utf8', at: 2 }],
  ];
  test.each(cases)('%s', (_title, text, problem) => {
    expect(read(text)).toEqual({ ok: false, error: problem });
  });

  test.each([
    ['an overlong form', [0x22, 0xc0, 0xaf, 0x22]],
    ['a surrogate in UTF-8', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a cut code point', [0x22, 0xe2, 0x82, 0x22]],
    ['latin1', [0x22, 0xe9, 0x22]],
    ['UTF-16', [0xff, 0xfe, 0x31, 0x00]],
  ])('bytes that are not UTF-8: %s', (_title, octets) => {
    expect(parseStrictJson(Uint8Array.from(octets), LIMITS)).toEqual({ ok: false, error: { tag: 'not_utf8', at: 0 } });
  });

  test('more bytes than the limit, before looking at them', () => {
    expect(parseStrictJson(bytes('[1,2,3]'), { ...LIMITS, maxBytes: 6 })).toEqual({
      ok: false,
      error: { tag: 'too_large', bytes: 7 },
    });
  });

  test('one level more than the limit, and takes the limit itself', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(read(nested(64)).ok).toBe(true);
    expect(read(nested(65))).toEqual({ ok: false, error: { tag: 'too_deep', at: 64 } });
    expect(read('{"a":'.repeat(100_000))).toEqual({ ok: false, error: { tag: 'too_deep', at: 320 } });
  });

  test('one member more than the limit, counted over the whole text', () => {
    const limits = { ...LIMITS, maxMembers: 4 };
    expect(parseStrictJson(bytes('{"a":[1,2],"b":3}'), limits).ok).toBe(true);
    expect(parseStrictJson(bytes('{"a":[1,2],"b":3,"c":4}'), limits)).toMatchObject({ error: { tag: 'too_many' } });
  });
});

describe('accepts', () => {
  test.each([
    ['every escape', String.raw`"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`],
    ['raw code points', '"é€😀\u2028"'],
    ['white space of JSON', ' \t\r\n[ 1 , { "a" : null } ]\n'],
    ['the largest safe integers', '[9007199254740991,-9007199254740991]'],
    ['large and small fractions', '[6.022e23,1E-7,-0.5,1e-400,123.456]'],
    ['keys that name members of every object', '{"constructor":1,"toString":2,"hasOwnProperty":3}'],
    ['keys that differ in case only', '{"a":1,"A":2}'],
    ['scalars at the root', 'true'],
  ])('%s, as JSON.parse does', (_title, text) => {
    expect(read(text)).toEqual({ ok: true, value: JSON.parse(text) as unknown });
  });

  test('a view into a larger buffer without reading beyond it', () => {
    const whole = bytes('xx[1]yy');
    expect(parseStrictJson(whole.subarray(2, 5), LIMITS)).toEqual({ ok: true, value: [1] });
  });
});

test('a parsed object cannot reach a prototype', () => {
  const parsed = read('{"constructor":{"prototype":{"polluted":true}}}');
  expect(parsed.ok && Object.getPrototypeOf(parsed.value)).toBe(Object.prototype);
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  // The twin: what plain JSON.parse lets in turns into a prototype at the first merge.
  const target: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(JSON.parse('{"__proto__":{"admin":true}}') as object)) target[key] = value;
  expect(target['admin']).toBe(true);
});

describe('fuzz', () => {
  const tokens = [
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '"a"',
    '"b"',
    '1',
    '-',
    '0',
    '.5',
    'e9',
    'true',
    'null',
    ' ',
    '\\',
    'u0061',
    '\n',
    '\0',
    'é',
  ];

  test('never accepts what JSON.parse refuses, and agrees with it on the value', () => {
    const texts = fc.oneof(
      fc.json(),
      fc.array(fc.constantFrom(...tokens), { maxLength: 24 }).map((parts) => parts.join('')),
      fc.tuple(fc.json(), fc.nat(), fc.constantFrom(...tokens)).map(([text, n, token]) => {
        const at = n % (text.length + 1);
        return text.slice(0, at) + token + text.slice(at + 1);
      }),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const mine = parseStrictJson(bytes(text), { maxBytes: 1e6, maxDepth: 500 });
        if (mine.ok) expect(mine.value).toEqual(JSON.parse(bytes(text).toString('utf8')));
      }),
      { seed: 20260728, numRuns: 3000 },
    );
  });

  test('accepts whatever JSON.stringify writes of well-formed data', () => {
    const value = fc.jsonValue({ stringUnit: 'grapheme' });
    fc.assert(
      fc.property(value, (data) => {
        const text = JSON.stringify(data);
        fc.pre(!text.includes('"__proto__"') && !/[^.\d]\d{16,}/.test(text));
        expect(parseStrictJson(bytes(text), { maxBytes: 1e6, maxDepth: 500 })).toEqual({
          ok: true,
          value: JSON.parse(text) as unknown,
        });
      }),
      { seed: 20260728, numRuns: 1000 },
    );
  });

  test('never throws on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
        expect(typeof parseStrictJson(octets, LIMITS).ok).toBe('boolean');
      }),
      { seed: 20260728, numRuns: 2000 },
    );
  });
});
