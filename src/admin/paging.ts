/**
 * Lists of records that may be many: one page at a time, in the order of ids, with the id to go on after.
 * Only the records of the page are read whole; looking for a text may walk over all of them, which is why there is a limit to a page.
 */
import { z } from 'zod';
import { queryNumber } from './route.ts';

export const PAGE = {
  limit: queryNumber(1, 1000).default(100).describe('Rows of one answer.'),
  after: z.string().min(1).max(200).optional().describe('`next` of the answer before.'),
  search: z.string().min(1).max(200).optional().describe('Part of a name or an identity, in any case.'),
};

export interface Page<T> {
  readonly rows: T[];
  /** Null: that was all. */
  readonly next: string | null;
}

/** The first `limit` rows after `after` that `read` does not leave out. `ids` are sorted. */
export function pageOf<T>(
  ids: readonly string[],
  { limit, after }: { readonly limit: number; readonly after?: string | undefined },
  read: (id: string) => T | undefined,
): Page<T> {
  const rows: T[] = [];
  let last = '';
  for (let at = after === undefined ? 0 : firstAfter(ids, after); at < ids.length; at++) {
    const row = read(ids[at]!);
    if (row === undefined) continue;
    if (rows.length === limit) return { rows, next: last };
    rows.push(row);
    last = ids[at]!;
  }
  return { rows, next: null };
}

function firstAfter(ids: readonly string[], id: string): number {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ids[middle]! <= id) low = middle + 1;
    else high = middle;
  }
  return low;
}

const SORTED = new WeakMap<object, readonly string[]>();

/** The ids of an index that never changes, sorted once for it. */
export function sortedIds(index: object, ids: () => Iterable<string>): readonly string[] {
  let sorted = SORTED.get(index);
  if (!sorted) SORTED.set(index, (sorted = [...ids()].sort()));
  return sorted;
}

/** Whether one of the texts holds what is looked for. */
export function holds(search: string | undefined, ...texts: ReadonlyArray<string | undefined>): boolean {
  if (search === undefined) return true;
  const wanted = search.toLowerCase();
  return texts.some((text) => text?.toLowerCase().includes(wanted));
}
