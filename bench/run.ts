/**
 * `npm run bench`: one tools/call, four legs in turn in one run: direct to the upstream, through a bare node:http + undici proxy,
 * through Remit for a read-only tool (one durable entry a call) and for a writing one (intent and outcome: two).
 * Prints throughput, latency, CPU per call and memory, and the ratios to the bare proxy. `--write` keeps them as bench/baseline.json.
 * CPU is what the process used in all its threads (/proc/PID/stat), so Linux only; on a shared machine trust ratios, not milliseconds.
 */
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { closedLoop, openLoop } from './load.ts';
import type { Measured, Target } from './load.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 8);
const ROUND_MS = Number(process.env['BENCH_ROUND_MS'] ?? 1_500);
/** Long enough that most of what runs is compiled: before that, half of the CPU is the compiler's. */
const WARMUP_MS = Number(process.env['BENCH_WARMUP_MS'] ?? 8_000);
const CALLERS = 32;
const TICKS_PER_SECOND = 100;

interface Leg {
  readonly name: string;
  readonly target: Target;
  readonly child: ChildProcess;
  readonly closed: Measured[];
  readonly open: Measured[];
  readonly cpuUs: number[];
  rssMb: number;
}

async function start(
  script: string,
  ...args: string[]
): Promise<{ child: ChildProcess; url: string; token: string | null }> {
  const child = fork(join(import.meta.dirname, script), args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const [ready] = (await once(child, 'message')) as [{ url: string; token?: string }];
  return { child, url: ready.url, token: ready.token ?? null };
}

function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

function rssMb(pid: number): number {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024);
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
const pick = (runs: readonly Measured[], key: keyof Measured): number => median(runs.map((run) => run[key]));
const round = (value: number, digits = 2): number => Number(value.toFixed(digits));

/** What else the machine was doing: with more than one or two here, the figures are a lower bound of what is possible. */
const loadBefore = round(loadavg()[0] ?? 0);
const upstream = await start('upstream.ts');
const parts = [
  { name: 'direct', ...upstream },
  { name: 'proxy', ...(await start('proxy.ts', upstream.url)) },
  { name: 'remit read', ...(await start('gateway.ts', upstream.url, 'read')) },
  { name: 'remit write', ...(await start('gateway.ts', upstream.url, 'write')) },
];
const legs: Leg[] = parts.map(({ name, url, token, child }) => ({
  name,
  target: { url, token },
  child,
  closed: [],
  open: [],
  cpuUs: [],
  rssMb: 0,
}));

process.stderr.write(`warming up ${legs.length} legs …\n`);
for (const leg of legs) await closedLoop(leg.target, CALLERS, WARMUP_MS);

for (let turn = 0; turn < ROUNDS; turn++) {
  for (const leg of legs) {
    const before = cpuTicks(leg.child.pid!);
    const measured = await closedLoop(leg.target, CALLERS, ROUND_MS);
    leg.cpuUs.push(((cpuTicks(leg.child.pid!) - before) * (1_000_000 / TICKS_PER_SECOND)) / measured.calls);
    leg.closed.push(measured);
    leg.rssMb = rssMb(leg.child.pid!);
    process.stderr.write(`closed ${turn + 1}/${ROUNDS} ${leg.name}: ${measured.perSecond}/s\n`);
  }
}
// Half of what the slowest leg can do, the same for all: at that load waiting comes from the path, not from the queue.
const rate = Math.floor(Math.min(...legs.map((leg) => pick(leg.closed, 'perSecond'))) / 2);
for (let turn = 0; turn < ROUNDS; turn++) {
  for (const leg of legs) leg.open.push(await openLoop(leg.target, rate, ROUND_MS));
  process.stderr.write(`open ${turn + 1}/${ROUNDS} at ${rate}/s\n`);
}
for (const { child } of legs) {
  const gone = once(child, 'exit');
  child.disconnect();
  await gone;
}

const proxy = legs.find(({ name }) => name === 'proxy')!;
/** Turn against the proxy's same turn, then the median: what else the machine does changes from turn to turn and hits both. */
const against = (mine: readonly number[], theirs: readonly number[], how: (a: number, b: number) => number): number =>
  round(median(mine.map((value, turn) => how(value, theirs[turn]!))));
const ratio = (a: number, b: number): number => a / b;
const difference = (a: number, b: number): number => a - b;
const each = (runs: readonly Measured[], key: keyof Measured): number[] => runs.map((run) => run[key]);
const rows = legs.map((leg) => ({
  leg: leg.name,
  perSecond: pick(leg.closed, 'perSecond'),
  p50Ms: pick(leg.closed, 'p50Ms'),
  p99Ms: pick(leg.closed, 'p99Ms'),
  p999Ms: pick(leg.closed, 'p999Ms'),
  cpuUsPerCall: Math.round(median(leg.cpuUs)),
  rssMb: leg.rssMb,
  failures: [...leg.closed, ...leg.open].reduce((sum, run) => sum + run.failures, 0),
  openP50Ms: pick(leg.open, 'p50Ms'),
  openP99Ms: pick(leg.open, 'p99Ms'),
  throughputOfProxy: against(each(leg.closed, 'perSecond'), each(proxy.closed, 'perSecond'), ratio),
  cpuOfProxy: against(leg.cpuUs, proxy.cpuUs, ratio),
  addedP50Ms: against(each(leg.open, 'p50Ms'), each(proxy.open, 'p50Ms'), difference),
  addedP99Ms: against(each(leg.open, 'p99Ms'), each(proxy.open, 'p99Ms'), difference),
}));

console.table(rows);
const read = rows.find(({ leg }) => leg === 'remit read')!;
const figures = [
  ['CPU per call, of the bare proxy', read.cpuOfProxy, 'at most 2', read.cpuOfProxy <= 2],
  ['throughput, of the bare proxy', read.throughputOfProxy, 'at least 0.5', read.throughputOfProxy >= 0.5],
  ['added p50 at half load, ms', read.addedP50Ms, 'under 2', read.addedP50Ms < 2],
  ['added p99 at half load, ms', read.addedP99Ms, 'under 8', read.addedP99Ms < 8],
] as const;
for (const [what, value, wanted, met] of figures)
  console.log(`${met ? 'met   ' : 'MISSED'}  ${what}: ${value} (${wanted})`);
if (process.argv.includes('--write')) {
  const machine = { node: process.version, cores: cpus().length, model: cpus()[0]?.model ?? 'unknown', loadBefore };
  writeFileSync(
    join(import.meta.dirname, 'baseline.json'),
    `${JSON.stringify({ machine, callers: CALLERS, warmupMs: WARMUP_MS, rounds: ROUNDS, roundMs: ROUND_MS, openRate: rate, rows }, null, 2)}\n`,
  );
}
