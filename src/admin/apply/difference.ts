/** What differs between two records, leaf by leaf. A list is one leaf: its order may mean something. Pure. */
import { canonicalJson } from '../../lib/canonical-json.ts';
import { isJsonObject, type Json, type JsonObject } from '../../lib/json.ts';
import type { FieldChange } from './resources.ts';

/** In the order of the fields' names. Null for a record that is not there. */
export function difference(before: JsonObject | null, after: JsonObject | null): FieldChange[] {
  const found: FieldChange[] = [];
  compare('', before ?? {}, after ?? {}, found);
  return found;
}

function compare(at: string, before: Json | undefined, after: Json | undefined, found: FieldChange[]): void {
  if (isBranch(before) && isBranch(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    for (const key of [...keys].sort()) compare(at === '' ? key : `${at}.${key}`, before[key], after[key], found);
  } else if (isBranch(before) && after === undefined) compare(at, before, {}, found);
  else if (isBranch(after) && before === undefined) compare(at, {}, after, found);
  else if (canonicalJson(before ?? null) !== canonicalJson(after ?? null))
    found.push({ field: at, before: before ?? null, after: after ?? null });
}

const isBranch = (value: Json | undefined): value is JsonObject => value !== undefined && isJsonObject(value);
