/**
 * Finds exact values in a text however they were dressed (CI-03, CI-04): as they are, in any case, reversed, in base64 (any alignment, either
 * alphabet), hexadecimal, base32, percent-, backslash- or HTML-encoded (twice), full-width, and split by anything that is no letter or digit.
 * Not found: pieces with other words between them, other encodings, encryption. Time is linear in the text and hardly depends on how many values
 * there are: a rolling hash over eight letters, a filter of 64 Ki bits, then the few candidates. What a value can look like is worked out once:
 * a set of which most was in the one before it costs no more than its table.
 */
import type { ExactValue, Matcher } from './terms.ts';

export interface ExactMatcher extends Matcher {
  /** Ids of values that are too short to be told from other text: they are not looked for. */
  readonly refused: readonly string[];
  /** What was worked out, by value, for the matcher that comes after it. */
  readonly known: ReadonlyMap<string, readonly Form[]>;
}

/** Shorter values occur by chance. */
export const SHORTEST_VALUE = 8;
/** A form shorter than this counts only where nothing was left out between its letters. */
const SHORTEST_SPLIT = 12;
const WINDOW = 8;
const MULTIPLIER = 0x01000193;
/** So many places are told apart; from then on what lies between two of one value counts as that value, too: nothing is left to stand. */
const MAX_PLACES = 1_000;
const LOOKED_BACK = 64;

interface Form {
  readonly id: string;
  /** Letters and digits in lower case, as codes. */
  readonly letters: Uint8Array;
  /** Where in it the window begins, and what it comes to. */
  readonly window: number;
  readonly hash: number;
  /** How long it is with what stands between its letters; 0: anything may stand between them. */
  readonly exactly: number;
  /** In base64 a few letters before and after carry bits of it, too. */
  readonly spill: boolean;
}

/** Lower-case letter or digit that a UTF-16 unit stands for, else 0: everything else is left out on both sides. */
const LETTER = new Uint8Array(0x10000);
for (const unit of 'abcdefghijklmnopqrstuvwxyz0123456789') {
  const code = unit.charCodeAt(0);
  for (const same of [code, unit.toUpperCase().charCodeAt(0)]) {
    LETTER[same] = code;
    LETTER[same + 0xfee0] = code; // full-width
  }
}

/** What nobody can tell apart from a lost one: kept once for all texts. INVARIANT: used within one synchronous call only. */
let letters = new Uint8Array(16_384);
let places = new Uint32Array(16_384);

/** @param before one that looked for most of them already. */
export function exactMatcher(
  values: readonly ExactValue[],
  before: Pick<ExactMatcher, 'known'> | null = null,
): ExactMatcher {
  const known = new Map<string, readonly Form[]>();
  const forms: Form[] = [];
  const refused: string[] = [];
  const literal: ExactValue[] = [];
  for (const one of values) {
    const { id, value } = one;
    if (value.length < SHORTEST_VALUE) {
      refused.push(id);
      continue;
    }
    const same = before?.known.get(value);
    const its = same?.[0]?.id === id ? same : formsOf(id, value);
    known.set(value, its);
    for (const form of its) forms.push(form);
    // Mostly signs: as it is, too.
    if (lettersIn(value) < WINDOW) literal.push(one);
  }
  const table = tableOf(forms);
  // No text that is shorter than every form holds one, decoded or not.
  let shortest = Number.POSITIVE_INFINITY;
  for (const form of forms) shortest = Math.min(shortest, form.letters.length);
  for (const { value } of literal) shortest = Math.min(shortest, value.length);
  const find: Matcher['find'] = (text) => {
    if (text.length < shortest) return NONE;
    const found: Range[] = [];
    scan(text, null, table, found);
    for (const { id, value } of literal) {
      for (let at = text.indexOf(value); at !== -1; at = text.indexOf(value, at + value.length))
        addTo(found, { id, start: at, end: at + value.length });
    }
    let layer = { text, places: null as Uint32Array | null };
    for (let round = 0; round < 2; round++) {
      const decoded = decode(layer.text, layer.places);
      if (decoded === null) break;
      scan(decoded.text, decoded.places, table, found);
      layer = decoded;
    }
    return found.length < 2 ? found : inOrder(found);
  };
  return { find, refused, known };
}

interface Range {
  readonly id: string;
  readonly start: number;
  readonly end: number;
}
const NONE: readonly Range[] = [];

/** ATTACKER-CONTROLLED: how often a value stands in a text. */
function addTo(found: Range[], range: Range): void {
  for (let i = found.length - 1; found.length >= MAX_PLACES && i >= 0 && i >= found.length - LOOKED_BACK; i--) {
    const { id, start, end } = found[i]!;
    if (id !== range.id) continue;
    found[i] = { id, start: Math.min(start, range.start), end: Math.max(end, range.end) };
    return;
  }
  found.push(range);
}

/** Each value once per place, whatever the number of forms that match there. */
function inOrder(found: Range[]): Range[] {
  found.sort((a, b) => a.start - b.start || b.end - a.end);
  const kept: Range[] = [];
  const lastOf = new Map<string, number>();
  for (const range of found) {
    const last = lastOf.get(range.id);
    const before = last === undefined ? undefined : kept[last]!;
    if (before !== undefined && range.start < before.end) {
      if (range.end > before.end) kept[last!] = { ...before, end: range.end };
      continue;
    }
    lastOf.set(range.id, kept.length);
    kept.push(range);
  }
  return kept;
}

interface Table {
  /** 64 Ki bits by the lower half of the hash. */
  readonly filter: Uint8Array;
  readonly byHash: ReadonlyMap<number, readonly Form[]>;
}

const hashOf = (codes: Uint8Array, from: number): number => {
  let hash = 0;
  for (let i = from; i < from + WINDOW; i++) hash = (Math.imul(hash, MULTIPLIER) + codes[i]!) | 0;
  return hash;
};
/** MULTIPLIER to the power of WINDOW - 1: the weight of the letter that leaves. */
const LEAVING = Array.from({ length: WINDOW - 1 }).reduce<number>((power) => Math.imul(power, MULTIPLIER), 1);
const slotOf = (hash: number): number => (hash ^ (hash >>> 15)) & 0xffff;

function tableOf(forms: readonly Form[]): Table {
  const filter = new Uint8Array(0x10000 / 8);
  const byHash = new Map<number, Form[]>();
  for (const form of forms) {
    const { hash } = form;
    const slot = slotOf(hash);
    filter[slot >> 3] = filter[slot >> 3]! | (1 << (slot & 7));
    const same = byHash.get(hash);
    if (same) same.push(form);
    else byHash.set(hash, [form]);
  }
  return { filter, byHash };
}

/** @param origin where each unit of the text stands in the given one; null: it is the given one. */
function scan(text: string, origin: Uint32Array | null, { filter, byHash }: Table, found: Range[]): void {
  if (letters.length < text.length) {
    letters = new Uint8Array(text.length * 2);
    places = new Uint32Array(text.length * 2);
  }
  const codes = letters;
  const at = places;
  let count = 0;
  let hash = 0;
  for (let i = 0; i < text.length; i++) {
    const code = LETTER[text.charCodeAt(i)]!;
    if (code === 0) continue;
    codes[count] = code;
    at[count++] = i;
  }
  for (let i = 0; i < count; i++) {
    if (i >= WINDOW) hash = (hash - Math.imul(codes[i - WINDOW]!, LEAVING)) | 0;
    hash = (Math.imul(hash, MULTIPLIER) + codes[i]!) | 0;
    if (i < WINDOW - 1) continue;
    const slot = slotOf(hash);
    if ((filter[slot >> 3]! & (1 << (slot & 7))) === 0) continue;
    for (const form of byHash.get(hash) ?? NO_FORMS) {
      const from = i - (WINDOW - 1) - form.window;
      const to = from + form.letters.length;
      if (from < 0 || to > count || !same(codes, from, form.letters)) continue;
      let start = at[from]!;
      let end = at[to - 1]! + 1;
      if (form.exactly !== 0 && end - start !== form.exactly) continue;
      for (let spilt = 0; form.spill && spilt < 3 && start > 0 && LETTER[text.charCodeAt(start - 1)] !== 0; spilt++)
        start--;
      for (let spilt = 0; form.spill && spilt < 3 && end < text.length && LETTER[text.charCodeAt(end)] !== 0; spilt++)
        end++;
      addTo(found, {
        id: form.id,
        start: origin === null ? start : origin[start]!,
        end: origin === null ? end : origin[end]!,
      });
    }
  }
}
const NO_FORMS: readonly Form[] = [];

function same(codes: Uint8Array, from: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (codes[from + i] !== wanted[i]) return false;
  return true;
}

const ESCAPE =
  /%([0-9a-fA-F]{2})|\\u\{?([0-9a-fA-F]{2,6})\}?|\\x([0-9a-fA-F]{2})|\\([0-7]{3})|&#x([0-9a-fA-F]{1,6});?|&#([0-9]{1,7});?|\\([nrtbfv0/"'\\])|&(?:(amp)|lt|gt|quot|apos|nbsp);/g;

/** Without escapes, and where each unit came from (one more for the end); null: there are none. */
function decode(
  text: string,
  origin: Uint32Array | null,
): { readonly text: string; readonly places: Uint32Array } | null {
  if (!text.includes('%') && !text.includes('\\') && !text.includes('&')) return null;
  const parts: string[] = [];
  let places: Uint32Array | null = null;
  let length = 0;
  let from = 0;
  const copy = (to: number): void => {
    parts.push(text.slice(from, to));
    for (let i = from; i < to; i++) places![length++] = origin === null ? i : origin[i]!;
  };
  for (const match of text.matchAll(ESCAPE)) {
    places ??= new Uint32Array(text.length + 1);
    copy(match.index);
    const [whole, percent, unicode, hex, octal, entityHex, entity, , amp] = match;
    const digits = percent ?? unicode ?? hex ?? entityHex;
    const decimal = Number(entity ?? (amp === undefined ? 32 : 38));
    const code =
      digits !== undefined ? Number.parseInt(digits, 16) : octal !== undefined ? Number.parseInt(octal, 8) : decimal;
    // One unit each; what is no letter or digit does not matter here.
    parts.push(code < 0x10000 && code > 0 ? String.fromCharCode(code) : ' ');
    places[length++] = origin === null ? match.index : origin[match.index]!;
    from = match.index + whole.length;
  }
  if (places === null) return null;
  copy(text.length);
  places[length] = origin === null ? text.length : origin[text.length]!;
  return { text: parts.join(''), places };
}

function lettersIn(value: string): number {
  let count = 0;
  for (let i = 0; i < value.length; i++) if (LETTER[value.charCodeAt(i)] !== 0) count++;
  return count;
}

function formsOf(id: string, value: string): readonly Form[] {
  const bytes = Buffer.from(value, 'utf8');
  const seen = new Set<string>();
  const forms: Form[] = [];
  const plain = [value, Array.from(value).toReversed().join(''), bytes.toString('hex'), base32(bytes)];
  const spilling = alignments(bytes).flatMap((text) => [
    text,
    Buffer.from(text, 'latin1').reverse().toString('latin1'),
  ]);
  for (const written of [...plain, ...spilling, ...alignments(Buffer.from(bytes).reverse())]) {
    const codes = Buffer.alloc(written.length);
    let count = 0;
    let first = -1;
    let last = -1;
    for (let i = 0; i < written.length; i++) {
      const code = LETTER[written.charCodeAt(i)]!;
      if (code === 0) continue;
      codes[count++] = code;
      if (first === -1) first = i;
      last = i;
    }
    const letters = Uint8Array.from(codes.subarray(0, count));
    const key = codes.toString('latin1', 0, count);
    if (count < WINDOW || seen.has(key)) continue;
    seen.add(key);
    // In the middle: how secrets begin is often known to everybody.
    const window = (count - WINDOW) >> 1;
    forms.push({
      id,
      letters,
      window,
      hash: hashOf(letters, window),
      exactly: count < SHORTEST_SPLIT ? last - first + 1 : 0,
      spill: !plain.includes(written),
    });
  }
  return forms;
}

/** Base64 of the bytes at each of the three places they can have in a longer text, without the letters that their neighbours share. */
function alignments(bytes: Buffer): string[] {
  return [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    const spare = (before + bytes.length) % 3;
    return text.slice([0, 2, 3][before], spare === 0 ? text.length : -1);
  });
}

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
function base32(bytes: Buffer): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(held >> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return text;
}
