/**
 * Brings a database to the schema this code knows, or refuses it. Migrations are modules of the program, never files read at run time.
 * CRASH: each run is one transaction on both engines, so a killed migration leaves the old schema.
 */
import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import { Migrator } from 'kysely/migration';
import { EngineFault } from './engine-fault.ts';

export type DatabaseName = 'state' | 'ledger' | 'exchange';

/**
 * `name` keeps the migrations apart where several share a database.
 * `schema` is the PostgreSQL schema (created if missing); undefined on SQLite.
 * @throws EngineFault
 */
export async function migrateToLatest<Tables>(
  db: Kysely<Tables>,
  name: DatabaseName,
  migrations: Record<string, Migration>,
  schema?: string,
): Promise<void> {
  const table = `${name}_migration`;
  const applied = await appliedMigrations(db as unknown as Kysely<Record<string, { name: string }>>, table, schema);
  const unknown = applied.filter((migration) => !(migration in migrations));
  if (unknown.length > 0) {
    throw new EngineFault(
      'newer',
      `this ${name} database was written by a newer Remit (schema ${unknown.join(', ')}); start that version, or restore a backup made by this one`,
    );
  }
  const migrator = new Migrator({
    db,
    provider: { getMigrations: () => Promise.resolve(migrations) },
    migrationTableName: table,
    migrationLockTableName: `${table}_lock`,
    ...(schema === undefined ? {} : { migrationTableSchema: schema }),
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) {
    throw error instanceof EngineFault
      ? error
      : new EngineFault('unavailable', `cannot bring the ${name} database to this schema`, { cause: error });
  }
}

async function appliedMigrations(
  db: Kysely<Record<string, { name: string }>>,
  table: string,
  schema: string | undefined,
): Promise<string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true });
  if (!tables.some((found) => found.name === table && found.schema === schema)) return [];
  const rows = await db.selectFrom(table).select('name').orderBy('name').execute();
  return rows.map((row) => row.name);
}
