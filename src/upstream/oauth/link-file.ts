/**
 * Links in a file of this node, 0600, each sealed for the server and person it belongs to: a copied file is worth nothing without the
 * key, and a link cannot be moved to another server. CRASH: the file is replaced as a whole, so it is the old one or the new.
 * Not done here: sharing between nodes.
 */
import { open, readFile, rename } from 'node:fs/promises';
import { Fault } from '../../lib/fault.ts';
import type { SealedBox } from '../../lib/sealed-box.ts';
import { parseStrictJson } from '../../lib/strict-json.ts';
import type { LinkStore } from './link.ts';

const MAX_BYTES = 8 * 1024 * 1024;

export function linksInFile(path: string, box: SealedBox): LinkStore {
  let known: Promise<Map<string, string>> | null = null;
  let writing: Promise<void> = Promise.resolve();

  async function load(): Promise<Map<string, string>> {
    let bytes: Uint8Array;
    try {
      bytes = await readFile(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
      throw new Fault('links_unreadable', `${path} cannot be read`, { cause });
    }
    const parsed = parseStrictJson(bytes, { maxBytes: MAX_BYTES, maxDepth: 2 });
    const value = parsed.ok ? parsed.value : null;
    // Never started over silently: what stands there would be lost with the next write.
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new Fault('links_unreadable', `${path} is damaged; restore it from a backup or remove it`);
    return new Map(Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === 'string'));
  }

  const links = (): Promise<Map<string, string>> => {
    known ??= load().catch((error: unknown) => {
      known = null;
      throw error;
    });
    return known;
  };

  async function store(all: ReadonlyMap<string, string>): Promise<void> {
    const next = `${path}.new`;
    const file = await open(next, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(Object.fromEntries(all)));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(next, path);
  }

  /** One at a time: `before` is the one before. */
  async function put(before: Promise<void>, serverId: string, text: string | null): Promise<void> {
    await before;
    const all = await links();
    if (text === null && !all.delete(serverId)) return;
    if (text !== null) all.set(serverId, box.seal(text, serverId));
    await store(all);
  }

  return {
    read: async (serverId) => {
      const sealed = (await links()).get(serverId);
      return sealed === undefined ? null : box.open(sealed, serverId);
    },
    keys: async () => [...(await links()).keys()],
    write: (serverId, text) => {
      const work = put(writing, serverId, text);
      writing = work.catch(() => undefined);
      return work;
    },
  };
}
