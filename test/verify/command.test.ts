/** The command as a person or a script meets it: what it prints, how it exits, and that it runs alone. */
import { execFile } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test } from 'vitest';
import { runVerify, VERIFY_HELP } from '../../src/verify/command.ts';
import { intentEntry } from '../../src/audit/entries.ts';
import { exportLog } from '../../src/audit/export.ts';
import { actor, allow, callFacts, filledLog, ORG, ORIGIN, signer, tempDir } from '../audit/fixtures.ts';

let dir: string;
let entry: string;
let receipt: string;

beforeEach(async () => {
  const opened = await filledLog(30);
  await opened.audit.record(
    intentEntry(opened.audit.stamp(), { actor, call: callFacts('call_open'), decision: allow }),
  );
  await opened.audit.checkpointNow();
  const home = tempDir();
  dir = join(home, 'log');
  [entry, receipt] = [join(home, 'entry.json'), join(home, 'entry.tlog-proof')];
  await exportLog({ ledger: opened.ledger, log: ORG, dir, vkeys: [signer.vkey] });
  writeFileSync(entry, opened.ledger.texts(ORG)[5]!);
  writeFileSync(receipt, await opened.audit.receipt(5));
});

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const code = await runVerify(argv, { out: (text) => void (out += text), err: (text) => void (err += text) });
  return { code, out, err };
}

test('a log that verifies exits 0 and says by whom, from when to when, and what has no outcome', async () => {
  const { code, out, err } = await run(dir, '--vkey', signer.vkey.text);
  expect(code).toBe(0);
  expect(err).toBe('');
  expect(out).toContain(`VERIFIED  ${ORIGIN}: 33 entries are exactly what was signed by ${ORIGIN}+${signer.vkey.id}\n`);
  expect(out).toContain('from 2026-03-01T09:00:00.000Z to 2026-03-01T09:00:30.000Z');
  expect(out).toContain('entry 32  2026-03-01T09:00:30.000Z  call_open  in flight or unknown');
});

test('a changed log exits 1 and names the entry', async () => {
  const path = join(dir, 'tile/entries/000.p/33');
  writeFileSync(path, readFileSync(path, 'latin1').replace('call_c7', 'call_c8'), 'latin1');
  const { code, out } = await run(dir, '--vkey', signer.vkey.text);
  expect(code).toBe(1);
  expect(out).toContain(`NOT VERIFIED  ${ORIGIN}\n`);
  expect(out).toMatch(/error: entry 9 \(2026-03-01T09:00:08\.000Z, call_c8\) was changed/);
});

test('--json is the whole report', async () => {
  const { code, out } = await run(dir, '--vkey', signer.vkey.text, '--json');
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ verified: true, size: 33, unfinishedCount: 1, findings: [] });
});

test('the key may come from a file with comments, and a checkpoint from elsewhere is compared', async () => {
  const keys = join(tempDir(), 'keys');
  writeFileSync(keys, `# acme\n\n${signer.vkey.text}\n`);
  const kept = join(tempDir(), 'march');
  cpSync(join(dir, 'checkpoint'), kept);
  const { code, out } = await run(dir, '--vkey', keys, '--checkpoint', kept);
  expect(code).toBe(0);
  expect(out).toContain('checkpoint march over 33 entries: continued by this log');
});

test('without a key nothing is claimed; the key of the directory itself is an unsafe choice and said so', async () => {
  expect(await run(dir)).toEqual({
    code: 2,
    out: '',
    err: 'remit-verify: --vkey is missing: whose signature should count?\nTry: remit-verify --help\n',
  });
  const { code, out } = await run(dir, '--unsafe-key-from-directory');
  expect(code).toBe(0);
  expect(out).toContain('unsafe: the key came from the directory itself');
});

describe('receipts', () => {
  test('a receipt and its entry verify, with or without a newline at the end of the file', async () => {
    const args = ['--receipt', receipt, '--entry', entry, '--vkey', signer.vkey.text];
    expect(await run(...args)).toMatchObject({
      code: 0,
      out: `VERIFIED  this entry is number 5 of ${ORIGIN} (33 entries were signed)\n`,
    });
    writeFileSync(entry, `${readFileSync(entry, 'utf8')}\n`);
    expect(await run(...args, '--json')).toMatchObject({ code: 0 });
  });

  test('a receipt for another entry does not verify', async () => {
    writeFileSync(entry, readFileSync(entry, 'utf8').replace('acme', 'evil'));
    const { code, out } = await run('--receipt', receipt, '--entry', entry, '--vkey', signer.vkey.text);
    expect(code).toBe(1);
    expect(out).toMatch(/^NOT VERIFIED {2}the receipt does not lead from this entry at index 5/);
  });
});

test.each([
  ['no arguments', [], 'name one directory that holds an exported log'],
  ['two directories', ['a', 'b'], 'name one directory that holds an exported log'],
  ['an unknown option', ['--frobnicate'], "Unknown option '--frobnicate'"],
  ['a directory that is not there', ['/nonexistent/log', '--vkey', signer.vkey.text], 'ENOENT'],
  ['a key file that is not there', ['x', '--vkey', '/nonexistent/key'], 'ENOENT'],
  ['a damaged key', ['x', '--vkey', signer.vkey.text.slice(0, -4)], 'the verifier key is not an Ed25519 key'],
  ['a receipt without its entry', ['--receipt', 'r', '--vkey', signer.vkey.text], '--receipt needs --entry FILE'],
  [
    'a gap that is no number',
    ['x', '--vkey', signer.vkey.text, '--gap-seconds', 'soon'],
    '--gap-seconds must be a number above 0',
  ],
])('wrong usage exits 2 and says what is wrong: %s', async (_, argv, message) => {
  const { code, out, err } = await run(...argv);
  expect(code).toBe(2);
  expect(out).toBe('');
  expect(err).toContain(message);
});

test('--help shows an example and the exit codes', async () => {
  expect(await run('--help')).toEqual({ code: 0, out: VERIFY_HELP, err: '' });
  expect(VERIFY_HELP).toContain('remit-verify ./export --vkey ./acme.vkey');
});

test('AE-06: the verifier runs from a copy of its own folder, with nothing of the gateway and no packages', async () => {
  const alone = join(tempDir(), 'verify');
  cpSync(join(import.meta.dirname, '../../src/verify'), alone, { recursive: true });
  writeFileSync(join(alone, 'package.json'), '{"type":"module"}');
  const main = join(alone, 'main.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [main, dir, '--vkey', signer.vkey.text], {
    cwd: alone,
    timeout: 20_000,
  });
  expect(stdout).toMatch(/^VERIFIED/);
  await expect(
    promisify(execFile)(process.execPath, [main, dir], { cwd: alone, timeout: 20_000 }),
  ).rejects.toMatchObject({ code: 2 });
});
