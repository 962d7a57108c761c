/**
 * Load on one MCP endpoint, bounded in time: closed loop (a fixed number of callers, each waits for its answer) and
 * open loop (calls start on a schedule; latency counts from when a call was due, so a stall is not hidden).
 */
import { Pool } from 'undici';
import { bodyOf, headersOf, isGood } from './calls.ts';
import type { Target } from './calls.ts';

export interface Measured {
  readonly calls: number;
  readonly failures: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

function caller(target: Target, connections: number): { call(n: number): Promise<boolean>; close(): Promise<void> } {
  const url = new URL(target.url);
  const pool = new Pool(url.origin, { connections, pipelining: 1 });
  const headers = headersOf(target);
  return {
    async call(n) {
      const response = await pool.request({ path: url.pathname, method: 'POST', headers, body: bodyOf(target, n) });
      const text = await response.body.text();
      return response.statusCode === 200 && isGood(target, text, n);
    },
    close: () => pool.close(),
  };
}

/** One request after the other, on one connection; ms each. */
export async function oneByOne(
  target: Target,
  times: number,
  before: (n: number) => Promise<void>,
): Promise<{ readonly ms: readonly number[]; readonly failures: number }> {
  const { call, close } = caller(target, 1);
  const ms: number[] = [];
  let failures = 0;
  for (let n = 0; n < times; n++) {
    await before(n);
    const from = performance.now();
    if (!(await call(n))) failures++;
    ms.push(performance.now() - from);
  }
  await close();
  return { ms, failures };
}

export async function closedLoop(target: Target, callers: number, ms: number): Promise<Measured> {
  const { call, close } = caller(target, callers);
  const times: number[] = [];
  let failures = 0;
  let n = 0;
  const startedAt = performance.now();
  const until = startedAt + ms;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < until) {
        const from = performance.now();
        if (!(await call(n++))) failures++;
        times.push(performance.now() - from);
      }
    }),
  );
  const tookMs = performance.now() - startedAt;
  await close();
  return summary(times, failures, tookMs);
}

const CONNECTIONS = 128;

export async function openLoop(
  target: Target,
  perSecond: number,
  ms: number,
  connections = CONNECTIONS,
): Promise<Measured> {
  const { call, close } = caller(target, connections);
  const times: number[] = [];
  let failures = 0;
  const running = new Set<Promise<void>>();
  // Opening a hundred connections at once is another question than the latency of a call on an open one.
  await Promise.all(Array.from({ length: connections }, (_, n) => call(n)));
  const startedAt = performance.now();
  const total = Math.floor((perSecond * ms) / 1000);
  for (let n = 0; n < total;) {
    const due = startedAt + (n * 1000) / perSecond;
    if (performance.now() < due) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      continue;
    }
    const one = call(n).then((good) => {
      if (!good) failures++;
      times.push(performance.now() - due);
    });
    running.add(one);
    void one.finally(() => running.delete(one));
    n++;
  }
  await Promise.all(running);
  const tookMs = performance.now() - startedAt;
  await close();
  return summary(times, failures, tookMs);
}

function summary(times: number[], failures: number, tookMs: number): Measured {
  times.sort((a, b) => a - b);
  const at = (q: number): number =>
    Math.round((times[Math.min(times.length - 1, Math.floor(times.length * q))] ?? 0) * 100) / 100;
  return {
    calls: times.length,
    failures,
    perSecond: Math.round((times.length * 1000) / tookMs),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    p999Ms: at(0.999),
  };
}
