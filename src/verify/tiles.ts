/**
 * Where things lie in a tiled log (C2SP tlog-tiles) and how entry bundles are written.
 * Paths are relative and use `/`. Nothing here touches a disk.
 */
import { FormatError, strictDecimal } from './format-error.ts';

export const TILE_WIDTH = 256;
export const HASH_BYTES = 32;
/** 256 entries of at most 65,535 bytes, each behind its length. */
export const MAX_BUNDLE_BYTES = TILE_WIDTH * (2 + 0xffff);

export type TileLevel = number | 'entries';

export interface TileName {
  readonly level: TileLevel;
  readonly index: number;
  /** 1 to 256; 256 is a full tile. */
  readonly width: number;
}

/** `tile/0/x001/x234/067.p/8` */
export function tilePath({ level, index, width }: TileName): string {
  let number = String(index % 1000).padStart(3, '0');
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    number = `x${String(rest % 1000).padStart(3, '0')}/${number}`;
  }
  return `tile/${level}/${number}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** The tile a path names, or null: there is exactly one path per tile. */
export function parseTilePath(path: string): TileName | null {
  const match = /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/)*)([0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path);
  if (match === null) return null;
  const [, levelText = '', higher = '', last = '', widthText] = match;
  const level: TileLevel | null = levelText === 'entries' ? 'entries' : strictDecimal(levelText);
  const width = widthText === undefined ? TILE_WIDTH : strictDecimal(widthText);
  const index = Number(higher.replaceAll(/[x/]/g, '') + last);
  if (level === null || width === null || !Number.isSafeInteger(index)) return null;
  const name: TileName = { level, index, width };
  return tilePath(name) === path && (level === 'entries' || level < 64) && width > 0 && width <= TILE_WIDTH
    ? name
    : null;
}

/**
 * Every tile of a tree of `size`: full ones, and the one partial tile of a level when it is not empty.
 * With `from`: without the tiles that were full already when the tree had `from` leaves.
 */
export function* tilesOf(size: number, from = 0): Generator<TileName> {
  for (let level = 0, span = 1; size >= span; level += 1, span *= TILE_WIDTH) {
    const width = Math.floor(size / span);
    const first = Math.floor(from / span / TILE_WIDTH);
    yield* tilesOfLevel(level, first, width);
    if (level === 0) yield* tilesOfLevel('entries', first, width);
  }
}

function* tilesOfLevel(level: TileLevel, first: number, width: number): Generator<TileName> {
  for (let index = first; index * TILE_WIDTH < width; index += 1) {
    yield { level, index, width: Math.min(TILE_WIDTH, width - index * TILE_WIDTH) };
  }
}

/** Entries behind their big-endian uint16 lengths. @throws FormatError for an entry over 65,535 bytes. */
export function encodeBundle(entries: readonly (string | Uint8Array)[]): Buffer {
  const sizes = entries.map((entry) => (typeof entry === 'string' ? Buffer.byteLength(entry) : entry.length));
  if (sizes.some((size) => size > 0xffff)) {
    throw new FormatError('malformed_bundle', 'an entry is over 65,535 bytes');
  }
  const bundle = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + 2 + size, 0));
  let at = 0;
  entries.forEach((entry, i) => {
    at = bundle.writeUInt16BE(sizes[i] as number, at);
    if (typeof entry === 'string') bundle.write(entry, at);
    else bundle.set(entry, at);
    at += sizes[i] as number;
  });
  return bundle;
}

export interface DecodedBundle {
  readonly entries: readonly Buffer[];
  /** False: the bytes end inside an entry, or more than 256 entries follow each other. What was readable is in `entries`. */
  readonly complete: boolean;
}

export function decodeBundle(bytes: Uint8Array): DecodedBundle {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries: Buffer[] = [];
  let at = 0;
  while (at < buffer.length) {
    if (at + 2 > buffer.length || entries.length === TILE_WIDTH) return { entries, complete: false };
    const end = at + 2 + buffer.readUInt16BE(at);
    if (end > buffer.length) return { entries, complete: false };
    entries.push(buffer.subarray(at + 2, end));
    at = end;
  }
  return { entries, complete: true };
}

/** @throws FormatError when the bytes are not 1 to 256 whole hashes. */
export function decodeTile(bytes: Buffer): Buffer[] {
  if (bytes.length === 0 || bytes.length % HASH_BYTES !== 0 || bytes.length > TILE_WIDTH * HASH_BYTES) {
    throw new FormatError('malformed_tile', `a tile of ${bytes.length} bytes is not 1 to 256 hashes`);
  }
  return Array.from({ length: bytes.length / HASH_BYTES }, (_, i) =>
    bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  );
}
