/**
 * Connections on which COMMIT means that PostgreSQL flushed its log, asserted on every one of them before its first query.
 * Needs direct connections or a pooler in session mode: settings and LISTEN belong to a session.
 */
import type { Dialect } from 'kysely';
import { Kysely, PostgresDialect } from 'kysely';
import type { Migration } from 'kysely/migration';
import type { ClientBase } from 'pg';
import { Client, Pool, types } from 'pg';
import { EngineFault } from '../engine-fault.ts';
import type { DatabaseName } from '../migrate.ts';
import { migrateToLatest } from '../migrate.ts';
import { toPostgresFault } from './fault.ts';

export interface PostgresOptions {
  /** The PostgreSQL schema that holds the tables; created if missing. Default `remit`. 1 to 40 of a-z, 0-9 and _. */
  readonly schema?: string;
}

/** One gateway that stops in the middle of a commit holds the head row: the server must end it for the others. */
const LIMITS = {
  connectionTimeoutMillis: 5000,
  statement_timeout: 15_000,
  query_timeout: 20_000,
  idle_in_transaction_session_timeout: 10_000,
  keepAlive: true,
} as const;

type TypeId = Parameters<typeof types.getTypeParser>[0];
/** Revisions, indexes and times are below 2^53; `pg` would hand them over as text. */
const integersAsNumbers = {
  getTypeParser: ((oid: TypeId, format?: 'text') => {
    return oid === types.builtins.INT8 ? Number : types.getTypeParser(oid, format);
  }) as typeof types.getTypeParser,
};

export const DEFAULT_SCHEMA = 'remit';

export async function openSession(url: string, schema: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: 'remit', ...LIMITS });
  client.on('error', () => undefined); // while connecting; later see prepareSession
  await client.connect();
  try {
    await prepareSession(client, schema);
    return client;
  } catch (error) {
    await client.end();
    throw error;
  }
}

/**
 * A pool of asserted connections with the schema brought up to date.
 * @throws EngineFault `unavailable` (not reachable, not durable), `newer`.
 */
export async function openDatabase<Tables>(
  url: string,
  schema: string,
  connections: number,
  name: DatabaseName,
  migrations: Record<string, Migration>,
): Promise<Kysely<Tables>> {
  // Quoted into SQL below, hence strict.
  if (!/^[a-z_][a-z0-9_]{0,39}$/.test(schema)) {
    throw new EngineFault(
      'unavailable',
      'the PostgreSQL schema has 1 to 40 lower-case letters, digits and underscores',
    );
  }
  const pool = new Pool({
    connectionString: url,
    application_name: 'remit',
    max: connections,
    types: integersAsNumbers,
    ...LIMITS,
    // The pool waits for the promise and drops the connection if it rejects; its types do not say so yet.
    // oxlint-disable-next-line typescript/no-misused-promises
    onConnect: (client: ClientBase) => prepareSession(client, schema),
  });
  // An idle connection that breaks is replaced by the next query; without a listener it would end the process.
  pool.on('error', () => undefined);
  const dialect: Dialect = new PostgresDialect({ pool });
  const db = new Kysely<Tables>({ dialect });
  try {
    await oneAtATime(url, schema, () => migrateToLatest(db, name, migrations, schema));
    return db;
  } catch (error) {
    await db.destroy();
    throw toPostgresFault(error);
  }
}

/** Two gateways that start on an empty database would create the same tables. The lock ends with the connection. */
async function oneAtATime(url: string, schema: string, work: () => Promise<void>): Promise<void> {
  const session = await openSession(url, schema);
  try {
    await session.query('select pg_advisory_lock(hashtext($1))', [`remit migrations ${schema}`]);
    await work();
  } finally {
    await session.end();
  }
}

async function prepareSession(client: ClientBase, schema: string): Promise<void> {
  // The query that was running is refused; without a listener the same loss would also end the process.
  client.on('error', () => undefined);
  await client.query(`set search_path to "${schema}"; set synchronous_commit to on`);
  const { rows } = await client.query<Record<string, unknown>>(
    `select current_setting('synchronous_commit') as synchronous_commit, current_setting('fsync') as fsync,
            current_setting('full_page_writes') as full_page_writes, current_setting('server_encoding') as server_encoding,
            current_setting('transaction_read_only') as transaction_read_only`,
  );
  const needed = {
    synchronous_commit: 'on',
    fsync: 'on',
    full_page_writes: 'on',
    server_encoding: 'UTF8',
    transaction_read_only: 'off',
  };
  for (const [setting, value] of Object.entries(needed)) {
    const actual = rows[0]?.[setting];
    if (actual === value) continue;
    throw new EngineFault('unavailable', `PostgreSQL runs with ${setting} = ${String(actual)}; Remit needs ${value}`);
  }
}
