/** TD-09: what a change means, in a reviewer's words; and that no change is without a line. */
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { diffDefinitions } from '../../src/integrity/diff.ts';
import { meaningOf } from '../../src/integrity/meaning.ts';
import { wordDiff } from '../../src/integrity/words.ts';
import type { Json, JsonObject } from '../../src/lib/json.ts';

const schema = (properties: JsonObject, more: JsonObject = {}): JsonObject => ({
  name: 'pay',
  description: 'Pays a bill.',
  inputSchema: { type: 'object', properties, ...more },
});
const S: JsonObject = { type: 'string' };

test.each<readonly [string, JsonObject, JsonObject]>([
  ['wider: parameter note added', schema({}), schema({ note: S })],
  ['narrower: parameter note removed', schema({ note: S }), schema({})],
  ['unclear: note became required', schema({ note: S }, { required: [] }), schema({ note: S }, { required: ['note'] })],
  ['wider: note became optional', schema({ note: S }, { required: ['note'] }), schema({ note: S }, { required: [] })],
  ['wider: type of note widened', schema({ note: S }), schema({ note: { type: ['string', 'null'] } })],
  ['narrower: type of note narrowed', schema({ n: { type: 'number' } }), schema({ n: { type: 'integer' } })],
  ['unclear: type of note changed', schema({ note: S }), schema({ note: { type: 'object' } })],
  ['wider: type of note dropped', schema({ note: S }), schema({ note: {} })],
  ['wider: enum of note widened', schema({ note: { enum: ['a'] } }), schema({ note: { enum: ['a', 'b'] } })],
  ['narrower: enum of note narrowed', schema({ note: { enum: ['a', 'b'] } }), schema({ note: { enum: ['a'] } })],
  ['unclear: default of note changed', schema({ note: { default: 1 } }), schema({ note: { default: 2 } })],
  ['wider: maximum of note changed', schema({ note: { maximum: 1 } }), schema({ note: { maximum: 9 } })],
  ['narrower: minLength of note changed', schema({ note: { minLength: 1 } }), schema({ note: { minLength: 9 } })],
  ['wider: maxLength of note dropped', schema({ note: { maxLength: 1 } }), schema({ note: {} })],
  ['wider: further members of the arguments allowed', schema({}, { additionalProperties: false }), schema({})],
  ['unclear: pattern of note changed', schema({ note: { pattern: 'a' } }), schema({ note: { pattern: 'b' } })],
  [
    'wording: description of note changed',
    schema({ note: { description: 'a' } }),
    schema({ note: { description: 'b' } }),
  ],
  ['wording: description changed', schema({}), { ...schema({}), description: 'Pays bills.' }],
  [
    'unclear: parameter note added',
    schema({}, { not: { properties: {} } }),
    schema({}, { not: { properties: { note: S } } }),
  ],
  ['unclear: what it answers (output schema) changed', schema({}), { ...schema({}), outputSchema: {} }],
  [
    'unclear: what the server says of itself (annotations) changed',
    schema({}),
    { ...schema({}), annotations: { readOnlyHint: true } },
  ],
  ['unclear: _meta changed', schema({}), { ...schema({}), _meta: {} }],
])('TD-09: %s', (line, before, after) => {
  const said = meaningOf(before, after).map(({ judged, what }) => `${judged}: ${what}`);
  expect(new Set(said)).toEqual(
    new Set([line.replace('narrower: type of note narrowed', 'narrower: type of n narrowed')]),
  );
});

test('TD-09: words that changed are shown one by one, with what nobody sees', () => {
  const [line] = meaningOf(schema({}), { ...schema({}), description: 'Pays a\u200B large bill.' });
  expect(line?.words).toEqual([
    { kind: 'same', text: 'Pays ' },
    { kind: 'gone', text: 'a' },
    { kind: 'new', text: 'a⟨U+200B⟩' },
    { kind: 'same', text: ' ' },
    { kind: 'new', text: 'large ' },
    { kind: 'same', text: 'bill.' },
  ]);
});

describe('TD-09: no change is without a line', () => {
  const real = ['everything', 'filesystem', 'memory'].flatMap(
    (name) =>
      (JSON.parse(readFileSync(new URL(`corpus/${name}.json`, import.meta.url), 'utf8')) as { tools: JsonObject[] })
        .tools,
  );
  function* places(value: Json, path: readonly string[] = []): Generator<readonly string[]> {
    yield path;
    if (typeof value === 'object' && value !== null)
      for (const [key, item] of Object.entries(value)) yield* places(item, [...path, key]);
  }
  const edit = (value: Json, [head, ...rest]: readonly string[]): Json => {
    if (head === undefined)
      return typeof value === 'string' ? `${value} more` : typeof value === 'boolean' ? !value : { x: 1 };
    const copy = structuredClone(value) as Record<string, Json>;
    copy[head] = edit(copy[head]!, rest);
    return copy;
  };

  test('TD-09: every path of every real definition, and nothing for the same', () => {
    let mutants = 0;
    for (const definition of real) {
      expect(meaningOf(definition, structuredClone(definition))).toEqual([]);
      for (const path of places(definition)) {
        if (path.length === 0) continue;
        const mutant = edit(definition, path) as JsonObject;
        mutants++;
        expect(meaningOf(definition, mutant).map((line) => line.path)).toEqual(
          diffDefinitions(definition, mutant).map((line) => line.path),
        );
        expect(meaningOf(definition, mutant).length, path.join('/')).toBeGreaterThan(0);
      }
    }
    expect(mutants).toBeGreaterThan(700);
  });

  test('TD-09: any two values', () => {
    const json = fc.jsonValue({ maxDepth: 4 });
    fc.assert(
      fc.property(json, json, (a, b) => {
        const [before, after] = [
          { name: 'x', inputSchema: a },
          { name: 'x', inputSchema: b },
        ] as [JsonObject, JsonObject];
        expect(meaningOf(before, after).map(({ path }) => path)).toEqual(
          diffDefinitions(before, after).map(({ path }) => path),
        );
      }),
      { numRuns: 300, seed: 20261122 },
    );
  });

  test('words give back both texts', () => {
    const text = fc
      .array(fc.constantFrom('a', 'b', 'c', ' ', '  ', '\n'), { maxLength: 40 })
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(text, text, (a, b) => {
        const words = wordDiff(a, b);
        const side = (kind: string): string =>
          words
            .filter((word) => word.kind !== kind)
            .map((word) => word.text)
            .join('');
        expect([side('new'), side('gone')]).toEqual([a, b]);
      }),
      { numRuns: 300, seed: 20261122 },
    );
  });
});
