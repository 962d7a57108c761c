/** Server records and pools for tests: the real launcher, the real dialler, this repository mounted read-only at /repo. */
import { join } from 'node:path';
import { systemClock } from '../../../src/lib/clock.ts';
import { bubblewrapBackend } from '../../../src/sandbox/bubblewrap.ts';
import { serverLauncher } from '../../../src/sandbox/launch.ts';
import { type ServerAccounts, serverAccounts } from '../../../src/upstream/oauth/accounts.ts';
import { type PoolOptions, upstreamPool } from '../../../src/upstream/pool.ts';
import { resolveSecret } from '../../../src/upstream/secrets.ts';
import type {
  HttpTarget,
  ServerTarget,
  SseTarget,
  StdioTarget,
  UpstreamEvent,
  UpstreamPool,
} from '../../../src/upstream/target.ts';

export const REPOSITORY = join(import.meta.dirname, '..', '..', '..');

export interface TestPool extends UpstreamPool {
  readonly events: readonly UpstreamEvent[];
  readonly accounts: ServerAccounts;
}

/** One backend for a test file: probing it takes two processes. */
export const backend = bubblewrapBackend({ graceMs: 400, watchMs: 50 });

export function testPool(options: Partial<PoolOptions> = {}): TestPool {
  const events: UpstreamEvent[] = [];
  const clock = options.clock ?? systemClock;
  const resolving: PoolOptions['resolveSecret'] = (reference) => resolveSecret(reference, process.env);
  const accounts = options.accounts ?? serverAccounts({ clock, resolveSecret: resolving });
  const pool = upstreamPool({
    clock,
    startProcess: serverLauncher(backend),
    resolveSecret: resolving,
    accounts,
    log: (event) => void events.push(event),
    probeTimeoutMs: 10_000,
    ...options,
  });
  return { ...pool, events, accounts };
}

export const httpServer = (url: string, upstream: Partial<HttpTarget> = {}, timeoutMs = 10_000): ServerTarget => ({
  timeoutMs,
  upstream: { transport: 'http', url, era: 'auto', allowedNetworks: ['127.0.0.1/32'], headers: [], ...upstream },
});

export const sseServer = (url: string, upstream: Partial<SseTarget> = {}, timeoutMs = 10_000): ServerTarget => ({
  timeoutMs,
  upstream: { transport: 'sse', url, era: 'legacy', allowedNetworks: ['127.0.0.1/32'], headers: [], ...upstream },
});

export const LIMITS = {
  memoryMb: 512,
  processes: 64,
  cpuSeconds: 60,
  outputBytes: 1_000_000,
  openFiles: 256,
  cpuPercent: 100,
};

/** `program` is a file of this repository, or a whole command. */
export const stdioServer = (
  program: string | readonly string[],
  upstream: Partial<StdioTarget> = {},
  timeoutMs = 10_000,
): ServerTarget => ({
  timeoutMs,
  upstream: {
    transport: 'stdio',
    command: typeof program === 'string' ? ['node', `/repo/${program}`] : program,
    era: 'auto',
    env: {},
    network: 'none',
    egress: [],
    egressNetworks: [],
    limits: LIMITS,
    ...upstream,
    mounts: [
      ...(typeof program === 'string' ? [{ from: REPOSITORY, to: '/repo', mode: 'read' as const }] : []),
      ...(upstream.mounts ?? []),
    ],
  },
});

export const SINK_PROGRAM = 'test/support/upstreams/stdio-sink.ts';

/** Polls until it holds; fails after `ms`, which is less than a call of `startRig` may take, with what was waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
