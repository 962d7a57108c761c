/** Evaluation users: generated passwords, one answer for every refusal, throttling that a stranger cannot turn on the owner. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDatabase } from '../../src/authserver/database.ts';
import { createEvaluationUsers, evaluationDirectory, listEvaluationUsers } from '../../src/authserver/users.ts';
import { manualClock } from '../../src/lib/clock.ts';

const ADA = { username: 'ada', name: 'Ada Lovelace', email: 'ada@example.com' };
let folder: string;
let db: DatabaseSync;
const clock = manualClock(1_700_000_000_000);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remit-authusers-'));
  db = openDatabase(folder);
});
afterEach(() => {
  if (db.isOpen) db.close();
  rmSync(folder, { recursive: true, force: true });
});

const create = async () => {
  const [user] = await createEvaluationUsers(db, [ADA], clock);
  if (user === undefined) throw new Error('no user');
  return user;
};

test('a user signs in with the generated password and is found by subject', async () => {
  const user = await create();
  expect(user.password).toMatch(/^([0-9a-z]{5}-){3}[0-9a-z]{5}$/);
  const directory = evaluationDirectory(db, clock);
  const person = { sub: user.sub, name: 'Ada Lovelace', email: 'ada@example.com' };
  expect(await directory.authenticate({ username: 'ada', password: user.password, address: 'a' })).toEqual(person);
  expect(await directory.find(user.sub)).toEqual(person);
  expect(await directory.find('person_nobody')).toBeNull();
  expect(listEvaluationUsers(db)).toEqual([{ ...ADA, sub: user.sub }]);
});

test.for([
  ['a wrong password', 'ada', 'wrong'],
  ['an unknown name', 'eve', 'wrong'],
  ['another spelling of the name', 'ADA', 'wrong'],
  ['SQL', `' OR 1=1 --`, 'wrong'],
] as const)('%s is refused with null', async ([, username, password]) => {
  await create();
  expect(await evaluationDirectory(db, clock).authenticate({ username, password, address: 'a' })).toBeNull();
});

test('the password is not on the disk', async () => {
  const user = await create();
  expect(readFileSync(join(folder, 'authserver.db-wal'), 'latin1')).toContain('$scrypt$32768$8$1$');
  for (const file of ['authserver.db', 'authserver.db-wal'])
    expect(readFileSync(join(folder, file), 'latin1')).not.toContain(user.password);
});

test('after five failures from one address the right password is refused there, and works elsewhere and later', async () => {
  const user = await create();
  const directory = evaluationDirectory(db, clock);
  const right = (address: string) => directory.authenticate({ username: 'ada', password: user.password, address });
  for (let i = 0; i < 5; i++)
    await directory.authenticate({ username: 'ada', password: `wrong ${i}`, address: 'attacker' });
  expect(await right('attacker')).toBeNull();
  expect(await right('owner')).toMatchObject({ sub: user.sub });
  clock.advance(15 * 60_000);
  expect(await right('attacker')).toMatchObject({ sub: user.sub });
});

test('vulnerable twin: a directory without a memory of failures lets the sixth guess in', async () => {
  const user = await create();
  for (let i = 0; i < 5; i++)
    await evaluationDirectory(db, clock).authenticate({ username: 'ada', password: 'wrong', address: 'attacker' });
  expect(
    await evaluationDirectory(db, clock).authenticate({
      username: 'ada',
      password: user.password,
      address: 'attacker',
    }),
  ).not.toBeNull();
});

test('a flood of guesses is turned away without hashing them all', async () => {
  const user = await create();
  const directory = evaluationDirectory(db, clock);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      directory.authenticate({ username: 'ada', password: user.password, address: `a${i}` }),
    ),
  );
  expect(answers.filter((answer) => answer !== null)).toHaveLength(8);
});

test('users are created all or none; what is wrong is named', async () => {
  await expect(
    createEvaluationUsers(
      db,
      [
        { ...ADA, username: 'Ada L' },
        { ...ADA, email: 'nonsense' },
      ],
      clock,
    ),
  ).rejects.toMatchObject({
    code: 'user_invalid',
    message:
      'users.0.username: lower-case letters, digits, dot, dash, underscore; at most 64\nusers.1.email: Invalid email address',
  });
  await create();
  await expect(createEvaluationUsers(db, [{ ...ADA, username: 'bob' }, ADA], clock)).rejects.toMatchObject({
    code: 'user_exists',
    message: 'the user ada exists already',
  });
  expect(listEvaluationUsers(db)).toHaveLength(1);
});
