/** The documents an auditor reads say what the code does: same kinds, same findings, same reasons that are only counted. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MAX_ENTRY_BYTES } from '../../src/audit/entry-text.ts';
import { ENTRY_KINDS } from '../../src/verify/entry.ts';
import { DEFAULT_GAP_MS } from '../../src/verify/log.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const format = read('docs/audit-format.md');

/** First column of the first table, in backticks, within one section. */
function firstColumn(document: string, section: string): string[] {
  const body = document.split(/^## /m).find((part) => part.startsWith(section)) ?? '';
  const [, table = ''] = /((?:^\|.*\n)+)/m.exec(body) ?? [];
  return table
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => [...(line.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ''));
}

test('docs/audit-format.md lists exactly the kinds of entries that exist', () => {
  expect(firstColumn(format, '1.').toSorted()).toEqual(ENTRY_KINDS.toSorted());
});

test('docs/audit-format.md lists exactly the findings that the verifier has', () => {
  const union = /export type FindingCode =([^;]+);/.exec(read('src/verify/report.ts'))?.[1] ?? '';
  const codes = [...union.matchAll(/'([a-z_]+)'/g)].map((match) => match[1] ?? '');
  expect(codes.length).toBeGreaterThan(20);
  expect(firstColumn(format, '4.').toSorted()).toEqual(codes.toSorted());
});

test('docs/audit-format.md lists exactly the members an entry may have', () => {
  const known = [
    'v',
    'kind',
    'time',
    'node',
    'org',
    'ref',
    'trace',
    'actor',
    'call',
    'decision',
    'outcome',
    'prev',
    'event',
  ];
  expect(firstColumn(format, '2.').toSorted()).toEqual(known.toSorted());
});

test('docs/audit-format.md names every status an outcome can have', () => {
  const union = /export type OutcomeStatus =([\s\S]+?)\n\n/.exec(read('src/audit/entry.ts'))?.[1] ?? '';
  const statuses = [...union.matchAll(/^ {2}\| '([a-z_]+)'/gm)].map((match) => match[1] ?? '');
  expect(statuses.length).toBeGreaterThan(6);
  for (const status of statuses) expect(format).toContain(`\`${status}\``);
});

test('docs/audit-format.md states the limits of the code', () => {
  expect(format).toContain(`at most ${MAX_ENTRY_BYTES.toLocaleString('en')} bytes`);
  expect(format).toContain(`more than ${DEFAULT_GAP_MS / 1000} seconds`);
});

test('docs/not-audited.md names every reason that is counted instead of logged', () => {
  const source = read('src/gateway/denial.ts');
  const counted = source.slice(source.indexOf('// before anybody is known'), source.indexOf('// the message itself'));
  const reasons = [...counted.matchAll(/reason: '([a-z_]+)'/g)].map((match) => match[1]);
  expect(reasons.length).toBeGreaterThan(3);
  const document = read('docs/not-audited.md');
  for (const reason of reasons) expect(document).toContain(`\`${reason}\``);
});
