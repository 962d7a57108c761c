/** Migrations of the exchange database, applied in the order of their names, each in one transaction. Never edit one that was released. */
import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';

export const exchangeMigrations: Record<string, Migration> = {
  '0001_topics': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('exchange_topic')
        .addColumn('topic', 'text', (column) => column.primaryKey())
        .addColumn('last', 'bigint', (column) => column.notNull())
        .addColumn('expires_at', 'bigint', (column) => column.notNull())
        .execute();
      await db.schema.createIndex('exchange_topic_end').on('exchange_topic').column('expires_at').execute();
      await db.schema
        .createTable('exchange_item')
        .addColumn('topic', 'text', (column) => column.notNull())
        .addColumn('seq', 'bigint', (column) => column.notNull())
        .addColumn('size', 'bigint', (column) => column.notNull())
        .addColumn('text', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('exchange_item_pk', ['topic', 'seq'])
        .execute();
    },
  },
};
