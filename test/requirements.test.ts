/**
 * Every control this release claims has a test whose title begins with its id. A control without one, or an id nobody knows, fails.
 * The list is the claim (CONTROLS.md of the design); what a title promises is checked by the test behind it, not here.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const range = (area: string, from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `${area}-${String(from + i).padStart(2, '0')}`);

const CLAIMED = [
  ...range('AN', 1, 15),
  ...range('AZ', 1, 14),
  ...range('AP', 1, 9),
  ...range('CI', 1, 12),
  ...range('ID', 1, 9),
  ...range('NH', 1, 11),
  ...range('TD', 1, 9),
  ...range('EX', 1, 9),
  ...range('AE', 1, 4),
  ...range('AE', 10, 11),
  ...range('PH', 1, 10),
  ...range('PH', 12, 13),
  ...range('RL', 1, 5),
  ...range('RL', 7, 9),
];

function* testFiles(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* testFiles(path);
    else if (entry.name.endsWith('.ts')) yield path;
  }
}

const TITLE = /\b(?:test|it|describe)(?:\.\w+)*(?:\([^'"`]*\))?\(\s*['"`]((?:[A-Z]{2}-\d{2}(?:, )?)+)/g;

const named = new Map<string, string[]>();
for (const file of testFiles(import.meta.dirname)) {
  for (const [, ids = ''] of readFileSync(file, 'utf8').matchAll(TITLE)) {
    for (const id of ids.split(', ').filter(Boolean)) named.set(id, [...(named.get(id) ?? []), file]);
  }
}

test.each(CLAIMED)('%s has a test named after it', (id) => {
  expect(named.get(id) ?? []).not.toEqual([]);
});
