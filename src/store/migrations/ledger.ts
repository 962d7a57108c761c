/** Migrations of the ledger database, applied in the order of their names, each in one transaction. Never edit one that was released. */
import type { Kysely } from 'kysely';
import { sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/** @param bytes What the engine calls a column of bytes: `blob` on SQLite, `bytea` on PostgreSQL. */
export const ledgerMigrations = (bytes: 'blob' | 'bytea'): Record<string, Migration> => ({
  '0001_merkle_log': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('ledger_log')
        .addColumn('log', 'text', (column) => column.primaryKey())
        .addColumn('size', 'bigint', (column) => column.notNull())
        .execute();
      await db.schema
        .createTable('ledger_entry')
        .addColumn('log', 'text', (column) => column.notNull())
        .addColumn('idx', 'bigint', (column) => column.notNull())
        .addColumn('text', 'text', (column) => column.notNull())
        .addColumn('leaf', sql.raw(bytes), (column) => column.notNull())
        .addPrimaryKeyConstraint('ledger_entry_pk', ['log', 'idx'])
        .execute();
      await db.schema
        .createTable('ledger_tile')
        .addColumn('log', 'text', (column) => column.notNull())
        .addColumn('level', 'integer', (column) => column.notNull())
        .addColumn('idx', 'bigint', (column) => column.notNull())
        .addColumn('hash', sql.raw(bytes), (column) => column.notNull())
        .addPrimaryKeyConstraint('ledger_tile_pk', ['log', 'level', 'idx'])
        .execute();
      await db.schema
        .createTable('ledger_checkpoint')
        .addColumn('log', 'text', (column) => column.primaryKey())
        .addColumn('size', 'bigint', (column) => column.notNull())
        .addColumn('note', 'text', (column) => column.notNull())
        .execute();
    },
  },
});
