/**
 * What commands print. Results go to standard output, progress and errors to standard error.
 * ATTACKER-CONTROLLED: names, descriptions and definitions come from servers. A terminal obeys escape sequences and hides
 * zero-width, bidirectional and tag characters, so every such character is written as `\u{…}`; nothing of a record is printed raw.
 */
import { showHidden } from '../lib/hidden-text.ts';

export interface Output {
  readonly json: boolean;
}

/** One result: the value as JSON, or the text that `human` makes of it. */
export function show<T>(output: Output, value: T, human: (value: T) => string): void {
  const text = output.json ? JSON.stringify(value, null, 2) : human(value);
  process.stdout.write(`${text}\n`);
}

/** For long work; never part of the result. */
export function progress(output: Output, text: string): void {
  if (!output.json) process.stderr.write(`${text}\n`);
}

/** Aligned columns under a heading; `none` when there are no rows. */
export function table(
  heading: readonly string[],
  rows: ReadonlyArray<ReadonlyArray<string | number | null | undefined>>,
  none: string,
): string {
  if (rows.length === 0) return none;
  const cells = [heading, ...rows.map((row) => row.map((cell) => oneLine(String(cell ?? '-'))))];
  const widths = heading.map((_, column) => Math.max(...cells.map((row) => width(row[column] ?? ''))));
  const lines = cells.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - width(cell)))
      .join('  ')
      .trimEnd(),
  );
  return [dim(lines[0] ?? ''), ...lines.slice(1)].join('\n');
}

/** A page of a list, and how to see the next one. */
export const more = (text: string, next: string | null): string =>
  next === null ? text : `${text}\n… and more: --after ${visible(next)}`;

/** `name: value` lines, aligned. */
export function fields(pairs: ReadonlyArray<readonly [string, string | number | null | undefined]>): string {
  const longest = Math.max(...pairs.map(([name]) => name.length));
  return pairs
    .map(([name, value]) => `${`${name}:`.padEnd(longest + 2)}${visible(String(value ?? '-') || '-')}`)
    .join('\n');
}

/** The text with every character that a terminal obeys or hides written out. Keeps line ends and tabs. */
export const visible = (text: string): string => showHidden(text).replaceAll('\r', '\\r');

export const oneLine = (text: string): string => visible(text).replaceAll('\n', '\\n');

export function time(ms: number | null | undefined): string {
  return ms === null || ms === undefined ? '-' : new Date(ms).toISOString().replace('T', ' ').slice(0, 19);
}

const colour = (): boolean => process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
const paint = (code: number, text: string): string => (colour() ? `\u001b[${code}m${text}\u001b[0m` : text);
const dim = (text: string): string => paint(2, text);
export const bold = (text: string): string => paint(1, text);
export const red = (text: string): string => paint(31, text);
export const green = (text: string): string => paint(32, text);

/** Columns of a text on a terminal, near enough: code points, wide East Asian ones as two. */
function width(text: string): number {
  let columns = 0;
  for (const character of text)
    columns +=
      /[\u1100-\u115F\u2E80-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]|\p{Extended_Pictographic}/u.test(
        character,
      )
        ? 2
        : 1;
  return columns;
}
