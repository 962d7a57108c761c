/**
 * Which items of a server are approved, as one name (TD-03): a pin over the set beside the pins of its members, so that whoever compares two
 * numbers sees that something came, went or moved.
 */
import type { Digest } from '../lib/canonical-json.ts';
import { digestOf } from '../lib/canonical-json.ts';
import type { ToolRecord } from './records.ts';
import { itemKey } from './records.ts';
import { toolStanding } from './standing.ts';

export interface ItemSet {
  /** Of the approved keys with their digests. */
  readonly approved: Digest;
  /** Of what the server offers now. Equal to `approved` exactly when it offers what was approved, and nothing else. */
  readonly offered: Digest;
  /** Keys: offered, nobody approved them. */
  readonly unreviewed: readonly string[];
  /** Approved, and the server says something else. */
  readonly changed: readonly string[];
  /** Approved, and not offered any more. */
  readonly gone: readonly string[];
}

/** Of all records of one server. */
export function setOf(records: readonly ToolRecord[]): ItemSet {
  const named = records
    .map((record) => ({ record, key: itemKey(record.kind, record.name), standing: toolStanding(record) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1));
  const of = (standing: string): readonly string[] =>
    named.filter((one) => one.standing === standing).map(({ key }) => key);
  const digest = (part: 'approved' | 'observed'): Digest =>
    digestOf(named.flatMap(({ key, record }) => (record[part] ? [[key, record[part].digest]] : [])));
  return {
    approved: digest('approved'),
    offered: digest('observed'),
    unreviewed: of('unreviewed'),
    changed: of('changed'),
    gone: of('gone'),
  };
}
