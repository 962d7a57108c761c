/** A map with several values under one key, cheap where there is one: most names belong to one person. */
export interface ManyMap {
  get(key: string): readonly string[];
  add(key: string, value: string): void;
  remove(key: string, value: string): void;
}

export function manyMap(): ManyMap {
  const map = new Map<string, string | Set<string>>();
  return {
    get(key) {
      const found = map.get(key);
      return found === undefined ? [] : typeof found === 'string' ? [found] : [...found];
    },
    add(key, value) {
      const found = map.get(key);
      if (found === undefined || found === value) map.set(key, value);
      else if (typeof found === 'string') map.set(key, new Set([found, value]));
      else found.add(value);
    },
    remove(key, value) {
      const found = map.get(key);
      if (found === value) map.delete(key);
      else if (typeof found === 'object') {
        found.delete(value);
        if (found.size === 0) map.delete(key);
      }
    },
  };
}
