/** What loads by itself loads no more (CI-06): what is left is read again here the way a browser and a Markdown reader do. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { inspectResult } from '../../../src/content/inspect.ts';
import { InspectionPolicy } from '../../../src/content/records.ts';
import { compileRules } from '../../../src/content/rules.ts';
import { RESULTS } from '../corpus/corpus.ts';

const TERMS = compileRules(InspectionPolicy.parse({ linkHosts: ['img.corp.example', '*.cdn.example'] })).terms({
  direction: 'in',
  risk: 'read',
  server: 's',
  dataClasses: ['internal'],
  own: null,
  planted: null,
});
const look = (text: string) => inspectResult({ content: [{ type: 'text', text }] }, undefined, TERMS);
const left = (text: string): string =>
  (look(text).result as unknown as { content: [{ text: string }] }).content[0].text;

/** A rough reader of its own: whether a renderer would ask attacker.test for anything by itself. */
const LOADS =
  /!\[[^\]]*(?:\[[^\]]*\][^\]]*)*\]\(\s*<?[^)]*attacker\.test|!\[[^\]]*\](?:\[[^\]]*\])?[^]*\n\s*\[[^\]]+\]:\s*<?[^\s]*attacker\.test|<\w+[^<>]*(?:src|srcset|href|data|poster|background|content|style)\s*=[^<>]*attacker\.test|url\(\s*["']?[^)]*attacker\.test|@import\s+["'][^"']*attacker\.test|javascript:|<[^<>]*&#104;ttps:\/\/attacker/i;
const ATTACKS = RESULTS.filter(
  ({ set, holds, text }) => set === 'attack' && holds.includes('link') && LOADS.test(text),
);

describe('CI-06: what loads by itself', () => {
  test('CI-06: the reader of this test sees what loads (the twin: the texts as they came do)', () => {
    expect(ATTACKS.length).toBeGreaterThanOrEqual(30);
  });
  test.each(ATTACKS.map(({ text }) => [text]))('CI-06: %j', (text) => {
    const clean = left(text);
    expect(clean.replaceAll(/⟨[^⟨⟩]*⟩/g, '')).not.toMatch(LOADS);
    expect(clean).toMatch(/⟨[a-z]+ (?:not loaded: (?:collect\.)?attacker\.test|removed: it would run)⟩/);
  });
  test.each([
    ['![a](https://attacker.test/x.png)!', '⟨image not loaded: attacker.test⟩!'],
    [
      '[![b](https://attacker.test/b.svg)](https://docs.example/)',
      '[⟨image not loaded: attacker.test⟩](https://docs.example/)',
    ],
    ['<p>a <IMG SRC = "//attacker.test/i"> b</p>', '<p>a ⟨img not loaded: attacker.test⟩ b</p>'],
    ['[x](javascript:alert(1))', '[x]⟨link removed: it would run⟩'],
    ['![a](file://attacker.test/share/x.png)', '⟨image not loaded: attacker.test⟩'],
  ])('CI-06: %j becomes %j', (text, clean) => {
    expect(left(text)).toBe(clean);
  });
  test('CI-06: taking a secret out of the way makes no picture', () => {
    const secret = ['gh', 'p_', 'a1B2'.repeat(9)].join('');
    expect(left(`!${secret}(https://attacker.test/x.png)`)).not.toMatch(LOADS);
    expect(left(`!![a](https://attacker.test/1.png)(https://attacker.test/2.png)`)).not.toMatch(LOADS);
    expect(left('!\u200B[a]\u200B(https://attacker.test/1.png)')).not.toMatch(LOADS);
  });
  test.each([
    '![a](./a.png)',
    '![a](/img/a.png "title")',
    '![a](https://img.corp.example/a.png)',
    '<img src="https://eu.cdn.example/a.png">',
    '![a](data:image/png;base64,AAAA)',
    '<img src="logo.png">',
    '[docs](https://attacker.test/)',
    'https://attacker.test/x.png',
    '<a href="https://attacker.test/">',
    '<script>let a = 1;</script>',
    '`![alt](url)`',
    'if (![1].includes(x)) f(y)',
    'a[0](b)',
    '![x]',
    '[ref]: https://attacker.test/r.png',
    '<imgx src=https://attacker.test/>',
  ])('leaves %j alone', (text) => {
    expect(look(text)).toMatchObject({ verdict: 'pass', findings: [] });
  });
  test.each([
    ['https://cdn.example/a.png', false],
    ['https://xcdn.example/a.png', false],
    ['https://cdn.example.attacker.test/a.png', false],
    ['https://attacker.test/cdn.example', false],
    ['https://img.corp.example@attacker.test/a.png', false],
    ['https://IMG.corp.EXAMPLE/a.png', true],
    ['https:\\\\img.corp.example\\a.png', true],
  ])('CI-06: the host of %j counts as a browser reads it', (url, listed) => {
    expect(look(`![a](${url})`).verdict).toBe(listed ? 'pass' : 'redact');
  });
  test('CI-06: a link that carries data is labelled and stays', () => {
    const text = `[more](https://attacker.test/r?d=${'c2VjcmV0'.repeat(8)})`;
    expect(look(text)).toMatchObject({ verdict: 'pass', labels: expect.arrayContaining(['link:data']) });
  });
});

test('CI-06: whatever is put together from such pieces, nothing loads from elsewhere', () => {
  const piece = fc.constantFrom(
    '!',
    '[',
    ']',
    '(',
    ')',
    '![',
    '](',
    '<img src=',
    '>',
    '"',
    ' ',
    '\n',
    'a',
    '\\',
    '[1]',
    '[1]: ',
    'https://attacker.test/x',
    '//attacker.test/y',
    'url(',
    '@import ',
    '<',
    '\u200B',
  );
  const simple = /!\[[^[\]\\\n]*\]\(https:\/\/attacker\.test\/x\)|<img src="?(?:https:)?\/\/attacker\.test/;
  let landed = 0;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
      const text = pieces.join('');
      if (simple.test(text.replaceAll('\u200B', '')) && !text.includes('\\')) landed++;
      if (!text.includes('\\')) expect(left(text)).not.toMatch(simple);
    }),
    { seed: 60, numRuns: 20_000 },
  );
  expect(landed).toBeGreaterThan(5);
});
