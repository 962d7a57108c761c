/**
 * Text that traces got from servers with confidential or regulated data (CI-08), as fingerprints, never as text; recognised in what goes to
 * another server. Belongs to the person with the agent and lasts as long as a label. GUARANTEE: a shared run of 40 letters and digits is found,
 * whatever its case and punctuation, also if it goes through several values. Not found: shorter pieces, other words, encodings, pictures.
 * In the memory of this node, bounded. It knows what it does not know: `whole` says whether everything this node passed on is still here.
 */
import { LRUCache } from 'lru-cache';
import { fingerprintsOf } from '../content/shingles.ts';
import type { Clock } from '../lib/clock.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Json } from '../lib/json.ts';

/** Where text came from. */
export interface Source {
  readonly server: string;
  readonly confidential: boolean;
  readonly regulated: boolean;
}

export interface TraceReads {
  /** From now on something may come for this key, and will be remembered. */
  open(key: string): void;
  /** `given`: what the server was sent; what it only says again is not from it. `until`: ms since the epoch. */
  remember(key: string, source: Source, value: Json, given: Json, until: number): void;
  /** Sources, each once, of which some text is in there, as far as it came for these keys. */
  recognise(keys: readonly string[], value: Json): readonly Source[];
  /** Whether all that was to be remembered for this key is. */
  whole(key: string): boolean;
}

/** About 130,000 letters of one trace. */
const MAX_PRINTS = 16_384;
/** Of all traces, 4 bytes each. */
const MAX_ALL_PRINTS = 4_194_304;
/** Characters of one value: more than a book can hold. What is longer makes it one that is not whole. */
const MAX_TEXT = 262_144;

interface Page {
  readonly source: Source;
  /** Rising, each once. */
  readonly prints: Uint32Array;
  readonly until: number;
}

interface Book {
  readonly pages: readonly Page[];
  /** Until when something is missing; 0: nothing is. */
  readonly partUntil: number;
}

export function traceReads(clock: Clock, maxAllPrints = MAX_ALL_PRINTS): TraceReads {
  /** Until when a book that is not here may have been dropped. */
  let droppedUntil = 0;
  const books = new LRUCache<string, Book>({
    maxSize: maxAllPrints,
    sizeCalculation: sizeOf,
    dispose(book, _key, reason) {
      if (reason === 'evict') droppedUntil = Math.max(droppedUntil, endOf(book));
    },
  });

  return {
    open(key) {
      if (!books.has(key)) books.set(key, { pages: [], partUntil: droppedUntil });
    },
    remember(key, source, value, given, until) {
      const now = clock.now();
      const book = books.get(key);
      const pages = book?.pages.filter((page) => page.until > now) ?? [];
      const partUntil = book ? book.partUntil : droppedUntil;
      const before = pages.find((page) => page.source.server === source.server);
      const others = pages.filter((page) => page !== before);
      const text = textOf(value, 'came');
      const got = fingerprintsOf(text.text);
      const said = got.length === 0 ? got : fingerprintsOf(textOf(given, 'goes').text);
      const known = before?.prints ?? new Uint32Array();
      const fresh = got.filter((print) => !has(said, print) && !has(known, print));
      const room = MAX_PRINTS - others.reduce((sum, { prints }) => sum + prints.length, known.length);
      const cut = text.cut || fresh.length > room;
      const page = { source, prints: joined(known, fresh.subarray(0, Math.max(room, 0))), until };
      books.set(key, { pages: [...others, page], partUntil: cut ? Math.max(partUntil, until) : partUntil });
    },
    recognise(keys, value) {
      const now = clock.now();
      const found: Source[] = [];
      let prints: Uint32Array | null = null;
      for (const key of keys) {
        const book = books.get(key);
        if (book === undefined) continue;
        const sent = (prints ??= fingerprintsOf(textOf(value, 'goes').text));
        for (const page of book.pages) {
          if (page.until <= now || found.some(({ server }) => server === page.source.server)) continue;
          if (sent.some((print) => has(page.prints, print))) found.push(page.source);
        }
      }
      return found;
    },
    whole(key) {
      const now = clock.now();
      const book = books.get(key);
      return book !== undefined && book.partUntil <= now;
    },
  };
}

/** A book costs something by itself, too. */
const sizeOf = ({ pages }: Book): number => pages.reduce((sum, { prints }) => sum + prints.length + 64, 64);
const endOf = ({ pages, partUntil }: Book): number => Math.max(partUntil, ...pages.map(({ until }) => until));

/** `prints` are rising. */
function has(prints: Uint32Array, print: number): boolean {
  let [low, high] = [0, prints.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (prints[middle]! < print) low = middle + 1;
    else high = middle;
  }
  return prints[low] === print;
}

function joined(one: Uint32Array, other: Uint32Array): Uint32Array {
  if (other.length === 0) return one;
  const all = new Uint32Array(one.length + other.length);
  all.set(one);
  all.set(other, one.length);
  return all.sort();
}

/** Pictures and sound: letters that no one reads. */
const MEDIA = new Set<unknown>(['image', 'audio']);

/**
 * All strings and numbers in their order, one after the other: a copy need not keep to one member. A text that is JSON itself is read as such.
 * What came is read for its data: no names of members, no media. What goes out is read in full, names and all, last.
 * ATTACKER-CONTROLLED: as deep as its sender liked.
 */
function textOf(value: Json, way: 'came' | 'goes'): { readonly text: string; readonly cut: boolean } {
  const found: string[] = [];
  const besides: string[] = [];
  const limit = way === 'came' ? MAX_TEXT : Number.POSITIVE_INFINITY;
  let size = 0;
  const open: Json[] = [value];
  /** How many of `open` were there when a text was opened as JSON: inside, no text is opened again. */
  let inside = -1;
  while (open.length > 0) {
    if (open.length <= inside) inside = -1;
    const one = open.pop()!;
    if (typeof one === 'number') found.push(String(one));
    else if (typeof one === 'string') {
      if (size + one.length > limit) return { text: [...found, one.slice(0, limit - size)].join(' '), cut: true };
      size += one.length;
      const within = inside === -1 ? jsonIn(one) : null;
      if (within === null) found.push(one);
      else {
        if (way === 'goes') besides.push(one);
        inside = open.length;
        open.push(within);
      }
    } else if (Array.isArray(one)) for (let at = one.length - 1; at >= 0; at--) open.push((one as Json[])[at]!);
    else if (isJsonObject(one)) {
      for (const [name, member] of Object.entries(one).toReversed()) {
        const skipped = way === 'came' && (name === 'blob' || (name === 'data' && MEDIA.has(one['type'])));
        if (!skipped) open.push(member);
        if (way === 'goes') besides.push(name);
      }
    }
  }
  return { text: [...found, ...besides].join(' '), cut: false };
}

function jsonIn(text: string): Json | null {
  const first = text.trimStart()[0];
  if (first !== '{' && first !== '[') return null;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return null;
  }
}
