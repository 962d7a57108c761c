/**
 * Which detectors have any reason to read a text: one pass over it for all their needles (Aho and Corasick, as a table), whatever the case.
 * A detector whose signs are missing costs nothing, so most texts cost this pass alone.
 */

/** Set when a text has at least `ENOUGH_DIGITS` digits. */
export const SIGN_DIGITS = 1;
const ENOUGH_DIGITS = 7;

export interface Needles {
  /** One bit, not `SIGN_DIGITS`. */
  readonly sign: number;
  /** Lower case. */
  readonly needles: readonly string[];
}

/** Compiles needles once; the function returned gives the signs of a text, in time linear in it. */
export function signsOver(all: readonly Needles[]): (text: string) => number {
  const symbols = new Map<string, number>();
  for (const { needles } of all) {
    for (const unit of needles.join('').split('')) if (!symbols.has(unit)) symbols.set(unit, symbols.size + 1);
  }
  if (symbols.size > 254) throw new TypeError('too many different characters in the needles');
  const width = symbols.size + 1;
  const symbolOf = new Uint8Array(0x10000);
  for (const [unit, symbol] of symbols) {
    symbolOf[unit.charCodeAt(0)] = symbol;
    const upper = unit.toUpperCase();
    if (upper.length === 1) symbolOf[upper.charCodeAt(0)] = symbol;
  }
  const { next, signs } = automaton(all, symbols, width);
  // Digits are counted in the same pass: their bit is above the symbols.
  return (text) => {
    let state = 0;
    let found = 0;
    let digits = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      state = next[state + symbolOf[unit]!]!;
      found |= signs[state]!;
      if (unit < 58 && unit > 47) digits++;
    }
    return digits >= ENOUGH_DIGITS ? found | SIGN_DIGITS : found;
  };
}

/** States are offsets into `next`, so that a step is one addition and one look-up. */
function automaton(
  all: readonly Needles[],
  symbols: ReadonlyMap<string, number>,
  width: number,
): { readonly next: Int32Array; readonly signs: Int32Array } {
  const states: number[][] = [Array.from({ length: width }, () => -1)];
  const signOf: number[] = [0];
  for (const { sign, needles } of all) {
    for (const needle of needles) {
      let state = 0;
      for (const unit of needle.split('')) {
        const row = states[state]!;
        const symbol = symbols.get(unit)!;
        if (row[symbol] === -1) {
          row[symbol] = states.length;
          states.push(Array.from({ length: width }, () => -1));
          signOf.push(0);
        }
        state = row[symbol]!;
      }
      signOf[state] = signOf[state]! | sign;
    }
  }
  const fails: number[] = states.map(() => 0);
  const queue: number[] = [0];
  for (let at = 0; at < queue.length; at++) {
    const state = queue[at]!;
    const row = states[state]!;
    const fail = states[fails[state]!]!;
    for (let symbol = 0; symbol < width; symbol++) {
      const to = row[symbol]!;
      const otherwise = state === 0 ? 0 : fail[symbol]!;
      if (to === -1) row[symbol] = otherwise;
      else {
        fails[to] = otherwise;
        signOf[to] = signOf[to]! | signOf[otherwise]!;
        queue.push(to);
      }
    }
  }
  const next = new Int32Array(states.length * width);
  const signs = new Int32Array(states.length * width);
  states.forEach((row, state) => {
    signs[state * width] = signOf[state]!;
    row.forEach((to, symbol) => (next[state * width + symbol] = to * width));
  });
  return { next, signs };
}
