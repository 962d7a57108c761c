/**
 * Whether a tool may be shown and called, as far as its definition goes (TD-01, TD-02, TD-03): only while what a person approved
 * and what the server now says are the same thing. Everything that is not `approved` means no.
 */
import type { Digest } from '../lib/canonical-json.ts';
import { definitionDigest } from './definition.ts';
import type { ToolRecord } from './records.ts';

export type ToolStanding =
  | 'approved'
  /** The server now says something else than what was approved. */
  | 'changed'
  /** Seen, never approved (or the approval was withdrawn). */
  | 'unreviewed'
  /** Approved, but the server no longer offers it. */
  | 'gone'
  | 'unknown';

/**
 * `seen` is the newest sighting on the live connection: a digest, null when the live list lacks the tool, undefined when nothing
 * newer than the record is known. It can only take standing away: the record's own sighting must match as well.
 */
export function toolStanding(record: ToolRecord | undefined, seen?: Digest | null): ToolStanding {
  if (!record) return 'unknown';
  if (!record.approved) return record.observed ? 'unreviewed' : 'unknown';
  if (!record.observed || seen === null) return 'gone';
  if (record.observed.digest !== record.approved.digest) return 'changed';
  if (seen !== undefined && seen !== record.approved.digest) return 'changed';
  return 'approved';
}

/** Whether the digests in a record are those of the definitions in it. Ask once when a record is read from the store. */
export function recordIsSound(record: ToolRecord): boolean {
  return [record.observed, record.approved].every((part) => !part || definitionDigest(part.definition) === part.digest);
}
