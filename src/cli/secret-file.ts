/**
 * Key material in a file of its own: made once from the system's random source, readable by its owner only.
 * A file that others may read is refused: its secret has to be treated as known.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { Fault } from '../lib/fault.ts';

/** @throws Fault `secret_file` */
export function loadOrCreateSecret(path: string, bytes: number): Uint8Array {
  const secret = Buffer.from(
    loadOrCreateText(path, () => randomBytes(bytes).toString('base64url')),
    'base64url',
  );
  if (secret.length < bytes)
    throw new Fault('secret_file', `${path} does not hold ${bytes} bytes; restore it from a backup or remove it`);
  return secret;
}

/** The text in a private file, made by `make` if the file is not there. @throws Fault `secret_file` */
export function loadOrCreateText(path: string, make: () => string): string {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  try {
    const file = openSync(path, 'wx', 0o600);
    try {
      writeSync(file, make());
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST')
      throw new Fault('secret_file', `cannot write ${path}`, { cause: error });
  }
  if ((statSync(path).mode & 0o077) !== 0)
    throw new Fault('secret_file', `${path} can be read by others; run: chmod 600 ${path}`);
  return readFileSync(path, 'utf8').trim();
}
