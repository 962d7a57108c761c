/**
 * The authorization server's own SQLite file. Promises: mode 0600, WAL with synchronous FULL (asserted), one process at
 * a time, schema by numbered steps. Writes are synchronous and fsync: this process serves sign-ins, not tool calls.
 */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Fault } from '../lib/fault.ts';

/** Documented in docs/storage-schema.md. A step never changes once released; a new one is appended. */
const STEPS = [
  `CREATE TABLE entity (
     model TEXT NOT NULL,
     id TEXT NOT NULL,              -- SHA-256 of the value where the value is a secret (code, refresh token, cookie)
     payload TEXT NOT NULL,         -- JSON, never holding that value
     expires_at INTEGER,            -- seconds since the epoch; NULL: never
     consumed_at INTEGER,           -- seconds; set once, by a conditional UPDATE
     grant_id TEXT,
     uid TEXT,
     account_id TEXT,
     client_id TEXT,
     PRIMARY KEY (model, id)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX entity_grant ON entity (grant_id) WHERE grant_id IS NOT NULL;
   CREATE INDEX entity_uid ON entity (uid) WHERE uid IS NOT NULL;
   CREATE INDEX entity_expiry ON entity (expires_at) WHERE expires_at IS NOT NULL;
   CREATE TABLE consent (
     account_id TEXT NOT NULL,
     client_id TEXT NOT NULL,
     resource TEXT NOT NULL,
     scopes TEXT NOT NULL,          -- space separated, sorted
     given_at INTEGER NOT NULL,     -- seconds
     PRIMARY KEY (account_id, client_id, resource)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE evaluation_user (
     sub TEXT PRIMARY KEY,
     username TEXT NOT NULL UNIQUE,
     name TEXT NOT NULL,
     email TEXT NOT NULL,
     password TEXT NOT NULL,        -- scrypt: $scrypt$n$r$p$salt$hash
     created_at INTEGER NOT NULL    -- seconds
   ) STRICT, WITHOUT ROWID;`,
  `CREATE TABLE ended (
     kind TEXT NOT NULL,            -- person, client, grant, session, token (id: SHA-256 of its jti)
     id TEXT NOT NULL,
     ended_at INTEGER NOT NULL,     -- seconds; tokens issued up to here are void
     forget_at INTEGER NOT NULL,    -- seconds; no token of then can still be unexpired
     PRIMARY KEY (kind, id)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX entity_account ON entity (account_id) WHERE account_id IS NOT NULL;
   CREATE INDEX entity_client ON entity (client_id) WHERE client_id IS NOT NULL;`,
  `CREATE TABLE federated_account (
     sub TEXT PRIMARY KEY,          -- provider id, a bar, the subject at the provider
     provider TEXT NOT NULL,
     organisation TEXT NOT NULL,
     name TEXT NOT NULL,
     email TEXT,
     claims TEXT NOT NULL,          -- JSON: what the provider's settings forward, as of the last sign-in
     upstream_session TEXT,
     acr TEXT,
     amr TEXT NOT NULL,             -- JSON list
     auth_time INTEGER,             -- seconds; NULL: the provider does not say
     signed_in_at INTEGER NOT NULL  -- seconds
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE federation_flow (
     interaction TEXT PRIMARY KEY,  -- counts only with the browser's signed cookie
     state TEXT NOT NULL UNIQUE,    -- SHA-256
     provider TEXT NOT NULL,
     secret TEXT NOT NULL,          -- JSON: PKCE verifier and nonce, or the id of the AuthnRequest
     asked TEXT NOT NULL,           -- JSON: what the client asked of the sign-in
     started_at INTEGER NOT NULL,   -- seconds
     expires_at INTEGER NOT NULL,   -- seconds
     answer TEXT                    -- as the provider sent it; deleted with the row when it is read
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX federation_flow_expiry ON federation_flow (expires_at);
   CREATE TABLE federation_used (
     id TEXT PRIMARY KEY,           -- SHA-256 of provider and assertion id
     expires_at INTEGER NOT NULL    -- seconds
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX federation_used_expiry ON federation_used (expires_at);`,
  `ALTER TABLE entity ADD COLUMN user_code TEXT; -- SHA-256 of the code a person types (RFC 8628)
   CREATE UNIQUE INDEX entity_user_code ON entity (user_code) WHERE user_code IS NOT NULL;`,
  `CREATE TABLE event_outbox (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     peer TEXT NOT NULL,            -- issuer of the gateway that is told
     jti TEXT NOT NULL,
     event TEXT NOT NULL,           -- JSON: the claims that say what happened
     created_at INTEGER NOT NULL    -- ms
   ) STRICT;
   CREATE INDEX event_outbox_peer ON event_outbox (peer, id);
   CREATE TABLE event_seen (
     id TEXT PRIMARY KEY,           -- SHA-256 of gateway and jti
     forget_at INTEGER NOT NULL     -- seconds
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE event_disabled (
     sub TEXT NOT NULL,
     told_by TEXT NOT NULL,         -- issuer of the gateway that reported this person inactive
     since INTEGER NOT NULL,        -- seconds
     PRIMARY KEY (sub, told_by)
   ) STRICT, WITHOUT ROWID;`,
  `ALTER TABLE federation_flow ADD COLUMN receipt TEXT; -- SHA-256 of what the browser that brought the answer was given`,
];

/** @throws Fault `authserver_database_locked` (another process has it), `authserver_database_unusable`. */
export function openDatabase(dataDir: string): DatabaseSync {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const file = join(dataDir, 'authserver.db');
  // Created by us with the right mode before SQLite sees it; -wal and -shm inherit the mode of the main file.
  if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
  chmodSync(file, 0o600);
  const db = new DatabaseSync(file, { timeout: 500 });
  try {
    db.exec(
      'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;',
    );
    db.exec('BEGIN EXCLUSIVE');
    migrate(db);
    db.exec('COMMIT');
    expectPragma(db, 'journal_mode', 'wal');
    expectPragma(db, 'synchronous', 2);
  } catch (cause) {
    db.close();
    if (cause instanceof Fault) throw cause;
    const locked = cause instanceof Error && /locked|busy/i.test(cause.message);
    throw locked
      ? new Fault('authserver_database_locked', `${file} is in use by another process; stop it first`, { cause })
      : new Fault('authserver_database_unusable', `${file} cannot be opened`, { cause });
  }
  return db;
}

function migrate(db: DatabaseSync): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (version > STEPS.length) {
    throw new Fault('authserver_database_unusable', `the database was written by a newer version (schema ${version})`);
  }
  for (const step of STEPS.slice(version)) db.exec(step);
  db.exec(`PRAGMA user_version = ${STEPS.length}`);
}

/** INVARIANT: a consumed code or refresh token stays consumed across a power cut; that needs FULL. */
function expectPragma(db: DatabaseSync, name: string, expected: string | number): void {
  const seen = db.prepare(`PRAGMA ${name}`).get()?.[name];
  if (seen !== expected) {
    throw new Fault('authserver_database_unusable', `PRAGMA ${name} is ${String(seen)}, expected ${expected}`);
  }
}

/** Runs `work` in one transaction; rolls back when it throws. */
export function inTransaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const value = work();
    db.exec('COMMIT');
    return value;
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}
