/** The signed log over a ledger: order of writing and signing, lost answers, other nodes, forks, rollbacks, silence. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { adminEntry, gateEntry, intentEntry } from '../../src/audit/entries.ts';
import { exportLog } from '../../src/audit/export.ts';
import { signerOf } from '../../src/audit/keys.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { openCheckpoint } from '../../src/verify/checkpoint.ts';
import { verifyLog } from '../../src/verify/log.ts';
import { compactRange, leafHash } from '../../src/verify/merkle.ts';
import { verifyReceipt } from '../../src/verify/proof.ts';
import { memoryLedger } from '../support/memory-ledger.ts';
import type { MemoryLedger } from '../support/memory-ledger.ts';
import { actor, allow, callFacts, DAY_MS, fill, openLog, ORG, ORIGIN, signer, tempDir, testKey } from './fixtures.ts';

const vkeys = [signer.vkey];

function rootOf(ledger: MemoryLedger, size: number): string {
  const range = compactRange();
  for (const text of ledger.texts(ORG).slice(0, size)) range.push(leafHash(text));
  return range.root().toString('base64');
}

function stored(ledger: MemoryLedger, signers = vkeys) {
  return ledger.checkpoint(ORG).then((checkpoint) => {
    const opened = openCheckpoint(checkpoint?.note ?? '', signers);
    return opened.ok ? opened.checkpoint : null;
  });
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 4_000; i += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('the condition never held');
}

const note = (audit: { stamp(): Parameters<typeof adminEntry>[0] }, what: string) =>
  adminEntry(audit.stamp(), { what });

describe('signing', () => {
  test('a new log begins with its key and a checkpoint over it', async () => {
    const { ledger, audit } = await openLog(memoryLedger());
    expect(JSON.parse(ledger.texts(ORG)[0]!)).toMatchObject({
      kind: 'key',
      event: { what: 'created', vkey: signer.vkey.text },
    });
    expect(await stored(ledger)).toMatchObject({ origin: ORIGIN, size: 1 });
    expect(audit.status()).toMatchObject({ lastIndex: 0, checkpoint: { size: 1, seenAtMs: DAY_MS }, fatal: null });
  });

  test.each([1, 2, 254, 255, 256, 600])(
    'a checkpoint after %i more entries has the root of a naive tree',
    async (count) => {
      const opened = await openLog(memoryLedger());
      await fill(opened, count);
      const { size, root } = await opened.audit.checkpointNow();
      expect(size).toBe(count + 1);
      expect(Buffer.from(root).toString('base64')).toBe(rootOf(opened.ledger, size));
      expect((await stored(opened.ledger))?.root.toString('base64')).toBe(rootOf(opened.ledger, size));
    },
  );

  test('nothing new means the same checkpoint', async () => {
    const { audit } = await openLog(memoryLedger());
    expect((await audit.checkpointNow()).note).toBe((await audit.checkpointNow()).note);
  });

  test('a log that is opened again goes on where it stood', async () => {
    const ledger = memoryLedger();
    const first = await openLog(ledger);
    await fill(first, 300);
    await first.audit.close();
    const second = await openLog(ledger);
    await second.audit.record(note(second.audit, 'x'));
    expect(await second.audit.checkpointNow()).toMatchObject({ size: 302 });
    expect((await stored(ledger))?.root.toString('base64')).toBe(rootOf(ledger, 302));
    expect(ledger.texts(ORG).filter((text) => text.includes('"kind":"key"'))).toHaveLength(1);
  });

  test('after close nothing more is recorded, and what was recorded is signed', async () => {
    const { ledger, audit } = await openLog(memoryLedger());
    await audit.record(gateEntry(audit.stamp(), { what: 'closed' }));
    await audit.close();
    await audit.close();
    expect(await stored(ledger)).toMatchObject({ size: 2 });
    await expect(audit.record(note(audit, 'late'))).rejects.toMatchObject({ code: 'ledger_closed' });
  });

  test('a timer signs what arrives, and an idle log says every ten seconds that it was there', async () => {
    const clock = manualClock(DAY_MS);
    const { ledger, audit } = await openLog(memoryLedger(), { clock, checkpointEveryMs: 5, idleEveryMs: 10_000 });
    await audit.record(note(audit, 'x'));
    await until(async () => (await ledger.checkpoint(ORG))?.size === 2);
    clock.advance(9_000);
    const { index } = await audit.record(note(audit, 'y'));
    await until(async () => (await ledger.checkpoint(ORG))?.size === index + 1);
    clock.advance(9_000);
    await until(async () => (await ledger.checkpoint(ORG))?.size === index + 1);
    expect(ledger.texts(ORG)).toHaveLength(index + 1);
    clock.advance(1_000);
    await until(async () => (await ledger.checkpoint(ORG))?.size === index + 2);
    expect(JSON.parse(ledger.texts(ORG).at(-1)!)).toMatchObject({ kind: 'clock', time: '2026-03-01T09:00:19.000Z' });
    await audit.close();
  });
});

describe('a step fails, and was or was not done all the same', () => {
  test.each(['refuse', 'persist-then-fail'] as const)(
    'append %s: the caller hears the fault, and the log stays whole',
    async (mode) => {
      const { ledger, audit } = await openLog(memoryLedger());
      ledger.faults.append = mode;
      const entry = intentEntry(audit.stamp(), { actor, call: callFacts('call_x'), decision: allow });
      await expect(audit.record(entry)).rejects.toMatchObject({ code: 'ledger_overloaded' });
      await audit.record(note(audit, 'after'));
      const { size } = await audit.checkpointNow();
      expect(size).toBe(mode === 'refuse' ? 2 : 3);
      const dir = tempDir();
      await exportLog({ ledger, log: ORG, dir, vkeys });
      const report = await verifyLog(dir, { vkeys });
      expect(report.verified).toBe(true);
      expect(report.unfinished.map(({ call }) => call)).toEqual(mode === 'refuse' ? [] : ['call_x']);
    },
  );

  test.each(['refuse', 'persist-then-fail'] as const)(
    'checkpoint swap %s: the next turn goes on, and no fork is cried',
    async (mode) => {
      const { ledger, audit, fatal } = await openLog(memoryLedger());
      await audit.record(note(audit, 'x'));
      ledger.faults.swap = mode;
      await expect(audit.checkpointNow()).rejects.toMatchObject({ code: 'ledger_overloaded' });
      expect((await ledger.checkpoint(ORG))?.size).toBe(mode === 'refuse' ? 1 : 2);
      await audit.record(note(audit, 'y'));
      expect(await audit.checkpointNow()).toMatchObject({ size: 3 });
      expect((await stored(ledger))?.root.toString('base64')).toBe(rootOf(ledger, 3));
      expect(fatal).toEqual([]);
    },
  );

  test('checkpoint swap persisted, then nothing new: our own checkpoint is found again', async () => {
    const { ledger, audit, fatal } = await openLog(memoryLedger());
    await audit.record(note(audit, 'x'));
    ledger.faults.swap = 'persist-then-fail';
    await expect(audit.checkpointNow()).rejects.toMatchObject({ code: 'ledger_overloaded' });
    expect(await audit.checkpointNow()).toMatchObject({ size: 2 });
    expect(fatal).toEqual([]);
  });

  test('a publish directory that cannot be written stops nothing, is said, and is caught up with later', async () => {
    const publishDir = join(tempDir(), 'public');
    const { ledger, audit, fatal } = await openLog(memoryLedger(), { publishDir });
    rmSync(publishDir, { recursive: true });
    writeFileSync(publishDir, 'a file in the way');
    await audit.record(note(audit, 'x'));
    expect(await audit.checkpointNow()).toMatchObject({ size: 2 });
    expect(audit.status().publishFault).toContain('ENOTDIR');
    expect(await stored(ledger)).toMatchObject({ size: 2 });
    rmSync(publishDir);
    await audit.checkpointNow();
    expect(audit.status().publishFault).toBeNull();
    expect(await verifyLog(publishDir, { vkeys })).toMatchObject({ verified: true, size: 2 });
    expect(fatal).toEqual([]);
  });

  test('a publish directory that cannot be read at start refuses the start', async () => {
    const publishDir = join(tempDir(), 'public');
    writeFileSync(publishDir, 'a file in the way');
    await expect(openLog(memoryLedger(), { publishDir })).rejects.toMatchObject({
      code: 'publish_unreadable',
      message: `the publish directory ${publishDir} cannot be read`,
    });
  });
});

describe('several nodes over one ledger', () => {
  test('two nodes take turns, each accepts what the other signed, and the log verifies', async () => {
    const ledger = memoryLedger();
    const a = await openLog(ledger, { node: 'node-a' });
    const b = await openLog(ledger, { node: 'node-b' });
    for (let i = 0; i < 6; i += 1) {
      const { audit } = i % 2 === 0 ? a : b;
      await audit.record(note(audit, `step ${i}`));
      await Promise.all([a.audit.checkpointNow(), b.audit.checkpointNow()]);
    }
    expect([...a.fatal, ...b.fatal]).toEqual([]);
    expect(a.audit.status().checkpoint?.size).toBe(b.audit.status().checkpoint?.size);
    const dir = tempDir();
    await exportLog({ ledger, log: ORG, dir, vkeys });
    expect((await verifyLog(dir, { vkeys })).verified).toBe(true);
  });

  test("the loser of a swap takes over the winner's checkpoint when it extends its own", async () => {
    const ledger = memoryLedger();
    const a = await openLog(ledger);
    const b = await openLog(ledger);
    await a.audit.record(note(a.audit, 'x'));
    const swap = ledger.swapCheckpoint;
    let raced = false;
    ledger.swapCheckpoint = async (log, expected, next) => {
      if (!raced) {
        raced = true;
        await b.audit.checkpointNow();
      }
      return await swap(log, expected, next);
    };
    expect(await a.audit.checkpointNow()).toMatchObject({ size: 2 });
    expect(a.fatal).toEqual([]);
  });
});

describe('AE-02: forks and rollbacks stop the log', () => {
  test('a checkpoint under our key over another history is fatal, and nothing is recorded after it', async () => {
    const ledger = memoryLedger();
    const { audit, fatal } = await openLog(ledger);
    const twin = await openLog(memoryLedger());
    await twin.audit.record(note(twin.audit, 'of the twin'));
    const theirs = await twin.audit.checkpointNow();
    await audit.record(note(audit, 'ours'));
    ledger.setCheckpoint(ORG, { size: theirs.size, note: theirs.note });
    await expect(audit.checkpointNow()).rejects.toMatchObject({ code: 'log_forked' });
    expect(fatal).toMatchObject([{ code: 'log_forked', message: expect.stringContaining('two gateways use one key') }]);
    await expect(audit.record(note(audit, 'more'))).rejects.toMatchObject({ code: 'ledger_failed' });
    await expect(audit.checkpointNow()).rejects.toMatchObject({ code: 'log_forked' });
    expect(fatal).toHaveLength(1);
    expect(audit.status().fatal).toMatchObject({ code: 'log_forked' });
  });

  test('two gateways with one key and copied databases: the second to publish stops', async () => {
    const publishDir = join(tempDir(), 'public');
    const ledger = memoryLedger();
    const first = await openLog(ledger, { publishDir });
    const second = await openLog(ledger.fork(), { publishDir });
    await first.audit.record(note(first.audit, 'first'));
    await first.audit.checkpointNow();
    await second.audit.record(note(second.audit, 'second'));
    await expect(second.audit.checkpointNow()).rejects.toMatchObject({ code: 'log_forked' });
    expect(second.fatal).toHaveLength(1);
    expect((await verifyLog(publishDir, { vkeys })).verified).toBe(true);
  });

  test('the twin without the comparison would have signed a second history over the first', async () => {
    const ledger = memoryLedger();
    const first = await openLog(ledger);
    const second = await openLog(ledger.fork());
    await first.audit.record(note(first.audit, 'first'));
    await second.audit.record(note(second.audit, 'second'));
    const [one, two] = [await first.audit.checkpointNow(), await second.audit.checkpointNow()];
    expect(one.size).toBe(two.size);
    expect(Buffer.compare(one.root, two.root)).not.toBe(0);
  });

  test('an entry changed in the ledger after it was signed is noticed at the next start', async () => {
    const ledger = memoryLedger();
    const opened = await openLog(ledger);
    await fill(opened, 20);
    await opened.audit.close();
    ledger.levels(ORG)[0]![5] = leafHash('something else');
    await expect(openLog(ledger)).rejects.toMatchObject({ code: 'log_forked' });
  });

  test('a ledger that was cut below its checkpoint is not opened', async () => {
    const ledger = memoryLedger();
    const opened = await openLog(ledger);
    await fill(opened, 20);
    await opened.audit.close();
    ledger.texts(ORG).length = 10;
    ledger.levels(ORG)[0]!.length = 10;
    await expect(openLog(ledger)).rejects.toMatchObject({
      code: 'log_rolled_back',
      message: expect.stringContaining('the ledger has 10'),
    });
  });

  test('a ledger restored from an old copy is not opened beside the newer published checkpoint', async () => {
    const publishDir = join(tempDir(), 'public');
    const ledger = memoryLedger();
    const opened = await openLog(ledger, { publishDir });
    const backup = ledger.fork();
    await fill(opened, 5);
    await opened.audit.close();
    await expect(openLog(backup, { publishDir })).rejects.toMatchObject({
      code: 'log_rolled_back',
      message: expect.stringContaining('rolled back'),
    });
  });

  test('a checkpoint that vanished while we ran is fatal', async () => {
    const ledger = memoryLedger();
    const { audit } = await openLog(ledger);
    ledger.setCheckpoint(ORG, null);
    await expect(audit.checkpointNow()).rejects.toMatchObject({ code: 'log_rolled_back' });
  });

  test('stored hashes that are missing are a corrupt ledger', async () => {
    const ledger = memoryLedger();
    const { audit, fatal } = await openLog(ledger);
    await audit.record(note(audit, 'x'));
    ledger.levels(ORG)[0]!.pop();
    await expect(audit.checkpointNow()).rejects.toMatchObject({ code: 'ledger_corrupt' });
    expect(fatal).toHaveLength(1);
  });
});

describe('keys', () => {
  test('a rotated key is recorded, and checkpoints of both verify', async () => {
    const ledger = memoryLedger();
    const first = await openLog(ledger);
    const before = await first.audit.checkpointNow();
    await first.audit.close();
    const next = signerOf(ORIGIN, testKey(8), [signer.vkey]);
    const second = await openLog(ledger, { signer: next });
    expect(JSON.parse(ledger.texts(ORG).at(-1)!)).toMatchObject({
      kind: 'key',
      event: { what: 'rotated', vkey: next.vkey.text, retired: signer.vkey.text },
    });
    const dir = tempDir();
    await exportLog({ ledger, log: ORG, dir, vkeys: [next.vkey, ...next.retired] });
    const report = await verifyLog(dir, {
      vkeys: [next.vkey, signer.vkey],
      held: [{ name: 'before', note: before.note }],
    });
    expect(report).toMatchObject({ verified: true, heldCheckpoints: [{ consistent: true }] });
    expect(second.fatal).toEqual([]);
  });

  test('a log whose key was lost is not opened with another', async () => {
    const ledger = memoryLedger();
    await openLog(ledger);
    await expect(openLog(ledger, { signer: signerOf(ORIGIN, testKey(8)) })).rejects.toMatchObject({
      code: 'log_key_mismatch',
      message: expect.stringContaining('Restore the key'),
    });
  });

  test('a key of another name is refused before anything is written', async () => {
    const ledger = memoryLedger();
    await expect(openLog(ledger, { origin: 'other.example/log' })).rejects.toMatchObject({ code: 'log_key_mismatch' });
    expect(await ledger.size(ORG)).toBe(0);
  });
});

describe('receipts', () => {
  test('a receipt proves its entry offline, and makes the checkpoint it needs', async () => {
    const opened = await openLog(memoryLedger());
    await fill(opened, 300);
    for (const index of [0, 1, 255, 256, 300]) {
      const text = await opened.audit.receipt(index);
      expect(verifyReceipt(text, opened.ledger.texts(ORG)[index]!, signer.vkey.text)).toMatchObject({
        ok: true,
        index,
      });
      expect(verifyReceipt(text, opened.ledger.texts(ORG)[(index + 1) % 301]!, signer.vkey.text).ok).toBe(false);
    }
  });

  test.each([-1, 1.5, 99])('there is no receipt for entry %s', async (index) => {
    const { audit } = await openLog(memoryLedger());
    await expect(audit.receipt(index)).rejects.toMatchObject({ code: 'log_index_unknown' });
  });
});

describe('publishing and exporting', () => {
  test('what is published verifies after every checkpoint, and full tiles replace partial ones', async () => {
    const publishDir = join(tempDir(), 'public');
    const opened = await openLog(memoryLedger(), { publishDir });
    for (const step of [3, 250, 10, 260]) {
      await fill(opened, step, `s${step}_`);
      await opened.audit.checkpointNow();
      const report = await verifyLog(publishDir, { vkeys });
      expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
      expect(report.size).toBe(await opened.ledger.size(ORG));
    }
    expect(existsSync(join(publishDir, 'tile/0/000'))).toBe(true);
    expect(existsSync(join(publishDir, 'tile/0/000.p'))).toBe(false);
    expect(readFileSync(join(publishDir, 'log.vkey'), 'utf8')).toBe(`${signer.vkey.text}\n`);
  });

  test('an export interrupted before its checkpoint leaves the earlier one valid, and the next completes it', async () => {
    const opened = await openLog(memoryLedger());
    await fill(opened, 10);
    await opened.audit.checkpointNow();
    const dir = tempDir();
    await exportLog({ ledger: opened.ledger, log: ORG, dir, vkeys });
    const before = readFileSync(join(dir, 'checkpoint'));
    await fill(opened, 300, 'd');
    await opened.audit.checkpointNow();
    await exportLog({ ledger: opened.ledger, log: ORG, dir, vkeys });
    writeFileSync(join(dir, 'checkpoint'), before);
    expect(await verifyLog(dir, { vkeys })).toMatchObject({ verified: true, size: 11 });
    expect(await exportLog({ ledger: opened.ledger, log: ORG, dir, vkeys })).toEqual({ size: 311, before: 11 });
    const report = await verifyLog(dir, { vkeys });
    expect(report).toMatchObject({
      verified: true,
      size: 311,
      heldCheckpoints: [{ name: 'checkpoints/11', consistent: true }],
    });
  });

  test('a directory that holds another log is not written over', async () => {
    const other = signerOf('other.example/log', testKey(9));
    const theirs = await openLog(memoryLedger(), { signer: other, origin: 'other.example/log' });
    const dir = tempDir();
    await exportLog({ ledger: theirs.ledger, log: ORG, dir, vkeys: [other.vkey] });
    const ours = await openLog(memoryLedger());
    await expect(exportLog({ ledger: ours.ledger, log: ORG, dir, vkeys })).rejects.toMatchObject({
      code: 'log_forked',
    });
    expect((await verifyLog(dir, { vkeys: [other.vkey] })).verified).toBe(true);
  });

  test('a log without a checkpoint cannot be exported', async () => {
    await expect(exportLog({ ledger: memoryLedger(), log: ORG, dir: tempDir(), vkeys })).rejects.toThrow(
      'has no signed checkpoint yet',
    );
  });
});
