/**
 * Which host user a server runs as. A gateway that runs as root gives every server a user id of its own, so that
 * servers cannot signal, trace or read each other, and the process limit counts per server.
 * A gateway that is not root cannot: its servers run as its own user inside a user namespace.
 */
import { readFileSync } from 'node:fs';
import { sha256 } from '../lib/bytes.ts';

/** Shown inside a user namespace, and used on hosts whose id range is too small for one id per server. */
export const NOBODY = 65_534;
// Unassigned by convention: above the ranges of systemd and of subordinate ids, below 2^31 (systemd UIDS-GIDS).
const FIRST = 1_900_000_000;
const COUNT = 200_000_000;

/** The user id of a server by its name: the same on every start, so that files it writes stay its own. */
export function serverUid(name: string): number {
  return FIRST + (sha256(`remit server ${name}`).readUInt32BE(0) % COUNT);
}

/** Whether this host (or the container we are in) has the range `serverUid` draws from. */
export function hasServerUids(uidMap: string = readUidMap()): boolean {
  return uidMap.split('\n').some((line) => {
    const [inside = Number.NaN, , length = Number.NaN] = line.trim().split(/\s+/).map(Number);
    return inside <= FIRST && inside + length >= FIRST + COUNT;
  });
}

function readUidMap(): string {
  try {
    return readFileSync('/proc/self/uid_map', 'utf8');
  } catch {
    return '';
  }
}
