/** Credentials towards servers and clients (CI-03, CI-04): by shape, by checksum, by the name in front of them, by their entropy. */
import { describe, expect, test } from 'vitest';
import { inspectArguments, inspectResult } from '../../../src/content/inspect.ts';
import { exactMatcher } from '../../../src/content/matcher.ts';
import { compileRules } from '../../../src/content/rules.ts';
import type { Terms } from '../../../src/content/terms.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { hasTokenChecksum } from '../../../src/lib/secret-shapes.ts';
import { SECRETS } from '../../support/secrets.ts';
import { filled } from '../corpus/corpus.ts';

const own = exactMatcher([{ id: 'c1', value: 'Vq81-nR2x-77Lp-aaQz' }]);
const planted = exactMatcher([{ id: 'h1', value: 'ZX81bait00token99' }]);
const rules = compileRules(null);
const terms = (direction: 'in' | 'out', except: ReadonlySet<string> | null = null): Terms =>
  rules.terms({ direction, risk: 'write', server: 's', dataClasses: ['internal'], own, planted, except });
const IN = terms('in');
const OUT = terms('out');
const result = (text: string): JsonObject => ({ content: [{ type: 'text', text }] });
/** Shapes without a beginning of their own are only looked for in definitions. */
const ONLY_IN_DEFINITIONS = new Set(['azure client', 'basic', 'mailchimp', 'telegram', 'terraform', 'twilio']);
const SHAPED = SECRETS.filter(([vendor]) => !ONLY_IN_DEFINITIONS.has(vendor));

describe('CI-03: towards servers', () => {
  test.each(SHAPED)(
    'CI-03: a secret of %s is refused, wherever it stands, and the arguments are not changed',
    (_vendor, secret) => {
      const value = { list: [{ note: `take ${secret} please` }] };
      const before = JSON.stringify(value);
      expect(inspectArguments(value, OUT)).toMatchObject({
        verdict: 'block',
        reason: expect.stringMatching(/^secret\./),
      });
      expect(JSON.stringify(value)).toBe(before);
    },
  );
  test('CI-03: as the name of a member, too, and then the pointer does not repeat it', () => {
    const [, secret] = SHAPED[0]!;
    const found = inspectArguments({ [secret]: { a: secret } }, OUT);
    expect(found.verdict).toBe('block');
    expect(JSON.stringify([found.findings, found.inspected, found.labels])).not.toContain(secret);
    expect(found.findings.map(({ at }) => at)).toEqual(['', '/*/a']);
  });
  test('CI-03: a value that Remit holds is refused in any encoding, except to the server it belongs to', () => {
    const sent = { body: Buffer.from('{"k":"Vq81-nR2x-77Lp-aaQz"}').toString('base64') };
    expect(inspectArguments(sent, OUT)).toMatchObject({ verdict: 'block', reason: 'own_secret.c1' });
    expect(inspectArguments(sent, terms('out', new Set(['c1'])))).toMatchObject({
      verdict: 'pass',
      findings: [{ class: 'secret.entropy' }],
    });
  });
  test('CI-03: a planted value is refused', () => {
    expect(inspectArguments({ q: 'zx81BAIT00token99' }, OUT)).toMatchObject({
      verdict: 'block',
      reason: 'honeytoken.h1',
    });
  });
  test('CI-03: what only looks drawn by lot is labelled and goes', () => {
    const { verdict, findings } = inspectArguments({ q: filled('{{opaque}}', '3') }, OUT);
    expect([verdict, findings.map((one) => [one.class, one.action])]).toEqual(['pass', [['secret.entropy', 'label']]]);
  });
  test('CI-03: twin: nothing is found where nothing is looked for', () => {
    const blind: Terms = { ...OUT, actionFor: () => null, own: null, planted: null };
    for (const [, secret] of SHAPED) expect(inspectArguments({ note: secret }, blind).verdict).toBe('pass');
  });
});

describe('CI-04: towards clients', () => {
  test.each(SHAPED)('CI-04: a secret of %s is taken out', (_vendor, secret) => {
    const { verdict, result: left } = inspectResult(result(`take ${secret} please`), undefined, IN);
    const [kept] = /[^/:@= ]+$/.exec(secret) ?? [''];
    expect(verdict).toBe('redact');
    if (!secret.includes('db.example') && kept !== '')
      expect(JSON.stringify(left)).not.toContain(JSON.stringify(kept).slice(1, -1));
  });
  test.each([
    ['db_password = "Kp7#vexa91"', 'db_password = "[redacted:assigned]"'],
    ['Kennwort: Kp7#vexa91.', 'Kennwort: [redacted:assigned].'],
    [filled('api_key={{hexkey}}', '1'), 'api_key=[redacted:assigned]'],
    ['planted: zx81bait00TOKEN99', 'planted: [redacted:secret]'],
    ['ours: Vq81-nR2x-77Lp-aaQz', 'ours: [redacted:own_secret]'],
  ])('CI-04: %j becomes %j', (text, left) => {
    expect(inspectResult(result(text), undefined, IN)).toMatchObject({ verdict: 'redact', result: result(left) });
  });
  test('CI-04: the name of a member says what its value is', () => {
    const structuredContent = { user: 'svc', password: 'Kp7#vexa91', next_page_token: 'CAUQAA19fKq2Zz88' };
    expect(inspectResult({ content: [], structuredContent }, undefined, IN)).toMatchObject({
      verdict: 'redact',
      result: { structuredContent: { ...structuredContent, password: '[redacted:assigned]' } },
      findings: [{ class: 'secret.assigned', at: '/structuredContent/password', span: [0, 10], action: 'redact' }],
    });
  });
  test.each([
    'password: ${DB_PASSWORD}',
    'password = getpass()',
    'token: string',
    'api_key: "YOUR_API_KEY_HERE"',
    'secret: "********"',
    'postgres://user:password@localhost/dev',
    'ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
    '"nextPageToken": "EAAaBlBUOkNESQ7Zz19a"',
    `commit ${'0a1b2c3d'.repeat(5)}`,
    `integrity sha512-${filled('{{sha512b64}}', '2')}`,
  ])('leaves %j alone', (text) => {
    expect(inspectResult(result(text), undefined, IN).verdict).toBe('pass');
  });
  test('CI-04: a published checksum finds a token in the middle of other letters', () => {
    const body = filled('{{githubbody}}', '7');
    expect(hasTokenChecksum(body)).toBe(true);
    expect(inspectResult(result(`prefixghp_${body}suffix`), undefined, IN)).toMatchObject({
      result: result('prefix[redacted:github]suffix'),
    });
    const other = `${body.slice(0, -1)}${body.endsWith('a') ? 'b' : 'a'}`;
    expect(hasTokenChecksum(other)).toBe(false);
    expect(inspectResult(result(`prefixghp_${other}suffix`), undefined, IN).verdict).toBe('pass');
  });
});
