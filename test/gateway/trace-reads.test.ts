/** Recognition of what one server gave in what goes to another (CI-08): what is found, what is not, and within which bounds. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { traceReads } from '../../src/gateway/trace-reads.ts';
import type { Source } from '../../src/gateway/trace-reads.ts';
import { manualClock } from '../../src/lib/clock.ts';
import type { Json } from '../../src/lib/json.ts';

const CRM: Source = { server: 'crm', confidential: true, regulated: false };
const HR: Source = { server: 'hr', confidential: false, regulated: true };
const NOTE = 'Anna Berg, born 12 March 1971, is being let go on Friday; her severance is 84 200 euro, keep it quiet.';
const DAY = 86_400_000;
const content = (text: string): Json => ({ content: [{ type: 'text', text }] });

function reads(...came: ReadonlyArray<Json>) {
  const clock = manualClock(1_800_000_000_000);
  const book = traceReads(clock);
  for (const value of came) book.remember('k', CRM, value, {}, clock.now() + DAY);
  return { clock, book, from: (value: Json) => book.recognise(['k'], value).map(({ server }) => server) };
}

describe('CI-08: what is recognised of a note', () => {
  const table: ReadonlyArray<readonly [string, Json, boolean]> = [
    ['a copy', NOTE, true],
    ['in capitals', NOTE.toUpperCase(), true],
    ['without spaces and marks', NOTE.replaceAll(/[ ,;.]/g, ''), true],
    ['other line breaks and quotes', `> ${NOTE.replaceAll(' ', '\n> ')}`, true],
    ['the first 55 characters', NOTE.slice(0, 55), true],
    ['55 characters out of the middle', NOTE.slice(30, 85), true],
    ['inside other text', `Dear all, please note: ${NOTE} Best regards, the assistant.`, true],
    ['as a member deep inside', { a: [1, { b: { c: NOTE } }] }, true],
    ['as the name of a member', { [NOTE]: true }, true],
    ['as JSON in a text', JSON.stringify({ body: NOTE }), true],
    ['as JSON whose member is said again', `{"a":${JSON.stringify(NOTE)},"a":""}`, true],
    ['called a picture', { type: 'image', data: NOTE }, true],
    ['cut over two members', { subject: NOTE.slice(0, 25), body: NOTE.slice(25, 60) }, true],
    // The limits, as the guide states them.
    ['a short piece', 'Anna Berg, 84 200 euro', false],
    ['other words', 'A. B. will be dismissed at the end of this week with a payment of eighty-four thousand.', false],
    ['base64', Buffer.from(NOTE).toString('base64'), false],
    ['backwards', NOTE.split('').toReversed().join(''), false],
    ['nothing of it', 'The quarterly report is ready and can be found in the usual folder of the team.', false],
  ];
  test.each(table)('CI-08: %s', (_title, sent, found) => {
    expect(reads(content(NOTE)).from({ text: sent })).toEqual(found ? ['crm'] : []);
  });
});

test('CI-08: values of a record are recognised, its shape is not', () => {
  const row = { customerIdentifier: 4711, displayName: 'Berg', dateOfLastModification: '2026-11-22', remark: NOTE };
  for (const came of [content(JSON.stringify([row, row])), { structuredContent: row }]) {
    const { from } = reads(came);
    expect(from({ remark: NOTE.slice(20, 80) })).toEqual(['crm']);
    expect(
      from({ text: '{"customerIdentifier":12,"displayName":"x","dateOfLastModification":"","remark":"nothing"}' }),
    ).toEqual([]);
  }
});

test('CI-08: a run of 40 letters is found wherever it starts and ends, and a text of strangers is not', () => {
  const letters = fc.string({
    unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz0123456789'.split('')),
    minLength: 200,
    maxLength: 400,
  });
  const { book, from } = reads();
  fc.assert(
    fc.property(letters, letters, fc.nat(150), (secret, other, at) => {
      book.remember('k', CRM, content(secret), {}, Number.MAX_SAFE_INTEGER);
      expect(
        from({ text: `${other.slice(0, 100)} ${secret.slice(at, at + 40).toUpperCase()} ${other.slice(100)}` }),
      ).toEqual(['crm']);
      expect(from({ text: other.slice(0, 100) })).toEqual([]);
    }),
    { numRuns: 40, seed: 8 },
  );
});

test('CI-08: what a server only says again is not its own', () => {
  const clock = manualClock(0);
  const book = traceReads(clock);
  const asked = { query: 'which of our customers in Bavaria have not paid the invoices of the second quarter' };
  const until = clock.now() + DAY;
  book.remember('k', CRM, content(`Results for "${asked.query}": ${NOTE}`), asked, until);
  expect(book.recognise(['k'], asked)).toEqual([]);
  expect(book.recognise(['k'], { text: NOTE })).toEqual([CRM]);
  // Having it, and sending it back to where it is from, does not wash it.
  book.remember('k', CRM, content(NOTE), { text: NOTE }, until);
  expect(book.recognise(['k'], { text: NOTE })).toEqual([CRM]);
});

test('CI-08: each trace knows its own, each source by itself, and only as long as a label lasts', () => {
  const clock = manualClock(0);
  const book = traceReads(clock);
  const other = 'The salaries of the board are published in the annex of the internal audit report of this year.';
  book.remember('k', CRM, content(NOTE), {}, clock.now() + DAY);
  clock.advance(DAY / 2);
  book.remember('k', HR, content(other), {}, clock.now() + DAY);
  expect(book.recognise(['k'], [NOTE, other])).toEqual([CRM, HR]);
  expect(book.recognise(['another'], [NOTE, other])).toEqual([]);
  clock.advance(DAY / 2);
  expect(book.recognise(['k'], [NOTE, other])).toEqual([HR]);
  clock.advance(DAY / 2);
  expect(book.recognise(['k'], [NOTE, other])).toEqual([]);
});

describe('CI-08: it knows what it does not know', () => {
  const text = (seed: number, length: number): string =>
    Array.from({ length: Math.ceil(length / 8) }, (_, at) =>
      ((seed * 7_919 + at * 104_729) >>> 0).toString(36).padStart(8, 'x'),
    ).join(' ');

  test('CI-08: a trace of whom nothing came here is not whole', () => {
    expect(reads().book.whole('k')).toBe(false);
    expect(reads(content(NOTE)).book.whole('k')).toBe(true);
  });

  test('CI-08: more than one trace may hold, or one value: what is there is found, and that something is missing is said', () => {
    const long = reads(content(NOTE), content(text(1, 600_000)));
    expect(long.book.whole('k')).toBe(false);
    expect(long.from({ text: NOTE })).toEqual(['crm']);
    const cut = reads(content(`${'x'.repeat(262_144)}${NOTE}`));
    expect(cut.book.whole('k')).toBe(false);
    cut.clock.advance(DAY);
    expect(cut.book.whole('k')).toBe(true);
  });

  test('CI-08: a trace that had to give way to others is not whole when it comes again', () => {
    const clock = manualClock(0);
    const book = traceReads(clock, 2_000);
    for (let at = 0; at < 20; at++) book.remember(`k${at}`, CRM, content(text(at, 2_000)), {}, clock.now() + DAY);
    expect(book.recognise(['k0'], { text: text(0, 2_000) })).toEqual([]);
    expect(book.whole('k0')).toBe(false);
    book.remember('k0', CRM, content(NOTE), {}, clock.now() + DAY);
    expect(book.recognise(['k0'], { text: NOTE })).toEqual([CRM]);
    expect(book.whole('k0')).toBe(false);
    clock.advance(DAY);
    book.remember('k0', CRM, content(NOTE), {}, clock.now() + DAY);
    expect(book.whole('k0')).toBe(true);
  });
});

test('CI-08: a value nested deeper than any stack is read', () => {
  let value: Json = NOTE;
  for (let at = 0; at < 50_000; at++) value = [value];
  const { from } = reads(value);
  expect(from(value)).toEqual(['crm']);
});
