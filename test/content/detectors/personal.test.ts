/** Personal data by shape and checksum (CI-05): each number at its check digit, right and one off. */
import { describe, expect, test } from 'vitest';
import { inspectResult } from '../../../src/content/inspect.ts';
import { InspectionPolicy } from '../../../src/content/records.ts';
import { compileRules } from '../../../src/content/rules.ts';
import type { JsonObject } from '../../../src/lib/json.ts';
import { filled } from '../corpus/corpus.ts';

const rules = compileRules(
  InspectionPolicy.parse({ rules: [{ classes: ['personal.*'], direction: 'in', action: 'redact' }] }),
);
const TERMS = rules.terms({
  direction: 'in',
  risk: 'read',
  server: 's',
  dataClasses: ['internal'],
  own: null,
  planted: null,
});
const look = (text: string) => inspectResult({ content: [{ type: 'text', text }] }, undefined, TERMS);
const kinds = (text: string): string[] => look(text).findings.map((finding) => finding.class);
const textOf = (result: JsonObject | null): unknown =>
  (result as { content: [{ text: string }] } | null)?.content[0].text;

/** The last digit changed: the same shape, a wrong checksum. */
const broken = (number: string): string => number.replace(/\d(?=\D*$)/, (digit) => String((Number(digit) + 1) % 10));

describe('CI-05: numbers with check digits', () => {
  test.each([
    ['personal.card', '4111 1111 1111 1111'],
    ['personal.card', '4111111111111111'],
    ['personal.card', filled('{{card:5}}', '1')],
    ['personal.card', filled('{{amex}}', '2')],
    ['personal.iban', 'DE89 3704 0044 0532 0130 00'],
    ['personal.iban', 'GB29NWBK60161331926819'],
    ['personal.iban', filled('{{iban:FR}}', '3')],
    ['personal.de_tax_id', `Steuer-ID ${filled('{{taxid}}', '4')}`],
    ['personal.passport', filled('{{mrz}}', '5')],
  ])('CI-05: %s %s', (kind, text) => {
    expect(kinds(`see ${text} there`)).toEqual([kind]);
    if (kind !== 'personal.passport') expect(kinds(`see ${broken(text)} there`)).toEqual([]);
  });
  test('CI-05: twin: by shape alone the broken ones are found as well, and ids with them', () => {
    const byShape = /\b(?:\d[ -]?){13,19}\b/;
    expect(byShape.test(broken('4111 1111 1111 1111')) && byShape.test('4400123456789012')).toBe(true);
    expect(kinds('Order 4400123456789012')).toEqual([]);
  });
  test('CI-05: a passport with a wrong check digit is none', () => {
    const line = filled('{{mrz}}', '5');
    expect(kinds(`${line.slice(0, 9)}${(Number(line[9]) + 1) % 10}${line.slice(10)}`)).toEqual([]);
  });
  test('CI-05: a card that is a number of JSON is one, too', () => {
    const inspected = inspectResult(
      { content: [], structuredContent: { pan: 4_111_111_111_111_111, at: 1_767_225_600_123 } },
      undefined,
      TERMS,
    );
    expect(inspected).toMatchObject({
      verdict: 'redact',
      result: { structuredContent: { pan: '[redacted:card]', at: 1_767_225_600_123 } },
    });
  });
});

describe('CI-05: by shape', () => {
  test.each([
    ['anna.k+x@firma-beispiel.de', '[redacted:email]'],
    ['mail <bob@corp.io>, thanks', 'mail <[redacted:email]>, thanks'],
    ['call +44 20 7946 0018.', 'call [redacted:phone].'],
    ['call +1 (415) 555-0134 now', 'call [redacted:phone] now'],
    ['SSN 219-09-9999', 'SSN [redacted:us_ssn]'],
    ['NI number AB642161C', 'NI number [redacted:uk_nino]'],
    ['Date of birth: 14.03.1982', 'Date of birth: [redacted:birth_date]'],
    ['geboren am 3. Mai 1975', 'geboren am [redacted:birth_date]'],
    ['born on March 5, 1969 in', 'born on [redacted:birth_date] in'],
  ])('CI-05: %j becomes %j', (text, left) => {
    expect(textOf(look(text).result)).toBe(left);
  });
  test.each([
    'git@github.com:org/repo.git',
    'noreply@example.com',
    'https://user:pw@host.example/',
    '@types/node@24.0.1',
    'icon@2x.png',
    '000-12-3456 and 666-12-3456 and 912-12-3456 and 123-00-1234',
    'Version 10.0.19045.3803, range 192.168.0.0/16',
    '1767225600123456789',
    'ISBN 978-3-16-148410-0',
    '2026-03-04T10:22:31.120Z',
    'The release of 14.03.1982',
    'AB642161C is a part',
  ])('leaves %j alone', (text) => {
    expect(kinds(text)).toEqual([]);
  });
  test('CI-05: by default they are labelled and go on', () => {
    const plain = compileRules(null).terms({
      direction: 'in',
      risk: 'read',
      server: 's',
      dataClasses: ['internal'],
      own: null,
      planted: null,
    });
    const inspected = inspectResult({ content: [{ type: 'text', text: 'anna@corp.io' }] }, undefined, plain);
    expect(inspected).toMatchObject({
      verdict: 'pass',
      labels: ['personal:email'],
      inspected: expect.arrayContaining(['personal@1', 'found:personal.email@/content/0/text[0,12]=label']),
    });
  });
});
