/**
 * How good the detectors are, over the labelled set (CI-12): precision and recall of each family, and how often harmless texts are touched. The table
 * of the guide is made here; REMIT_WRITE_DOCS=1 writes it. A change that lowers a figure below its bound fails.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { PLAIN_TERMS } from '../../src/content/inspect.ts';
import { RESULTS } from './corpus/corpus.ts';
import { quality, shareOf, table, touchedDefinitions, touchedResults } from './corpus/measure.ts';

const GUIDE = new URL('../../docs/guides/inspection.md', import.meta.url);
const MARKED = /(<!-- measured: begin -->\n)[^]*?(<!-- measured: end -->)/;

describe('CI-12: harmless texts', () => {
  test('CI-12: the set is large enough, and both halves are', () => {
    const count = (set: string, half?: string): number =>
      RESULTS.filter((entry) => entry.set === set && (half === undefined || entry.half === half)).length;
    expect(count('attack')).toBeGreaterThanOrEqual(150);
    expect(count('benign')).toBeGreaterThanOrEqual(400);
    expect(count('attack', 'held-out')).toBeGreaterThanOrEqual(80);
    expect(count('benign', 'held-out')).toBeGreaterThanOrEqual(200);
    expect(new Set(RESULTS.map(({ id }) => id)).size).toBe(RESULTS.length);
  });
  test('CI-12: of harmless results at most 2 % are touched, in each half', () => {
    for (const half of ['dev', 'held-out'] as const) {
      const { share } = touchedResults(half);
      expect(share.hits / share.of).toBeLessThanOrEqual(0.02);
    }
  });
  test('CI-12: and those are documents with pictures from elsewhere', () => {
    const ids = new Set(touchedResults().ids);
    expect(RESULTS.filter(({ id }) => ids.has(id)).map(({ holds }) => holds)).toEqual([['link'], ['link'], ['link']]);
  });
  test('CI-12: of harmless definitions at most 1 % are touched', () => {
    const { share, names } = touchedDefinitions();
    expect(share.of).toBeGreaterThanOrEqual(80);
    expect(names).toEqual([]);
  });
  test('CI-12: twin: a rule that redacts whatever any detector finds touches more than 2 %', () => {
    const careless = { ...PLAIN_TERMS, actionFor: () => 'redact' as const };
    const { share } = touchedResults(null, careless);
    expect(share.hits / share.of).toBeGreaterThan(0.02);
  });
});

describe('CI-12: what is found, in texts that no pattern was tuned on', () => {
  test.each([
    ['secret', 0.97, 0.85],
    ['personal', 0.97, 0.85],
    ['hidden', 1, 1],
    ['link', 0.85, 1],
    // A heuristic, and the bound says so.
    ['instruction', 0.9, 0.7],
  ])('CI-12: %s: precision at least %d, recall at least %d', (family, precision, recall) => {
    for (const half of ['dev', 'held-out'] as const) {
      const measured = quality(family, half);
      expect(measured.precision.hits / measured.precision.of).toBeGreaterThanOrEqual(precision);
      expect(measured.recall.hits / measured.recall.of).toBeGreaterThanOrEqual(recall);
    }
  });
  test('CI-12: twin: with its detector off a family is not found at all', () => {
    expect(quality('instruction', 'held-out', PLAIN_TERMS).recall.hits).toBe(0);
    expect(quality('link', 'held-out', PLAIN_TERMS).recall.hits).toBe(0);
  });
});

test('CI-12: the intervals are those of Wilson', () => {
  const { low, high } = shareOf(8, 10);
  expect([low.toFixed(3), high.toFixed(3)]).toEqual(['0.490', '0.943']);
  expect(shareOf(0, 100).high).toBeCloseTo(0.037, 3);
});

test('CI-12: the table of the guide is what is measured', () => {
  const guide = readFileSync(GUIDE, 'utf8');
  const written = guide.replace(MARKED, (_, begin: string, end: string) => `${begin}${table()}\n${end}`);
  if (process.env['REMIT_WRITE_DOCS'] === '1') writeFileSync(GUIDE, written);
  expect(guide === written || process.env['REMIT_WRITE_DOCS'] === '1').toBe(true);
});
