import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { hasHidden, hiddenRuns, showHidden, withoutHidden } from '../../src/lib/hidden-text.ts';

test.each([
  ['a\u200Bb', [{ kind: 'invisible', start: 1, end: 2 }]],
  ['\u202Eab', [{ kind: 'bidi', start: 0, end: 1 }]],
  ['a\u001B[1;31mb', [{ kind: 'ansi', start: 1, end: 8 }]],
  ['a\u001B]0;title\u001B\\b', [{ kind: 'ansi', start: 1, end: 12 }]],
  ['a\u0000', [{ kind: 'control', start: 1, end: 2 }]],
  ['\u{E0041}', [{ kind: 'tag', start: 0, end: 2 }]],
  [
    'x\uFE0F\u200Dy',
    [
      { kind: 'invisible', start: 1, end: 2 },
      { kind: 'invisible', start: 2, end: 3 },
    ],
  ],
  ['👩‍💻 ❤️ 1️⃣ می‌خواهم क्‍ष', []],
  ['tab\t line\r\n', []],
  ['𝄞 clef and 😀 are ordinary', []],
] as const)('finds in %j exactly what nobody sees', (text, runs) => {
  expect(hiddenRuns(text)).toEqual(runs);
  expect(hasHidden(text)).toBe(runs.length > 0);
});

test('shows what it finds, and leaves the rest', () => {
  expect(showHidden('a\u200Bb\u{E0041}')).toBe('a⟨U+200B⟩b⟨U+E0041⟩');
  expect(showHidden('\u001B[0m')).toBe('⟨U+001B⟩⟨U+005B⟩⟨U+0030⟩⟨U+006D⟩');
  expect(showHidden('größe')).toBe('größe');
});

test('what was cleaned is clean, and what was shown hides nothing', () => {
  const pieces = fc.constantFrom(
    'a',
    '1',
    '\u200D',
    '\u200C',
    '\uFE0F',
    '\u001B',
    '[',
    '0',
    'm',
    ']',
    '\u0007',
    '\\',
    '👩',
    'م',
    '\u{E0041}',
    '\u202E',
    '\uDB40',
    '\n',
  );
  fc.assert(
    fc.property(
      fc.array(pieces, { maxLength: 12 }).map((list) => list.join('')),
      (text) => {
        expect(hiddenRuns(withoutHidden(text))).toEqual([]);
        expect(hiddenRuns(showHidden(text))).toEqual([]);
      },
    ),
    { numRuns: 2000, seed: 20261121 },
  );
});
