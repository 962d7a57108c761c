/**
 * Who people are: the directory that knows somebody by their `sub` (evaluation users and federated accounts both serve it),
 * and the evaluation users with their passwords. Promises: passwords are generated, shown once and kept as scrypt hashes; an
 * unknown name, a wrong password and a throttled try cost and answer the same. Not meant for production; marked so on the page.
 */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import type { ScryptOptions } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';
import { newId } from '../lib/ids.ts';
import { windowCounter } from './counters.ts';
import { inTransaction } from './database.ts';
import type { Forwarded } from './federation/mapping.ts';

export interface SignedInPerson {
  readonly sub: string;
  readonly name: string;
  /** Empty when it is not known. */
  readonly email: string;
  /** Absent: the only one, `default`. */
  readonly organisation?: string;
  /** Only where the settings say that groups are forwarded. */
  readonly groups?: readonly string[];
  /** Other claims that the settings forward, for tokens. Registered claims win over them. */
  readonly forwarded?: Forwarded;
}

export interface UserDirectory {
  /** null once the person is gone: their refresh tokens stop working. */
  find(sub: string): Promise<SignedInPerson | null>;
}

/** A directory of local users, who have passwords. */
export interface PasswordDirectory extends UserDirectory {
  /** null for every reason there is not to let this person in: the page must not know which. */
  authenticate(attempt: {
    readonly username: string;
    readonly password: string;
    readonly address: string;
  }): Promise<SignedInPerson | null>;
}

/** Whoever one of the directories knows. A `sub` with a bar is federated and no other has one, so no two know the same. */
export const anyDirectory = (...directories: readonly UserDirectory[]): UserDirectory => ({
  find: async (sub) => {
    for (const directory of directories) {
      const person = await directory.find(sub);
      if (person !== null) return person;
    }
    return null;
  },
});

const NewUser = z.strictObject({
  username: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'lower-case letters, digits, dot, dash, underscore; at most 64'),
  name: z.string().min(1).max(100),
  email: z.email().max(254),
});
export type NewEvaluationUser = z.input<typeof NewUser>;

export interface CreatedEvaluationUser {
  readonly username: string;
  readonly sub: string;
  /** Never readable again. */
  readonly password: string;
}

/** All or nothing. @throws Fault `user_invalid`, `user_exists`. */
export async function createEvaluationUsers(
  db: DatabaseSync,
  users: readonly NewEvaluationUser[],
  clock: Clock,
): Promise<readonly CreatedEvaluationUser[]> {
  const parsed = z.array(NewUser).min(1).max(1_000).safeParse(users);
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `users.${issue.path.join('.')}: ${issue.message}`);
    throw new Fault('user_invalid', lines.join('\n'));
  }
  const created = await Promise.all(
    parsed.data.map(async (user) => {
      const password = newPassword();
      return { ...user, sub: newId('person', clock), password, hash: await hashPassword(password) };
    }),
  );
  const insert = db.prepare(
    'INSERT INTO evaluation_user (sub, username, name, email, password, created_at) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const exists = db.prepare('SELECT 1 FROM evaluation_user WHERE username = ?');
  inTransaction(db, () => {
    for (const user of created) {
      if (exists.get(user.username)) throw new Fault('user_exists', `the user ${user.username} exists already`);
      insert.run(user.sub, user.username, user.name, user.email, user.hash, Math.floor(clock.now() / 1_000));
    }
  });
  return created.map(({ username, sub, password }) => ({ username, sub, password }));
}

export function listEvaluationUsers(
  db: DatabaseSync,
): readonly { username: string; sub: string; name: string; email: string }[] {
  return db
    .prepare('SELECT username, sub, name, email FROM evaluation_user ORDER BY username')
    .all()
    .map((row) => ({
      username: String(row['username']),
      sub: String(row['sub']),
      name: String(row['name']),
      email: String(row['email']),
    }));
}

/** Failures allowed within the window. A pair is tight; a whole account is loose, so that a stranger cannot lock it for its owner. */
const WINDOW_MS = 15 * 60_000;
const MAX_FAILURES = { pair: 5, user: 50, address: 50 };
const MAX_HASHES_AT_ONCE = 8;

export function evaluationDirectory(db: DatabaseSync, clock: Clock): PasswordDirectory {
  const byName = db.prepare('SELECT sub, name, email, password FROM evaluation_user WHERE username = ?');
  const bySub = db.prepare('SELECT sub, name, email FROM evaluation_user WHERE sub = ?');
  const failures = windowCounter({ windowMs: WINDOW_MS, maxKeys: 10_000, clock });
  // Checked when there is no such user, so that the answer takes as long.
  const decoy = hashPassword(newPassword());
  let hashing = 0;

  return {
    authenticate: async ({ username, password, address }) => {
      const keys = [
        [`pair ${address} ${username}`, MAX_FAILURES.pair],
        [`user ${username}`, MAX_FAILURES.user],
        [`address ${address}`, MAX_FAILURES.address],
      ] as const;
      if (keys.some(([key, most]) => failures.count(key) >= most)) return null;
      // ATTACKER-CONTROLLED: each check costs 32 MiB and 50 ms; a flood is turned away uncounted.
      if (hashing >= MAX_HASHES_AT_ONCE) return null;
      const row = byName.get(username);
      hashing++;
      try {
        const fits = await checkPassword(password, row ? String(row['password']) : await decoy);
        if (fits && row) return person(row);
      } finally {
        hashing--;
      }
      for (const [key] of keys) failures.add(key);
      return null;
    },
    find: async (sub) => {
      const row = bySub.get(sub);
      return row ? person(row) : null;
    },
  };
}

const person = (row: Record<string, unknown>): SignedInPerson => ({
  sub: String(row['sub']),
  name: String(row['name']),
  email: String(row['email']),
});

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** Four groups of five from 32 letters: 100 random bits, readable aloud. */
function newPassword(): string {
  const letters = [...randomBytes(20)].map((byte) => ALPHABET[byte & 31]);
  return [0, 5, 10, 15].map((at) => letters.slice(at, at + 5).join('')).join('-');
}

const COST = { N: 2 ** 15, r: 8, p: 1 };

async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, COST);
  return `$scrypt$${COST.N}$${COST.r}$${COST.p}$${salt.toString('base64url')}$${hash.toString('base64url')}`;
}

async function checkPassword(password: string, stored: string): Promise<boolean> {
  const [, scheme, n, r, p, salt, hash] = stored.split('$');
  if (scheme !== 'scrypt' || salt === undefined || hash === undefined) return false;
  const expected = Buffer.from(hash, 'base64url');
  const seen = await derive(password, Buffer.from(salt, 'base64url'), { N: Number(n), r: Number(r), p: Number(p) });
  return seen.length === expected.length && timingSafeEqual(seen, expected);
}

function derive(password: string, salt: Buffer, cost: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, 32, { ...cost, maxmem: 64 * 1024 * 1024 }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}
