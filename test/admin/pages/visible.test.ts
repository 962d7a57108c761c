/** What is shown is what is there, and can be read back (AP-02). */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { argumentsMarkup, leavesOf } from '../../../src/admin/pages/arguments.ts';
import { remarks, visibleText } from '../../../src/admin/pages/visible.ts';
import type { Json } from '../../../src/lib/json.ts';

const NAMED: Readonly<Record<string, number>> = { space: 0x20, tab: 9, 'line break': 10, 'carriage return': 13 };

/** The way back, written from the guide and not from the code. */
function readBack(visible: string): string {
  return visible.replace(/⟨([^⟩]+?)(?: ×(\d+))?⟩/gu, (_whole, name: string, count: string | undefined) => {
    const tag = /^tag (.)$/.exec(name)?.[1];
    const code = NAMED[name] ?? (tag === undefined ? Number.parseInt(name.slice(2), 16) : 0xe0000 + tag.charCodeAt(0));
    return String.fromCodePoint(code).repeat(Number(count ?? 1));
  });
}

const NASTY = [
  ' ',
  '  ',
  '\n',
  '\r\n',
  '\t',
  '\0',
  '\x1b[31m',
  '\x7f',
  '\u00a0',
  '\u00ad',
  '\u200b',
  '\u200d',
  '\u2028',
  '\u202e',
  '\u2066',
  '\u2069',
  '\u3164',
  '\ufeff',
  '\ufe0f',
  '\u{e0041}',
  '\u{e0020}',
  '\u{e0001}',
  '\ud800',
  '\udc00',
  '⟨',
  '⟩',
  '⟨U+200B⟩',
  '⟨space ×9⟩',
  '×',
  '&',
  '<',
  '>',
  '"',
  "'",
  '`',
  '<script>',
  'a',
  'é',
  'e\u0301',
  '\u0301',
  '\u0336',
  '\u20dd',
  'аpple',
  'שלום',
  'مرحبا',
  '👩‍👩‍👧',
  '\u2800',
  '\ue000',
  '\u{10ffff}',
  'क्षि',
  '~',
  '/',
];
const nasty = fc
  .array(fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: 'binary', maxLength: 5 })), { maxLength: 30 })
  .map((parts) => parts.join(''));

describe('text', () => {
  test.each([
    ['plain words', 'plain words'],
    [' x', '⟨space⟩x'],
    ['x ', 'x⟨space⟩'],
    ['a  b', 'a⟨space ×2⟩b'],
    [`a${' '.repeat(4096)}b`, 'a⟨space ×4096⟩b'],
    ['a\nb', 'a⟨line break⟩b'],
    [`a${'\n'.repeat(500)}b`, 'a⟨line break ×500⟩b'],
    ['a\n b', 'a⟨line break⟩⟨space⟩b'],
    ['a\r\nb', 'a⟨carriage return⟩⟨line break⟩b'],
    ['a\u202Etxt.exe', 'a⟨U+202E⟩txt.exe'],
    ['a\u200Bb', 'a⟨U+200B⟩b'],
    ['a\u00A0b', 'a⟨U+00A0⟩b'],
    ['\u{E0068}\u{E0069}', '⟨tag h⟩⟨tag i⟩'],
    ['\u{E0001}', '⟨U+E0001⟩'],
    ['⟨U+200B⟩', '⟨U+27E8⟩U+200B⟨U+27E9⟩'],
    ['a\u0336b', 'a⟨U+0336⟩b'],
    ['e\u0301', 'e\u0301'],
    ['\u0301e', '⟨U+0301⟩e'],
    [`e${'\u0301'.repeat(5)}`, `e${'\u0301'.repeat(3)}⟨U+0301 ×2⟩`],
    ['\ud800', '⟨U+D800⟩'],
    ['\ue000', '⟨U+E000⟩'],
    ['\u2800', '⟨U+2800⟩'],
  ])('%j reads %s', (text, visible) => {
    expect(visibleText(text)).toBe(visible);
  });

  test('AP-02: every text can be read back from what is shown, and nothing without ink is left in it', () => {
    fc.assert(
      fc.property(nasty, (text) => {
        const visible = visibleText(text);
        expect(readBack(visible)).toBe(text);
        expect(visible).not.toMatch(
          /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/u,
        );
        expect(visible).not.toMatch(/ {2}|^ | $/);
      }),
      { seed: 7, numRuns: 3_000 },
    );
  });

  test('AP-02: two texts never read the same', () => {
    fc.assert(
      fc.property(nasty, nasty, (a, b) => {
        expect(visibleText(a) === visibleText(b)).toBe(a === b);
      }),
      { seed: 8, numRuns: 2_000 },
    );
  });

  test('what a quick look would miss is said', () => {
    expect(remarks('plain words')).toEqual([]);
    expect(remarks(`a${' '.repeat(4096)}\u202Eb\u200B\u{E0041}`)).toEqual([
      '4101 characters',
      '4096 blanks or line breaks in a row',
      '1 direction character',
      '1 invisible or altering character',
      '1 hidden tag character',
    ]);
    expect(remarks('аpple')).toEqual(['letters of Latin and Cyrillic alphabets, some of which look alike']);
  });
});

const textOfHtml = (html: string): string =>
  html
    .replace(/<[^>]*>/g, '')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&#96;', '`')
    .replaceAll('&amp;', '&');
const valuesOf = (html: string): string[] =>
  [...html.matchAll(/<div class="value" dir="ltr">([\s\S]*?)<\/div>/g)].map(([, inner]) => textOfHtml(inner ?? ''));
const namesOf = (html: string): string[] =>
  [...html.matchAll(/<code class="name" dir="ltr">([\s\S]*?)<\/code>/g)].map(([, inner]) => textOfHtml(inner ?? ''));

describe('arguments', () => {
  test('stand in the order of their names at every depth, whatever order the sender chose', () => {
    const paths = (value: Json) => leavesOf(value).map(({ path, type, text }) => [path, type, text]);
    const expected = [
      ['/a/0', 'text', 'x'],
      ['/a/1/k', 'nothing', 'null'],
      ['/b', 'empty list', '[]'],
      ['/c~1d~0', 'number', '1e+21'],
      ['/e', 'yes or no', 'false'],
      ['/f', 'empty text', ''],
      ['/g', 'empty object', '{}'],
    ];
    expect(paths({ g: {}, f: '', e: false, 'c/d~': 1e21, b: [], a: ['x', { k: null }] })).toEqual(expected);
    expect(paths({ a: ['x', { k: null }], b: [], 'c/d~': 1e21, e: false, f: '', g: {} })).toEqual(expected);
  });

  test('a number and the text of it are told apart', () => {
    const [number, text] = [argumentsMarkup({ n: 1 }).text, argumentsMarkup({ n: '1' }).text];
    expect(number).toContain('<small>number</small>');
    expect(text).toContain('<small>text, 1 character</small>');
  });

  test('AP-02: every name and every value appears once, whole, escaped and readable back, in a page without markup of its own', () => {
    const value: fc.Arbitrary<Json> = fc.letrec<{ json: Json }>((tie) => ({
      json: fc.oneof(
        { maxDepth: 3, depthSize: 'small' },
        nasty,
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('json'), { maxLength: 3 }),
        fc.dictionary(nasty, tie('json'), { maxKeys: 3 }),
      ),
    })).json;
    fc.assert(
      fc.property(fc.dictionary(nasty, value, { minKeys: 1, maxKeys: 5 }), (args) => {
        const html = argumentsMarkup(args).text;
        const leaves = leavesOf(args);
        expect(valuesOf(html).map(readBack)).toEqual(leaves.map(({ text }) => text));
        expect(namesOf(html).map(readBack)).toEqual(leaves.map(({ path }) => path));
        const tags = new Set([...html.matchAll(/<\/?([a-z0-9]+)/g)].map(([, tag]) => tag));
        for (const tag of tags)
          expect([
            'p',
            'span',
            'div',
            'strong',
            'ul',
            'li',
            'a',
            'dl',
            'dt',
            'dd',
            'code',
            'small',
            'bdi',
            'br',
          ]).toContain(tag);
      }),
      { seed: 9, numRuns: 400 },
    );
  });

  test('letters from right to left stand apart, so that they turn nothing round but themselves', () => {
    expect(argumentsMarkup({ file: 'doc-שלום-exe.txt' }).text).toContain('doc-<bdi dir="rtl">שלום</bdi>-exe.txt');
  });
});
