/** What every Ledger must do. Run by test/store for each engine; `open` gives a ledger on a place, and the same place again. */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Ledger } from '../../src/audit/ledger.ts';
import { LedgerFault } from '../../src/audit/ledger.ts';

export interface LedgerPlace {
  /** Opens the ledger that lives at this place; the data survives `close`. */
  open(options?: { queueLimit?: number; appendTimeoutMs?: number }): Promise<Ledger>;
  remove(): Promise<void>;
}

const LOG = 'remit.example/log/default';

/** RFC 6962 section 2.1, word by word and without any cleverness: the oracle for stored hashes. */
export function naiveTreeHash(leaves: readonly string[]): Buffer {
  const hash = (prefix: number, ...parts: (string | Buffer)[]) => {
    const h = createHash('sha256').update(Buffer.of(prefix));
    for (const part of parts) h.update(part);
    return h.digest();
  };
  if (leaves.length === 1) return hash(0, leaves[0] as string);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return hash(1, naiveTreeHash(leaves.slice(0, split)), naiveTreeHash(leaves.slice(split)));
}

const hex = (hashes: readonly Uint8Array[]): string[] => hashes.map((hash) => Buffer.from(hash).toString('hex'));

export function ledgerContract(name: string, newPlace: () => Promise<LedgerPlace>): void {
  describe(`ledger contract: ${name}`, () => {
    let place: LedgerPlace;
    let ledger: Ledger;

    beforeEach(async () => {
      place = await newPlace();
      ledger = await place.open();
    });
    afterEach(async () => {
      await ledger.close();
      await place.remove();
    });

    const expectFault = (work: Promise<unknown>, code: string, message: RegExp) =>
      expect(work).rejects.toSatisfy((fault: unknown) => {
        expect(fault).toBeInstanceOf(LedgerFault);
        expect(fault).toMatchObject({ code, message: expect.stringMatching(message) });
        return true;
      });
    const fill = (log: string, texts: readonly string[]) => Promise.all(texts.map((text) => ledger.append(log, text)));
    const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, i) => `{"n":${from + i}}`);

    test('an empty ledger has no logs, size 0, no checkpoint', async () => {
      expect(await ledger.logs()).toEqual([]);
      expect(await ledger.size(LOG)).toBe(0);
      expect(await ledger.read(LOG, 0, 10)).toEqual([]);
      expect(await ledger.hashes(LOG, 0, 0, 10)).toEqual([]);
      expect(await ledger.checkpoint(LOG)).toBeNull();
      expect(ledger.fatal).toBeNull();
    });

    test('indexes start at 0 and follow the order of the appends, without gaps', async () => {
      const landed = await fill(LOG, numbered(700));
      expect(landed.map((at) => at.index)).toEqual(Array.from({ length: 700 }, (_, i) => i));
      const entries = await ledger.read(LOG, 0, 1000);
      expect(entries.map((entry) => entry.text)).toEqual(numbered(700));
      expect(entries.map((entry) => entry.index)).toEqual(landed.map((at) => at.index));
      expect(await ledger.read(LOG, 698, 10)).toHaveLength(2);
      expect(await ledger.size(LOG)).toBe(700);
    });

    test('logs are apart from each other, also within one turn', async () => {
      const landed = await Promise.all(['b', 'a', 'b', 'a', 'b'].map((log, i) => ledger.append(log, `{"i":${i}}`)));
      expect(landed).toEqual([
        { log: 'b', index: 0 },
        { log: 'a', index: 0 },
        { log: 'b', index: 1 },
        { log: 'a', index: 1 },
        { log: 'b', index: 2 },
      ]);
      expect(await ledger.logs()).toEqual(['a', 'b']);
      expect((await ledger.read('a', 0, 9)).map((entry) => entry.text)).toEqual(['{"i":1}', '{"i":3}']);
    });

    test('the text is kept byte for byte', async () => {
      const texts = [
        '{"a":"e\u0301 é 🙂 \u2028 \\u0000"}',
        '"\u007f\u0080"',
        ' {"space" : 1}\r\n',
        '"' + 'x'.repeat(65_533) + '"',
      ];
      await fill(LOG, texts);
      expect((await ledger.read(LOG, 0, 9)).map((entry) => entry.text)).toEqual(texts);
      const leaves = texts.map((text) => naiveTreeHash([text]).toString('hex'));
      expect(hex(await ledger.hashes(LOG, 0, 0, 9))).toEqual(leaves);
    });

    test('leaf hashes are there for every entry, tile hashes exactly when complete, all as RFC 6962 says', async () => {
      const texts = numbered(255);
      await fill(LOG, texts);
      expect(await ledger.hashes(LOG, 0, 0, 1000)).toHaveLength(255);
      expect(await ledger.hashes(LOG, 1, 0, 1000)).toEqual([]);
      texts.push(...numbered(1, 255));
      await ledger.append(LOG, texts[255] as string);
      expect(hex(await ledger.hashes(LOG, 1, 0, 1000))).toEqual([naiveTreeHash(texts).toString('hex')]);
      texts.push(...numbered(800, 256));
      await fill(LOG, texts.slice(256));
      const complete = [0, 1, 2, 3].map((i) => naiveTreeHash(texts.slice(i * 256, (i + 1) * 256)).toString('hex'));
      expect(hex(await ledger.hashes(LOG, 1, 0, 1000))).toEqual(complete);
      expect(hex(await ledger.hashes(LOG, 1, 2, 1))).toEqual([complete[2]]);
      expect(hex(await ledger.hashes(LOG, 0, 300, 2))).toEqual(
        hex([naiveTreeHash(['{"n":300}']), naiveTreeHash(['{"n":301}'])]),
      );
      expect(await ledger.hashes(LOG, 2, 0, 1000)).toEqual([]);
    });

    test('level 2 appears at 65,536 entries', async () => {
      for (let from = 0; from < 65_536; from += 4096) await fill(LOG, numbered(4096, from));
      expect(await ledger.hashes(LOG, 1, 0, 1000)).toHaveLength(256);
      expect(hex(await ledger.hashes(LOG, 2, 0, 10))).toEqual([naiveTreeHash(numbered(65_536)).toString('hex')]);
      expect(await ledger.hashes(LOG, 3, 0, 10)).toEqual([]);
    });

    test('everything is there after close and open', async () => {
      await fill(LOG, numbered(300));
      await ledger.swapCheckpoint(LOG, -1, { size: 300, note: 'signed' });
      await ledger.close();
      ledger = await place.open();
      expect(await ledger.size(LOG)).toBe(300);
      expect((await ledger.read(LOG, 0, 300)).map((entry) => entry.text)).toEqual(numbered(300));
      expect(await ledger.hashes(LOG, 1, 0, 10)).toHaveLength(1);
      expect(await ledger.checkpoint(LOG)).toEqual({ size: 300, note: 'signed' });
      expect(await ledger.append(LOG, '{}')).toEqual({ log: LOG, index: 300 });
    });

    describe('checkpoints', () => {
      beforeEach(() => fill(LOG, numbered(10)));

      test('a swap needs the size that is stored', async () => {
        expect(await ledger.swapCheckpoint(LOG, 4, { size: 5, note: 'none yet' })).toBe(false);
        expect(await ledger.swapCheckpoint(LOG, -1, { size: 5, note: 'first' })).toBe(true);
        expect(await ledger.swapCheckpoint(LOG, -1, { size: 6, note: 'second signer' })).toBe(false);
        expect(await ledger.swapCheckpoint(LOG, 4, { size: 7, note: 'behind' })).toBe(false);
        expect(await ledger.checkpoint(LOG)).toEqual({ size: 5, note: 'first' });
        expect(await ledger.swapCheckpoint(LOG, 5, { size: 5, note: 'nothing happened' })).toBe(true);
        expect(await ledger.swapCheckpoint(LOG, 5, { size: 10, note: 'next' })).toBe(true);
        expect(await ledger.checkpoint(LOG)).toEqual({ size: 10, note: 'next' });
      });

      test('of concurrent swaps from one size exactly one wins', async () => {
        await ledger.swapCheckpoint(LOG, -1, { size: 1, note: 'first' });
        const swaps = Array.from({ length: 8 }, (_, i) => ledger.swapCheckpoint(LOG, 1, { size: 2 + i, note: `${i}` }));
        expect((await Promise.all(swaps)).filter(Boolean)).toHaveLength(1);
      });

      test('refuses to go back or to speak of entries that are not there', async () => {
        await ledger.swapCheckpoint(LOG, -1, { size: 5, note: 'first' });
        await expectFault(ledger.swapCheckpoint(LOG, 5, { size: 4, note: 'x' }), 'ledger_invalid', /cannot follow 5/);
        await expectFault(
          ledger.swapCheckpoint(LOG, 5, { size: 11, note: 'x' }),
          'ledger_invalid',
          /log of 10 entries/,
        );
        expect(await ledger.append(LOG, '{}')).toEqual({ log: LOG, index: 10 });
      });
    });

    test('a full queue refuses, and what was accepted is written', async () => {
      await ledger.close();
      ledger = await place.open({ queueLimit: 20 });
      const results = await Promise.allSettled(numbered(25).map((text) => ledger.append(LOG, text)));
      const refused = results.filter((result) => result.status === 'rejected');
      expect(refused).toHaveLength(5);
      for (const { reason } of refused) {
        expect(reason).toMatchObject({
          code: 'ledger_overloaded',
          message: '20 audit entries wait for the disk; try again later',
        });
      }
      expect(await ledger.size(LOG)).toBe(20);
      expect(await ledger.append(LOG, '{}')).toEqual({ log: LOG, index: 20 });
      expect(ledger.fatal).toBeNull();
    });

    const malformed: readonly [string, string, string, string, RegExp][] = [
      ['65,536 bytes', LOG, 'x'.repeat(65_536), 'ledger_entry_too_large', /at most 65535 bytes/],
      ['65,536 bytes in fewer characters', LOG, 'é'.repeat(32_768), 'ledger_entry_too_large', /at most 65535 bytes/],
      ['half a surrogate pair', LOG, '"\ud83d"', 'ledger_invalid', /well-formed Unicode/],
      ['U+0000', LOG, '"\0"', 'ledger_invalid', /U\+0000/],
      ['a log without a name', '', '{}', 'ledger_invalid', /name of a log/],
    ];
    test.each(malformed)('refuses %s and goes on', async (_title, log, text, code, message) => {
      await expectFault(ledger.append(log, text), code, message);
      expect(await ledger.append(LOG, '{}')).toEqual({ log: LOG, index: 0 });
    });

    test('after close everything is refused', async () => {
      await ledger.close();
      await ledger.close();
      await expectFault(ledger.append(LOG, '{}'), 'ledger_closed', /closed/);
      await expectFault(ledger.size(LOG), 'ledger_closed', /closed/);
      await expectFault(ledger.swapCheckpoint(LOG, -1, { size: 0, note: '' }), 'ledger_closed', /closed/);
    });

    test('close waits for the appends that were accepted', async () => {
      const accepted = fill(LOG, numbered(500));
      await ledger.close();
      expect(await accepted).toHaveLength(500);
      ledger = await place.open();
      expect(await ledger.size(LOG)).toBe(500);
    });
  });
}
