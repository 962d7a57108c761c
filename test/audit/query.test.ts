/** Questions to a log, and what a start after a crash says about calls that were under way. */
import { describe, expect, test } from 'vitest';
import { callEntry, denialEntry, gateEntry, intentEntry, outcomeEntry } from '../../src/audit/entries.ts';
import { findEntries, reconstruct, showEntry, tailEntries } from '../../src/audit/query.ts';
import { recover } from '../../src/audit/recover.ts';
import { verifyLog } from '../../src/verify/log.ts';
import { exportLog } from '../../src/audit/export.ts';
import { memoryLedger } from '../support/memory-ledger.ts';
import { actor, allow, callFacts, deny, filledLog, fine, openLog, ORG, signer, tempDir } from './fixtures.ts';
import type { Opened } from './fixtures.ts';

describe('questions', () => {
  test('the tail is the newest entries, oldest first', async () => {
    const { ledger } = await filledLog(600);
    const entries = await tailEntries(ledger, ORG, 300);
    expect(entries.map(({ index }) => index)).toEqual(Array.from({ length: 300 }, (_, i) => 302 + i));
    expect(await tailEntries(ledger, ORG, 10_000)).toHaveLength(602);
  });

  test('an entry is shown as the exact text that was hashed', async () => {
    const { ledger } = await filledLog(5);
    expect((await showEntry(ledger, ORG, 3)).text).toBe(ledger.texts(ORG)[3]);
    await expect(showEntry(ledger, ORG, 99)).rejects.toMatchObject({ code: 'log_index_unknown' });
    await expect(showEntry(ledger, ORG, -1)).rejects.toMatchObject({ code: 'log_index_unknown' });
  });

  test.each([
    ['call', { call: 'call_c0' }, 2],
    ['tool', { tool: 'read_file' }, 20],
    ['server and kind', { server: 'files', kinds: ['denial' as const] }, 20],
    ['person', { person: 'person_ada' }, 100],
    ['subject', { person: 'u-1001' }, 100],
    ['reference', { ref: 'ref_c7' }, 1],
    ['time', { since: '2026-03-01T09:00:10.000Z', until: '2026-03-01T09:00:20.000Z' }, 10],
    ['nobody', { person: 'person_eve' }, 0],
  ])('entries are found by %s', async (_, filter, count) => {
    const { ledger } = await filledLog(100);
    const found = await findEntries(ledger, ORG, filter, { limit: 1000 });
    expect(found.entries).toHaveLength(count);
    expect(found.scannedFrom).toBe(0);
  });

  test('a question that stops at its limit says how far it looked', async () => {
    const { ledger } = await filledLog(600);
    const few = await findEntries(ledger, ORG, { tool: 'read_file' }, { limit: 2 });
    expect(few.entries).toHaveLength(2);
    expect(few.scannedFrom).toBe(few.entries[0]?.index);
    const bounded = await findEntries(ledger, ORG, { call: 'call_c0' }, { maxScan: 300 });
    expect(bounded).toEqual({ entries: [], scannedFrom: 302, size: 602 });
  });

  test('a text in the ledger that is no entry is a corrupt ledger', async () => {
    const { ledger } = await filledLog(5);
    ledger.texts(ORG)[3] = '{"v":9}';
    await expect(tailEntries(ledger, ORG, 10)).rejects.toMatchObject({
      code: 'ledger_corrupt',
      message: 'entry 3 of log acme is not an entry',
    });
  });
});

describe('AE-05: one call is reconstructed from its entries', () => {
  test('AE-05: person, agent, token, policy, approval, tool, credential and outcome of a dispatched call', async () => {
    const { ledger, audit } = await filledLog(20);
    const call = callFacts('call_story');
    const held = await audit.record(
      denialEntry(audit.stamp(), { actor, call, decision: { ...deny, verdict: 'hold' } }),
    );
    const decision = { ...allow, approval: 'apr_9' };
    const intent = await audit.record(intentEntry(audit.stamp(), { actor, call, decision, prev: held.index }));
    const outcome = await audit.record(outcomeEntry(audit.stamp(), { actor, call, outcome: fine, prev: intent.index }));
    const { id: _id, ...tool } = call;
    expect(await reconstruct(ledger, ORG, 'call_story')).toMatchObject({
      call: 'call_story',
      entries: [
        { index: held.index, kind: 'denial' },
        { index: intent.index, kind: 'intent' },
        { index: outcome.index, kind: 'outcome' },
      ],
      human: { issuer: actor.issuer, subject: 'u-1001', person: 'person_ada' },
      agent: { client: actor.client, chain: ['agent-build'] },
      token: 'tok-77',
      decision,
      approval: 'apr_9',
      tool,
      credential: 'cred-files-rw',
      outcome: fine,
    });
  });

  test('AE-05: a refused call and a call that never came back are not given an outcome', async () => {
    const { ledger, audit } = await filledLog(0);
    await audit.record(denialEntry(audit.stamp(), { actor, call: callFacts('call_no'), decision: deny }));
    await audit.record(intentEntry(audit.stamp(), { actor, call: callFacts('call_lost'), decision: allow }));
    expect(await reconstruct(ledger, ORG, 'call_no')).toMatchObject({ outcome: 'refused', credential: null });
    expect(await reconstruct(ledger, ORG, 'call_lost')).toMatchObject({
      outcome: 'unknown',
      human: { subject: 'u-1001' },
    });
    expect(await reconstruct(ledger, ORG, 'call_never')).toBeNull();
  });
});

describe('AE-03: a start says what was under way', () => {
  const intent = ({ audit }: Opened, id: string) =>
    audit.record(intentEntry(audit.stamp(), { actor, call: callFacts(id), decision: allow }));
  const finish = ({ audit }: Opened, id: string, prev: number) =>
    audit.record(outcomeEntry(audit.stamp(), { actor, call: callFacts(id), outcome: fine, prev }));
  const lastEvent = (ledger: { texts: (log: string) => string[] }) =>
    (JSON.parse(ledger.texts(ORG).at(-1)!) as { event: unknown }).event;

  test('AE-03: the first start and a start after an orderly stop are openings', async () => {
    const ledger = memoryLedger();
    const opened = await openLog(ledger);
    expect(await recover({ ...opened, scope: 'all' })).toMatchObject({ crashed: false, unknown: [], complete: true });
    const { index } = await intent(opened, 'call_1');
    await finish(opened, 'call_1', index);
    await opened.audit.record(gateEntry(opened.audit.stamp(), { what: 'closed' }));
    expect(await recover({ ...opened, scope: 'all' })).toMatchObject({ crashed: false, unknown: [] });
    expect(lastEvent(ledger)).toEqual({ what: 'opened' });
  });

  test('AE-03: killed between intent and outcome at every point, each unfinished call is named and none that finished', async () => {
    // A call is two appends; stopping after any number of appends is every crash a ledger can show.
    const steps = ['i1', 'i2', 'o1', 'i3', 'o3', 'o2', 'r4', 'i5'];
    for (let crashAfter = 0; crashAfter <= steps.length; crashAfter += 1) {
      const ledger = memoryLedger();
      const opened = await openLog(ledger);
      await recover({ ...opened, scope: 'all' });
      const open = new Map<string, number>();
      for (const step of steps.slice(0, crashAfter)) {
        const id = `call_${step.slice(1)}`;
        if (step.startsWith('i')) open.set(id, (await intent(opened, id)).index);
        else if (step.startsWith('o')) {
          await finish(opened, id, open.get(id)!);
          open.delete(id);
        } else {
          const facts = { actor, call: callFacts(id), decision: allow, outcome: fine };
          await opened.audit.record(callEntry(opened.audit.stamp(), facts));
        }
      }
      // The process is gone: no close, no last checkpoint. Another opens the same ledger.
      const next = await openLog(ledger, { node: 'node-b' });
      const found = await recover({ ...next, scope: 'all' });
      expect(found.crashed).toBe(true);
      expect(found.complete).toBe(true);
      expect(found.unknown.map(({ call }) => call)).toEqual([...open.keys()]);
      expect(lastEvent(ledger)).toMatchObject({ what: 'recovered', unknown: open.size, calls: [...open.keys()] });
      await next.audit.checkpointNow();
      const dir = tempDir();
      await exportLog({ ledger, log: ORG, dir, vkeys: [signer.vkey] });
      const report = await verifyLog(dir, { vkeys: [signer.vkey] });
      expect(report.verified).toBe(true);
      expect(report.unfinished.map(({ call, recoveredAt }) => [call, recoveredAt])).toEqual(
        [...open.keys()].map((call) => [call, found.gate.index]),
      );
    }
  });

  test('AE-03: what one start named the next does not name again', async () => {
    const opened = await openLog(memoryLedger());
    await recover({ ...opened, scope: 'all' });
    await intent(opened, 'call_lost');
    expect((await recover({ ...opened, scope: 'all' })).unknown).toHaveLength(1);
    expect(await recover({ ...opened, scope: 'all' })).toMatchObject({ crashed: true, unknown: [] });
  });

  test('AE-03: a node among others names its own calls and leaves those in flight elsewhere alone', async () => {
    const ledger = memoryLedger();
    const a = await openLog(ledger, { node: 'node-a' });
    const b = await openLog(ledger, { node: 'node-b' });
    await recover({ ...a, scope: 'node' });
    await recover({ ...b, scope: 'node' });
    await intent(a, 'call_of_a');
    await intent(b, 'call_of_b');
    const again = await openLog(ledger, { node: 'node-a' });
    expect((await recover({ ...again, scope: 'node' })).unknown.map(({ call }) => call)).toEqual(['call_of_a']);
  });

  test('AE-03: many unknown calls are counted in full and named up to a hundred', async () => {
    const opened = await openLog(memoryLedger());
    await recover({ ...opened, scope: 'all' });
    for (let i = 0; i < 150; i += 1) await intent(opened, `call_01k9z3m8e2f7q4w6r1t5y9${String(i).padStart(4, '0')}`);
    const found = await recover({ ...opened, scope: 'all' });
    expect(found.unknown).toHaveLength(150);
    const event = lastEvent(opened.ledger) as { unknown: number; calls: string[] };
    expect([event.unknown, event.calls.length]).toEqual([150, 100]);
    expect(event.calls[0]).toBe('call_01k9z3m8e2f7q4w6r1t5y90000');
  });

  test('AE-03: a ledger that cannot take the gate entry keeps the gate closed', async () => {
    const ledger = memoryLedger();
    const opened = await openLog(ledger);
    ledger.faults.append = 'refuse';
    await expect(recover({ ...opened, scope: 'all' })).rejects.toMatchObject({ code: 'ledger_overloaded' });
  });
});
