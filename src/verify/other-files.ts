/**
 * Files beside those a verification needed: partial tiles of earlier checkpoints, tiles beyond the checkpoint, what belongs to no log,
 * and the keys the directory states for itself.
 */
import { readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { readBounded, readTile } from './log-files.ts';
import type { Vkey } from './note.ts';
import { printable } from './report.ts';
import type { Findings } from './report.ts';
import { decodeBundle, HASH_BYTES, MAX_BUNDLE_BYTES, parseTilePath, TILE_WIDTH, tilePath } from './tiles.ts';
import type { TileName } from './tiles.ts';

/**
 * A smaller partial tile must be a beginning of the verified one: it was published once.
 * What lies beyond the checkpoint is not covered by it and is said so (a crash between tiles and checkpoint leaves such files).
 */
export async function checkOtherFiles(dir: string, size: number, found: Findings) {
  const files = await readdir(join(dir, 'tile'), { recursive: true, withFileTypes: true }).catch(() => []);
  for (const file of files) {
    if (file.isDirectory()) continue;
    const path = relative(dir, join(file.parentPath, file.name)).split(sep).join('/');
    const name = parseTilePath(path);
    if (name === null || !file.isFile()) {
      const message = `${printable(path)} is not part of a log`;
      found.add({ severity: 'warning', code: 'unexpected_file', message });
      continue;
    }
    const span = name.level === 'entries' ? 1 : TILE_WIDTH ** name.level;
    const complete = Math.floor(size / span);
    const needed = Math.min(TILE_WIDTH, complete - name.index * TILE_WIDTH);
    if (name.width > needed) {
      const message = `${path} reaches beyond the ${size} entries of the checkpoint and is not covered by it`;
      found.add({ severity: 'note', code: 'not_covered', message });
    } else if (name.width < needed && !(await isBeginning(dir, name, needed))) {
      const message = `${path} is not a beginning of the tile that followed it`;
      found.add({ severity: 'error', code: 'tile_changed', message, index: name.index * TILE_WIDTH * span });
    }
  }
}

async function isBeginning(dir: string, partial: TileName, width: number): Promise<boolean> {
  const max = partial.level === 'entries' ? MAX_BUNDLE_BYTES : TILE_WIDTH * HASH_BYTES;
  const shorter = await readBounded(dir, tilePath(partial), max);
  const longer = await readTile(dir, { ...partial, width }, max);
  if (shorter === null || longer === null) return false;
  if (Buffer.compare(shorter, longer.bytes.subarray(0, shorter.length)) !== 0) return false;
  if (partial.level !== 'entries') return shorter.length === partial.width * HASH_BYTES;
  const { entries, complete } = decodeBundle(shorter);
  return complete && entries.length === partial.width;
}

const MAX_KEYS_BYTES = 64 * 1024;

/**
 * The directory's own keys prove nothing and are not used, but people copy them. ATTACKER-CONTROLLED: a key here that the reader did not
 * give is either from before a rotation or put there so that the next reader trusts it.
 */
export async function checkKeyFile(dir: string, trusted: readonly Vkey[], found: Findings) {
  const file = await readBounded(dir, 'log.vkey', MAX_KEYS_BYTES);
  if (file === null) return;
  const given = new Set(trusted.map(({ text }) => text));
  const lines = file
    .toString('utf8')
    .split(/\r?\n/)
    .map((line) => line.trim());
  const others = lines.filter((line) => line !== '' && !line.startsWith('#') && !given.has(line));
  if (others.length === 0) return;
  const names = others.slice(0, 3).map((line) => printable(line.split('+', 2).join('+')));
  const message = `log.vkey in the directory holds ${others.length} not among the keys you gave (${names.join(', ')}${others.length > 3 ? ', …' : ''}): take keys from the operator of the log, never from the log`;
  found.add({ severity: 'warning', code: 'directory_keys_differ', message });
}
