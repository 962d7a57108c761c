/**
 * HTML by template: every value is escaped unless it is itself the result of `markup`. Promises: no text from outside
 * becomes markup, and `shortText` cuts what would fill the screen or fool the eye. Knows nothing about the pages.
 */
const MARK = Symbol('markup');

export interface Markup {
  readonly [MARK]: true;
  readonly text: string;
}

type Value = string | number | Markup | readonly Markup[] | null;

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};

const escape = (text: string): string => text.replace(/[&<>"'`]/g, (letter) => ESCAPES[letter] ?? '');

function render(value: Value): string {
  if (value === null) return '';
  if (typeof value === 'string') return escape(value);
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return (value as readonly Markup[]).map((part) => part.text).join('');
  return (value as Markup).text;
}

export function markup(strings: TemplateStringsArray, ...values: readonly Value[]): Markup {
  const text = strings.reduce((all, string, at) => all + render(values[at - 1] ?? null) + string);
  return { [MARK]: true, text };
}

/** Markup from our own constants only. */
export const trustedMarkup = (text: string): Markup => ({ [MARK]: true, text });

/**
 * ATTACKER-CONTROLLED: names and descriptions come from clients. Control, format and bidirectional characters
 * (which can turn a name around or hide part of it) become spaces; the rest is cut at `most` characters.
 */
export function shortText(text: string, most: number): string {
  const clean = text
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  const letters = Array.from(clean); // code points, so that no pair is torn
  return letters.length <= most ? letters.join('') : `${letters.slice(0, most - 1).join('')}…`;
}
