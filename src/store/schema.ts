/**
 * The tables of the databases as types, the same for SQLite and PostgreSQL. docs/storage-schema.md explains every column.
 * Portable by construction: text, integers up to 2^53, bytes; JSON and times are text and integers.
 */
import type { Generated } from 'kysely';

export interface StateTables {
  /** One row. Whoever updates it owns the next revision until their transaction ends. */
  state_head: { id: Generated<number>; revision: number };
  /** What happened, for ever. */
  state_change: {
    revision: number;
    ordinal: number;
    at: number;
    actor: string;
    reason: string;
    kind: string;
    org: string;
    id: string;
    /** Canonical JSON; null: deleted. */
    body: string | null;
  };
  /** What is true now: the fold over `state_change`. */
  state_record: { kind: string; org: string; id: string; revision: number; key: string | null; body: string };
}

export interface LedgerTables {
  /** One row per log. Whoever updates it owns the next indexes until their transaction ends. */
  ledger_log: { log: string; size: number };
  ledger_entry: { log: string; idx: number; text: string; leaf: Uint8Array };
  /** Complete tile hashes, level 1 and up. Level 0 is `ledger_entry.leaf`. */
  ledger_tile: { log: string; level: number; idx: number; hash: Uint8Array };
  /** The last checkpoint that was signed. */
  ledger_checkpoint: { log: string; size: number; note: string };
}

export interface ExchangeTables {
  /** One row per topic. Whoever updates it owns the next numbers until their transaction ends. */
  exchange_topic: { topic: string; last: number; expires_at: number };
  /** `seq` from 1 without gaps; `size` is the length of `text` in bytes, so that a reader can bound a page before it loads it. */
  exchange_item: { topic: string; seq: number; size: number; text: string };
}
