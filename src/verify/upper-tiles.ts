/** The tiles above the leaves: each hash in them must be the hash of the full tile below it. */
import { readHashes } from './log-files.ts';
import { compactRange, sameHash } from './merkle.ts';
import type { Findings } from './report.ts';
import { TILE_WIDTH } from './tiles.ts';

/** Compares the stored tiles of level 1 and above with hashes computed from below, as they become complete. */
export function upperTiles(dir: string, found: Findings) {
  const pending: { hashes: Buffer[]; index: number }[] = [];

  async function compare(level: number, index: number, computed: readonly Buffer[]) {
    const stored = await readHashes(dir, { level, index, width: computed.length }, found);
    if (stored === null) return;
    for (const [i, hash] of computed.entries()) {
      const kept = stored[i];
      if (kept !== undefined && sameHash(kept, hash)) continue;
      const span = TILE_WIDTH ** level;
      const from = (index * TILE_WIDTH + i) * span;
      const message = `tile/${level} no longer holds the hash of entries ${from} to ${from + span - 1}: they or the tile were changed`;
      found.add({ severity: 'error', code: 'tile_changed', message, index: from });
    }
  }

  async function push(hash: Buffer, level = 1): Promise<void> {
    const slot = (pending[level] ??= { hashes: [], index: 0 });
    slot.hashes.push(hash);
    if (slot.hashes.length < TILE_WIDTH) return;
    await compare(level, slot.index, slot.hashes);
    const range = compactRange();
    for (const one of slot.hashes) range.push(one);
    pending[level] = { hashes: [], index: slot.index + 1 };
    await push(range.root(), level + 1);
  }

  return {
    push: (hash: Buffer) => push(hash),
    async finish() {
      for (const [level, slot] of pending.entries()) {
        if (slot !== undefined && slot.hashes.length > 0) await compare(level, slot.index, slot.hashes);
      }
    },
  };
}
