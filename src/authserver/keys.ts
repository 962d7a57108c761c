/**
 * The authorization server's keys: one ES256 signing key, and the secrets that sign cookies. Created at first start,
 * rotatable, files 0600 in a folder 0700. Promises: a rotated-out private key is gone from the disk at once, its public
 * half stays published until no token signed with it can still be valid. Does not sign anything itself.
 */
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import { Fault } from '../lib/fault.ts';

const base64url = z.string().regex(/^[\w-]{16,200}$/);
const PublicJwk = z.strictObject({
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: base64url,
  y: base64url,
  kid: base64url,
  alg: z.literal('ES256'),
  use: z.literal('sig'),
});
const PrivateJwk = PublicJwk.extend({ d: base64url });
const SigningKeys = z.strictObject({
  current: PrivateJwk,
  /** Times in milliseconds since the epoch. */
  retired: z.array(z.strictObject({ key: PublicJwk, publishUntil: z.number().int() })).max(100),
});
const CookieKeys = z.strictObject({
  current: base64url,
  retired: z.array(z.strictObject({ key: base64url, acceptUntil: z.number().int() })).max(100),
});

type PublicSigningKey = z.infer<typeof PublicJwk>;
type PrivateSigningKey = z.infer<typeof PrivateJwk>;

export interface KeyLifetimes {
  /** Longest life of anything the signing key signs. */
  readonly tokenSeconds: number;
  /** Longest life of anything the cookie key signs. */
  readonly cookieSeconds: number;
}

export interface AuthServerKeys {
  signingKey(): PrivateSigningKey;
  /** The JWKS: the current key first, then those still needed to verify what was issued before. */
  published(): readonly PublicSigningKey[];
  /** The first signs, all verify. */
  cookieKeys(): readonly string[];
  /** New signing and cookie keys from now on. Durable before it returns. */
  rotate(): void;
}

/** Allowance for clocks of verifiers that run behind ours. */
const CLOCK_SKEW_MS = 60_000;

/** Reads `dataDir/keys`, creating what is missing. @throws Fault `authserver_keys_unusable` (never creates new keys over unreadable ones). */
export function openKeys(dataDir: string, lifetimes: KeyLifetimes, clock: Clock): AuthServerKeys {
  const folder = join(dataDir, 'keys');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const signing = keyFile(folder, 'signing-keys.json', SigningKeys, () => ({ current: newSigningKey(), retired: [] }));
  const cookies = keyFile(folder, 'cookie-keys.json', CookieKeys, () => ({ current: newCookieKey(), retired: [] }));
  return {
    signingKey: () => signing.value.current,
    published: () => [
      publicHalf(signing.value.current),
      ...signing.value.retired.filter((old) => old.publishUntil > clock.now()).map((old) => old.key),
    ],
    cookieKeys: () => [
      cookies.value.current,
      ...cookies.value.retired.filter((old) => old.acceptUntil > clock.now()).map((old) => old.key),
    ],
    rotate: () => {
      const now = clock.now();
      const publishUntil = now + lifetimes.tokenSeconds * 1_000 + CLOCK_SKEW_MS;
      const acceptUntil = now + lifetimes.cookieSeconds * 1_000;
      // CRASH: between the two files only one kind is rotated; each file is whole, and rotating again is harmless.
      signing.replace({
        current: newSigningKey(),
        retired: [
          { key: publicHalf(signing.value.current), publishUntil },
          ...signing.value.retired.filter((old) => old.publishUntil > now),
        ],
      });
      cookies.replace({
        current: newCookieKey(),
        retired: [
          { key: cookies.value.current, acceptUntil },
          ...cookies.value.retired.filter((old) => old.acceptUntil > now),
        ],
      });
    },
  };
}

function newSigningKey(): PrivateSigningKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x, y, d } = privateKey.export({ format: 'jwk' });
  // RFC 7638: the thumbprint of the required members in lexical order names the key.
  const kid = createHash('sha256')
    .update(JSON.stringify({ crv: 'P-256', kty: 'EC', x, y }))
    .digest('base64url');
  return PrivateJwk.parse({ kty: 'EC', crv: 'P-256', x, y, d, kid, alg: 'ES256', use: 'sig' });
}

const newCookieKey = (): string => randomBytes(32).toString('base64url');

const publicHalf = ({ kty, crv, x, y, kid, alg, use }: PrivateSigningKey): PublicSigningKey => ({
  kty,
  crv,
  x,
  y,
  kid,
  alg,
  use,
});

function keyFile<T>(folder: string, name: string, schema: z.ZodType<T>, create: () => T) {
  const path = join(folder, name);
  let value: T;
  const replace = (next: T): void => {
    writeWhole(folder, path, JSON.stringify(next));
    value = next;
  };
  if (existsSync(path)) {
    try {
      value = schema.parse(JSON.parse(readFileSync(path, 'utf8')));
    } catch {
      // The cause would quote the file, and the file is secret.
      throw new Fault('authserver_keys_unusable', `${path} cannot be read as a key file; restore it from a backup`);
    }
    chmodSync(path, 0o600);
  } else {
    replace(create());
  }
  return {
    get value(): T {
      return value;
    },
    replace,
  };
}

/** CRASH: either the old file or the new one is there, whole: written aside, synced, renamed, folder synced. */
function writeWhole(folder: string, path: string, text: string): void {
  const aside = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const file = openSync(aside, 'wx', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(aside, path);
  const directory = openSync(folder, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
