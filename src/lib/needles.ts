/**
 * Many fixed words looked for in one pass over a text, whatever their case (Aho and Corasick 1975, as a table). Linear in the text, whatever
 * stands in it. Words are ours, never a peer's.
 */

export interface Needles {
  /** By UTF-16 unit; 0: a character of no word. */
  readonly symbolOf: Uint8Array;
  /** `next[state + symbol]` is the next state; 0 is where it begins. */
  readonly next: Int32Array;
  /** By state: the words that end there, as indexes into what was given; most states have none. */
  readonly ends: ReadonlyArray<readonly number[]>;
}

/** @param words in lower case. */
export function needlesOf(words: readonly string[]): Needles {
  const symbols = new Map<string, number>();
  for (const unit of words.join('').split('')) if (!symbols.has(unit)) symbols.set(unit, symbols.size + 1);
  if (symbols.size > 254) throw new TypeError('too many different characters in the words');
  const width = symbols.size + 1;
  const symbolOf = new Uint8Array(0x10000);
  for (const [unit, symbol] of symbols) {
    symbolOf[unit.charCodeAt(0)] = symbol;
    const upper = unit.toUpperCase();
    if (upper.length === 1) symbolOf[upper.charCodeAt(0)] = symbol;
  }
  const empty = (): number[] => Array.from({ length: width }, () => -1);
  const rows: number[][] = [empty()];
  const found: number[][] = [[]];
  words.forEach((word, index) => {
    let state = 0;
    for (const unit of word.split('')) {
      const row = rows[state]!;
      const symbol = symbols.get(unit)!;
      if (row[symbol] === -1) {
        row[symbol] = rows.length;
        rows.push(empty());
        found.push([]);
      }
      state = row[symbol]!;
    }
    found[state]!.push(index);
  });
  const fails: number[] = rows.map(() => 0);
  const queue: number[] = [0];
  for (let at = 0; at < queue.length; at++) {
    const state = queue[at]!;
    const row = rows[state]!;
    const fail = rows[fails[state]!]!;
    for (let symbol = 0; symbol < width; symbol++) {
      const to = row[symbol]!;
      const otherwise = state === 0 ? 0 : fail[symbol]!;
      if (to === -1) row[symbol] = otherwise;
      else {
        fails[to] = otherwise;
        found[to]!.push(...found[otherwise]!);
        queue.push(to);
      }
    }
  }
  const next = new Int32Array(rows.length * width);
  const ends: number[][] = Array.from({ length: rows.length * width }, () => NONE);
  rows.forEach((row, state) => {
    if (found[state]!.length > 0) ends[state * width] = found[state]!;
    row.forEach((to, symbol) => (next[state * width + symbol] = to * width));
  });
  return { symbolOf, next, ends };
}

const NONE: number[] = [];

/** A pattern that is tried where one of its anchors stands, and nowhere else. */
export interface Anchored {
  /** Lower case; matched whatever the case. */
  readonly anchors: readonly string[];
  /** Sticky. Bounded, or it consumes what it reads: then the whole search is linear. */
  readonly pattern: RegExp;
}

/** Calls back in the order in which anchors end; what a pattern matched it does not look at again. */
export function searchFor<T extends Anchored>(
  shapes: readonly T[],
): (text: string, hit: (shape: T, index: number, match: RegExpExecArray) => void) => void {
  const words = [...new Set(shapes.flatMap(({ anchors }) => anchors))];
  const { symbolOf, next, ends } = needlesOf(words);
  const byWord = words.map((word) => shapes.flatMap(({ anchors }, index) => (anchors.includes(word) ? [index] : [])));
  return (text, hit) => {
    /** By shape: how far it was found. */
    let until: Uint32Array | null = null;
    let state = 0;
    for (let i = 0; i < text.length; i++) {
      state = next[state + symbolOf[text.charCodeAt(i)]!]!;
      const ended = ends[state]!;
      for (let w = 0; w < ended.length; w++) {
        const word = ended[w]!;
        const at = i + 1 - words[word]!.length;
        for (const index of byWord[word]!) {
          until ??= new Uint32Array(shapes.length);
          if (at < until[index]!) continue;
          const shape = shapes[index]!;
          shape.pattern.lastIndex = at;
          const match = shape.pattern.exec(text);
          if (match === null) continue;
          until[index] = at + match[0].length;
          hit(shape, index, match);
        }
      }
    }
  };
}
