/** Forms of elicitation: what each revision is shown (its SDK's schema judges), and answers held against the question. */
import * as modern from '@modelcontextprotocol/core';
import * as legacy from '@modelcontextprotocol/sdk/types.js';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json, JsonObject } from '../../src/lib/json.ts';
import { checkForm, formFor } from '../../src/protocol/forms.ts';

const form = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({ type: 'object', properties, ...more });
const titled = [
  { const: '#f00', title: 'Red' },
  { const: '#0f0', title: 'Green' },
];

/** Every primitive of the specification, as a server sends it, as 2025-11-25 and later have it, and as 2025-06-18 has it. */
const FIELDS: readonly (readonly [title: string, sent: JsonObject, rich: JsonObject, plain: JsonObject | null])[] = [
  [
    'a text',
    {
      type: 'string',
      title: 'T',
      description: 'D',
      minLength: 1,
      maxLength: 5,
      format: 'email',
      default: 'a@b',
      pattern: '^x',
    },
    { type: 'string', title: 'T', description: 'D', minLength: 1, maxLength: 5, format: 'email', default: 'a@b' },
    { type: 'string', title: 'T', description: 'D', minLength: 1, maxLength: 5, format: 'email' },
  ],
  ['a text of a format nobody knows', { type: 'string', format: 'ipv4' }, { type: 'string' }, { type: 'string' }],
  [
    'a number',
    { type: 'number', minimum: 0, maximum: 9.5, default: 1, multipleOf: 2 },
    { type: 'number', minimum: 0, maximum: 9.5, default: 1 },
    { type: 'number', minimum: 0, maximum: 9.5 },
  ],
  ['an integer', { type: 'integer', default: 1 }, { type: 'integer', default: 1 }, { type: 'integer' }],
  [
    'a boolean',
    { type: 'boolean', default: false },
    { type: 'boolean', default: false },
    { type: 'boolean', default: false },
  ],
  [
    'a choice',
    { type: 'string', enum: ['a', 'b'], default: 'a', maxLength: 1 },
    { type: 'string', enum: ['a', 'b'], default: 'a' },
    { type: 'string', enum: ['a', 'b'] },
  ],
  [
    'a choice with titles',
    { type: 'string', oneOf: titled, default: '#f00' },
    { type: 'string', oneOf: titled, default: '#f00' },
    { type: 'string', enum: ['#f00', '#0f0'], enumNames: ['Red', 'Green'] },
  ],
  [
    'a choice with titles as 2025-06-18 writes it',
    { type: 'string', enum: ['#f00', '#0f0'], enumNames: ['Red', 'Green'] },
    { type: 'string', enum: ['#f00', '#0f0'], enumNames: ['Red', 'Green'] },
    { type: 'string', enum: ['#f00', '#0f0'], enumNames: ['Red', 'Green'] },
  ],
  [
    'several choices',
    { type: 'array', minItems: 1, maxItems: 2, items: { type: 'string', enum: ['a', 'b'] }, default: ['a'] },
    { type: 'array', minItems: 1, maxItems: 2, items: { type: 'string', enum: ['a', 'b'] }, default: ['a'] },
    null,
  ],
  [
    'several choices with titles',
    { type: 'array', items: { anyOf: titled } },
    { type: 'array', items: { anyOf: titled } },
    null,
  ],
];

describe('what a client is shown', () => {
  test.each(FIELDS)('%s', (_title, sent, rich, plain) => {
    const schema = form({ field: sent }, { required: ['field'], additionalProperties: false, $schema: 'x' });
    const expected = form({ field: rich }, { required: ['field'] });
    const ask = { method: 'elicitation/create', params: { message: 'm', requestedSchema: expected } };
    expect(formFor(schema, '2026-07-28')).toEqual(expected);
    expect(modern.ElicitRequestSchema.safeParse(ask).success).toBe(true);
    expect(formFor(schema, '2025-11-25')).toEqual(expected);
    expect(legacy.ElicitRequestSchema.safeParse(ask).success).toBe(true);
    expect(formFor(schema, '2025-06-18')).toEqual(plain && form({ field: plain }, { required: ['field'] }));
  });

  test.each<[string, Json | undefined]>([
    ['nothing', undefined],
    ['no object schema', { type: 'string' }],
    ['no properties', { type: 'object' }],
    ['a field that is no schema', form({ a: true })],
    ['a nested object', form({ a: { type: 'object', properties: {} } })],
    ['a list of free texts', form({ a: { type: 'array', items: { type: 'string' } } })],
    ['a type of two', form({ a: { type: ['string', 'null'] } })],
    ['a choice of nothing', form({ a: { type: 'string', enum: [] } })],
    ['a choice of numbers', form({ a: { type: 'string', enum: [1] } })],
    ['a choice of schemas', form({ a: { type: 'string', oneOf: [{ type: 'string' }] } })],
    ['a required field that is not there', form({}, { required: ['a'] })],
    ['required that is no list', form({}, { required: 'a' })],
    ['101 fields', form(Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`f${i}`, { type: 'string' }])))],
  ])('%s is no form', (_title, schema) => {
    for (const version of ['2025-06-18', '2025-11-25', '2026-07-28'] as const)
      expect(formFor(schema, version)).toBeNull();
    expect(checkForm(schema, {})).toEqual({ ok: false, error: 'the question is no form' });
  });
});

describe('what a person answers', () => {
  const answer = (schema: JsonObject, value: Json) => checkForm(form({ a: schema }), { a: value });

  test.each<[JsonObject, Json]>([
    [{ type: 'string' }, ''],
    [{ type: 'string', minLength: 2, maxLength: 2 }, '\u{1f600}\u{1f600}'],
    [{ type: 'string', format: 'email' }, 'ada@example.com'],
    [{ type: 'string', format: 'uri' }, 'https://example.com/'],
    [{ type: 'string', format: 'date' }, '2024-02-29'],
    [{ type: 'string', format: 'date-time' }, '2024-02-29T23:59:59.5+02:00'],
    [{ type: 'number', minimum: 0, maximum: 1 }, 0.5],
    [{ type: 'integer' }, -3],
    [{ type: 'boolean' }, false],
    [{ type: 'string', enum: ['a', ''] }, ''],
    [{ type: 'string', oneOf: titled }, '#f00'],
    [{ type: 'array', minItems: 2, items: { type: 'string', enum: ['a', 'b'] } }, ['b', 'a']],
    [{ type: 'array', items: { anyOf: titled } }, []],
  ])('%j takes %j', (schema, value) => {
    expect(answer(schema, value)).toEqual({ ok: true, value: { a: value } });
  });

  test.each<[JsonObject, Json, string]>([
    [{ type: 'string' }, 1, 'must be a string'],
    [{ type: 'string' }, null, 'must be a string'],
    [{ type: 'string', minLength: 3 }, '\u{1f600}', 'needs at least 3 characters'],
    [{ type: 'string', maxLength: 1 }, 'ab', 'may have at most 1 characters'],
    [{ type: 'string', format: 'email' }, 'ada', 'must be of the format email'],
    [{ type: 'string', format: 'uri' }, 'no uri', 'must be of the format uri'],
    [{ type: 'string', format: 'date' }, '2023-02-29', 'must be of the format date'],
    [{ type: 'string', format: 'date-time' }, '2023-02-28', 'must be of the format date-time'],
    [{ type: 'number' }, '1', 'must be a number'],
    [{ type: 'integer' }, 1.5, 'must be an integer'],
    [{ type: 'number', minimum: 1 }, 0, 'must be at least 1'],
    [{ type: 'number', maximum: 1 }, 2, 'must be at most 1'],
    [{ type: 'boolean' }, 'true', 'must be a boolean'],
    [{ type: 'string', enum: ['a'] }, 'b', 'has a value that is not offered'],
    [{ type: 'string', oneOf: titled }, 'Red', 'has a value that is not offered'],
    [{ type: 'array', items: { type: 'string', enum: ['a'] } }, 'a', 'must be an array of strings'],
    [{ type: 'array', items: { type: 'string', enum: ['a'] } }, ['b'], 'has a value that is not offered'],
    [{ type: 'array', items: { type: 'string', enum: ['a'] } }, ['a', 'a'], 'has a value twice'],
    [{ type: 'array', minItems: 1, items: { type: 'string', enum: ['a'] } }, [], 'needs at least 1 values'],
    [
      { type: 'array', maxItems: 1, items: { type: 'string', enum: ['a', 'b'] } },
      ['a', 'b'],
      'may have at most 1 values',
    ],
  ])('PH-05: %j refuses %j', (schema, value, problem) => {
    expect(answer(schema, value)).toEqual({ ok: false, error: `content.a ${problem}` });
  });

  test('what was not asked is left out; what is required must be there; a default is not put into anybody’s mouth', () => {
    const schema = form({ a: { type: 'string' }, b: { type: 'string', default: 'x' } }, { required: ['a'] });
    expect(checkForm(schema, { a: '1', token: 'secret' })).toEqual({ ok: true, value: { a: '1' } });
    expect(checkForm(schema, { b: '1' })).toEqual({ ok: false, error: 'content.a is missing' });
    expect(checkForm(schema, [])).toEqual({ ok: false, error: 'content is not an object' });
  });

  test('a field of every object is no field of a form', () => {
    const schema = form({ constructor: { type: 'string' } }, { required: ['constructor'] });
    expect(checkForm(schema, {})).toEqual({ ok: false, error: 'content.constructor is missing' });
  });
});

test('whatever is sent as a form or an answer, nothing throws, and what is shown is a form that is shown as it is', () => {
  const field = fc.oneof(
    fc.record({
      type: fc.constantFrom('string', 'number', 'boolean', 'array'),
      default: fc.jsonValue(),
      enum: fc.jsonValue(),
    }),
    fc.constantFrom(...FIELDS.map(([, sent]) => sent)),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const schemas = fc.record({
    type: fc.constant('object'),
    properties: fc.dictionary(fc.string(), field, { maxKeys: 4 }),
    required: fc.oneof(fc.constant([]), fc.jsonValue({ maxDepth: 1 })),
  });
  fc.assert(
    fc.property(schemas, fc.jsonValue({ maxDepth: 2 }), (schema, content) => {
      for (const version of ['2025-06-18', '2025-11-25', '2026-07-28'] as const) {
        const shown = formFor(schema as Json, version);
        if (shown !== null) expect(formFor(shown, version)).toEqual(shown);
      }
      const checked = checkForm(schema as Json, content as Json);
      if (checked.ok) expect(checkForm(schema as Json, checked.value)).toEqual(checked);
    }),
    { seed: 5, numRuns: 500 },
  );
});
