/**
 * Runs scim2-tester (PyPI, Apache-2.0; not ours) against a real node: `node scripts/scim-compliance.ts`.
 * Needs python3 with venv and a package index that pip can reach; where there is none it says so and ends with 3, so that nobody takes
 * "not run" for "passed". 0: as expected; 1: a check failed that is not explained below.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPlane } from '../test/admin/plane.ts';
import { connect } from '../test/admin/scim/support.ts';

/** What it is made of is pinned too: a newer part of it must not change what a check says. */
const PACKAGES = ['scim2-tester==0.5.2', 'scim2-client==0.13.2', 'scim2-models==0.12.3', 'httpx2==2.16.2'];
const NOT_RUN = 3;
/** What we do not do as the suite wants it, and why. */
const EXPLAINED = new Map([
  [
    "PATCH modify() did not remove attribute 'active'",
    'Nobody becomes active, or anything else, by leaving it unsaid.',
  ],
]);

interface Check {
  readonly status: string;
  readonly title: string;
  readonly resource: string | null;
  readonly reason: string | null;
}

function notRun(why: string): never {
  process.stderr.write(`NOT RUN: ${why}\n`);
  process.exit(NOT_RUN);
}

/** The python of an environment with the suite in it. SCIM_TESTER_PYTHON names one that is there already. */
function pythonIn(folder: string): string {
  const given = process.env['SCIM_TESTER_PYTHON'];
  if (given !== undefined) return existsSync(given) ? given : notRun(`${given} is not there.`);
  if (spawnSync('python3', ['-m', 'venv', folder], { timeout: 60_000 }).status !== 0)
    return notRun('python3 with the module venv is not installed.');
  const python = join(folder, 'bin', 'python');
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--retries', '0', '--timeout', '10'];
  const installed = spawnSync(python, [...pip, ...PACKAGES], { timeout: 120_000 });
  return installed.status === 0 ? python : notRun('pip cannot get scim2-tester from its package index.');
}

async function checks(python: string): Promise<readonly Check[]> {
  const plane = await startPlane();
  try {
    // The suite makes users without an externalId.
    const identities = [{ issuer: plane.issuer.issuer, subject: 'suite|{id}' }];
    const { token } = await connect(plane, 'suite', { identities });
    const suite = spawn(python, [join(import.meta.dirname, 'scim-compliance.py'), `${plane.url}/scim/v2`, token], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 120_000,
    });
    let text = '';
    for await (const part of suite.stdout) text += String(part);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Check);
  } finally {
    await plane.close();
  }
}

const folder = mkdtempSync(join(tmpdir(), 'remit-scim-tester-'));
try {
  const all = await checks(pythonIn(folder));
  if (all.length === 0) throw new Error('the suite reported nothing');
  const count = (status: string): number => all.filter((check) => check.status === status).length;
  process.stdout.write(`scim2-tester 0.5.2: ${count('SUCCESS')} of ${all.length} checks pass\n`);
  for (const { status, title, resource, reason } of all) {
    if (status === 'SUCCESS' || status === 'SKIPPED') continue;
    const why = EXPLAINED.get(reason ?? '');
    if (why === undefined) process.exitCode = 1;
    process.stdout.write(
      `${why === undefined ? status : 'explained'}: ${title} ${resource ?? ''}: ${reason ?? ''} ${why ?? ''}\n`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
