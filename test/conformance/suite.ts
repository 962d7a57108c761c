/** Runs the official conformance suite as its own process and reads what it found. Knows nothing of the gateway. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';

const MANIFEST = createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/package.json');
export const SUITE_VERSION = (JSON.parse(readFileSync(MANIFEST, 'utf8')) as { version: string }).version;
const PROGRAM = join(dirname(MANIFEST), 'dist', 'index.js');
const BEARER = join(import.meta.dirname, 'bearer.ts');

/** From worst to best. Checks that only inform are left out. */
const RANKS = ['FAILURE', 'SKIPPED', 'WARNING', 'SUCCESS'] as const;
export type Status = (typeof RANKS)[number];
export const isLower = (one: Status | undefined, than: Status): boolean =>
  (one === undefined ? -1 : RANKS.indexOf(one)) < RANKS.indexOf(than);

export interface Finding {
  readonly status: Status;
  readonly message: string;
}
/** Worst finding by id and name of the check: several checks share an id, the same check may be made several times. */
export type Scenario = ReadonlyMap<string, Finding>;
export type Report = ReadonlyMap<string, Scenario>;

export interface SuiteRun {
  readonly args: readonly string[];
  /** Requests to this origin carry this token. */
  readonly bearer?: { readonly origin: string; readonly token: string };
  readonly timeoutMs: number;
  readonly onText?: (text: string) => void;
}

interface RawCheck {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly errorMessage?: string;
}

/** @throws Error when the suite did not end in time, or left nothing to read. */
export async function runSuite({ args, bearer, timeoutMs, onText }: SuiteRun): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'remit-conformance-'));
  try {
    const preload = bearer ? ['--import', BEARER] : [];
    const child = spawn(process.execPath, [...preload, PROGRAM, ...args, '-o', folder], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        NO_COLOR: '1',
        ...(bearer && { CONFORMANCE_ORIGIN: bearer.origin, CONFORMANCE_TOKEN: bearer.token }),
      },
    });
    let last = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        last = (last + text).slice(-2_000);
        onText?.(text);
      });
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const signal = await new Promise<string | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (_code, by) => resolve(by));
    });
    clearTimeout(timer);
    if (signal !== null) throw new Error(`the suite did not end within ${timeoutMs} ms: ${args.join(' ')}\n${last}`);
    const report = readReport(folder);
    // A client that broke off leaves checks that nothing contradicted; the suite says so in words only.
    if (/CLIENT (?:EXITED WITH ERROR|TIMED OUT)/.test(last))
      for (const found of report.values())
        found.set('client-finished', { status: 'FAILURE', message: 'the client ended with an error' });
    if (report.size === 0) throw new Error(`the suite found nothing: ${args.join(' ')}\n${last}`);
    return report;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readReport(folder: string): Map<string, Map<string, Finding>> {
  const report = new Map<string, Map<string, Finding>>();
  const folders = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const name of folders.map(({ parentPath, name: own }) => relative(folder, join(parentPath, own))).sort()) {
    // The folder of a scenario is `[server-]<scenario>-<time>`; a scenario may have a folder in its name.
    const scenario = /^(?:server-)?(.+?)-\d{4}-\d\d-\d\dT[\d-]+Z$/.exec(name)?.[1];
    if (scenario === undefined) continue;
    const checks = JSON.parse(readFileSync(join(folder, name, 'checks.json'), 'utf8')) as readonly RawCheck[];
    const found = report.get(scenario) ?? new Map<string, Finding>();
    for (const { id, name: checkName, status, errorMessage = '' } of checks) {
      const rank = RANKS.find((one) => one === status);
      if (!rank) continue;
      const check = checkName === id ? id : `${id} ${checkName}`;
      const known = found.get(check);
      if (!known || isLower(rank, known.status)) found.set(check, { status: rank, message: errorMessage });
    }
    report.set(scenario, found);
  }
  return report;
}
