/**
 * The process that container-leftovers.ts starts. When its standard input ends, the gateway is gone: it ends and removes what carries the
 * labels it was given, and looks again until nothing comes after (a start may have been under way), then ends itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ask, remove } from './container-engine.ts';

const Told = z.strictObject({
  engine: z.strictObject({
    kind: z.enum(['podman', 'docker']),
    program: z.string(),
    runtime: z.string().exactOptional(),
  }),
  labels: z.array(z.string()).min(1),
});

const ROUNDS = 20;
const QUIET_ROUNDS = 6;
const PAUSE_MS = 500;

const { engine, labels } = Told.parse(JSON.parse(process.argv[2] ?? ''));

// A service manager that ends everything of the gateway asks us first.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => process.stdin.destroy());
await new Promise((resolve) => process.stdin.on('close', resolve).on('error', resolve).resume());

let quiet = 0;
for (let round = 0; round < ROUNDS && quiet < QUIET_ROUNDS; round++) {
  try {
    const filters = labels.flatMap((label) => ['--filter', `label=${label}`]);
    const ids = (await ask(engine, ['ps', '-a', '-q', '--no-trunc', ...filters]))
      .split('\n')
      .filter((id) => /^[0-9a-f]{64}$/.test(id));
    await remove(engine, ...ids);
    quiet = ids.length === 0 ? quiet + 1 : 0;
  } catch {
    quiet = 0;
  }
  await sleep(PAUSE_MS);
}
