/**
 * `npm run conformance`: the official suite, directly against our everything server and through a real gateway in front of it, check by check.
 * Through the gateway no check may be lower than direct; the tasks scenarios, which only the gateway serves, and those of the gateway as
 * an OAuth client, which nobody else is here, must pass.
 * Exit code 1 for every check that is, unless `test/conformance/expected-failures.json` names it with a reason; an entry there that is not
 * needed fails too. Writes `test/conformance/results.json` after a full run.
 * Options: --run TEXT, --only SCENARIO, --verbose, --out FILE. Long because it is one table and one fixed sequence.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { AUTH_SCRIPTS } from '../test/conformance/drive-auth.ts';
import { DRIVEN } from '../test/conformance/drive.ts';
import { type Everything, startEverything } from '../test/conformance/everything.ts';
import { type ConformanceNode, overHttp, startNode } from '../test/conformance/node.ts';
import {
  type Finding,
  type Report,
  type SuiteRun,
  SUITE_VERSION,
  isLower,
  runSuite,
} from '../test/conformance/suite.ts';

const FOLDER = join(import.meta.dirname, '..', 'test', 'conformance');
const DRIVER = join(FOLDER, 'drive.ts');
const SUITE_TIMEOUT_MS = 300_000;
/** Suites at a time: they mostly wait, on a machine that may have two cores. */
const AT_ONCE = 4;

type Revision = '2025-11-25' | '2026-07-28';

/** A requirement set through the gateway: over a server of both eras, and over one that only speaks the other era. */
interface ServerRun {
  readonly name: string;
  readonly revision: Revision;
  /** The server as the gateway has it. */
  readonly behind: string;
}
const SERVER_RUNS: readonly ServerRun[] = [
  { name: '2025-11-25', revision: '2025-11-25', behind: 'both-as-legacy' },
  { name: '2026-07-28', revision: '2026-07-28', behind: 'both' },
  { name: '2025-11-25 over a modern server', revision: '2025-11-25', behind: 'modern' },
  { name: '2026-07-28 over a legacy server', revision: '2026-07-28', behind: 'legacy' },
];
const CLIENT_RUN = 'client scenarios';
const AUTH_RUN = 'gateway as OAuth client';

interface Comparison {
  readonly run: string;
  readonly scenario: string;
  readonly check: string;
  readonly direct: Finding | undefined;
  readonly through: Finding | undefined;
}
type Place = Pick<Comparison, 'run' | 'scenario' | 'check'>;
const placeOf = ({ run, scenario, check }: Place): string => `${run} / ${scenario} / ${check}`;

const { values: options } = parseArgs({
  options: {
    run: { type: 'string' },
    only: { type: 'string' },
    verbose: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const isWhole = options.run === undefined && options.only === undefined;
const wanted = (run: string): boolean => options.run === undefined || run === options.run;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const onText = options.verbose ? { onText: (text: string) => void process.stderr.write(text) } : {};

const waiting: Array<() => void> = [];
let running = 0;
/** `runSuite`, at most `AT_ONCE` at a time, first come first served. */
async function inTurn(run: SuiteRun): Promise<Report> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else running++;
  try {
    return await runSuite(run);
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running--;
  }
}

async function runServer(url: string, revision: Revision, token?: string): Promise<Report> {
  const what =
    options.only === undefined
      ? ['--requirements', revision]
      : ['--scenario', options.only, '--spec-version', revision];
  return inTurn({
    args: ['server', '--url', url, ...what],
    ...(token !== undefined && { bearer: { origin: new URL(url).origin, token } }),
    timeoutMs: SUITE_TIMEOUT_MS,
    ...onText,
  });
}

async function runClient(way: 'direct' | 'through', scenario: string, revision: string | null): Promise<Report> {
  const command = `${process.execPath} ${DRIVER} ${way}`;
  const at = revision === null ? [] : ['--spec-version', revision];
  return inTurn({
    args: ['client', '--command', command, '--scenario', scenario, ...at, '--timeout', '60000'],
    timeoutMs: 90_000,
    ...onText,
  });
}

/** Which scenarios a client of this revision can be asked to do. */
const CLIENT_REVISIONS: Readonly<Record<string, readonly Revision[]>> = {
  initialize: ['2025-11-25'],
  'sse-retry': ['2025-11-25'],
  'elicitation-sep1034-client-defaults': ['2025-11-25'],
  tools_call: ['2025-11-25', '2026-07-28'],
  'json-schema-2020-12-preservation': ['2025-11-25', '2026-07-28'],
};

function compare(run: string, direct: Report, through: Report): Comparison[] {
  const comparisons: Comparison[] = [];
  for (const scenario of new Set([...direct.keys(), ...through.keys()])) {
    const [before, after] = [direct.get(scenario), through.get(scenario)];
    for (const check of new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])]))
      comparisons.push({ run, scenario, check, direct: before?.get(check), through: after?.get(check) });
  }
  return comparisons;
}

/** Lower than direct; for tasks, which the server does not have and the gateway must, and for sign-in at servers, anything but success. */
function isRegression({ run, scenario, direct, through }: Comparison): boolean {
  if (run === AUTH_RUN) return through?.status !== 'SUCCESS';
  if (through?.status === 'FAILURE' && scenario.startsWith('tasks-')) return true;
  if (direct === undefined) return through?.status === 'FAILURE';
  return direct.status !== 'FAILURE' && isLower(through?.status, direct.status);
}

/** `direct` is an instance of its own, so that what it announces to one run is not heard in another. */
async function serverRuns(direct: Everything, node: ConformanceNode): Promise<readonly Comparison[]> {
  const runs = SERVER_RUNS.filter(({ name }) => wanted(name));
  const revisions = new Set(runs.map(({ revision }) => revision));
  // Direct first, because it is slow: without anybody who serves tasks, their scenarios wait for tasks that never come.
  const before = new Map([...revisions].map((revision) => [revision, runServer(direct.url, revision)]));
  const compared = await Promise.all(
    runs.map(async ({ name, revision, behind }) => {
      const through = runServer(node.endpoint(behind), revision, node.token(behind));
      const [one, other] = await Promise.all([before.get(revision)!, through]);
      return compare(name, one, other);
    }),
  );
  return compared.flat();
}

async function clientRuns(): Promise<readonly Comparison[]> {
  const cases = DRIVEN.filter((scenario) => options.only === undefined || options.only === scenario).flatMap(
    (scenario) => (CLIENT_REVISIONS[scenario] ?? ['2026-07-28' as const]).map((revision) => ({ scenario, revision })),
  );
  const compared = await Promise.all(
    cases.map(async ({ scenario, revision }) => {
      const runs = (['direct', 'through'] as const).map((way) => runClient(way, scenario, revision));
      const [direct, through] = await Promise.all(runs);
      return compare(`${CLIENT_RUN} ${revision}`, direct!, through!);
    }),
  );
  return compared.flat();
}

/** The gateway signs in at servers by itself: there is nobody to compare it with. */
async function authRuns(): Promise<readonly Comparison[]> {
  const cases = Object.entries(AUTH_SCRIPTS).filter(([scenario]) => (options.only ?? scenario) === scenario);
  const compared = await Promise.all(
    cases.map(async ([scenario, { revision }]) =>
      compare(AUTH_RUN, new Map(), await runClient('through', scenario, revision === 'extension' ? null : revision)),
    ),
  );
  return compared.flat();
}

function table(comparisons: readonly Comparison[]): void {
  const count = (which: readonly Comparison[], side: 'direct' | 'through', status: string): string =>
    String(which.filter((one) => one[side]?.status === status).length).padStart(4);
  for (const run of new Set(comparisons.map((one) => one.run))) {
    const ofRun = comparisons.filter((one) => one.run === run);
    say(`\n${run.padEnd(52)} direct pass fail   through pass fail   lower`);
    const line = (name: string, which: readonly Comparison[]): void => {
      const [a, b] = [count(which, 'direct', 'SUCCESS'), count(which, 'direct', 'FAILURE')];
      const [c, d] = [count(which, 'through', 'SUCCESS'), count(which, 'through', 'FAILURE')];
      const lower = which.filter(isRegression).length;
      say(`  ${name.padEnd(50)}        ${a} ${b}           ${c} ${d}    ${lower === 0 ? '' : String(lower)}`);
    };
    for (const scenario of new Set(ofRun.map((one) => one.scenario)))
      line(
        scenario,
        ofRun.filter((one) => one.scenario === scenario),
      );
    line('all', ofRun);
  }
}

interface ExpectedFailure extends Place {
  readonly reason: string;
}

/** True when nothing failed that is not expected, and everything expected failed. */
function judge(comparisons: readonly Comparison[]): boolean {
  const expected = JSON.parse(
    readFileSync(join(FOLDER, 'expected-failures.json'), 'utf8'),
  ) as readonly ExpectedFailure[];
  const reasons = new Map(expected.map((one) => [placeOf(one), one.reason]));
  const lower = comparisons.filter(isRegression);
  const surprising = lower.filter((one) => !reasons.has(placeOf(one)));
  if (surprising.length > 0) say('\nLower than direct:');
  for (const one of surprising) {
    say(`  ${placeOf(one)}: ${one.direct?.status ?? 'not there'} -> ${one.through?.status ?? 'not there'}`);
    if (one.through?.message) say(`    ${one.through.message.slice(0, 400)}`);
  }
  const failing = new Set(lower.map(placeOf));
  const stale = isWhole ? expected.filter((one) => !failing.has(placeOf(one))) : [];
  if (stale.length > 0) say('\nExpected to fail, but does not (take it out of expected-failures.json):');
  for (const one of stale) say(`  ${placeOf(one)}`);
  return surprising.length === 0 && stale.length === 0;
}

/** The published result: per run and scenario, how many checks passed and failed. Holds no time, so that it changes only with the result. */
function results(comparisons: readonly Comparison[]): string {
  const runs: Record<string, Record<string, Record<'direct' | 'through', string>>> = {};
  for (const one of comparisons) {
    const ofScenario = comparisons.filter(({ run, scenario }) => run === one.run && scenario === one.scenario);
    const sum = (side: 'direct' | 'through'): string => {
      const having = (status: string) => ofScenario.filter((other) => other[side]?.status === status).length;
      return `${having('SUCCESS')} passed, ${having('FAILURE')} failed`;
    };
    (runs[one.run] ??= {})[one.scenario] ??= { direct: sum('direct'), through: sum('through') };
  }
  return `${JSON.stringify({ suite: `@modelcontextprotocol/conformance ${SUITE_VERSION}`, runs }, null, 2)}\n`;
}

async function allServerRuns(): Promise<readonly Comparison[]> {
  const [direct, both, modern, legacy] = await Promise.all(
    (['both', 'both', 'modern', 'legacy'] as const).map((served) => startEverything(served)),
  );
  try {
    const node = await startNode({
      both: overHttp(both!.url),
      'both-as-legacy': overHttp(both!.url, 'legacy'),
      modern: overHttp(modern!.url),
      legacy: overHttp(legacy!.url),
    });
    try {
      if (node.refused.length > 0) throw new Error(`not everything could be approved: ${node.refused.join('; ')}`);
      return await serverRuns(direct!, node);
    } finally {
      await node.stop();
    }
  } finally {
    await Promise.all([direct, both, modern, legacy].map((server) => server!.close()));
  }
}

async function main(): Promise<boolean> {
  const started = Date.now();
  const parts = [
    ...(SERVER_RUNS.some(({ name }) => wanted(name)) ? [allServerRuns()] : []),
    ...(wanted(CLIENT_RUN) ? [clientRuns()] : []),
    ...(wanted(AUTH_RUN) ? [authRuns()] : []),
  ];
  const comparisons = (await Promise.all(parts)).flat();
  table(comparisons);
  const isGood = judge(comparisons);
  if (isWhole || options.out !== undefined)
    writeFileSync(options.out ?? join(FOLDER, 'results.json'), results(comparisons));
  const seconds = Math.round((Date.now() - started) / 1000);
  say(`\n${comparisons.length} checks compared in ${seconds} s: ${isGood ? 'good' : 'not good'}`);
  return isGood;
}

const isGood = await main();
// A connection that somebody kept open must not keep a finished run.
process.exit(isGood ? 0 : 1);
