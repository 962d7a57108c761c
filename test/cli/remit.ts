/** Runs the command line as a child process, as a person would. Time-bounded; leaves nothing behind. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { OWN_ENV } from '../support/processes.ts';

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** Standard output as JSON. */
  json(): Record<string, unknown>;
}

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
  /** Sees standard error while it comes. */
  readonly onErr?: (soFar: string) => void;
}

/** Nothing of the environment is passed on but what `OWN_ENV` says; HOME must be given by tests that store anything. */
export function remit(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: options.cwd,
    env: { ...OWN_ENV, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 60_000,
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
    options.onErr?.(err);
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err, json: () => JSON.parse(out) as Record<string, unknown> }));
  });
}
