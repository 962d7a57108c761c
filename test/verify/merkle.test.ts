/** Hash trees against published vectors and against a naive tree that follows RFC 6962 section 2.1 word by word. */
import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compactRange,
  consistencyHolds,
  consistencyProof,
  extendRange,
  inclusionHolds,
  inclusionProof,
  leafHash,
  nodeHash,
} from '../../src/verify/merkle.ts';
import type { HashReader } from '../../src/verify/merkle.ts';

/** Leaves and roots of the reference implementation of Certificate Transparency (merkletree tests). */
const VECTOR_LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const VECTOR_ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

function naiveRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [only] = leaves;
  if (only === undefined) return createHash('sha256').digest();
  if (leaves.length === 1) return only;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return nodeHash(naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

function naivePath(index: number, leaves: readonly Uint8Array[]): Uint8Array[] {
  if (leaves.length === 1) return [];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return index < k
    ? [...naivePath(index, leaves.slice(0, k)), naiveRoot(leaves.slice(k))]
    : [...naivePath(index - k, leaves.slice(k)), naiveRoot(leaves.slice(0, k))];
}

function naiveConsistency(old: number, leaves: readonly Uint8Array[], whole: boolean): Uint8Array[] {
  if (old === leaves.length) return whole ? [] : [naiveRoot(leaves)];
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return old <= k
    ? [...naiveConsistency(old, leaves.slice(0, k), whole), naiveRoot(leaves.slice(k))]
    : [...naiveConsistency(old - k, leaves.slice(k), false), naiveRoot(leaves.slice(0, k))];
}

const leaves = Array.from({ length: 1200 }, (_, i) => leafHash(`entry ${i}`));
const reader: HashReader = async (level, start, count) => {
  const span = 256 ** level;
  return Array.from({ length: count }, (_, i) => naiveRoot(leaves.slice((start + i) * span, (start + i + 1) * span)));
};
const roots = new Map<number, Uint8Array>();
function rootOf(size: number): Uint8Array {
  const root = roots.get(size) ?? naiveRoot(leaves.slice(0, size));
  roots.set(size, root);
  return root;
}
/** Small trees, and sizes around tile borders. */
const sizes = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(255, 256, 257, 511, 512, 513, 768, 1000, 1200));
const runs = { seed: 6962, numRuns: 60 };

describe('roots', () => {
  test.each(VECTOR_ROOTS.map((root, size) => ({ size, root })))(
    'a tree of $size leaves has the published root',
    ({ size, root }) => {
      const range = compactRange();
      for (const leaf of VECTOR_LEAVES.slice(0, size)) range.push(leafHash(Buffer.from(leaf, 'hex')));
      expect(range.root().toString('hex')).toBe(root);
    },
  );

  test('a range extended from stored hashes in steps equals the naive tree', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(sizes, { minLength: 1, maxLength: 4 }), async (steps) => {
        const range = compactRange();
        for (const size of steps.toSorted((a, b) => a - b)) {
          await extendRange(range, size, reader);
          expect(range.size).toBe(size);
          expect(range.root().equals(rootOf(size))).toBe(true);
        }
      }),
      runs,
    );
  });

  test('a clone goes its own way', () => {
    const range = compactRange();
    range.push(leafHash('a'));
    const copy = range.clone();
    copy.push(leafHash('b'));
    expect(range.root().equals(leafHash('a'))).toBe(true);
    expect(copy.root().equals(nodeHash(leafHash('a'), leafHash('b')))).toBe(true);
  });

  test('a subtree that does not fit at the end of a range is refused', () => {
    const range = compactRange();
    range.push(leafHash('a'));
    expect(() => range.push(leafHash('b'), 8)).toThrow('a subtree of height 8 does not fit at 1');
  });

  test('a reader with a gap is an error and not another tree', async () => {
    await expect(extendRange(compactRange(), 10, async () => [])).rejects.toThrow('level 0 has 0 of 10 hashes from 0');
  });
});

describe('inclusion', () => {
  test('every generated proof equals the naive path and verifies', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), async (size, pick) => {
        const index = pick % size;
        const proof = await inclusionProof(index, size, reader);
        expect(proof.map((hash) => hash.toString('hex'))).toEqual(
          naivePath(index, leaves.slice(0, size)).map((hash) => Buffer.from(hash).toString('hex')),
        );
        expect(inclusionHolds(leaves[index]!, index, size, proof, rootOf(size))).toBe(true);
      }),
      runs,
    );
  });

  test('a proof with another index, size, leaf, root, a missing, additional or changed hash does not verify', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, fc.nat(), fc.nat(), async (size, pick, bit) => {
        const index = pick % size;
        const proof = await inclusionProof(index, size, reader);
        const root = rootOf(size);
        const leaf = leaves[index]!;
        const flipped = proof.map((hash, i) => {
          const copy = Buffer.from(hash);
          if (i === bit % proof.length) copy[bit % 32]! ^= 1;
          return copy;
        });
        expect(inclusionHolds(leafHash('other'), index, size, proof, root)).toBe(false);
        expect(inclusionHolds(leaf, index, size, proof, leafHash('other'))).toBe(false);
        expect(inclusionHolds(leaf, index, size, [...proof, leaf], root)).toBe(false);
        expect(inclusionHolds(leaf, size, size, proof, root)).toBe(false);
        expect(inclusionHolds(leaf, -1, size, proof, root)).toBe(false);
        if (proof.length > 0) {
          expect(inclusionHolds(leaf, index, size, proof.slice(1), root)).toBe(false);
          expect(inclusionHolds(leaf, index, size, flipped, root)).toBe(false);
          expect(inclusionHolds(leaf, index === 0 ? 1 : index - 1, size, proof, root)).toBe(false);
        }
      }),
      runs,
    );
  });

  test('there is no proof for an entry that is not there', async () => {
    await expect(inclusionProof(5, 5, reader)).rejects.toThrow('no entry 5 in a log of 5');
  });
});

describe('consistency', () => {
  test('every generated proof equals the naive one and verifies', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, sizes, async (a, b) => {
        const [old, now] = a <= b ? [a, b] : [b, a];
        const proof = await consistencyProof(old, now, reader);
        expect(proof.map((hash) => hash.toString('hex'))).toEqual(
          naiveConsistency(old, leaves.slice(0, now), true).map((hash) => Buffer.from(hash).toString('hex')),
        );
        expect(consistencyHolds(old, rootOf(old), now, rootOf(now), proof)).toBe(true);
      }),
      runs,
    );
  });

  test('another old root, new root, size or path does not verify', async () => {
    await fc.assert(
      fc.asyncProperty(sizes, sizes, async (a, b) => {
        const [old, now] = a <= b ? [a, b] : [b, a];
        fc.pre(old < now);
        const proof = await consistencyProof(old, now, reader);
        const other = leafHash('other');
        expect(consistencyHolds(old, other, now, rootOf(now), proof)).toBe(false);
        expect(consistencyHolds(old, rootOf(old), now, other, proof)).toBe(false);
        expect(consistencyHolds(old, rootOf(old), now, rootOf(now), [...proof, other])).toBe(false);
        expect(consistencyHolds(old, rootOf(old), now, rootOf(now), proof.slice(1))).toBe(false);
        expect(consistencyHolds(now, rootOf(now), old, rootOf(old), proof)).toBe(false);
      }),
      runs,
    );
  });

  test('everything extends the empty log, and only by the empty proof', () => {
    const empty = compactRange().root();
    expect(consistencyHolds(0, empty, 3, rootOf(3), [])).toBe(true);
    expect(consistencyHolds(0, empty, 3, rootOf(3), [leafHash('x')])).toBe(false);
    expect(consistencyHolds(0, leafHash('x'), 3, rootOf(3), [])).toBe(false);
  });
});
