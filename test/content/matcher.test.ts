/** Exact values are found in every encoding that is promised, and nothing else is taken for one (CI-03). */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { exactMatcher } from '../../src/content/matcher.ts';

const VALUE = 'Zq7-Xw2p_Lm9Rt4vB+n6K/wQ1a';
const bytes = Buffer.from(VALUE);
const each = (text: string, how: (code: string) => string): string =>
  Array.from(text, (unit) => how(unit.charCodeAt(0).toString(16).padStart(2, '0'))).join('');
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const base32 = (text: string): string =>
  (
    Array.from(Buffer.from(text), (byte) => byte.toString(2).padStart(8, '0'))
      .join('')
      .match(/.{5}/g) ?? []
  )
    .map((bits) => BASE32[Number.parseInt(bits, 2)])
    .join('');

const DRESSED: ReadonlyArray<readonly [encoding: string, text: string]> = [
  ['as it is', VALUE],
  ['upper case', VALUE.toUpperCase()],
  ['lower case', VALUE.toLowerCase()],
  ['reversed', Array.from(VALUE).toReversed().join('')],
  ['base64', bytes.toString('base64')],
  ['base64, one byte in front', Buffer.from(`x${VALUE}`).toString('base64')],
  ['base64, two bytes in front and some behind', Buffer.from(`{"${VALUE}"}`).toString('base64')],
  ['base64url', bytes.toString('base64url')],
  ['base64 in lines', bytes.toString('base64').replaceAll(/(.{7})/g, '$1\n')],
  ['base64, reversed', Array.from(bytes.toString('base64')).toReversed().join('')],
  ['base64 of it reversed', Buffer.from(Array.from(VALUE).toReversed().join('')).toString('base64')],
  ['hexadecimal', bytes.toString('hex')],
  ['hexadecimal, upper case', bytes.toString('hex').toUpperCase()],
  ['hexadecimal with colons', each(VALUE, (code) => `${code}:`)],
  ['base32', base32(VALUE)],
  ['percent-encoded', encodeURIComponent(VALUE)],
  ['percent-encoded, every letter', each(VALUE, (code) => `%${code}`)],
  ['percent-encoded twice', encodeURIComponent(each(VALUE, (code) => `%${code}`))],
  ['\\u escapes', each(VALUE, (code) => `\\u00${code}`)],
  ['\\x escapes', each(VALUE, (code) => `\\x${code}`)],
  ['HTML entities', each(VALUE, (code) => `&#x${code};`)],
  ['HTML entities, decimal', Array.from(VALUE, (unit) => `&#${unit.charCodeAt(0)};`).join('')],
  ['HTML entities twice', each(VALUE, (code) => `&amp;#x${code};`)],
  ['split by spaces', Array.from(VALUE).join(' ')],
  ['split by dashes', Array.from(VALUE).join('-')],
  ['split by line ends', VALUE.replaceAll(/(.{4})/g, '$1\n')],
  ['split by what nobody sees', Array.from(VALUE).join('\u200B')],
  [
    'full-width',
    Array.from(VALUE, (unit) =>
      /[A-Za-z0-9]/.test(unit) ? String.fromCharCode(unit.charCodeAt(0) + 0xfee0) : unit,
    ).join(''),
  ],
];
const { find } = exactMatcher([
  { id: 'other', value: 'another-value-0123456789' },
  { id: 'c1', value: VALUE },
]);

describe('CI-03: a value is found however it is dressed', () => {
  test.each(DRESSED)('CI-03: %s', (_encoding, text) => {
    const whole = `Note: ${text} ends.`;
    const [found, ...more] = find(whole);
    expect(more).toEqual([]);
    expect(found?.id).toBe('c1');
    // The range covers it: hardly a letter of it is left, and nothing of the sentence is taken.
    expect(found!.start).toBeGreaterThanOrEqual(6);
    expect(found!.start).toBeLessThanOrEqual(8);
    expect(whole.slice(found!.end)).toMatch(/^[^A-Za-z0-9]{0,8}(?:;\S{0,3})? ends\.$/);
  });
  test('CI-03: at least eight encodings', () => {
    expect(DRESSED.length).toBeGreaterThanOrEqual(8);
  });
  test('CI-03: twin: looking for the value as it is finds three of them', () => {
    expect(DRESSED.filter(([, text]) => text.includes(VALUE)).length).toBeLessThanOrEqual(3);
  });
  test('where it stands twice it is found twice, and two values are two', () => {
    expect(find(`${VALUE} and another-value-0123456789 and ${VALUE}`).map(({ id }) => id)).toEqual([
      'c1',
      'other',
      'c1',
    ]);
  });
});

describe('what is no value', () => {
  test('short values are refused and named, at the limit', () => {
    const matcher = exactMatcher([
      { id: 'seven', value: 'abcdef7' },
      { id: 'eight', value: 'abcdefg8' },
      { id: 'none', value: '' },
    ]);
    expect(matcher.refused).toEqual(['seven', 'none']);
    expect(matcher.find('abcdef7 abcdefg8').map(({ id }) => id)).toEqual(['eight']);
  });
  test('a short value counts only where it stands together', () => {
    const { find: short } = exactMatcher([{ id: 'a', value: 'pass1234' }]);
    expect(short('see pass1234 here')).toEqual([{ id: 'a', start: 4, end: 12 }]);
    expect(short('pass 1234 times')).toEqual([]);
  });
  test('a value of signs is found as it is', () => {
    expect(exactMatcher([{ id: 'a', value: '!!@@##$$%%' }]).find('x !!@@##$$%% y')).toEqual([
      { id: 'a', start: 2, end: 12 },
    ]);
  });
  test.each(['', 'hello', VALUE.slice(0, -6), VALUE.slice(6), `${VALUE.slice(0, 12)} is the first half`])(
    '%j',
    (text) => {
      expect(find(text)).toEqual([]);
    },
  );
  test('no values, no finds', () => {
    expect(exactMatcher([]).find(VALUE)).toEqual([]);
  });
});

test('CI-03: any value is found in any text around it', () => {
  const value = fc.stringMatching(/^[A-Za-z0-9+/_-]{16,60}$/);
  fc.assert(
    fc.property(value, fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (secret, before, after) => {
      const { find: look } = exactMatcher([{ id: 'x', value: secret }]);
      const text = `${before} ${secret} ${after}`;
      const found = look(text);
      expect(found.length).toBeGreaterThanOrEqual(1);
      for (const { start, end } of found) expect(start >= 0 && end <= text.length && start < end).toBe(true);
    }),
    { seed: 6, numRuns: 300 },
  );
});

test('a matcher made after another one finds what is new, not what left, and works out only what is new', () => {
  const [stays, leaves, comes] = ['aaQ7x2mN4kP9vB31', 'Zc5Tq8Rw1Yd6Hg20', 'u3Ej7Lb4Vn9Xs6K5'];
  const first = exactMatcher([
    { id: 's', value: stays },
    { id: 'l', value: leaves },
  ]);
  // As another thread gets them: equal, and not the same objects.
  const second = exactMatcher(
    structuredClone([
      { id: 's', value: stays },
      { id: 'c', value: comes },
    ]),
    first,
  );
  const text = [stays, leaves, comes].map((value) => Buffer.from(value).toString('hex')).join(' ');
  expect(first.find(text).map(({ id }) => id)).toEqual(['s', 'l']);
  expect(second.find(text).map(({ id }) => id)).toEqual(['s', 'c']);
  expect(second.known.get(stays)).toBe(first.known.get(stays));
  expect([...second.known.keys()]).toEqual([stays, comes]);
  // The value of one is the value of another now.
  expect(exactMatcher([{ id: 'new', value: stays }], second).find(text)).toMatchObject([{ id: 'new' }]);
});

test('cost grows with the text and hardly with the values', () => {
  const values = Array.from({ length: 200 }, (_, i) => ({
    id: `${i}`,
    value: `ghp_${Buffer.from(`${Math.sin(i + 1)}`).toString('base64')}`,
  }));
  const many = exactMatcher(values);
  // What the beginnings of all values have in common, what hashes alike, what decodes without end.
  for (const seed of ['ghp_', 'a', '%25', '\\u005c', '&amp;', 'MC4', ' ', '-a']) {
    const text = seed.repeat(Math.ceil(400_000 / seed.length));
    const started = performance.now();
    many.find(text);
    expect(performance.now() - started).toBeLessThan(5_000);
  }
});
