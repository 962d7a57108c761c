/**
 * A log of a fixed day under a fixed key, as files. It must verify for ever: a change of format that breaks it breaks every log out there.
 * Never regenerate it to make this test pass; a new format gets a new entry version and a second golden log.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { expect, test } from 'vitest';
import { exportLog } from '../../src/audit/export.ts';
import { verifyLog } from '../../src/verify/log.ts';
import { verifyReceipt } from '../../src/verify/proof.ts';
import { decodeBundle } from '../../src/verify/tiles.ts';
import { ORG, signer, tempDir } from '../audit/fixtures.ts';
import { goldenLog } from './golden-log.ts';

const GOLDEN = join(import.meta.dirname, 'golden');
/** Written down here and not read from the folder, as an auditor would. */
const VKEY = 'remit.example/log/acme+0260bead+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs';

test('the golden log verifies with the key that was written down', async () => {
  const report = await verifyLog(join(GOLDEN, 'log'), {
    vkeys: [VKEY],
    held: [{ name: 'earlier', note: readFileSync(join(GOLDEN, 'checkpoint-earlier')) }],
  });
  expect(report.findings).toEqual([]);
  expect(report).toMatchObject({
    verified: true,
    size: 303,
    root: 'pYeUzlpYpXKcNoBPrXSzpESzWjaK0rEJrezKggHqa3Y=',
    heldCheckpoints: [
      { name: 'earlier', size: 92, consistent: true },
      { name: 'checkpoints/92', size: 92, consistent: true },
    ],
    unfinished: [{ call: 'call_golden_unknown', recoveredAt: 302 }],
  });
});

test('the golden receipt proves its entry', () => {
  const entry = decodeBundle(readFileSync(join(GOLDEN, 'log/tile/entries/001.p/47'))).entries[3]!;
  expect(verifyReceipt(readFileSync(join(GOLDEN, 'entry-259.tlog-proof'), 'utf8'), entry, VKEY)).toMatchObject({
    ok: true,
    index: 259,
  });
});

test('the writer of today still writes the golden log, byte for byte', async () => {
  const dir = tempDir();
  const { ledger, earlier, receipt } = await goldenLog(async (log) => {
    await exportLog({ ledger: log, log: ORG, dir, vkeys: [signer.vkey] });
  });
  expect(earlier).toBe(readFileSync(join(GOLDEN, 'checkpoint-earlier'), 'utf8'));
  expect(receipt).toBe(readFileSync(join(GOLDEN, 'entry-259.tlog-proof'), 'utf8'));
  await exportLog({ ledger, log: ORG, dir, vkeys: [signer.vkey] });
  expect(filesOf(dir)).toEqual(filesOf(join(GOLDEN, 'log')));
});

function filesOf(root: string): Record<string, string> {
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [relative(root, path), readFileSync(path, 'base64')] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}
