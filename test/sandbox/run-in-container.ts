/** Runs one specification in a container and prints what came of it: a gateway that can be killed. Argument: the backend's options; standard input: the specification (JSON). */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IsolationBackend, SandboxSpec } from '../../src/sandbox/backend.ts';
import { type ContainerOptions, containerBackend } from '../../src/sandbox/container.ts';
import type { Ran } from './run-inside.ts';

/** To the end, or for `ms`; with nothing on its input. */
export async function runInContainer(spec: SandboxSpec, backend: IsolationBackend, ms = 20_000): Promise<Ran> {
  const process = await backend.start(spec);
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
  const options = JSON.parse(process.argv[2] ?? '') as ContainerOptions;
  process.stdout.write(JSON.stringify(await runInContainer(spec, containerBackend(options))));
}
