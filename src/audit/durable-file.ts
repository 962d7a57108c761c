/**
 * Files that are either the old or the new content, whatever happens in between: temporary file, fsync, rename, fsync of the directory.
 * CRASH: a `.tmp` file may stay behind. Nobody reads it.
 */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Writes a file atomically. The directory entry is durable only after `syncDirectory` of its folder.
 * With `exclusive`, fails with EEXIST when the file exists, also when two processes try at once.
 */
export async function replaceFile(
  path: string,
  content: string | Uint8Array,
  { mode = 0o644, exclusive = false }: { readonly mode?: number; readonly exclusive?: boolean } = {},
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  // Somebody else may write the same file at this moment: every write has its own temporary name.
  const temporary = `${path}.${randomUUID()}.tmp`;
  const file = await open(temporary, 'wx', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  if (!exclusive) return await rename(temporary, path);
  try {
    await link(temporary, path);
  } finally {
    await rm(temporary, { force: true });
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
