/**
 * What changed between two definitions, as a reviewer reads it: one line per changed value, with the JSON Pointer, and with every
 * hidden character made visible, so that what steers a model cannot hide from the person who approves it (TD-09).
 */
import { canonicalJson } from '../lib/canonical-json.ts';
import { showHidden } from '../lib/hidden-text.ts';
import type { Json } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';

export interface DiffLine {
  /** JSON Pointer; '' is the whole. */
  readonly path: string;
  /** Canonical JSON text of the value with hidden characters shown; null when it was not there. */
  readonly before: string | null;
  readonly after: string | null;
}

/** Empty exactly when the two have the same digest. Objects by member, arrays by position; in order of the pointers. */
export function diffDefinitions(before: Json | null, after: Json | null): DiffLine[] {
  const lines: DiffLine[] = [];
  compare(before ?? undefined, after ?? undefined, '', lines);
  return lines;
}

function compare(before: Json | undefined, after: Json | undefined, path: string, lines: DiffLine[]): void {
  const old = members(before);
  const now = members(after);
  if (old && now && Array.isArray(before) === Array.isArray(after)) {
    const names = [...new Set([...old.keys(), ...now.keys()])];
    if (!Array.isArray(before)) names.sort();
    for (const name of names) {
      compare(old.get(name), now.get(name), `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, lines);
    }
    return;
  }
  const oldText = text(before);
  const newText = text(after);
  if (oldText !== newText) {
    lines.push({
      path: showHidden(path),
      before: oldText && showHidden(oldText),
      after: newText && showHidden(newText),
    });
  }
}

function members(value: Json | undefined): Map<string, Json> | null {
  return Array.isArray(value) || isJsonObject(value) ? new Map(Object.entries(value as object)) : null;
}

const text = (value: Json | undefined): string | null => (value === undefined ? null : canonicalJson(value));
