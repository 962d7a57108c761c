import { expect, test } from 'vitest';
import { cursors } from '../../src/protocol/cursors.ts';

const key = (fill: number): Uint8Array => new Uint8Array(32).fill(fill);
const scope = { list: 'files tools/list', who: 'ada' };
const pages = cursors([key(1)]);

test('a cursor goes on after the entry it was made for, on every node with the key', () => {
  const cursor = pages.seal({ ...scope, after: 'read_file' });
  expect(cursors([key(2), key(1)]).open(cursor, scope)).toBe('read_file');
  expect(pages.open(pages.seal({ ...scope, after: '' }), scope)).toBe('');
});

test.each([
  ['another list', pages.seal({ ...scope, list: 'files prompts/list', after: 'x' })],
  ['another person', pages.seal({ ...scope, who: 'sven', after: 'x' })],
  ['list and person run together otherwise', pages.seal({ list: 'files', who: 'tools/list ada', after: 'x' })],
  ['another key', cursors([key(2)]).seal({ ...scope, after: 'x' })],
  ['an empty cursor', ''],
  ['a number', '2'],
  ['a huge one', 'A'.repeat(100_000)],
])('a cursor of %s is not valid', (_title, cursor) => {
  expect(pages.open(cursor, scope)).toBeNull();
});
