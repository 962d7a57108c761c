/**
 * An unordered collection for what comes and goes with every call. V8's `Map` and `Set` replace their table after every few dozen
 * changes, and each old table points to its successor and to what it held: once a full collection under load has made one of them old,
 * the collector of young objects takes all later ones for alive, and every call with them, until the next full collection.
 */

/** Where something lies in its bag. Part of what is put in, so that taking it out needs no search and nothing to remember. */
export interface Place {
  /** -1: in no bag. Only the bag writes it. */
  at: number;
}

export interface Bag<T extends Place> extends Iterable<T> {
  add(item: T): void;
  /** Nothing happens if it is not in the bag. */
  remove(item: T): void;
  readonly size: number;
}

/** Iterating sees what was in the bag when it began; order means nothing. An item is in at most one bag at a time. */
export function bag<T extends Place>(): Bag<T> {
  const items: T[] = [];
  return {
    add(item) {
      item.at = items.length;
      items.push(item);
    },
    remove(item) {
      const { at } = item;
      if (at < 0) return;
      const last = items.pop()!;
      if (last !== item) {
        items[at] = last;
        last.at = at;
      }
      item.at = -1;
    },
    [Symbol.iterator]: () => [...items][Symbol.iterator](),
    get size() {
      return items.length;
    },
  };
}
