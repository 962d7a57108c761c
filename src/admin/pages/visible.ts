/**
 * Text that a person decides about, so that what they see is what is there (AP-02). Promises: no character is dropped, moved or merged;
 * what has no ink, changes the direction, draws over its neighbours or repeats without end is written out as `⟨…⟩`; and the visible form
 * can be read back, because brackets of the text itself are written out, too. One linear pass, nothing is cut.
 * Not promised: that two letters that look alike are told apart; `remarks` says when alphabets are mixed.
 */
export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  /** Letters that run from right to left. Shown apart, so that they turn nothing round but themselves. */
  | { readonly kind: 'rtl'; readonly text: string }
  | { readonly kind: 'mark'; readonly text: string; readonly code: number; readonly count: number };

/** No ink of their own, or none that every font has: controls, formats, lone surrogates, private and unassigned, separators, fillers. */
const NO_INK = /^[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800\u{1D159}\u27E8\u27E9]$/u;
/** Struck through, enclosed, drawn over: they change the letter before them. */
const OVERLAY = /^[\p{Me}\u0334-\u0338\u20D0-\u20F0]$/u;
const COMBINING = /^\p{M}$/u;
const CARRIES_MARKS = /^[\p{L}\p{N}\p{M}]$/u;
/** More on one letter reach into the lines above and below. */
const MOST_COMBINING = 3;
const RTL = /^[\u0590-\u08FF\uFB1D-\uFDFF\uFE70-\uFEFE\u{10800}-\u{10FFF}\u{1E800}-\u{1EFFF}]$/u;

const NAMES: ReadonlyMap<number, string> = new Map([
  [0x20, 'space'],
  [0x09, 'tab'],
  [0x0a, 'line break'],
  [0x0d, 'carriage return'],
]);

export const label = ({ code, count }: Extract<Piece, { kind: 'mark' }>): string => {
  // Tag characters spell ASCII that nobody sees and a model reads.
  const spelled = code > 0xe0020 && code < 0xe007f ? `tag ${String.fromCharCode(code - 0xe0000)}` : null;
  const name = NAMES.get(code) ?? spelled ?? `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  return count === 1 ? `⟨${name}⟩` : `⟨${name} ×${count}⟩`;
};

export function piecesOf(text: string): Piece[] {
  const letters = Array.from(text);
  const pieces: Piece[] = [];
  let plain = '';
  let isRtl = false;
  let combining = 0;
  const flush = (): void => {
    if (plain !== '') pieces.push({ kind: isRtl ? 'rtl' : 'text', text: plain });
    plain = '';
  };
  for (let at = 0; at < letters.length;) {
    const letter = letters[at]!;
    let count = 1;
    // Only what may become a mark is counted: looking ahead from every letter of one long run would take its length squared.
    if (mayMark(letter)) while (letters[at + count] === letter) count++;
    if (isMark(letters, at, count, combining)) {
      flush();
      combining = MOST_COMBINING;
      pieces.push({ kind: 'mark', text: letter.repeat(count), code: letter.codePointAt(0)!, count });
      at += count;
      continue;
    }
    const rtl = RTL.test(letter);
    if (rtl !== isRtl) flush();
    isRtl = rtl;
    plain += letter;
    combining = COMBINING.test(letter) ? combining + 1 : CARRIES_MARKS.test(letter) ? 0 : MOST_COMBINING;
    at++;
  }
  flush();
  return pieces;
}

const mayMark = (letter: string): boolean =>
  letter === ' ' || NO_INK.test(letter) || OVERLAY.test(letter) || COMBINING.test(letter);

function isMark(letters: readonly string[], at: number, count: number, combining: number): boolean {
  const letter = letters[at]!;
  // One space between two words is what everybody reads as one space; any other is counted.
  if (letter === ' ')
    return count > 1 || at === 0 || at === letters.length - 1 || isBreak(letters[at - 1]) || isBreak(letters[at + 1]);
  if (NO_INK.test(letter) || OVERLAY.test(letter)) return true;
  if (!COMBINING.test(letter)) return false;
  return at === 0 || combining >= MOST_COMBINING || !CARRIES_MARKS.test(letters[at - 1]!);
}

const isBreak = (letter: string | undefined): boolean => letter === '\n' || letter === '\r' || letter === '\t';

export const visibleText = (text: string): string =>
  piecesOf(text)
    .map((piece) => (piece.kind === 'mark' ? label(piece) : piece.text))
    .join('');

/** As people count: code points. */
export const characters = (text: string): number => Array.from(text).length;

const BIDI = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/u;
const ALPHABETS = [
  ['Latin', /\p{Script=Latin}/u],
  ['Cyrillic', /\p{Script=Cyrillic}/u],
  ['Greek', /\p{Script=Greek}/u],
  ['Armenian', /\p{Script=Armenian}/u],
  ['Cherokee', /\p{Script=Cherokee}/u],
] as const;
const LONG = 300;

/** What a quick look would miss, in words; empty when there is nothing. */
export function remarks(text: string): string[] {
  const found: string[] = [];
  const counts = new Map<string, number>();
  const add = (what: string, count: number): void => void counts.set(what, (counts.get(what) ?? 0) + count);
  let padding = 0;
  for (const piece of piecesOf(text)) {
    if (piece.kind !== 'mark') continue;
    const { code, count } = piece;
    if (NAMES.has(code)) {
      if (count > padding) padding = count;
      if (code === 0x0a) add('line break', count);
    } else if (code === 0x27e8 || code === 0x27e9) continue;
    else if (BIDI.test(piece.text)) add('direction character', count);
    else if (code >= 0xe0000 && code <= 0xe007f) add('hidden tag character', count);
    else add('invisible or altering character', count);
  }
  const length = characters(text);
  if (length > LONG) found.push(`${length} characters`);
  if (padding > 3) found.push(`${padding} blanks or line breaks in a row`);
  for (const [what, count] of counts) found.push(`${count} ${what}${count === 1 ? '' : 's'}`);
  const alphabets = ALPHABETS.filter(([, pattern]) => pattern.test(text)).map(([name]) => name);
  if (alphabets.length > 1) found.push(`letters of ${alphabets.join(' and ')} alphabets, some of which look alike`);
  return found;
}
