/**
 * `npm run bench`: what a request costs through Remit, beside the same request through a bare node:http + undici proxy, in turns of one run.
 * `LEGS` is the table of what is measured; then the first list of a thousand tools, and streams that stay open (streams.ts).
 * Prints throughput, latency, CPU per request and memory, and the ratios to the bare proxy. `--write` keeps them as bench/baseline.json.
 * CPU is what the process used in all its threads (/proc/PID/stat), so Linux only; on a shared machine trust ratios, not milliseconds.
 * Long because it is one table and one sequence.
 */
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { AGGREGATED, LONG_LIST, openSession } from './calls.ts';
import type { Kind, Target } from './calls.ts';
import { endAll, start } from './child.ts';
import type { Child } from './child.ts';
import type { GatewayPlan, GatewayReady } from './gateway.ts';
import { closedLoop, oneByOne, openLoop } from './load.ts';
import type { Measured } from './load.ts';
import { STREAM_PEOPLE, measureStreams } from './streams.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const ROUND_MS = Number(process.env['BENCH_ROUND_MS'] ?? 1_000);
/** Of each leg. Long enough that most of what runs is compiled: before that, half of the CPU is the compiler's. */
const WARMUP_MS = Number(process.env['BENCH_WARMUP_MS'] ?? 4_000);
const CALLERS = 32;
/** First lists of a thousand tools: as many times something changes, so that the kept one is void. */
const FIRST_LISTS = 10;

type Process = 'upstream' | 'long' | 'proxy' | 'proxyLong' | 'read' | 'write' | 'longRead' | 'many';
interface LegPlan {
  readonly name: string;
  readonly on: Process;
  readonly kind: Kind;
  /** The leg with the same request through the bare proxy; null: itself. */
  readonly unit: string | null;
  /** Measured in open loop, too. */
  readonly open: boolean;
}

// oxfmt-ignore
const LEGS: readonly LegPlan[] = [
  { name: 'direct',               on: 'upstream',  kind: 'echo',          unit: 'proxy',          open: true },
  { name: 'proxy',                on: 'proxy',     kind: 'echo',          unit: null,             open: true },
  { name: 'remit read',           on: 'read',      kind: 'echo',          unit: 'proxy',          open: true },
  { name: 'remit write',          on: 'write',     kind: 'echo',          unit: 'proxy',          open: true },
  { name: 'proxy session',        on: 'proxy',     kind: 'session',       unit: null,             open: false },
  { name: 'remit session',        on: 'read',      kind: 'session',       unit: 'proxy session',  open: false },
  { name: 'proxy progress',       on: 'proxy',     kind: 'progress',      unit: null,             open: false },
  { name: 'remit progress',       on: 'read',      kind: 'progress',      unit: 'proxy progress', open: false },
  { name: 'proxy prompt',         on: 'proxy',     kind: 'prompt',        unit: null,             open: false },
  { name: 'remit prompt',         on: 'read',      kind: 'prompt',        unit: 'proxy prompt',   open: false },
  { name: 'proxy resource',       on: 'proxy',     kind: 'resource',      unit: null,             open: false },
  { name: 'remit resource',       on: 'read',      kind: 'resource',      unit: 'proxy resource', open: false },
  { name: 'proxy list 1000',      on: 'proxyLong', kind: 'list',          unit: null,             open: false },
  { name: 'remit list 1000',      on: 'longRead',  kind: 'list',          unit: 'proxy list 1000', open: false },
  { name: 'remit aggregate call', on: 'many',      kind: 'aggregateEcho', unit: 'proxy',          open: false },
  { name: 'remit aggregate list', on: 'many',      kind: 'aggregateList', unit: 'proxy',          open: false },
];

interface Leg extends LegPlan {
  readonly child: Child<{ readonly url: string }>;
  readonly target: Target;
  readonly closed: Measured[];
  readonly opened: Measured[];
  readonly cpuUs: number[];
  rssMb: number;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const pick = (runs: readonly Measured[], key: keyof Measured): number => median(runs.map((run) => run[key]));
const round = (value: number, digits = 2): number => Number(value.toFixed(digits));
const say = (text: string): void => void process.stderr.write(`${text}\n`);

async function measure() {
  const upstream = await start<{ url: string }>('upstream.ts');
  const long = await start<{ url: string }>('upstream.ts', String(LONG_LIST));
  const gateway = (plan: Partial<GatewayPlan>): Promise<Child<GatewayReady>> => {
    const whole: GatewayPlan = { upstreams: [upstream.ready.url], risk: 'read', people: 1, ...plan };
    return start<GatewayReady>('gateway.ts', JSON.stringify(whole));
  };
  const read = await gateway({});
  const write = await gateway({ risk: 'write' });
  const longRead = await gateway({ upstreams: [long.ready.url] });
  const upstreams = Array.from({ length: AGGREGATED }, () => upstream.ready.url);
  const many = await gateway({ upstreams });
  const plain = (child: Child<{ url: string }>) => ({ child, url: child.ready.url, token: null });
  const governed = (child: Child<GatewayReady>) => ({ child, url: child.ready.url, token: child.ready.tokens[0]! });
  const processes = {
    upstream: plain(upstream),
    long: plain(long),
    proxy: plain(await start('proxy.ts', upstream.ready.url)),
    proxyLong: plain(await start('proxy.ts', long.ready.url)),
    read: governed(read),
    write: governed(write),
    longRead: governed(longRead),
    many: { child: many, url: many.ready.aggregate, token: many.ready.aggregateToken },
  };

  const legs: Leg[] = [];
  for (const plan of LEGS) {
    const { child, url, token } = processes[plan.on];
    const session = plan.kind === 'session' && token !== null ? await openSession(url, token) : null;
    const target = { url, token, kind: plan.kind, session };
    legs.push({ ...plan, child, target, closed: [], opened: [], cpuUs: [], rssMb: 0 });
  }
  say(`warming up ${legs.length} legs …`);
  const warmedOn = new Set<Process>();
  for (const leg of legs) {
    // What another leg warmed needs only its own part of the way.
    await closedLoop(leg.target, CALLERS, warmedOn.has(leg.on) ? WARMUP_MS / 3 : WARMUP_MS);
    warmedOn.add(leg.on);
  }
  for (let turn = 0; turn < ROUNDS; turn++) {
    for (const leg of legs) {
      const before = leg.child.cpuUs();
      const measured = await closedLoop(leg.target, CALLERS, ROUND_MS);
      leg.cpuUs.push((leg.child.cpuUs() - before) / measured.calls);
      leg.closed.push(measured);
      leg.rssMb = leg.child.rssMb();
    }
    say(`closed ${turn + 1}/${ROUNDS} (load ${round(loadavg()[0] ?? 0)})`);
  }
  // Half of what the slowest leg can do, the same for all: at that load waiting comes from the path, not from the queue.
  const opening = legs.filter(({ open }) => open);
  const rate = Math.floor(Math.min(...opening.map((leg) => pick(leg.closed, 'perSecond'))) / 2);
  for (let turn = 0; turn < ROUNDS; turn++) {
    for (const leg of opening) leg.opened.push(await openLoop(leg.target, rate, ROUND_MS));
    say(`open ${turn + 1}/${ROUNDS} at ${rate}/s`);
  }

  const { target } = legs.find(({ name }) => name === 'remit list 1000')!;
  const change = (n: number): Promise<void> => longRead.ask({ ask: 'lock', locked: n % 2 === 0 });
  // A locked tool is not listed: one of a thousand is missing every other time.
  const first = await oneByOne({ ...target, kind: 'anyList' }, FIRST_LISTS, change);
  const kept = await oneByOne({ ...target, kind: 'anyList' }, FIRST_LISTS, async () => undefined);
  const list = {
    firstMs: round(median(first.ms)),
    keptMs: round(median(kept.ms)),
    failures: first.failures + kept.failures,
  };

  for (const { child } of Object.values(processes)) if (child !== upstream) await child.end();
  say('streams …');
  const listened = await gateway({ people: STREAM_PEOPLE });
  const streams = await measureStreams(listened);
  await listened.end();
  await upstream.end();
  return { rows: rowsOf(legs), rate, list, streams };
}

/** Turn against the unit's same turn, then the median: what else the machine does changes from turn to turn and hits both. */
const against = (mine: readonly number[], theirs: readonly number[], how: (a: number, b: number) => number): number =>
  round(median(mine.map((value, turn) => how(value, theirs[turn]!))));
const ratio = (a: number, b: number): number => a / b;
const difference = (a: number, b: number): number => a - b;
const each = (runs: readonly Measured[], key: keyof Measured): number[] => runs.map((run) => run[key]);

function rowsOf(legs: readonly Leg[]) {
  return legs.map((leg) => {
    const unit = legs.find(({ name }) => name === (leg.unit ?? leg.name))!;
    return {
      leg: leg.name,
      perSecond: pick(leg.closed, 'perSecond'),
      p50Ms: pick(leg.closed, 'p50Ms'),
      p99Ms: pick(leg.closed, 'p99Ms'),
      cpuUsPerCall: Math.round(median(leg.cpuUs)),
      rssMb: leg.rssMb,
      failures: [...leg.closed, ...leg.opened].reduce((sum, run) => sum + run.failures, 0),
      throughputOfProxy: against(each(leg.closed, 'perSecond'), each(unit.closed, 'perSecond'), ratio),
      cpuOfProxy: against(leg.cpuUs, unit.cpuUs, ratio),
      ...(leg.open && {
        openP50Ms: pick(leg.opened, 'p50Ms'),
        openP99Ms: pick(leg.opened, 'p99Ms'),
        addedP50Ms: against(each(leg.opened, 'p50Ms'), each(unit.opened, 'p50Ms'), difference),
        addedP99Ms: against(each(leg.opened, 'p99Ms'), each(unit.opened, 'p99Ms'), difference),
      }),
    };
  });
}

/** What else the machine was doing: with more than one or two here, the figures are a lower bound of what is possible. */
const loadBefore = round(loadavg()[0] ?? 0);
const startedAt = performance.now();
process.once('exit', endAll);
const { rows, rate, list, streams } = await measure();
const loadAfter = round(loadavg()[0] ?? 0);

console.table(rows);
console.log(list, streams);
const read = rows.find(({ leg }) => leg === 'remit read')!;
const figures = [
  ['CPU per call, of the bare proxy', read.cpuOfProxy, 'at most 2', read.cpuOfProxy <= 2],
  ['throughput, of the bare proxy', read.throughputOfProxy, 'at least 0.5', read.throughputOfProxy >= 0.5],
  ['added p50 at half load, ms', read.addedP50Ms ?? 0, 'under 2', (read.addedP50Ms ?? 0) < 2],
  ['added p99 at half load, ms', read.addedP99Ms ?? 0, 'under 8', (read.addedP99Ms ?? 0) < 8],
  ['list of 1,000 tools after a change, ms', list.firstMs, 'under 20', list.firstMs < 20],
] as const;
for (const [what, value, wanted, met] of figures)
  console.log(`${met ? 'met   ' : 'MISSED'}  ${what}: ${value} (${wanted})`);
const tookS = Math.round((performance.now() - startedAt) / 1000);
console.log(`took ${tookS} s; load ${loadBefore} before, ${loadAfter} after`);
if (process.argv.includes('--write')) {
  const machine = {
    node: process.version,
    cores: cpus().length,
    model: cpus()[0]?.model ?? 'unknown',
    loadBefore,
    loadAfter,
  };
  const how = { callers: CALLERS, warmupMs: WARMUP_MS, rounds: ROUNDS, roundMs: ROUND_MS, openRate: rate };
  writeFileSync(
    join(import.meta.dirname, 'baseline.json'),
    `${JSON.stringify({ machine, ...how, rows, list, streams }, null, 2)}\n`,
  );
}
