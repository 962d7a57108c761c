/**
 * A folder for keys and evidence that nobody else can look into. Promises that its mode is 0700 afterwards, or refuses.
 * Only a folder that is ours is tightened: a mistyped name must not close somebody's home or /tmp.
 * Does not look at the folders above it, nor at what lies in it.
 */
import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CliFailure } from './failure.ts';

/** `mark`: name of the file by which a folder that is not empty is known to be ours. @throws CliFailure */
export function openPrivateFolder(dir: string, mark: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const { mode, uid } = statSync(dir);
  if ((mode & 0o077) === 0) return;
  const me = process.getuid?.();
  const owner = statSync(join(dir, mark), { throwIfNoEntry: false })?.uid;
  // ATTACKER-CONTROLLED: what stands in a folder that others could write. A mark that somebody else put there marks nothing.
  const ours =
    uid === me && (mode & 0o1000) === 0 && (owner === undefined ? readdirSync(dir).length === 0 : owner === me);
  if (!ours)
    throw new CliFailure(
      'failed',
      `Others on this machine can look into ${dir}, and it is not a folder of Remit that belongs to you.`,
      'Name another folder with --dir, one that is empty or does not exist yet.',
    );
  chmodSync(dir, 0o700);
}
