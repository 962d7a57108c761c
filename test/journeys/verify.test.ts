/**
 * AE-02 end to end: the log of a running gateway, taken away with the command line, checked on a machine that has nothing but node and a
 * copy of `src/verify`; then changed in every file, cut, and rolled back under the gateway itself.
 */
import { cpSync, existsSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { loadOrCreateLogKey } from '../../src/audit/keys.ts';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { REPOSITORY, endAll, runRemit, startProcess, startRemit, temporaryFolder } from '../support/processes.ts';
import { startSink } from '../support/upstreams/sink.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { gatewayNode, tokensOf } from './node.ts';
import type { GatewayNode } from './node.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let issuer: TestIssuer;
let sink: Sink;
let node: GatewayNode;
let key: string;
/** Folders outside the gateway: an export of day one, one of day two into another folder, and the database of day one. */
let [first, second, database]: [string, string, string] = ['', '', ''];
let auditor: Record<string, string>;

beforeAll(async () => {
  issuer = await startIssuer();
  sink = await startSink();
  const folder = temporaryFolder();
  [first, second, database] = [join(folder, 'first'), join(folder, 'second'), join(folder, 'ledger.db')];
  node = await gatewayNode(join(folder, 'node'), tokensOf(issuer));
  const token = await tokensOf(issuer).token('aiko', `${node.adminUrl}/api/v1`, 'admin:read');
  auditor = { REMIT_ADMIN_URL: node.adminUrl, REMIT_TOKEN: token };

  const one = await node.start();
  key = one.ready.verifierKey;
  await node.setUp(sink);
  for (let n = 0; n < 20; n++) await node.call(n % 2 === 0 ? 'put' : 'get', { id: `one-${n}` });
  expect((await runRemit(['audit', 'export', first], { env: auditor })).code).toBe(0);
  await one.started.stop();
  cpSync(join(node.dataDir, 'ledger.db'), database);

  const two = await node.start();
  for (let n = 0; n < 20; n++) await node.call('put', { id: `two-${n}` });
  expect((await node.call('nothing', { id: 'refused' })).status).toBeGreaterThanOrEqual(200);
  // The same folder again: it grows, and keeps the checkpoint it had.
  cpSync(first, second, { recursive: true });
  const exported = await runRemit(['audit', 'export', second], { env: auditor });
  expect([exported.code, exported.out]).toEqual([
    0,
    expect.stringMatching(/entries are in .* \(\d+ were there before\)/),
  ]);
  await two.started.stop();
});
afterAll(async () => {
  await endAll();
  await sink.close();
  await issuer.close();
});

/** An empty folder with the verifier's sources and nothing else; no package.json, no node_modules at any level above. */
function bareMachine(): string {
  const folder = temporaryFolder();
  cpSync(join(REPOSITORY, 'src', 'verify'), join(folder, 'verify'), { recursive: true });
  expect(readdirSync(folder)).toEqual(['verify']);
  return folder;
}

async function verify(machine: string, ...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const one = startProcess([process.execPath, join(machine, 'verify', 'main.ts'), ...args], {
    cwd: machine,
    env: { PATH: '' },
  });
  const { code } = await one.ended;
  return { code, out: one.out(), err: one.err() };
}

const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort();

describe('AE-02: an auditor with node and a copy of src/verify', () => {
  test('verifies the export, the earlier one, and that the later one extends it', async () => {
    const machine = bareMachine();
    const whole = await verify(machine, second, '--vkey', key);
    expect([whole.code, whole.out]).toEqual([
      0,
      expect.stringMatching(/^VERIFIED .* \d{2,} entries are exactly what was signed/),
    ]);
    // How long a busy machine was silent between two starts is no finding here.
    const options = ['--checkpoint', join(first, 'checkpoint'), '--gap-seconds', '3600', '--json'];
    const kept = await verify(machine, second, '--vkey', key, ...options);
    expect([kept.code, JSON.parse(kept.out)]).toMatchObject([0, { verified: true, findings: [] }]);
  });

  test('with another key of the same name nothing verifies, whatever keys lie in the folder', async () => {
    const other = await loadOrCreateLogKey(join(temporaryFolder(), 'keys'), key.slice(0, key.indexOf('+')));
    const refused = await verify(bareMachine(), second, '--vkey', other.vkey.text);
    expect([refused.code, refused.out]).toEqual([1, expect.stringContaining('NOT VERIFIED')]);
  });

  test('finds one changed bit in any file that says something, wherever it is', async () => {
    const machine = bareMachine();
    // The key in the folder is a convenience for people; the auditor's own decides.
    const files = filesOf(second).filter((name) => name !== 'log.vkey');
    expect(files.some((name) => name.startsWith('tile/entries/'))).toBe(true);
    expect(files.some((name) => name.startsWith('tile/0/'))).toBe(true);
    expect(files.some((name) => name.startsWith('checkpoints/'))).toBe(true);
    const missed: string[] = [];
    let seed = 7;
    for (const name of files) {
      const copy = join(machine, 'copy');
      cpSync(second, copy, { recursive: true });
      const bytes = readFileSync(join(copy, name));
      seed = (seed * 48_271) % 2_147_483_647;
      const at = seed % bytes.length;
      bytes[at]! ^= 1 << (seed % 8);
      writeFileSync(join(copy, name), bytes);
      const { code } = await verify(machine, copy, '--vkey', key);
      if (code === 0) missed.push(`${name} byte ${at}`);
      rmSync(copy, { recursive: true });
    }
    expect(missed).toEqual([]);
  });

  test('finds entries cut off at the end, and an honest but older copy by the checkpoint that was kept elsewhere', async () => {
    const machine = bareMachine();
    const copy = join(machine, 'copy');
    cpSync(second, copy, { recursive: true });
    const bundle = filesOf(copy).findLast((name) => name.startsWith('tile/entries/'))!;
    const bytes = readFileSync(join(copy, bundle));
    writeFileSync(join(copy, bundle), bytes.subarray(0, bytes.length - 200));
    const cut = await verify(machine, copy, '--vkey', key);
    expect([cut.code, cut.out]).toEqual([1, expect.stringContaining('NOT VERIFIED')]);

    expect((await verify(machine, first, '--vkey', key)).code).toBe(0);
    const older = await verify(machine, first, '--vkey', key, '--checkpoint', join(second, 'checkpoint'));
    expect([older.code, older.out]).toEqual([1, expect.stringContaining('NOT VERIFIED')]);
  });
});

test('AE-02: a ledger that was put back to an earlier day is noticed at start through the published checkpoint; without that nobody would know', async () => {
  const now = join(node.dataDir, 'ledger.db');
  renameSync(now, `${now}.today`);
  cpSync(database, now);
  const refused = await runRemit(['gateway', '--config', node.configFile]);
  expect([refused.code, refused.err.split('\n').at(-2)]).toEqual([
    1,
    expect.stringMatching(/^remit: .*\d+ entries.*ledger/),
  ]);
  // The twin: the published copy is what tells.
  const published = join(node.dataDir, 'audit-log');
  expect(existsSync(join(published, 'checkpoint'))).toBe(true);
  renameSync(published, `${published}.hidden`);
  const fooled = startRemit(['gateway', '--config', node.configFile, '--json']);
  await fooled.ready();
  await fooled.stop();
  rmSync(published, { recursive: true });
  renameSync(`${published}.hidden`, published);
  // With the true ledger back, everything goes on.
  rmSync(now);
  renameSync(`${now}.today`, now);
  const { started } = await node.start();
  expect((await node.call('put', { id: 'again' })).status).toBe(200);
  await started.stop();
});
