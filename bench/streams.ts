/**
 * Streams that stay open: what a thousand of each kind cost in memory and in idle CPU, how long a change takes to reach all of them,
 * and what a call costs meanwhile. All of one gateway; its streams belong to people with 50 each, as its limits want.
 */
import { Agent, request } from 'node:http';
import type { ClientRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { LISTEN, openSession } from './calls.ts';
import type { Child } from './child.ts';
import type { GatewayReady } from './gateway.ts';
import { openLoop } from './load.ts';

export const STREAMS = 1_000;
const PER_PERSON = 50;
/** People with streams, of both kinds. */
export const STREAM_PEOPLE = (2 * STREAMS) / PER_PERSON;
const OPENING_AT_ONCE = 50;
const CHANGES = 4;
/** Changes within a second are told as one. */
const APART_MS = 1_500;
const CHANGE_WITHIN_MS = 10_000;
const CALLS_PER_SECOND = 100;
const CALLS_MS = 2_500;
const IDLE_MS = 6_000;

interface Memory {
  readonly rss: number;
  readonly heap: number;
  readonly external: number;
}

export interface StreamFigures {
  readonly streams: number;
  readonly kbPerListen: { readonly rss: number; readonly heap: number };
  readonly kbPerGet: { readonly rss: number; readonly heap: number };
  /** Of one core, with all streams open and no call. */
  readonly idlePercent: number;
  /** From the moment a change is asked for until the first, and the last, of all streams has heard of it; medians. */
  readonly changeFirstMs: number;
  readonly changeAllMs: number;
  readonly callP50Ms: { readonly without: number; readonly with: number };
  readonly callP99Ms: { readonly without: number; readonly with: number };
  /** Kept of the heap per stream once all are closed. */
  readonly leftKb: number;
  /** Streams that did not open, changes that did not arrive in time, calls that failed. */
  readonly failures: number;
}

const kb = (bytes: number, of: number): number => Math.round((bytes / 1024 / of) * 10) / 10;
const middle = (values: readonly number[]): number =>
  Math.round(values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]! * 10) / 10;

export async function measureStreams(gateway: Child<GatewayReady>): Promise<StreamFigures> {
  const { url, tokens } = gateway.ready;
  const { hostname, port, pathname: path } = new URL(url);
  const agent = new Agent({ keepAlive: false, maxSockets: Number.POSITIVE_INFINITY });
  const open: ClientRequest[] = [];
  let heard = 0;
  let onHeard: () => void = () => undefined;
  let failures = 0;

  const openOne = (method: 'POST' | 'GET', headers: Record<string, string>, body: string): Promise<void> =>
    new Promise((resolve) => {
      const one = request({ agent, hostname, port, path, method, headers }, (response) => {
        if (response.statusCode !== 200) failures++;
        response.setEncoding('utf8').on('data', (text: string) => {
          resolve();
          if (!text.includes('tools/list_changed')) return;
          heard++;
          onHeard();
        });
        response.on('end', resolve).on('error', () => resolve());
      });
      one.on('error', () => {
        failures++;
        resolve();
      });
      one.end(body);
      open.push(one);
    });
  const openMany = async (opening: (n: number) => Promise<void>): Promise<void> => {
    for (let n = 0; n < STREAMS; n += OPENING_AT_ONCE)
      await Promise.all(Array.from({ length: OPENING_AT_ONCE }, (_, k) => opening(n + k)));
  };
  const memory = (): Promise<Memory> => gateway.ask<Memory>({ ask: 'memory' });
  const between = (a: Memory, b: Memory) => ({
    rss: kb(b.rss - a.rss, STREAMS),
    heap: kb(b.heap + b.external - a.heap - a.external, STREAMS),
  });
  const calls = async () => {
    const target = { url, token: tokens[0]!, kind: 'echo', session: null } as const;
    const measured = await openLoop(target, CALLS_PER_SECOND, CALLS_MS, 8);
    failures += measured.failures;
    return measured;
  };

  await calls(); // warm
  const before = await calls();
  const empty = await memory();
  await openMany((n) => {
    const authorization = `Bearer ${tokens[Math.floor(n / PER_PERSON)]!}`;
    return openOne('POST', { ...LISTEN.headers, authorization }, LISTEN.body);
  });
  const listening = await memory();
  await openMany(async (n) => {
    const token = tokens[Math.floor((STREAMS + n) / PER_PERSON)]!;
    const session = await openSession(url, token);
    return openOne(
      'GET',
      {
        accept: 'text/event-stream',
        'mcp-protocol-version': '2025-11-25',
        'mcp-session-id': session,
        authorization: `Bearer ${token}`,
      },
      '',
    );
  });
  const both = await memory();

  const firsts: number[] = [];
  const alls: number[] = [];
  for (let n = 0; n < CHANGES; n++) {
    await sleep(APART_MS);
    heard = 0;
    const from = performance.now();
    let first = Number.NaN;
    const all = new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        failures += 2 * STREAMS - heard;
        resolve();
      }, CHANGE_WITHIN_MS);
      onHeard = () => {
        if (heard === 1) first = performance.now() - from;
        if (heard < 2 * STREAMS) return;
        clearTimeout(timer);
        resolve();
      };
    });
    await gateway.ask({ ask: 'lock', locked: n % 2 === 0 });
    await all;
    firsts.push(first);
    alls.push(performance.now() - from);
  }

  const during = await calls();
  const cpu = gateway.cpuUs();
  await sleep(IDLE_MS);
  const idlePercent = Math.round((gateway.cpuUs() - cpu) / IDLE_MS) / 10;

  for (const one of open) one.destroy();
  await sleep(2_000);
  const after = await memory();
  agent.destroy();
  return {
    streams: 2 * STREAMS,
    kbPerListen: between(empty, listening),
    kbPerGet: between(listening, both),
    idlePercent,
    changeFirstMs: middle(firsts),
    changeAllMs: middle(alls),
    callP50Ms: { without: before.p50Ms, with: during.p50Ms },
    callP99Ms: { without: before.p99Ms, with: during.p99Ms },
    leftKb: kb(after.heap + after.external - empty.heap - empty.external, 2 * STREAMS),
    failures,
  };
}
