/**
 * Stored sign-ins: one file under $XDG_CONFIG_HOME/remit, readable by its owner only, written whole or not at all.
 * Holds refresh and access tokens per admin URL. Never printed, never passed in an argument vector.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { CliFailure } from './failure.ts';

const Login = z.strictObject({
  issuer: z.string(),
  clientId: z.string(),
  resource: z.string(),
  accessToken: z.string(),
  /** ms since the epoch. */
  expiresAt: z.number(),
  refreshToken: z.string().nullable(),
  scope: z.string(),
});
export type Login = z.infer<typeof Login>;

const Credentials = z.strictObject({
  /** Admin URL that commands use when none is named. */
  current: z.string().nullable(),
  logins: z.record(z.string(), Login),
});
export type Credentials = z.infer<typeof Credentials>;

type Env = Readonly<Record<string, string | undefined>>;

export function credentialsFile(env: Env): string {
  const base = env['XDG_CONFIG_HOME'] ?? join(env['HOME'] ?? homedir(), '.config');
  return join(base, 'remit', 'credentials.json');
}

/** What is stored; empty when there is no file. @throws CliFailure when the file is readable by others or damaged. */
export function readCredentials(env: Env): Credentials {
  const file = credentialsFile(env);
  let text: string;
  try {
    if ((statSync(file).mode & 0o077) !== 0)
      throw new CliFailure(
        'failed',
        `${file} can be read by other users.`,
        `Run: chmod 600 ${file}, then \`remit login\` again.`,
      );
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { current: null, logins: {} };
    throw error;
  }
  try {
    return Credentials.parse(JSON.parse(text));
  } catch {
    throw new CliFailure('failed', `${file} is damaged.`, 'Remove it and run `remit login` again.');
  }
}

export function writeCredentials(env: Env, credentials: Credentials): void {
  const file = credentialsFile(env);
  const folder = join(file, '..');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const draft = `${file}.${process.pid}`;
  try {
    writeFileSync(draft, JSON.stringify(credentials, null, 2), { mode: 0o600, flag: 'wx' });
    renameSync(draft, file);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}
