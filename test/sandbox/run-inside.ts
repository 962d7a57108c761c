/** Runs one specification in the bubblewrap backend and prints what came of it: to see the backend from another host user. Standard input: the specification (JSON). */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { SandboxSpec } from '../../src/sandbox/backend.ts';
import { type BubblewrapOptions, bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';

export interface Ran {
  readonly out: string;
  readonly err: string;
  readonly exit: { readonly code: number | null; readonly signal: string | null; readonly reason?: string };
}

/** To the end, or for `ms`; with nothing on its input. */
export async function runInside(spec: SandboxSpec, options: BubblewrapOptions = {}, ms = 20_000): Promise<Ran> {
  const process = await bubblewrapBackend({ graceMs: 300, watchMs: 50, ...options }).start(spec);
  let out = '';
  let err = '';
  process.stdout.on('data', (chunk: Buffer) => (out += chunk.toString('utf8')));
  process.stderr.on('data', (chunk: Buffer) => (err += chunk.toString('utf8')));
  const late = setTimeout(() => void process.stop('test is over'), ms);
  const [exit] = await Promise.all([process.exited, once(process.stdout, 'close'), once(process.stderr, 'close')]);
  clearTimeout(late);
  return { out, err, exit };
}

if (import.meta.main) {
  const spec = JSON.parse(readFileSync(0, 'utf8')) as SandboxSpec;
  process.stdout.write(JSON.stringify(await runInside(spec)));
}
