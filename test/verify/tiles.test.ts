/** Names of tiles, entry bundles and receipts, with hostile input. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatCheckpoint } from '../../src/verify/checkpoint.ts';
import { FormatError } from '../../src/verify/format-error.ts';
import { compactRange, inclusionProof, leafHash } from '../../src/verify/merkle.ts';
import { formatProof, parseProof, verifyReceipt } from '../../src/verify/proof.ts';
import { decodeBundle, decodeTile, encodeBundle, parseTilePath, tilePath, tilesOf } from '../../src/verify/tiles.ts';
import { ORIGIN, signer } from '../audit/fixtures.ts';

describe('tile names', () => {
  test.each([
    [{ level: 0, index: 1_234_067, width: 256 }, 'tile/0/x001/x234/067'],
    [{ level: 2, index: 0, width: 1 }, 'tile/2/000.p/1'],
    [{ level: 'entries', index: 1000, width: 8 }, 'tile/entries/x001/000.p/8'],
  ] as const)('%j is %s', (name, path) => {
    expect(tilePath(name)).toBe(path);
    expect(parseTilePath(path)).toEqual(name);
  });

  test('a log of 70,000 has the tiles that the specification counts', () => {
    const tiles = [...tilesOf(70_000)];
    const count = (level: number | 'entries', full: boolean) =>
      tiles.filter((tile) => tile.level === level && (tile.width === 256) === full).length;
    expect([count(0, true), count(0, false), count('entries', true), count(1, true), count(1, false)]).toEqual([
      273, 1, 273, 1, 1,
    ]);
    expect(tiles.filter(({ width }) => width < 256).map(tilePath)).toEqual([
      'tile/0/273.p/112',
      'tile/entries/273.p/112',
      'tile/1/001.p/17',
      'tile/2/000.p/1',
    ]);
  });

  test('growing adds exactly the tiles that were not full before', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 70_000 }), fc.integer({ min: 1, max: 2000 }), (from, more) => {
        const before = new Set([...tilesOf(from)].filter(({ width }) => width === 256).map(tilePath));
        const all = [...tilesOf(from + more)].map(tilePath);
        expect([...tilesOf(from + more, from)].map(tilePath)).toEqual(all.filter((path) => !before.has(path)));
      }),
      { seed: 3, numRuns: 40 },
    );
  });

  test.each([
    'tile/0/0',
    'tile/0/x000/000',
    'tile/00/000',
    'tile/64/000',
    'tile/0/000.p/0',
    'tile/0/000.p/256',
    'tile/0/000.p/01',
    'tile/0/../000',
    'tile/-1/000',
    'checkpoint',
  ])('%s names no tile', (path) => {
    expect(parseTilePath(path)).toBeNull();
  });
});

describe('bundles and tiles', () => {
  test('entries come back byte for byte, empty and long ones too', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 256 }), (entries) => {
        const { entries: back, complete } = decodeBundle(encodeBundle(entries));
        expect(complete).toBe(true);
        expect(back.map((entry) => entry.toString('hex'))).toEqual(
          entries.map((entry) => Buffer.from(entry).toString('hex')),
        );
      }),
      { seed: 4, numRuns: 50 },
    );
    expect(decodeBundle(encodeBundle([Buffer.alloc(65_535)])).entries[0]?.length).toBe(65_535);
  });

  test('an entry over 65,535 bytes is refused', () => {
    expect(() => encodeBundle([Buffer.alloc(65_536)])).toThrow('an entry is over 65,535 bytes');
  });

  test('a cut bundle gives what was whole and says that it is not complete', () => {
    const bytes = encodeBundle(['one', 'two']);
    expect(decodeBundle(bytes.subarray(0, -1))).toMatchObject({ complete: false, entries: [Buffer.from('one')] });
    expect(decodeBundle(bytes.subarray(0, 1)).complete).toBe(false);
    expect(decodeBundle(encodeBundle(Array.from({ length: 257 }, () => 'x'))).complete).toBe(false);
  });

  test('any bytes at all are read without a fault', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        const { entries, complete } = decodeBundle(bytes);
        if (complete) expect(encodeBundle(entries).equals(bytes)).toBe(true);
      }),
      { seed: 5, numRuns: 500 },
    );
  });

  test.each([0, 31, 33, 257 * 32])('a tile of %i bytes is refused', (length) => {
    expect(() => decodeTile(Buffer.alloc(length))).toThrow(FormatError);
  });
});

describe('receipts', async () => {
  const entries = ['{"a":1}', '{"b":2}', '{"c":3}', '{"d":4}', '{"e":5}'];
  const leaves = entries.map(leafHash);
  const range = compactRange();
  for (const leaf of leaves) range.push(leaf);
  const checkpoint = signer.sign(formatCheckpoint({ origin: ORIGIN, size: entries.length, root: range.root() }));
  const reader = async (_: number, start: number, count: number) => leaves.slice(start, start + count);
  const receipt = formatProof({ index: 2, hashes: await inclusionProof(2, 5, reader), checkpoint });

  test('a receipt proves its entry to whoever has the key', () => {
    expect(verifyReceipt(receipt, '{"c":3}', signer.vkey.text)).toMatchObject({
      ok: true,
      index: 2,
      checkpoint: { size: 5 },
    });
  });

  test('a receipt with an extra line proves the same, and the line is not given out', () => {
    const extra = receipt.replace('\nindex', '\nextra c2VjcmV0\nindex');
    expect(JSON.stringify(verifyReceipt(extra, '{"c":3}', signer.vkey.text))).not.toContain('c2VjcmV0');
    expect(verifyReceipt(extra, '{"c":3}', signer.vkey.text).ok).toBe(true);
  });

  test.each([
    ['another entry', receipt, '{"c":4}', 'does not lead from this entry at index 2'],
    ['another index', receipt.replace('index 2', 'index 1'), '{"c":3}', 'does not lead from this entry at index 1'],
    ['another size', receipt.replace('\n5\n', '\n6\n'), '{"c":3}', 'does not verify'],
  ])('a receipt for %s does not hold', (_, text, entry, message) => {
    expect(verifyReceipt(text, entry, signer.vkey.text)).toMatchObject({
      ok: false,
      message: expect.stringContaining(message),
    });
  });

  test.each([
    ['no header', receipt.slice(1), 'the receipt does not begin with c2sp.org/tlog-proof@v1'],
    ['no index', receipt.replace('index 2\n', ''), 'the receipt has no index line'],
    ['a leading zero', receipt.replace('index 2', 'index 02'), 'the receipt has no index line'],
    [
      'a bad extra line',
      receipt.replace('\nindex', '\nextra c2V\nindex'),
      'the extra line of the receipt is not base64',
    ],
    ['a short hash', receipt.replace(/\n[^\n]{44}\n/, '\nAAAA\n'), 'a line of the path is not a SHA-256 hash'],
    [
      '64 hashes',
      formatProof({ index: 2, hashes: Array.from({ length: 64 }, () => leaves[0]!), checkpoint }),
      'the path of the receipt is too long',
    ],
    ['nothing in it', '', 'the receipt has no blank line before its checkpoint'],
  ])('refuses a receipt with %s', (_, text, message) => {
    expect(() => parseProof(text)).toThrow(new FormatError('malformed_proof', message));
  });

  test('no changed byte of a receipt proves another entry, position or tree', () => {
    fc.assert(
      fc.property(fc.nat({ max: receipt.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const bytes = Buffer.from(receipt);
        if (bytes[at] === byte) return;
        bytes[at] = byte;
        try {
          expect(verifyReceipt(bytes.toString(), '{"c":3}', signer.vkey.text).ok).toBe(false);
        } catch (error) {
          expect(error).toBeInstanceOf(FormatError);
        }
      }),
      { seed: 6, numRuns: 1500 },
    );
  });
});
