/** The log key on disk: made once, readable by its owner only, rotated without losing the ability to check the past. */
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { loadLogKey, loadOrCreateLogKey, rotateLogKey, signerOf } from '../../src/audit/keys.ts';
import { checkNote, parseNote } from '../../src/verify/note.ts';
import { ORIGIN, tempDir } from './fixtures.ts';

test('a new key is readable by its owner only, has its vkey beside it, and is the same at the next start', async () => {
  const dir = join(tempDir(), 'keys');
  const made = await loadOrCreateLogKey(dir, ORIGIN);
  const again = await loadOrCreateLogKey(dir, ORIGIN);
  expect(again.vkey.text).toBe(made.vkey.text);
  expect(statSync(join(dir, 'log.key')).mode & 0o777).toBe(0o600);
  expect(readFileSync(join(dir, 'log.vkey'), 'utf8')).toBe(`${made.vkey.text}\n`);
  expect(readdirSync(dir).toSorted()).toEqual(['log.key', 'log.vkey']);
});

test('two processes that start at once end with one key', async () => {
  const dir = join(tempDir(), 'keys');
  const signers = await Promise.all([loadOrCreateLogKey(dir, ORIGIN), loadOrCreateLogKey(dir, ORIGIN)]);
  expect(new Set(signers.map(({ vkey }) => vkey.text)).size).toBe(1);
});

test('a key that others can read is refused with the remedy', async () => {
  const dir = tempDir();
  await loadOrCreateLogKey(dir, ORIGIN);
  chmodSync(join(dir, 'log.key'), 0o640);
  await expect(loadOrCreateLogKey(dir, ORIGIN)).rejects.toMatchObject({
    code: 'key_permissions',
    message: expect.stringContaining('chmod 600'),
  });
});

test('a damaged key is never replaced by a new one', async () => {
  const dir = tempDir();
  writeFileSync(join(dir, 'log.key'), 'nonsense', { mode: 0o600 });
  await expect(loadOrCreateLogKey(dir, ORIGIN)).rejects.toMatchObject({
    code: 'key_unreadable',
    message: expect.stringContaining('is not a PKCS8 private key'),
  });
  expect(readFileSync(join(dir, 'log.key'), 'utf8')).toBe('nonsense');
});

test('a missing key is not made by loading', async () => {
  await expect(loadLogKey(tempDir(), ORIGIN)).rejects.toMatchObject({ code: 'key_unreadable' });
});

test('a key of another type is refused', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  expect(() => signerOf(ORIGIN, privateKey)).toThrow('the log key is not an Ed25519 private key');
});

test('after a rotation new notes verify with the new key, old ones with the retired one, and the old private key is gone', async () => {
  const dir = tempDir();
  const before = await loadOrCreateLogKey(dir, ORIGIN);
  const oldPem = readFileSync(join(dir, 'log.key'), 'utf8');
  const oldNote = parseNote(before.sign('before\n'));
  const after = await rotateLogKey(dir, ORIGIN);
  expect(after.vkey.text).not.toBe(before.vkey.text);
  expect(after.retired.map(({ text }) => text)).toEqual([before.vkey.text]);
  expect(checkNote(oldNote, after.retired).ok).toBe(true);
  expect(checkNote(oldNote, [after.vkey]).ok).toBe(false);
  expect(checkNote(parseNote(after.sign('after\n')), [after.vkey]).ok).toBe(true);
  for (const file of readdirSync(dir))
    expect(readFileSync(join(dir, file), 'utf8')).not.toContain(oldPem.split('\n')[1]);
  expect(statSync(join(dir, 'log.key')).mode & 0o777).toBe(0o600);
});

test('a rotation that stopped half way leaves the old key in use and not retired', async () => {
  const dir = tempDir();
  const { vkey } = await loadOrCreateLogKey(dir, ORIGIN);
  writeFileSync(join(dir, 'retired.vkeys'), `${vkey.text}\n`);
  const signer = await loadLogKey(dir, ORIGIN);
  expect(signer.vkey.text).toBe(vkey.text);
  expect(signer.retired).toEqual([]);
});
