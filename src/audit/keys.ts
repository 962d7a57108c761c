/**
 * The key that signs a log's checkpoints: Ed25519, used for nothing else, PKCS8 in a file only its owner reads, named by the log's origin.
 * Beside it `log.vkey` (what auditors get) and `retired.vkeys` (so that checkpoints of earlier keys stay checkable).
 * Not here: the `key` entries that creation and rotation leave in the log; `openAuditLog` writes those.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { mkdir, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isFault } from '../lib/fault.ts';
import { formatNote, parseVkey, vkeyOf } from '../verify/note.ts';
import type { Vkey } from '../verify/note.ts';
import { AuditFault } from './audit-log.ts';
import { replaceFile, syncDirectory } from './durable-file.ts';

export interface LogSigner {
  readonly vkey: Vkey;
  /** Earlier keys of the same log, oldest first. */
  readonly retired: readonly Vkey[];
  /** A note: the text with our signature under it. */
  sign(text: string): string;
}

const KEY_FILE = 'log.key';
const VKEY_FILE = 'log.vkey';
const RETIRED_FILE = 'retired.vkeys';

/** @throws AuditFault `key_unreadable` when it is not an Ed25519 private key. */
export function signerOf(origin: string, privateKey: KeyObject, retired: readonly Vkey[] = []): LogSigner {
  if (privateKey.type !== 'private' || privateKey.asymmetricKeyType !== 'ed25519') {
    throw new AuditFault('key_unreadable', 'the log key is not an Ed25519 private key');
  }
  const vkey = vkeyOf(origin, createPublicKey(privateKey));
  return {
    vkey,
    // A crash during rotation may have retired the key that is still in use.
    retired: retired.filter(({ text }) => text !== vkey.text),
    sign: (text) => formatNote(text, vkey, sign(null, Buffer.from(text), privateKey)),
  };
}

/** Loads the key of a log from its directory, or makes one on the first start. @throws AuditFault when a key is there and unusable. */
export async function loadOrCreateLogKey(dir: string, origin: string): Promise<LogSigner> {
  try {
    return await loadLogKey(dir, origin);
  } catch (error) {
    if (!isFault(error, 'key_unreadable') || !isMissing(error.cause)) throw error;
  }
  await mkdir(dir, { recursive: true, mode: 0o700 });
  try {
    await replaceFile(join(dir, KEY_FILE), newKeyPem(), { mode: 0o600, exclusive: true });
    await syncDirectory(dir);
  } catch (error) {
    // Another process was faster: its key is the key.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  return await loadLogKey(dir, origin);
}

/** @throws AuditFault `key_unreadable` (cause: the file system's error), `key_permissions` when others could read it. */
export async function loadLogKey(dir: string, origin: string): Promise<LogSigner> {
  const path = join(dir, KEY_FILE);
  const key = await readKey(path);
  const retired = await readVkeys(join(dir, RETIRED_FILE));
  const signer = signerOf(origin, key, retired);
  const vkeyText = `${signer.vkey.text}\n`;
  const beside = await readFile(join(dir, VKEY_FILE), 'utf8').catch(() => null);
  if (beside !== vkeyText) {
    await replaceFile(join(dir, VKEY_FILE), vkeyText);
    await syncDirectory(dir);
  }
  return signer;
}

/**
 * Replaces the key. The old private key is gone afterwards; its verifier key joins `retired.vkeys`. Do this while the gateway is stopped:
 * the next `openAuditLog` records the rotation in the log.
 * CRASH: the old verifier key is retired before the new key is in place; a key found in both places counts as in use.
 */
export async function rotateLogKey(dir: string, origin: string): Promise<LogSigner> {
  const before = await loadLogKey(dir, origin);
  const retired = [...before.retired, before.vkey].map(({ text }) => `${text}\n`).join('');
  await replaceFile(join(dir, RETIRED_FILE), retired);
  await syncDirectory(dir);
  await replaceFile(join(dir, KEY_FILE), newKeyPem(), { mode: 0o600 });
  await syncDirectory(dir);
  return await loadLogKey(dir, origin);
}

function newKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

async function readKey(path: string): Promise<KeyObject> {
  let pem: string;
  try {
    const file = await open(path, 'r');
    try {
      const { mode } = await file.stat();
      if ((mode & 0o077) !== 0) {
        throw new AuditFault('key_permissions', `${path} can be read by others: run chmod 600 on it, then rotate it`);
      }
      pem = await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof AuditFault) throw cause;
    throw new AuditFault('key_unreadable', `the log key ${path} cannot be read`, { cause });
  }
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new AuditFault('key_unreadable', `the log key ${path} is not a PKCS8 private key`, { cause });
  }
}

async function readVkeys(path: string): Promise<Vkey[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return [];
    throw new AuditFault('key_unreadable', `${path} cannot be read`, { cause: error });
  }
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseVkey);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
