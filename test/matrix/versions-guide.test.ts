/** The tables of docs/guides/versions.md are those that the code and the runs make, and every test they name exists. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BLOCKS, FEATURES, GUIDE, tried, withBlocks } from './versions-guide.ts';

const guide = readFileSync(GUIDE, 'utf8');

test.each(Object.entries(BLOCKS))('the guide holds the table of %s as it is made', (_name, make) => {
  expect(guide).toContain(make());
});

test('writing the guide anew changes nothing, and a guide without a place for a table is refused', () => {
  expect(withBlocks(guide)).toBe(guide);
  expect(() => withBlocks(guide.replace('<!-- generated: features -->', ''))).toThrow(/no block "features"/);
});

test('the guide says what is tried with every pair', () => {
  expect(guide).toContain(tried());
});

test.each(FEATURES)('PH-13: $feature: the tests that prove it exist', ({ tests }) => {
  expect(tests.length).toBeGreaterThan(0);
  for (const [file, title] of tests) {
    const text = readFileSync(join(import.meta.dirname, '..', file), 'utf8');
    const titles = [...text.matchAll(/\b(?:test|describe)[.\w]*(?:\([^'"`]*\))?\(\s*(['"`])((?:\\.|(?!\1).)*)\1/g)].map(
      ([, , found]) => found!.replaceAll(/\\(['"`])/g, '$1'),
    );
    expect(titles, file).toContain(title);
  }
});
