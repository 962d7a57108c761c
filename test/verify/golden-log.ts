/** Builds the golden log: two exports, one call whose outcome is unknown, one recovery. Everything fixed: key, day, ids. */
import { gateEntry, intentEntry } from '../../src/audit/entries.ts';
import { recover } from '../../src/audit/recover.ts';
import { actor, allow, callFacts, fill, openLog } from '../audit/fixtures.ts';
import { memoryLedger } from '../support/memory-ledger.ts';
import type { MemoryLedger } from '../support/memory-ledger.ts';

export async function goldenLog(firstExport: (ledger: MemoryLedger) => Promise<void>) {
  const ledger = memoryLedger();
  const opened = await openLog(ledger);
  const { audit } = opened;
  await audit.record(gateEntry(audit.stamp(), { what: 'opened' }));
  await fill(opened, 90, 'golden_a');
  const earlier = (await audit.checkpointNow()).note;
  await firstExport(ledger);
  await fill(opened, 209, 'golden_b');
  const call = callFacts('call_golden_unknown');
  await audit.record(intentEntry(audit.stamp({ ref: 'ref_golden' }), { actor, call, decision: allow }));
  await recover({ ledger, audit, scope: 'all' });
  await audit.checkpointNow();
  return { ledger, earlier, receipt: await audit.receipt(259) };
}
