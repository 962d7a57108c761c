import { posix } from 'node:path';
import { domainToASCII } from 'node:url';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CanonicalValue, ParameterType } from '../../src/lib/canonical-values.ts';
import { PARAMETER_TYPES, canonicalValue } from '../../src/lib/canonical-values.ts';

const read = (type: ParameterType, value: string | number): CanonicalValue | string => {
  const result = canonicalValue(type, value);
  return result.ok ? result.value : result.error;
};
const text = (type: ParameterType, value: string | number): string | null => {
  const result = canonicalValue(type, value);
  return result.ok ? result.value.text : null;
};

describe('path', () => {
  test.each([
    ['/data/a', '/data/a'],
    ['/data//a', '/data/a'],
    ['//data/a/', '/data/a'],
    ['/data/./a/.', '/data/a'],
    ['/data/x/../a', '/data/a'],
    ['/data/../../../etc', '/etc'],
    ['/..', '/'],
    ['/', '/'],
    ['a/b', 'a/b'],
    ['./a', 'a'],
    ['a/..', '.'],
    ['.', '.'],
    ['/data/e\u0301', '/data/\u00e9'],
    ['/data/.hidden', '/data/.hidden'],
    ['/data/a b', '/data/a b'],
    ['/data/100%', '/data/100%'],
    ['/data/-rf', '/data/-rf'],
  ])('%j is %j', (value, canonical) => expect(text('path', value)).toBe(canonical));

  test.each([
    ['', 'must be a path of 1 to 4096 characters'],
    [`/${'a'.repeat(4_096)}`, 'must be a path of 1 to 4096 characters'],
    [7, 'must be a path as text'],
    ['..', 'leads out of the folder it is relative to'],
    ['a/../../b', 'leads out of the folder it is relative to'],
    ['/data/a\0', 'has characters that cannot be seen'],
    ['/data/a\n', 'has characters that cannot be seen'],
    ['/data/\u202Egpj.exe', 'has characters that cannot be seen'],
    ['/data/a\u200Bb', 'has characters that cannot be seen'],
    ['/data/\u{E0041}', 'has characters that cannot be seen'],
    ['/data/\uD800', 'has characters that cannot be seen'],
    ['/data\\..\\etc', 'has a backslash; separate folders with /'],
    ['/data/%2e%2e/etc', 'has escaped characters; write them as they are'],
    ['/data/%252e%252e/etc', 'has escaped characters; write them as they are'],
    ['/data%2f..%2fetc', 'has escaped characters; write them as they are'],
    ['/data/%c0%ae%c0%ae/etc', 'has escaped characters; write them as they are'],
    ['/data/%u002e%u002e/etc', 'has escaped characters; write them as they are'],
    ['/data/\uFF0E\uFF0E/etc', 'has a name that some systems read as another one'],
    ['/data/\u2025/etc', 'has a name that some systems read as another one'],
    ['/data/a\uFF0Fetc', 'has a name that some systems read as another one'],
    ['/data/\uFF052e/etc', 'has a name that some systems read as another one'],
    ['/data/.. /etc', 'has a name that some systems read as another one'],
    ['/data/.../etc', 'has a name that some systems read as another one'],
    ['~/x', 'begins like something other than a path'],
    ['./~root/x', 'begins like something other than a path'],
    ['./-rf', 'begins like something other than a path'],
    ['file:///etc/passwd', 'begins like something other than a path'],
    ['C:/Windows', 'begins like something other than a path'],
    [' etc/x', 'begins or ends with a space'],
    ['/etc ', 'begins or ends with a space'],
    ['/x'.repeat(129), 'is more than 128 folders deep'],
  ])('%j has none: %s', (value, why) => expect(read('path', value)).toBe(why));

  test('lies under every folder above it and under itself, and never under half a name', () => {
    expect(read('path', '/data/a/b')).toEqual({
      text: '/data/a/b',
      facets: { under: ['/', '/data', '/data/a', '/data/a/b'] },
    });
    expect(read('path', './a/b')).toEqual({ text: 'a/b', facets: { under: ['.', 'a', 'a/b'] } });
    expect((read('path', '/database') as CanonicalValue).facets['under']).not.toContain('/data');
  });
});

describe('url', () => {
  test.each([
    ['HTTPS://Example.COM', 'https://example.com/'],
    ['https://example.com:443/a', 'https://example.com/a'],
    ['http://example.com:80', 'http://example.com/'],
    ['https://example.com:8443/a', 'https://example.com:8443/a'],
    ['https://example.com:/a', 'https://example.com/a'],
    ['https://example.com./a', 'https://example.com/a'],
    ['https://ex%61mple.com/', 'https://example.com/'],
    ['https://ｅxample。com/', 'https://example.com/'],
    ['https://bücher.example/', 'https://xn--bcher-kva.example/'],
    ['https://a.com/x/../y', 'https://a.com/y'],
    ['https://a.com/x/%2e%2e/y', 'https://a.com/y'],
    ['https://a.com/%7eana/%41', 'https://a.com/~ana/A'],
    ['https://a.com/%c3%a9', 'https://a.com/%C3%A9'],
    ['https://a.com/é', 'https://a.com/%C3%A9'],
    ['https://a.com/?q=%2f..&x', 'https://a.com/?q=%2F..&x'],
    ['https://a.com/a?', 'https://a.com/a'],
    ['http://0x7f.1/', 'http://127.0.0.1/'],
    ['http://2130706433/', 'http://127.0.0.1/'],
    ['http://017700000001/', 'http://127.0.0.1/'],
    ['http://127.1./', 'http://127.0.0.1/'],
    ['http://１２７.０.０.１/', 'http://127.0.0.1/'],
    ['http://[::ffff:127.0.0.1]/', 'http://127.0.0.1/'],
    ['http://[0:0:0:0:0:0:0:1]/', 'http://[::1]/'],
    ['http://[::FFFF:7f00:1]:80/', 'http://127.0.0.1/'],
  ])('%j is %j', (value, canonical) => expect(text('url', value)).toBe(canonical));

  test.each([
    ['https:example.com', 'must begin with https:// or http:// and a host'],
    ['https:///example.com', 'must begin with https:// or http:// and a host'],
    ['//example.com/', 'must begin with https:// or http:// and a host'],
    ['file:///etc/passwd', 'must begin with https:// or http:// and a host'],
    ['javascript:alert(1)', 'must begin with https:// or http:// and a host'],
    [' https://a.com', 'has a space or a backslash'],
    ['https://a.com\\@b.com/', 'has a space or a backslash'],
    ['https://a.com\t.b.com/', 'has characters that cannot be seen'],
    ['https://a\u200B.com/', 'has characters that cannot be seen'],
    ['https://ana@b.com/', 'has a user name or password'],
    ['https://good.com:x@evil.com/', 'has a user name or password'],
    ['https://@a.com/', 'has a user name or password'],
    ['https://a..com/', 'has no host that can be judged'],
    ['https://*.a.com/', 'has no host that can be judged'],
    ['https://a.com:99999/', 'is not a URL'],
    ['https://1.2.3.4.5/', 'is not a URL'],
    ['https://a.com/x%2f..%2fy', 'has an escape in its path that is read in more than one way'],
    ['https://a.com/x%5c..', 'has an escape in its path that is read in more than one way'],
    ['https://a.com/%252e%252e/', 'has an escape in its path that is read in more than one way'],
    ['https://a.com/%25%32%65/', 'has an escape in its path that is read in more than one way'],
    ['https://a.com/%%34%31', 'has an escape in its path that is read in more than one way'],
    ['https://a.com/%00', 'has an escape in its path that is read in more than one way'],
    ['https://a.com/%c0%af', 'has an escape in its path that is read in more than one way'],
    ['https://a.com/x//y', 'has an empty folder in its path'],
    ['https://a.com/public/..;/admin', 'has a folder in its path that some servers read as the one above'],
    [7, 'must be a URL as text'],
    [`https://a.com/${'a'.repeat(8_192)}`, 'must be a URL of at most 8192 characters'],
  ])('%j has none: %s', (value, why) => expect(read('url', value)).toBe(why));

  test('is judged by scheme, host, port, path and what the host is below', () => {
    expect(read('url', 'https://api.a.example:8443/v1/x?y#z')).toEqual({
      text: 'https://api.a.example:8443/v1/x?y#z',
      facets: {
        scheme: 'https',
        host: 'api.a.example',
        port: 8443,
        path: '/v1/x',
        hostUnder: ['api.a.example', '.a.example', '.example'],
      },
    });
    expect((read('url', 'http://127.0.0.1/') as CanonicalValue).facets).toMatchObject({
      port: 80,
      hostUnder: ['127.0.0.1'],
    });
    expect((read('url', 'https://nota.example/') as CanonicalValue).facets['hostUnder']).toEqual([
      'nota.example',
      '.example',
    ]);
  });
});

describe('domain', () => {
  test.each([
    ['Example.COM', 'example.com'],
    ['example.com.', 'example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['ｅxample。com', 'example.com'],
    ['localhost', 'localhost'],
    ['0x7f.1', '127.0.0.1'],
    ['Ana.Roe+x@Example.COM', 'Ana.Roe+x@example.com'],
    ["o'neil@example.com.", "o'neil@example.com"],
  ])('%j is %j', (value, canonical) => expect(text('domain', value)).toBe(canonical));

  test.each([
    '',
    'a..com',
    '*.com',
    'a b.com',
    'a.com/x',
    'a.com:443',
    'a.com?x',
    'a.com#x',
    'http://a.com',
    '[::1]',
    'a%2ecom',
    'a\u200B.com',
    '-a.com',
    'ana@',
    '@a.com',
    'ana@b@a.com',
    'ana%b.com@a.com',
    'b.com!ana@a.com',
    '"ana@b.com"@a.com',
    'Ana <ana@a.com>',
    'ana@a.com,eve@b.com',
    'ana@a.com;eve@b.com',
    'ana@a.com\r\nBcc: eve@b.com',
    'ana(x)@a.com',
    'a..b@a.com',
    '-a@a.com',
    'ana@127.0.0.1',
    'ana@[127.0.0.1]',
    `${'a'.repeat(65)}@a.com`,
    `${'a.'.repeat(127)}com`,
  ])('%j has none', (value) => expect(canonicalValue('domain', value).ok).toBe(false));

  test('an address is judged by its domain alone', () => {
    expect(read('domain', 'Ana@Mail.Example.com')).toEqual({
      text: 'Ana@mail.example.com',
      facets: { host: 'mail.example.com', hostUnder: ['mail.example.com', '.example.com', '.com'] },
    });
  });
});

describe('amount', () => {
  test.each([
    ['0', '0', 0],
    ['12', '12', 1200],
    ['12.5', '12.50', 1250],
    ['12.50', '12.50', 1250],
    ['12.00', '12', 1200],
    ['0.01', '0.01', 1],
    ['-3.10', '-3.10', -310],
    ['9999999999999.99', '9999999999999.99', 999_999_999_999_999],
    [12, '12', 1200],
    [0.1, '0.10', 10],
    [1.15, '1.15', 115],
    [-2.5, '-2.50', -250],
  ])('%j is %j, %d in its smallest unit', (value, canonical, minor) =>
    expect(read('amount', value)).toEqual({ text: canonical, facets: { minor } }),
  );

  test.each([
    '',
    ' 1',
    '1 ',
    '+1',
    '1.',
    '.5',
    '007',
    '1,000',
    '1.000,00',
    '1_000',
    '1e3',
    '0x10',
    '1.005',
    '-0',
    '-0.00',
    'NaN',
    'Infinity',
    '１２',
    '٣',
    '12$',
    '10000000000000',
    0.1 + 0.2,
    1.005,
    1e21,
    1e-7,
    -0,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    1e13,
  ])('%j has none', (value) => expect(canonicalValue('amount', value).ok).toBe(false));
});

describe('identifier', () => {
  test.each([
    ['Repo-1', 'Repo-1'],
    ['org/Repo', 'org/Repo'],
    ['e\u0301', '\u00e9'],
    ['\u212A', 'K'],
    [42, '42'],
    [-7, '-7'],
    ['-7', '-7'],
  ])('%j is %j', (value, canonical) => expect(text('identifier', value)).toBe(canonical));
  test.each([
    '',
    'a b',
    ' a',
    'a\u00a0b',
    'a\u200Bb',
    'a\u202Eb',
    'a\u00ADb',
    'a\u3164b',
    'a\nb',
    'ａ',
    '--upload-pack=x',
    '-x',
    'x'.repeat(513),
    1.5,
    -0,
    2 ** 60,
  ])('%j has none', (value) => expect(canonicalValue('identifier', value).ok).toBe(false));
});

describe('every type', () => {
  const pieces = fc.constantFrom(
    '/',
    '//',
    '.',
    '..',
    '...',
    'a',
    'B',
    'é',
    'e\u0301',
    '%2e',
    '%41',
    '%',
    '~',
    '-',
    ':',
    '@',
    '?',
    '#',
    ' ',
    '\\',
    'https://',
    'http://',
    'example.com',
    'xn--bcher-kva',
    'ß',
    '。',
    'Ａ',
    '127.1',
    '0x7f',
    '[::1]',
    '[::ffff:1.2.3.4]',
    ':443',
    ':80',
    ':8080',
    '0',
    '1',
    '9',
    '12.5',
    ',',
    ';',
    '+',
    '=',
    '&',
    '\u200B',
    '\u202E',
    '\0',
    '\uD800',
    '|',
    '^',
  );
  const values = fc.oneof(
    fc.array(pieces, { maxLength: 8 }).map((list) => list.join('')),
    fc.array(pieces, { maxLength: 6 }).map((list) => `https://${list.join('')}`),
    fc.string({ unit: 'grapheme', maxLength: 30 }),
    fc.webUrl({ withFragments: true, withQueryParameters: true }),
    fc.emailAddress(),
    fc.double(),
    fc.integer(),
  );
  test.each(PARAMETER_TYPES)('canonical of canonical is itself: %s', (type) => {
    fc.assert(
      fc.property(values, (value) => {
        const once = canonicalValue(type, value);
        if (once.ok) expect(canonicalValue(type, once.value.text)).toEqual(once);
        else expect(once.error).toMatch(/^(?:must|has|is|begins|leads)/);
      }),
      { seed: 5, numRuns: 4_000 },
    );
  });

  test('a path that is judged is the one the system would open', () => {
    const names = fc.constantFrom('/', '/', '..', '.', 'a', 'b c', '.x', 'x.', 'é');
    fc.assert(
      fc.property(fc.array(names, { minLength: 1, maxLength: 12 }), (list) => {
        const value = list.join('');
        const found = text('path', value);
        if (found === null) return;
        // Independent: the standard library, with the current folder somewhere deep.
        const from = posix.resolve('/here/and/there', value.normalize('NFC'));
        expect(posix.resolve('/here/and/there', found)).toBe(from);
        expect(found).toBe(posix.isAbsolute(value) ? from : posix.relative('/here/and/there', from) || '.');
      }),
      { seed: 6, numRuns: 4_000 },
    );
  });

  test('a host that is judged is the one that a client would look up', () => {
    fc.assert(
      fc.property(fc.domain(), fc.webPath(), (name, path) => {
        const found = canonicalValue('url', `https://${name.toUpperCase()}${path}`);
        if (!found.ok) return;
        expect(found.value.facets['host']).toBe(domainToASCII(name));
        expect(text('domain', name)).toBe(domainToASCII(name));
      }),
      { seed: 7, numRuns: 2_000 },
    );
  });

  test('an amount is exact: what sums and whole numbers say', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 15n) + 1n, max: 10n ** 15n - 1n }), fc.boolean(), (minor, short) => {
        const size = minor < 0n ? -minor : minor;
        const written = `${minor < 0n ? '-' : ''}${size / 100n}.${String(size % 100n).padStart(2, '0')}`;
        const value = short && written.endsWith('0') ? written.slice(0, -1) : written;
        const found = read('amount', value);
        expect(found).toMatchObject({ facets: { minor: Number(minor) } });
        // A number that says the same is the same amount, as long as it can say it.
        const asNumber = Number(value);
        if (size < 10n ** 12n && minor !== 0n) expect(read('amount', asNumber)).toEqual(found);
      }),
      { seed: 8, numRuns: 2_000 },
    );
  });
});
