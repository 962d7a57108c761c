/**
 * A map that never changes, of which the next one costs little: a base and a small layer of differences over it, merged when the layer
 * has grown. For indexes over tens of thousands of records, of which one changes at a time while older pictures of them are still read.
 */
export interface LayeredMap<V> {
  get(key: string): V | undefined;
  /** The live entries; order is not promised. */
  entries(): IterableIterator<readonly [string, V]>;
  readonly size: number;
  /** The next map. `undefined` removes. This one stays as it is. */
  with(changes: Iterable<readonly [string, V | undefined]>): LayeredMap<V>;
}

/** A layer larger than this is merged: copying it on every change would cost more than the merge, spread over the changes. */
const LAYER = 512;

export function layeredMap<V>(entries: Iterable<readonly [string, V]> = []): LayeredMap<V> {
  return over(new Map(entries), new Map(), 0);
}

/** `added`: how many entries the layer makes the whole larger (or, below zero, smaller) than its base. */
function over<V>(
  base: ReadonlyMap<string, V>,
  layer: ReadonlyMap<string, V | undefined>,
  added: number,
): LayeredMap<V> {
  const get = (key: string): V | undefined => {
    if (layer.size === 0) return base.get(key);
    const found = layer.get(key);
    return found !== undefined || layer.has(key) ? found : base.get(key);
  };
  return {
    get,
    *entries() {
      for (const entry of base) if (!layer.has(entry[0])) yield entry;
      for (const [key, value] of layer) if (value !== undefined) yield [key, value];
    },
    size: base.size + added,
    with(changes) {
      const next = new Map(layer);
      let more = added;
      for (const [key, value] of changes) {
        const before = next.has(key) ? next.get(key) : base.get(key);
        if (before === undefined && value !== undefined) more++;
        if (before !== undefined && value === undefined) more--;
        next.set(key, value);
      }
      if (next.size <= LAYER) return over(base, next, more);
      const merged = new Map(base);
      for (const [key, value] of next) {
        if (value === undefined) merged.delete(key);
        else merged.set(key, value);
      }
      return over(merged, new Map(), 0);
    },
  };
}
