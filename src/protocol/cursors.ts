/**
 * Pagination cursors of our lists (M30): opaque, sealed, and good only for the list and the person they were made for.
 * Not promised: that the list is still what it was when the cursor was given; `after` is a place in an order, not a snapshot.
 */
import { sealedBox } from '../lib/sealed-box.ts';

export interface CursorScope {
  /** The list that is paged, for example `files tools/list`. */
  readonly list: string;
  /** For whom it was filtered. */
  readonly who: string;
}

export interface Cursors {
  /** `after` is the last entry of the page that was given out. */
  seal(cursor: CursorScope & { readonly after: string }): string;
  /** Null: not a cursor of this list for this person. That is -32602; an empty cursor is one like any other, and never ours. */
  open(cursor: string, scope: CursorScope): string | null;
}

const MAX_CURSOR = 8_192;

export function cursors(keys: readonly Uint8Array[]): Cursors {
  const box = sealedBox(keys, 'cursor', MAX_CURSOR);
  const aad = ({ list, who }: CursorScope): string => JSON.stringify([list, who]);
  return {
    seal: ({ after, ...scope }) => box.seal(after, aad(scope)),
    open: (cursor, scope) => box.open(cursor, aad(scope)),
  };
}
