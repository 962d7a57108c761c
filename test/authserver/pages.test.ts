/** The pages: nothing from outside becomes markup, the style is the one the policy names, forms lead where they may. */
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shortText } from '../../src/lib/html.ts';
import {
  consentPage,
  errorPage,
  formTarget,
  pageHeaders,
  signInFailedPage,
  signInPage,
} from '../../src/authserver/pages.ts';
import type { ConsentView } from '../../src/authserver/pages.ts';

const consent = (text: string): ConsentView => ({
  action: '/interaction/x',
  formToken: 't',
  client: { id: text, name: text, vouchedBy: text, registeredItself: true },
  redirectHost: text,
  redirectIsLocal: true,
  person: { name: text, email: text },
  resource: { name: text, url: text },
  scopes: [{ scope: text, description: text, risk: 'destructive' }],
  allowedBefore: true,
});

const pagesWith = (text: string): string[] => [
  consentPage(consent(text)),
  signInPage({
    action: '/interaction/x',
    formToken: 't',
    clientName: text,
    failed: true,
    username: text,
    passwords: true,
    providers: [{ title: text, address: '/interaction/x/federation/okta' }],
  }),
  signInFailedPage({
    action: '/interaction/x',
    formToken: 't',
    clientName: text,
    failed: 'access_denied',
    reference: 'ref_1',
  }),
  errorPage({ title: text, text, code: text, reference: 'ref_1' }),
];

/** The tags of a page, without the text between them and without attribute values. */
const skeleton = (page: string): string =>
  (page.match(/<[a-z/!][^>]*>/gi) ?? []).map((tag) => tag.replace(/"[^"]*"/g, '""')).join('');

describe('text from outside', () => {
  test.for([
    ['<script>alert(1)</script>', '&lt;script&gt;alert(1)&lt;/script&gt;'],
    ['"><img src=x onerror=alert(1)>', '&quot;&gt;&lt;img src=x onerror=alert(1)&gt;'],
    [`' autofocus onfocus='x`, '&#39; autofocus onfocus=&#39;x'],
    ['&lt;b&gt;', '&amp;lt;b&amp;gt;'],
    ['</style><script>', '&lt;/style&gt;&lt;script&gt;'],
    ['admin\u202Egpj.exe\u2066\u0000\u200B', 'admin gpj.exe'],
  ] as const)('%j is shown as %j', ([text, shown]) => {
    for (const page of pagesWith(text)) {
      expect(page).toContain(shown);
      expect(skeleton(page)).toBe(skeleton(pagesWith('x')[pagesWith(text).indexOf(page)] ?? ''));
    }
  });

  test('of any kind leaves the markup of every page as it is', () => {
    const plain = pagesWith('x').map(skeleton);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.string({ unit: fc.constantFrom('<', '>', '"', "'", '&', '`', '=', ' ', '/', 'a', '-', '!') }),
        ),
        (text) => {
          expect(pagesWith(`x${text}`).map(skeleton)).toEqual(plain);
        },
      ),
      { seed: 7, numRuns: 300 },
    );
  });

  test('vulnerable twin: unescaped, the same text changes the markup', () => {
    expect(skeleton(pagesWith('x')[0]?.replaceAll('>x<', '><script>alert(1)</script><') ?? '')).not.toBe(
      skeleton(pagesWith('x')[0] ?? ''),
    );
  });

  test('is cut: a name fills one line, not the screen', () => {
    expect(shortText('x'.repeat(10_000), 60)).toBe(`${'x'.repeat(59)}…`);
    expect(shortText('👩🏽‍🚀'.repeat(10), 5)).not.toMatch(/[\ud800-\udbff]$/);
    expect(consentPage(consent('y'.repeat(100_000))).length).toBeLessThan(20_000);
  });
});

test('the style element is exactly what the policy allows, and nothing else may load or run', () => {
  for (const page of pagesWith('x')) {
    const style = /<style>([\s\S]*?)<\/style>/.exec(page)?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(pageHeaders(['https://a.example'])['content-security-policy']).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; form-action 'self' https://a.example; frame-ancestors 'none'; base-uri 'none'`,
    );
    expect(page).not.toMatch(/<script|<img|<link|<iframe| on[a-z]+=| style=/i);
  }
});

test('every field has its label, the language is named, failures are announced', () => {
  const [consentText = '', signIn = ''] = pagesWith('x');
  for (const id of ['username', 'password']) expect(signIn).toContain(`<label for="${id}">`);
  expect(signIn).toContain('role="alert"');
  expect(signIn).toContain('<html lang="en">');
  expect(signIn).toContain('Evaluation sign-in: local users of this installation.');
  expect(consentText).toContain('width=device-width');
  expect(consentText).toContain('can destroy data');
});

test.for([
  ['https://claude.ai/callback?x=1', 'https://claude.ai'],
  ['http://127.0.0.1:53682/callback', 'http://127.0.0.1:53682'],
  ['http://[::1]:53682/callback', 'http:'],
  ['cursor://anysphere/oauth', 'cursor:'],
  ["https://a.example'; script-src *", null],
  ['nonsense', null],
] as const)('a form may lead to the client: %s gives %s', ([uri, source]) => {
  expect(formTarget(uri)).toBe(source);
});
