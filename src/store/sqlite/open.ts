/**
 * Opens an embedded database file so that COMMIT means fsync returned (unless asked otherwise), and so that no other process has it.
 * Both are read back from SQLite and asserted; a file that cannot promise them is not used.
 *
 * Durability: WAL with synchronous=FULL makes one fsync per commit; the often copied NORMAL makes none (TRUST.md section 2). NORMAL is
 * for the exchange alone: a killed process loses nothing there either, a power failure takes back the newest commits, always from the end.
 * Exclusion: locking_mode=EXCLUSIVE keeps an operating-system lock on the file until the process ends, however it ends.
 * INVARIANT: nothing else in this process opens the file. POSIX drops the lock when any other descriptor of it is closed.
 */
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';
import { isFault } from '../../lib/fault.ts';
import { EngineFault } from '../engine-fault.ts';
import type { DatabaseName } from '../migrate.ts';
import { migrateToLatest } from '../migrate.ts';
import { sqliteDialect } from './dialect.ts';
import { toSqliteFault } from './fault.ts';

/** How long a starting process waits for the one before it to let go. */
const LOCK_WAIT_MS = 1000;

/** As SQLite reports it. */
const SYNCHRONOUS = { NORMAL: 1, FULL: 2 } as const;
export type Synchronous = keyof typeof SYNCHRONOUS;

export interface OpenDatabase<Tables> {
  readonly db: Kysely<Tables>;
  /** The same database below Kysely; `db.destroy()` closes it. */
  readonly file: DatabaseSync;
}

/**
 * The database at `path`, created if missing, with the schema brought up to date.
 * @throws EngineFault as `openDatabaseFile` does, and `newer`.
 */
export async function openDatabase<Tables>(
  path: string,
  name: DatabaseName,
  migrations: Record<string, Migration>,
  synchronous: Synchronous = 'FULL',
): Promise<OpenDatabase<Tables>> {
  const file = openDatabaseFile(path, synchronous);
  try {
    const db = new Kysely<Tables>({ dialect: sqliteDialect(file) });
    await migrateToLatest(db, name, migrations);
    return { db, file };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** @throws EngineFault `locked`, `corrupt`, `unavailable` (not writable, no WAL, not durable). */
export function openDatabaseFile(path: string, synchronous: Synchronous = 'FULL'): DatabaseSync {
  const file = resolve(path);
  let database: DatabaseSync | undefined;
  try {
    createPrivately(file);
    database = new DatabaseSync(file, { timeout: LOCK_WAIT_MS, defensive: true, enableForeignKeyConstraints: true });
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    database.exec('PRAGMA journal_mode = WAL');
    database.exec(`PRAGMA synchronous = ${synchronous}`);
    // macOS only, no effect elsewhere: its fsync stops at the drive's cache without this.
    database.exec('PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON');
    // The lock is taken by the first transaction, not by the pragma.
    database.exec('BEGIN IMMEDIATE; COMMIT');
    assertPragma(database, file, 'locking_mode', 'exclusive');
    assertPragma(database, file, 'journal_mode', 'wal');
    assertPragma(database, file, 'synchronous', SYNCHRONOUS[synchronous]);
    return database;
  } catch (error) {
    database?.close();
    throw describe(error, file);
  }
}

/** CRASH: a file that was created but whose directory entry was not flushed is gone after a power failure, with all that it acknowledged. */
function createPrivately(file: string): void {
  const folder = dirname(file);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if ((statSync(file).mode & 0o077) !== 0) chmodSync(file, 0o600);
    return;
  }
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function assertPragma(database: DatabaseSync, file: string, name: string, expected: string | number): void {
  const actual = Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  if (actual === expected) return;
  throw new EngineFault(
    'unavailable',
    `${file}: SQLite reports ${name} = ${String(actual)} where ${expected} is needed; use a local file system that supports locks and fsync`,
  );
}

function describe(error: unknown, file: string): EngineFault {
  const fault = isFault(error) ? error : toSqliteFault(error);
  if (fault.code === 'locked') {
    return new EngineFault(
      'locked',
      `${file} is in use: another gateway is running on it. Use the remit commands, which talk to that gateway's API, or stop it first`,
      { cause: error },
    );
  }
  if (fault instanceof EngineFault && fault.message.startsWith(file)) return fault;
  return new EngineFault(
    fault.code === 'corrupt' ? 'corrupt' : 'unavailable',
    `cannot open ${file}: ${fault.message}`,
    {
      cause: error,
    },
  );
}
