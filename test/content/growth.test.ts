/** INVARIANT: every detector costs time linear in the text, whatever stands in it; nothing throws, and nothing is changed that should not be. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DETECTORS, signsOf } from '../../src/content/detectors/all.ts';
import { INSTRUCTION_WORDS } from '../../src/content/detectors/instructions.ts';
import { inspectArguments, inspectMembers } from '../../src/content/inspect.ts';
import { exactMatcher } from '../../src/content/matcher.ts';
import { compileRules } from '../../src/content/rules.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { SECRET_NEEDLES } from '../../src/lib/secret-shapes.ts';
import { RESULTS } from './corpus/corpus.ts';

const own = exactMatcher([{ id: 'c1', value: 'Vq81-nR2x-77Lp-aaQz' }]);
const question = { risk: 'read', server: 's', dataClasses: ['internal'], own, planted: null } as const;
const IN = compileRules(null).terms({ direction: 'in', ...question });
const OUT = compileRules(null).terms({ direction: 'out', ...question });
const SIZE = 200_000;
const HOSTILE = [
  '[',
  ']',
  '![',
  '](',
  '![](',
  '[]',
  '[a]: ',
  '\n[a]: x ![a]',
  '<img ',
  '<img src=',
  '<',
  '<a <img',
  'url(',
  '@import ',
  '\\',
  '![[',
  '![a](b "',
  '<img style="',
  '1',
  '1 ',
  '1-',
  '+1',
  '4111 ',
  '1.',
  '(1) ',
  'DE89',
  'DE89 3704 ',
  'AB 12 ',
  'A<',
  '<1',
  'C012345678',
  'a@',
  '@',
  'a.',
  'a@b.',
  'born ',
  'dob: ',
  'born 1.1.',
  'token=',
  'token: ',
  'password',
  'password: ',
  'secret="',
  'a1B',
  'aA1-',
  'a=',
  'https://a?',
  'https://a/?b=',
  'https://',
  '&',
  '%',
  '%2',
  '\\u00',
  '&#',
  'ignore ',
  'ignore all ',
  'ignore the ',
  'do not ',
  "don't tell ",
  'never ever ',
  'send the api key ',
  'read .env ',
  'use a_b to ',
  'you must ',
  'system: ',
  '\n# system: ',
  'dear a b ',
  'ai ',
  'please use use ',
  '忽略',
  'pwd=',
  'eyJ',
  'eyJaaaaaaaa.',
  '-----BEGIN ',
  '\u001B[',
  '\u200B',
  'a\u200B',
];

describe('linear', () => {
  test.each(
    [
      ...HOSTILE,
      ...INSTRUCTION_WORDS.filter((_, i) => i % 4 === 0),
      ...SECRET_NEEDLES.filter((_, i) => i % 4 === 0),
    ].map((seed) => [seed]),
  )('a text of nothing but %j', (seed) => {
    const text = seed.repeat(Math.ceil(SIZE / seed.length));
    const started = performance.now();
    inspectMembers({ text }, undefined, { ...IN, budgetMs: 60_000 });
    // A tenth of that when nothing else runs: what is not linear takes minutes.
    expect(performance.now() - started).toBeLessThan(8_000);
  });
  test('eight times the text is about eight times the work of each detector, over real texts', () => {
    const one = RESULTS.map(({ text }) => text).join('\n');
    const ten = one.repeat(8);
    for (const detector of DETECTORS) {
      const time = (text: string): number => {
        const signs = signsOf(text);
        let best = Number.POSITIVE_INFINITY;
        for (let i = 0; i < 3; i++) {
          const before = process.cpuUsage();
          detector.find(text, IN, signs);
          best = Math.min(best, process.cpuUsage(before).user / 1_000);
        }
        return best;
      };
      // Processor time, which other work does not change much; quadratic would be 64 times.
      expect(time(ten)).toBeLessThan((time(one) + 2) * 40);
    }
  });
});

test('never throws, finds ranges inside the text, and what goes to a server is not changed', () => {
  const words = fc.constantFrom(
    ...HOSTILE,
    'anna@corp.io',
    '4111 1111 1111 1111',
    'postgres://a:bcdef@h',
    'https://a.test/x.png)',
    'Vq81-nR2x-77Lp-aaQz',
    '\u202E',
  );
  const text = fc
    .array(fc.oneof(words, fc.string({ unit: 'binary', maxLength: 6 })), { maxLength: 20 })
    .map((parts) => parts.join('').toWellFormed());
  fc.assert(
    fc.property(text, text, (a, b) => {
      const value: JsonObject = { a, [`n${b.replaceAll(/\W/g, '')}`]: [b] };
      const before = JSON.stringify(value);
      const out = inspectArguments(value, OUT);
      expect(out.faults).toEqual([]);
      for (const { at, span } of out.findings) {
        if (at === '/a' && span !== null) expect(span[0] >= 0 && span[0] < span[1] && span[1] <= a.length).toBe(true);
      }
      const inside = inspectMembers(value, undefined, IN);
      expect(inside.faults).toEqual([]);
      expect(JSON.stringify(value)).toBe(before);
    }),
    { seed: 11, numRuns: 1_500 },
  );
});

test('what was cleaned needs no cleaning again', () => {
  for (const { id, text } of RESULTS) {
    const once = inspectMembers({ text }, undefined, IN);
    const again = once.result === null ? null : inspectMembers(once.result, undefined, IN);
    expect([id, again?.verdict, again?.result]).toEqual([id, 'pass', once.result]);
  }
});
