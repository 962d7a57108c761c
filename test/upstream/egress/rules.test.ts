/** Which ways out a record opens: exact names, exact ports, and paths that can be read in one way only. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { egressRules, isHostOf, readAbsolute, readAuthority } from '../../../src/upstream/egress/rules.ts';

const API = { scheme: 'https', host: 'api.example.com', port: 443 } as const;

describe('a host', () => {
  test.each([
    ['api.example.com:443', 'api.example.com'],
    ['API.Example.COM:443', 'api.example.com'],
    ['xn--bcher-kva.example:443', 'xn--bcher-kva.example'],
  ])('%s is read as %s', (text, host) => expect(readAuthority(text)).toEqual({ host, port: 443 }));

  test.each([
    'api.example.com',
    'api.example.com:',
    'api.example.com:0',
    'api.example.com:0443',
    'api.example.com:65536',
    'api.example.com:443:443',
    'api.example.com.:443',
    '.example.com:443',
    'a..b:443',
    '-a.example:443',
    'user@api.example.com:443',
    'api.example.com@evil.example:443',
    'api.example.com/:443',
    'api.example.com\\.evil.example:443',
    'api.example.com%2eevil.example:443',
    'api.example.com evil:443',
    'büro.example:443',
    'api。example.com:443',
    '127.0.0.1:443',
    '127.1:443',
    '2130706433:443',
    '0x7f000001:443',
    '0x7f.0.0.1:443',
    '0x7f.1:443',
    'a.0x7f:443',
    '0177.0.0.1:443',
    '[::1]:443',
    '[::ffff:127.0.0.1]:443',
    '[64:ff9b::7f00:1]:443',
    '::1:443',
    'http://api.example.com:443',
    `${'a.'.repeat(130)}b:443`,
    '',
    ':443',
    '*:443',
    '*.example.com:443',
  ])('%s is no target', (text) => expect(readAuthority(text)).toBeNull());

  test('any text is refused or a name that a resolver takes as a name', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), fc.nat(70_000), (text, port) => {
        const read = readAuthority(`${text}:${port}`);
        if (read === null) return;
        expect(read.host).toBe(text.toLowerCase());
        expect(new URL(`http://${read.host}/`).hostname).toBe(read.host);
        expect(read.host).not.toMatch(/^[\d.]+$/);
      }),
      { seed: 6, numRuns: 1_000 },
    );
  });

  test.each(['0x7f.1', '127.0.0.1', 'Api.example.com', 'api.example.com.', 'a..b', '*.example.com'])(
    'a rule for %s is refused as a whole',
    (host) => {
      expect(() => egressRules([{ scheme: 'https', host }])).toThrow(
        expect.objectContaining({ code: 'egress_rule', message: expect.stringContaining(host) as string }) as Error,
      );
    },
  );
});

describe('a request to a proxy', () => {
  test.each([
    ['http://api.example.com', 80, '/'],
    ['http://api.example.com/', 80, '/'],
    ['HTTP://API.example.com:8080/a?b=c', 8080, '/a?b=c'],
    ['http://api.example.com?x=/..', 80, '/?x=/..'],
  ])('%s is for port %i and path %s', (text, port, path) =>
    expect(readAbsolute(text)).toEqual({ to: { scheme: 'http', host: 'api.example.com', port }, path }),
  );

  test.each([
    'https://api.example.com/',
    'ftp://api.example.com/',
    '/origin-form',
    '*',
    'http:///x',
    'http://u@api.example.com/',
    'http://u:p@api.example.com/',
    'http://api.example.com\\@evil.example/',
    'http://api.example.com/a#b',
    'http://api.example.com/a b',
    'http://api.example.com/ü',
    'http://api.example.com/a\\b',
    'http://127.0.0.1/',
    'http://2130706433/',
    'http://[::1]/',
    'http://localhost:x/',
  ])('%s is none', (text) => expect(readAbsolute(text)).toBeNull());

  test('a Host header is the target or is refused', () => {
    expect(isHostOf('api.example.com', API)).toBe(true);
    expect(isHostOf('API.example.com:443', API)).toBe(true);
    expect(isHostOf('api.example.com', { ...API, port: 8443 })).toBe(false);
    for (const other of [
      '',
      'evil.example',
      'api.example.com.',
      'api.example.com:80',
      'api.example.com, evil',
      'u@api.example.com',
    ])
      expect(isHostOf(other, API), other).toBe(false);
  });
});

describe('rules', () => {
  const rules = egressRules([
    { scheme: 'https', host: 'open.example' },
    { scheme: 'https', host: 'both.example', methods: ['GET'] },
    { scheme: 'https', host: 'both.example' },
    { scheme: 'https', host: 'api.example.com', methods: ['GET'], pathPrefix: '/v1' },
    { scheme: 'https', host: 'api.example.com', methods: ['POST'], pathPrefix: '/v1/mail/' },
    { scheme: 'http', host: 'plain.example', port: 8080 },
  ]);

  test('say where TLS passes, where it ends, and where plain http goes', () => {
    expect(rules.tls('open.example', 443)).toBe('open');
    expect(rules.tls('both.example', 443)).toBe('open');
    expect(rules.tls('api.example.com', 443)).toBe('read');
    expect(rules.readHosts).toEqual(['api.example.com']);
    for (const [host, port] of [
      ['open.example', 80],
      ['open.example', 8443],
      ['www.open.example', 443],
      ['example', 443],
      ['plain.example', 8080],
    ] as const)
      expect(rules.tls(host, port), host).toBeNull();
    expect(rules.plain('plain.example', 8080)).toBe(true);
    expect(rules.plain('plain.example', 80)).toBe(false);
    expect(rules.plain('open.example', 80)).toBe(false);
  });

  test.each([
    ['GET', '/v1', null],
    ['GET', '/v1/', null],
    ['GET', '/v1/a/b?c=../..', null],
    ['GET', '/v1/caf%C3%A9', null],
    ['GET', '/v1//x', null],
    ['POST', '/v1/mail/send', null],
    ['POST', '/v1/mail', 'method'],
    ['POST', '/v1/x', 'method'],
    ['DELETE', '/v1/mail/x', 'method'],
    ['get', '/v1', 'method'],
    ['GET', '/', 'path'],
    ['GET', '/v1x', 'path'],
    ['GET', '/V1', 'path'],
    ['GET', '//v1', 'path'],
    ['GET', '/v1/../admin', 'path'],
    ['GET', '/v1/..', 'path'],
    ['GET', '/v1/./x', 'path'],
    ['GET', '/v1/%2e%2e/admin', 'path'],
    ['GET', '/v1/.%2E/admin', 'path'],
    ['GET', '/v1/..%2fadmin', 'path'],
    ['GET', '/v1%2fx', 'path'],
    ['GET', '/v1/..%5cadmin', 'path'],
    ['GET', '/v1/..;/admin', 'path'],
    ['GET', '/v1/..%3b/admin', 'path'],
    ['GET', '/v1/..%3f/admin', 'path'],
    ['GET', '/v1/..%23/admin', 'path'],
    ['GET', '/v1/%252e%252e/admin', 'path'],
    ['GET', '/v1/%c0%ae%c0%ae/admin', 'path'],
    ['GET', '/v1/%ef%bc%8e%ef%bc%8e/admin', 'path'],
    ['GET', '/v1/a%ef%bc%8fb', 'path'],
    ['GET', '/v1/%00', 'path'],
    ['GET', '/v1/%0d%0ax', 'path'],
    ['GET', '/v1/%', 'path'],
    ['GET', '/v1/..%20/x', 'path'],
  ] as const)('%s %s at a host with a path: %s', (method, path, refusal) =>
    expect(rules.refusal(API, method, path)).toBe(refusal),
  );

  test('another destination has no rule', () => {
    expect(rules.refusal({ ...API, scheme: 'http', port: 80 }, 'GET', '/v1')).toBe('no_rule');
    expect(rules.refusal({ ...API, port: 8443 }, 'GET', '/v1')).toBe('no_rule');
  });
});
