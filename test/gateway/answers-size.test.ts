/** RL-04: answers are looked at at once, on the event loop, so one that is longer than anybody writes is not looked at and does not go on. */
import { expect, test } from 'vitest';
import type { Inspector } from '../../src/content/inspector.ts';
import { compileRules } from '../../src/content/rules.ts';
import { answerFor, UNANSWERED } from '../../src/gateway/asking.ts';
import type { Asking } from '../../src/gateway/asking.ts';
import type { Call, Facts } from '../../src/gateway/call.ts';
import { inspectionBooks } from '../../src/gateway/inspection-books.ts';
import type { JsonObject } from '../../src/lib/json.ts';

const FORM = {
  method: 'elicitation/create',
  params: { message: 'Which?', requestedSchema: { type: 'object', properties: { colour: { type: 'string' } } } },
};
const SAMPLE = {
  method: 'sampling/createMessage',
  params: { messages: [{ role: 'user', content: { type: 'text', text: 'Say.' } }], maxTokens: 100 },
};
const typed = (length: number): JsonObject => ({ action: 'accept', content: { colour: 'b'.repeat(length) } });
const said = (length: number): JsonObject => ({
  role: 'assistant',
  model: 'm',
  content: { type: 'text', text: 'b'.repeat(length) },
});

function answered(ask: typeof FORM | typeof SAMPLE, answer: JsonObject) {
  const facts: Partial<Facts> = {};
  const call = {
    message: {},
    subject: {},
    snapshot: { inspection: compileRules(null) },
    facts: Object.assign(facts, {
      tool: { server: 'mail', facts: { risk: 'write' } },
      server: { record: { dataClasses: [] }, ownSecrets: new Set() },
    }),
  } as unknown as Call;
  const inspection = {
    books: inspectionBooks({ open: () => null }),
    inspector: {} as Inspector,
    report: () => undefined,
  };
  return { reply: answerFor(ask, answer, { call, inspection } as unknown as Asking), notes: facts.content?.notes };
}

test.each([
  ['a form of 60,000 characters', FORM, typed(60_000)],
  ['a sample of a million', SAMPLE, said(1_000_000)],
])('%s goes on', (_what, ask, answer) => {
  expect(answered(ask, answer)).toMatchObject({ reply: { kind: 'result', result: answer } });
});

test.each([
  ['a form of 70,000 characters', FORM, typed(70_000)],
  ['a sample of more than a million', SAMPLE, said(1_050_000)],
])('RL-04: %s does not', (_what, ask, answer) => {
  expect(answered(ask, answer)).toEqual({ reply: UNANSWERED, notes: ['answer:refused:size'] });
});
