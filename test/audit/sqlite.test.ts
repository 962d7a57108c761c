/** The same log over the embedded ledger: written by a worker thread, opened again, exported, verified. */
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { gateEntry, intentEntry } from '../../src/audit/entries.ts';
import { exportLog } from '../../src/audit/export.ts';
import { reconstruct } from '../../src/audit/query.ts';
import { recover } from '../../src/audit/recover.ts';
import { openSqliteLedger } from '../../src/store/sqlite/ledger.ts';
import { verifyLog } from '../../src/verify/log.ts';
import { verifyReceipt } from '../../src/verify/proof.ts';
import { actor, allow, callFacts, fill, openLog, ORG, signer, tempDir } from './fixtures.ts';

async function openLedger(path: string) {
  const ledger = await openSqliteLedger(path);
  onTestFinished(() => ledger.close());
  return ledger;
}

test('AE-03: a log on disk that was abandoned between intent and outcome says so after the next start, and verifies', async () => {
  const path = join(tempDir(), 'ledger.db');
  const publishDir = join(tempDir(), 'public');
  const ledger = await openLedger(path);
  const first = await openLog(ledger, { publishDir });
  expect(await recover({ ...first, scope: 'all' })).toMatchObject({ crashed: false, unknown: [] });
  await fill(first, 700);
  await first.audit.checkpointNow();
  const call = callFacts('call_lost');
  await first.audit.record(intentEntry(first.audit.stamp(), { actor, call, decision: allow }));
  await ledger.close();

  const again = await openLedger(path);
  const second = await openLog(again, { publishDir });
  const found = await recover({ ...second, scope: 'all' });
  expect(found).toMatchObject({ crashed: true, complete: true, unknown: [{ call: 'call_lost', index: 702 }] });
  await second.audit.record(gateEntry(second.audit.stamp(), { what: 'closed' }));
  await second.audit.close();
  expect(second.fatal).toEqual([]);

  const dir = tempDir();
  expect(await exportLog({ ledger: again, log: ORG, dir, vkeys: [signer.vkey] })).toEqual({ size: 705, before: 0 });
  for (const place of [dir, publishDir]) {
    const report = await verifyLog(place, { vkeys: [signer.vkey] });
    expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(report).toMatchObject({ verified: true, size: 705, unfinished: [{ call: 'call_lost', recoveredAt: 703 }] });
  }
  expect(await reconstruct(again, ORG, 'call_lost')).toMatchObject({ outcome: 'unknown' });
  const [entry] = await again.read(ORG, 600, 1);
  expect(verifyReceipt(await second.audit.receipt(600), entry!.text, signer.vkey.text)).toMatchObject({ ok: true });
});

test('entries recorded at the same time by many callers all stand in the signed log', async () => {
  const opened = await openLog(await openLedger(join(tempDir(), 'ledger.db')));
  const record = (i: number) =>
    opened.audit.record(intentEntry(opened.audit.stamp(), { actor, call: callFacts(`call_${i}`), decision: allow }));
  const [appended] = await Promise.all([
    Promise.all(Array.from({ length: 1000 }, (_, i) => record(i))),
    opened.audit.checkpointNow(),
  ]);
  expect(new Set(appended.map(({ index }) => index)).size).toBe(1000);
  expect(await opened.audit.checkpointNow()).toMatchObject({ size: 1001 });
  const dir = tempDir();
  await exportLog({ ledger: opened.ledger, log: ORG, dir, vkeys: [signer.vkey] });
  expect(await verifyLog(dir, { vkeys: [signer.vkey] })).toMatchObject({ verified: true, unfinishedCount: 1000 });
});
