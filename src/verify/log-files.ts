/**
 * Reads the files of an exported log. ATTACKER-CONTROLLED: everything in the directory; sizes are bounded, only regular files are opened,
 * and what is missing or malformed becomes a finding that names the range of entries it concerns.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { readEntry } from './entry.ts';
import type { VerifiedEntry } from './entry.ts';
import type { Findings } from './report.ts';
import { decodeBundle, decodeTile, HASH_BYTES, MAX_BUNDLE_BYTES, TILE_WIDTH, tilePath } from './tiles.ts';
import type { TileName } from './tiles.ts';

export async function readEntries(
  dir: string,
  tile: number,
  width: number,
  found: Findings,
): Promise<readonly Buffer[]> {
  const range = `entries ${tile * TILE_WIDTH} to ${tile * TILE_WIDTH + width - 1}`;
  const read = await readTile(dir, { level: 'entries', index: tile, width }, MAX_BUNDLE_BYTES);
  if (read === null) {
    const message = `${range} are missing or unreadable`;
    found.add({ severity: 'error', code: 'entries_missing', message, index: tile * TILE_WIDTH });
    return [];
  }
  const { entries, complete } = decodeBundle(read.bytes);
  if (!complete || entries.length < width || (entries.length > width && read.width === width)) {
    const message = `the bundle of ${range} holds ${entries.length} readable entries instead of ${width}`;
    found.add({ severity: 'error', code: 'entries_malformed', message, index: tile * TILE_WIDTH });
  }
  return entries.slice(0, width);
}

export async function readHashes(dir: string, name: TileName, found: Findings): Promise<readonly Buffer[] | null> {
  const read = await readTile(dir, name, TILE_WIDTH * HASH_BYTES);
  const path = tilePath(name);
  if (read === null) {
    found.add({ severity: 'error', code: 'tile_missing', message: `${path} is missing or unreadable` });
    return null;
  }
  if (read.bytes.length !== read.width * HASH_BYTES) {
    const message = `${path} has ${read.bytes.length} bytes instead of ${read.width * HASH_BYTES}`;
    found.add({ severity: 'error', code: 'tile_changed', message });
    return null;
  }
  return decodeTile(read.bytes).slice(0, name.width);
}

/** The tile of this width, or the full one that replaced it. */
export async function readTile(dir: string, name: TileName, maxBytes: number) {
  const exact = await readBounded(dir, tilePath(name), maxBytes);
  if (exact !== null) return { bytes: exact, width: name.width };
  if (name.width === TILE_WIDTH) return null;
  const full = await readBounded(dir, tilePath({ ...name, width: TILE_WIDTH }), maxBytes);
  return full === null ? null : { bytes: full, width: TILE_WIDTH };
}

/** A regular file of at most `maxBytes`; null otherwise. A device or a pipe in the directory must not hang the reader. */
export async function readBounded(dir: string, path: string, maxBytes: number): Promise<Buffer | null> {
  try {
    const file = join(dir, path);
    const facts = await stat(file);
    return facts.isFile() && facts.size <= maxBytes ? await readFile(file) : null;
  } catch {
    return null;
  }
}

/** Earlier entries by index, for links that lead further back than the open intents. Keeps one bundle. */
export function entryLookup(dir: string, size: number) {
  let kept: { readonly tile: number; readonly entries: readonly Buffer[] } | null = null;
  return async (index: number): Promise<VerifiedEntry | null> => {
    const tile = Math.floor(index / TILE_WIDTH);
    if (kept?.tile !== tile) {
      const width = Math.min(TILE_WIDTH, size - tile * TILE_WIDTH);
      const read = await readTile(dir, { level: 'entries', index: tile, width }, MAX_BUNDLE_BYTES);
      kept = { tile, entries: read === null ? [] : decodeBundle(read.bytes).entries };
    }
    const bytes = kept.entries[index % TILE_WIDTH];
    const entry = bytes === undefined ? null : readEntry(bytes);
    return entry?.ok ? entry.entry : null;
  };
}
