/**
 * Characters that a machine reads and a person does not see: terminal escapes, controls, direction marks, zero-width and tag
 * characters. Found, shown or removed here; what to do about them is for the rooms. Every scan is one linear pass.
 * Kept on purpose: a joiner or variation selector that really joins (emoji, Arabic and Indic letters), line breaks and tabs.
 */

export type HiddenKind = 'ansi' | 'control' | 'bidi' | 'tag' | 'invisible';

export interface HiddenRun {
  readonly kind: HiddenKind;
  /** UTF-16 offsets, end exclusive. */
  readonly start: number;
  readonly end: number;
}

const CHARACTER =
  '[\\u0000-\\u0008\\u000B\\u000C\\u000E-\\u001F\\u007F-\\u009F\\u00AD\\u034F\\u061C\\u115F\\u1160\\u17B4\\u17B5\\u180B-\\u180F' +
  '\\u200B-\\u200F\\u2028-\\u202E\\u2060-\\u206F\\u3164\\uFE00-\\uFE0F\\uFEFF\\uFFA0\\uFFF0-\\uFFFB' +
  '\\u{1D173}-\\u{1D17A}\\u{E0000}-\\u{E0FFF}]';
const ONE = new RegExp(CHARACTER, 'u');
/** 1 for every UTF-16 unit that can begin a hidden character: a table look-up is ten times faster than the class on two-byte text. */
const SUSPECT = new Uint8Array(0x10000);
for (let unit = 0; unit < SUSPECT.length; unit++) {
  if (ONE.test(String.fromCharCode(unit))) SUSPECT[unit] = 1;
}
for (const high of [0xd834, 0xdb40, 0xdb41, 0xdb42, 0xdb43]) SUSPECT[high] = 1; // U+1D173.. and U+E0000 to U+E0FFF

/** A whole terminal sequence (ECMA-48 CSI and OSC, one-letter escapes), else one character. The parts cannot overlap, so no backtracking. */
const RUN = new RegExp(
  `(?:\\u001B\\[|\\u009B)[0-?]*[ -/]*[@-~]|(?:\\u001B\\]|\\u009D)[^\\u0007\\u001B\\u009C]*(?:\\u0007|\\u001B\\\\|\\u009C)?|\\u001B[@-_a-z]|${CHARACTER}`,
  'gu',
);
const JOINS_EMOJI = /(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\uFE0F|[0-9#*])$/u;
const JOINS_LETTERS =
  /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Myanmar}]$/u;

export function hasHidden(text: string): boolean {
  return hiddenRuns(text).length > 0;
}

/** Every hidden run, in order. */
export function hiddenRuns(text: string): HiddenRun[] {
  if (!maybeHidden(text)) return [];
  const runs: HiddenRun[] = [];
  for (const match of text.matchAll(RUN)) {
    const start = match.index;
    const end = start + match[0].length;
    // A joiner after something that goes has nothing left to join.
    const bare = runs.at(-1)?.end === start;
    if (bare || !joins(text, start, match[0])) runs.push({ kind: kindOf(match[0]), start, end });
  }
  return runs;
}

/** The text without its hidden runs; the same string when there are none. */
export function withoutHidden(text: string): string {
  return replaceRuns(text, () => '');
}

/** The text as a reviewer must see it: each hidden character as `⟨U+200B⟩`. */
export function showHidden(text: string): string {
  return replaceRuns(text, (run) =>
    Array.from(
      run,
      (character) => `⟨U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}⟩`,
    ).join(''),
  );
}

function maybeHidden(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (SUSPECT[text.charCodeAt(i)] === 1) return true;
  return false;
}

function replaceRuns(text: string, replacement: (run: string) => string): string {
  const runs = hiddenRuns(text);
  if (runs.length === 0) return text;
  const parts: string[] = [];
  let from = 0;
  for (const { start, end } of runs) {
    parts.push(text.slice(from, start), replacement(text.slice(start, end)));
    from = end;
  }
  parts.push(text.slice(from));
  return parts.join('');
}

/** One joiner right after something it can join. A second one in a row joins nothing, so hidden bits cannot be stacked. */
function joins(text: string, start: number, run: string): boolean {
  if (run !== '\u200D' && run !== '\u200C' && run !== '\uFE0F') return false;
  const before = text.slice(Math.max(0, start - 2), start);
  if (run !== '\u200C' && JOINS_EMOJI.test(before)) return !(run === '\uFE0F' && before.endsWith('\uFE0F'));
  return run !== '\uFE0F' && JOINS_LETTERS.test(before);
}

function kindOf(run: string): HiddenKind {
  const code = run.codePointAt(0) ?? 0;
  if (code === 0x1b || code === 0x9b || code === 0x9d) return 'ansi';
  if (code < 0xa0) return 'control';
  if (code >= 0xe0000) return 'tag';
  if (code === 0x061c || code === 0x200e || code === 0x200f) return 'bidi';
  if ((code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069)) return 'bidi';
  return 'invisible';
}
