/** Migrations of the state database, applied in the order of their names, each in one transaction. Never edit one that was released. */
import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';

export const stateMigrations: Record<string, Migration> = {
  '0001_history_of_records': {
    async up(db: Kysely<unknown>) {
      await db.schema
        .createTable('state_head')
        .addColumn('id', 'integer', (column) => column.primaryKey())
        .addColumn('revision', 'bigint', (column) => column.notNull())
        .execute();
      await (db as Kysely<{ state_head: { id: number; revision: number } }>)
        .insertInto('state_head')
        .values({ id: 1, revision: 0 })
        .execute();
      await db.schema
        .createTable('state_change')
        .addColumn('revision', 'bigint', (column) => column.notNull())
        .addColumn('ordinal', 'integer', (column) => column.notNull())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .addColumn('actor', 'text', (column) => column.notNull())
        .addColumn('reason', 'text', (column) => column.notNull())
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('org', 'text', (column) => column.notNull())
        .addColumn('id', 'text', (column) => column.notNull())
        .addColumn('body', 'text')
        .addPrimaryKeyConstraint('state_change_pk', ['revision', 'ordinal'])
        .execute();
      await db.schema
        .createIndex('state_change_of_record')
        .on('state_change')
        .columns(['kind', 'org', 'id', 'revision'])
        .execute();
      await db.schema
        .createTable('state_record')
        .addColumn('kind', 'text', (column) => column.notNull())
        .addColumn('org', 'text', (column) => column.notNull())
        .addColumn('id', 'text', (column) => column.notNull())
        .addColumn('revision', 'bigint', (column) => column.notNull())
        .addColumn('key', 'text')
        .addColumn('body', 'text', (column) => column.notNull())
        .addPrimaryKeyConstraint('state_record_pk', ['kind', 'org', 'id'])
        .addUniqueConstraint('state_record_key', ['kind', 'org', 'key'])
        .execute();
    },
  },
};
