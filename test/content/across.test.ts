/** CI-03, CI-07: what a server cut over several texts of one result is put together again, and then nothing of it goes on. */
import { describe, expect, test } from 'vitest';
import {
  RESULT_LIMITS,
  inspectMembers,
  inspectPrompt,
  inspectResource,
  inspectResult,
} from '../../src/content/inspect.ts';
import { KINDS } from '../../src/content/kinds.ts';
import type { CameKind } from '../../src/content/kinds.ts';
import { exactMatcher } from '../../src/content/matcher.ts';
import { compileRules } from '../../src/content/rules.ts';
import type { Matcher, Terms } from '../../src/content/terms.ts';
import type { JsonObject } from '../../src/lib/json.ts';

const OWN = 'Vq81-nR2x-77Lp-aaQz';
const BAIT = 'ZX81bait00token99';
const [HEAD, TAIL] = [OWN.slice(0, 9), OWN.slice(9)];
const own = exactMatcher([{ id: 'c1', value: OWN }]);
const planted = exactMatcher([{ id: 'h1', value: BAIT }]);
const terms = (books: Partial<Pick<Terms, 'own' | 'planted'>> = {}): Terms =>
  compileRules(null).terms({
    direction: 'in',
    risk: 'read',
    server: 's',
    dataClasses: ['internal'],
    own,
    planted,
    ...books,
  });
const text = (...parts: string[]): JsonObject => ({ content: parts.map((part) => ({ type: 'text', text: part })) });
const look = (kind: CameKind, value: JsonObject, by = terms()) => KINDS[kind](value, RESULT_LIMITS, by);
const ALONE = { result: inspectResult, prompt: inspectPrompt, resource: inspectResource, members: inspectMembers };

const CUT: ReadonlyArray<readonly [what: string, kind: CameKind, value: JsonObject]> = [
  ['two blocks', 'result', text(`it is ${HEAD}`, `${TAIL}.`)],
  ['a letter each', 'result', text(...OWN.split(''))],
  ['a block with nothing between them', 'result', text(HEAD, '', ' - ', TAIL)],
  ['members', 'result', { ...text('ok'), structuredContent: { a: HEAD, b: { c: TAIL } } }],
  ['the last block and a member', 'result', { content: [{ type: 'text', text: HEAD }], structuredContent: [TAIL] }],
  ['names', 'result', { ...text('ok'), structuredContent: { [HEAD]: 1, [TAIL]: 2 } }],
  ['a name and its value', 'result', { ...text('ok'), structuredContent: { [HEAD]: TAIL } }],
  [
    'hexadecimal, two blocks',
    'result',
    text(Buffer.from(OWN).toString('hex').slice(0, 15), Buffer.from(OWN).toString('hex').slice(15)),
  ],
  [
    'two messages',
    'prompt',
    { messages: [HEAD, TAIL].map((part) => ({ role: 'user', content: { type: 'text', text: part } })) },
  ],
  [
    'two contents',
    'resource',
    {
      contents: [
        { uri: 'a:/', text: HEAD },
        { uri: '', text: TAIL },
      ],
    },
  ],
  ['two members', 'members', { message: HEAD, more: [TAIL] }],
];

describe.each(CUT)('an own secret that is cut over %s', (_what, kind, value) => {
  test('CI-03: nothing of it goes on, and it is named', () => {
    expect(look(kind, value)).toMatchObject({
      verdict: 'withhold',
      reason: 'result_forbidden',
      result: null,
      labels: ['own_secret:c1'],
      findings: [{ class: 'own_secret.c1', at: '', span: null, action: 'withhold' }],
    });
    expect(look(kind, value).inspected).toContain('found:own_secret.c1@=withhold');
  });

  test('CI-03 twin: text by text it is not seen', () => {
    const alone = ALONE[kind](value, RESULT_LIMITS, terms());
    expect([alone.verdict, alone.result]).toEqual(['pass', value]);
  });
});

test('CI-07: a planted one is found the same way', () => {
  expect(look('result', text(BAIT.slice(0, 8), BAIT.slice(8)))).toMatchObject({
    verdict: 'withhold',
    findings: [{ class: 'honeytoken.h1' }],
  });
});

describe('what goes on', () => {
  test('what stands whole in one text is taken out there, and the rest goes on', () => {
    const inspection = look('result', text(`it is ${OWN}.`, 'and that was it'));
    expect([inspection.verdict, inspection.result]).toEqual([
      'redact',
      text('it is [redacted:own_secret].', 'and that was it'),
    ]);
  });

  test.each([
    ['pieces in another order', text(TAIL, HEAD)],
    ['pieces with a word between them', text(HEAD, 'word', TAIL)],
    ['half of it', text(HEAD, 'and more')],
    [
      'bytes of pictures, which go on unread',
      {
        content: [HEAD, TAIL].map(() => ({
          type: 'image',
          mimeType: 'image/png',
          data: Buffer.from(OWN.slice(0, 9)).toString('base64'),
        })),
      },
    ],
    ['one text', text('nothing here')],
    ['no text', { content: [] }],
  ] as const)('%s', (_what, value) => {
    const inspection = look('result', value);
    expect([inspection.verdict, inspection.result]).toEqual(['pass', value]);
  });

  test('everything, where there is nothing to look for', () => {
    const value = text(HEAD, TAIL);
    expect(look('result', value, terms({ own: null, planted: null }))).toMatchObject({
      verdict: 'pass',
      result: value,
    });
  });

  test('CI-11: what the single texts could not be looked at for is said once, and stays what it was', () => {
    const broken: Matcher = {
      find: () => {
        throw new Error('killed');
      },
    };
    const value = text('some text here', 'and some more');
    const inspection = look('result', value, terms({ own: broken }));
    expect(inspection).toMatchObject({ verdict: 'pass', faults: ['own'], result: value });
    expect(inspection).toEqual(inspectResult(value, RESULT_LIMITS, terms({ own: broken })));
  });
});
