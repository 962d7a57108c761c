import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ArgumentProblem } from '../../src/integrity/schema.ts';
import { compileArguments, compileResult } from '../../src/integrity/schema.ts';
import type { Json, JsonObject } from '../../src/lib/json.ts';

function problems(schema: JsonObject, args: JsonObject): readonly ArgumentProblem[] {
  const compiled = compileArguments(schema);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.error));
  const checked = compiled.value.check(args);
  return checked.ok ? [] : checked.error;
}
const refusal = (schema: JsonObject): string => {
  const compiled = compileArguments(schema);
  return compiled.ok ? 'compiled' : compiled.error.code;
};
const DRAFT7 = 'http://json-schema.org/draft-07/schema#';

describe('CI-01: arguments fit the pinned schema', () => {
  const schema = {
    type: 'object',
    properties: {
      path: { type: 'string', minLength: 1, pattern: '^/' },
      count: { type: 'integer', maximum: 5 },
      mode: { enum: ['a', 'b'] },
      nested: { type: 'object', properties: { x: { type: 'number' } } },
      free: { type: 'object' },
      rows: { type: 'array', items: { type: 'object', properties: { id: { type: 'string' } } } },
    },
    required: ['path'],
  };
  test.each([
    [{ path: '/a' }, []],
    [{ path: '/a', free: { any: 'thing' } }, []],
    [{}, [{ field: '/path', rule: 'required', message: 'is missing' }]],
    [{ path: 5 }, [{ field: '/path', rule: 'type', message: 'must be string' }]],
    [{ path: 'a' }, [{ field: '/path', rule: 'pattern', message: 'does not match the declared pattern' }]],
    [{ path: '/a', count: 6 }, [{ field: '/count', rule: 'maximum', message: 'is too large' }]],
    [{ path: '/a', count: '5' }, [{ field: '/count', rule: 'type', message: 'must be integer' }]],
    [{ path: '/a', mode: 'c' }, [{ field: '/mode', rule: 'enum', message: 'is not one of the declared values' }]],
  ] as const)('%j', (args, expected) => {
    expect(problems(schema, args)).toEqual(expected);
  });
  test.each([
    ['at the root', { path: '/a', extra: 1 }, '/extra'],
    ['in a nested object', { path: '/a', nested: { x: 1, y: 2 } }, '/nested/y'],
    ['in an item', { path: '/a', rows: [{ id: '1' }, { id: '2', z: 0 }] }, '/rows/1/z'],
    ['under the name of the prototype', JSON.parse('{"path":"/a","__proto__":1}') as JsonObject, '/__proto__'],
  ])('CI-01: refuses an undeclared field %s', (_where, args, field) => {
    expect(problems(schema, args)).toMatchObject([{ field, message: 'is not a declared field of this tool' }]);
    // Twin: as JSON Schema reads it, unless told otherwise, every one of them passes.
    const open = compileResult(schema);
    expect(open.ok && open.value.check(args)).toEqual({ ok: true, value: undefined });
  });
  test.each([
    ['through $ref', { $ref: '#/$defs/a', $defs: { a: { type: 'object', properties: { x: {} } } } }],
    ['through allOf', { allOf: [{ properties: { x: {} } }, { properties: { y: {} } }] }],
    ['in draft-07', { $schema: DRAFT7, type: 'object', properties: { x: {} } }],
    [
      'in draft-07 through definitions',
      { $schema: DRAFT7, allOf: [{ $ref: '#/definitions/a' }], definitions: { a: { properties: { x: {} } } } },
    ],
  ])('CI-01: closes an object that declares its fields %s', (_how, schema) => {
    expect(problems(schema, { x: 1 })).toEqual([]);
    expect(problems(schema, { x: 1, evil: 1 })).toMatchObject([
      { field: '/evil', message: 'is not a declared field of this tool' },
    ]);
  });
  test.each([
    ['additionalProperties', { properties: { x: {} }, additionalProperties: true }],
    ['patternProperties', { properties: { x: {} }, patternProperties: { '^e': {} } }],
    ['unevaluatedProperties', { properties: { x: {} }, unevaluatedProperties: true }],
    ['no properties at all', { type: 'object' }],
  ])('leaves open what says so: %s', (_how, schema) => {
    expect(problems(schema, { evil: 1 })).toEqual([]);
  });
  test('a required field is not met by what every object inherits', () => {
    expect(problems({ type: 'object', required: ['toString'] }, {})).toMatchObject([
      { field: '/toString', rule: 'required' },
    ]);
  });
  test('messages carry no text of the schema and no hidden character of the caller', () => {
    const [problem] = problems({ properties: { a: { const: 'SCHEMA-TEXT' } } }, { [`\u202E${'k'.repeat(500)}`]: 1 });
    expect(problem?.field.startsWith('/⟨U+202E⟩kkk')).toBe(true);
    expect(problem?.field.length).toBeLessThanOrEqual(200);
    expect(JSON.stringify(problems({ properties: { a: { const: 'SCHEMA-TEXT' } } }, { a: 1 }))).not.toContain(
      'SCHEMA-TEXT',
    );
  });
});

describe('TD-06: hostile schemas', () => {
  let deep: JsonObject = {};
  for (let i = 0; i < 50; i++) deep = { properties: { a: deep } };
  const wide = { properties: Object.fromEntries(Array.from({ length: 2100 }, (_, i) => [`p${i}`, {}])) };
  const doubling = Object.fromEntries(
    Array.from({ length: 30 }, (_, i) => [
      `d${i}`,
      { allOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] },
    ]),
  );
  test.each<[string, JsonObject, string]>([
    ['an http reference', { properties: { a: { $ref: 'http://127.0.0.1:1/x' } } }, 'schema_external_reference'],
    ['a file reference', { allOf: [{ $ref: 'file:///etc/passwd' }] }, 'schema_external_reference'],
    ['a relative reference', { $ref: 'other.json#/a' }, 'schema_external_reference'],
    ['a dynamic reference that leaves', { $dynamicRef: 'https://x.example/#a' }, 'schema_external_reference'],
    [
      'a reference under an unknown keyword',
      { 'x-stuff': { $ref: 'https://x.example/' } },
      'schema_external_reference',
    ],
    ['a reference to nothing', { $ref: '#/$defs/none' }, 'schema_reference_missing'],
    [
      'a nested $id',
      { properties: { a: { $id: 'https://json-schema.org/draft/2020-12/schema' } } },
      'schema_nested_id',
    ],
    ['an unknown dialect', { $schema: 'https://evil.example/dialect' }, 'schema_dialect'],
    ['a dialect that is no text', { $schema: { $ref: '#' } }, 'schema_dialect'],
    ['fifty levels', deep, 'schema_too_deep'],
    ['two thousand properties', wide, 'schema_too_large'],
    [
      'a small schema that doubles thirty times',
      { $ref: '#/$defs/d0', $defs: { ...doubling, d30: {} } },
      'schema_too_costly',
    ],
    ['a pattern of two thousand characters', { properties: { a: { pattern: 'a'.repeat(2000) } } }, 'schema_pattern'],
    ['a pattern with lookahead', { properties: { a: { type: 'string', pattern: '(?=a)b' } } }, 'schema_pattern'],
    ['a pattern with a backreference', { properties: { a: { type: 'string', pattern: '(a)\\1' } } }, 'schema_pattern'],
    ['a type that is none', { type: 'banana' }, 'schema_invalid'],
    ['itself, for ever', { allOf: [{ $ref: '#' }] }, 'schema_invalid'],
  ])('TD-06: refuses %s', (_title, schema, code) => {
    const got = refusal(schema);
    if (code === 'schema_invalid' && got === 'compiled') {
      // Compiles, but must then refuse every value rather than run for ever.
      expect(problems(schema, {})).toMatchObject([{ rule: '$ref' }]);
    } else expect(got).toBe(code);
  });
  test('TD-06: a pattern that would take the native engine for ever answers at once', () => {
    const args = { a: `${'a'.repeat(5000)}b` };
    expect(problems({ properties: { a: { type: 'string', pattern: '^(a+)+$' } } }, args)).toMatchObject([
      { rule: 'pattern' },
    ]);
  });
  test('each pattern is itself, however many there are', () => {
    const schema = { properties: { a: { type: 'string', pattern: '^a$' }, b: { type: 'string', pattern: '^b$' } } };
    expect(problems(schema, { a: 'a', b: 'b' })).toEqual([]);
    expect(problems(schema, { a: 'a', b: 'a' })).toMatchObject([{ field: '/b', rule: 'pattern' }]);
    expect(problems({ properties: { a: { type: 'string', pattern: '^c$' } } }, { a: 'a' })).toMatchObject([
      { rule: 'pattern' },
    ]);
  });
  const objects = (count: number): readonly Json[] => Array.from({ length: count }, (_, i) => ({ a: i }));
  test.each<[string, JsonObject, readonly Json[], string]>([
    ['unique objects', { uniqueItems: true }, objects(20_000), 'maxItems'],
    [
      'unique numbers',
      { uniqueItems: true, items: { type: 'integer' } },
      Array.from({ length: 20_000 }, (_, i) => i),
      'maxItems',
    ],
    [
      'a long enum',
      { items: { enum: Array.from({ length: 20_000 }, (_, i) => `v${i}`) } },
      Array.from({ length: 100_000 }, () => 'v19999'),
      'size',
    ],
    [
      'a wide choice',
      { items: { anyOf: Array.from({ length: 1500 }, (_, i) => ({ required: [`k${i}`] })) } },
      objects(100_000),
      'size',
    ],
  ])('TD-06: the work of one check is bounded by structure: %s', (_title, schema, values, rule) => {
    const whole = { type: 'object', properties: { x: { type: 'array', ...schema } } };
    problems(whole, { x: [] });
    const begun = process.cpuUsage();
    expect(problems(whole, { x: values })).toMatchObject([{ rule }]);
    // Processor time, which other work does not change much. Without the bound these take from one to twenty seconds; the budget is 50 ms.
    expect(process.cpuUsage(begun).user / 1_000).toBeLessThan(500);
  });
  test('TD-06: also behind names that are spelled like keywords', () => {
    const list = { type: 'array', uniqueItems: true };
    const schema = { type: 'object', properties: { default: list, enum: list, uniqueItems: true, __proto__x: list } };
    for (const name of ['default', 'enum', '__proto__x'])
      expect(problems(schema, { [name]: objects(300) })).toMatchObject([{ rule: 'maxItems' }]);
    expect(problems(schema, { uniqueItems: 'x' })).toEqual([]);
  });
  test('TD-06: and what stays under it passes', () => {
    const unique = { type: 'object', properties: { x: { type: 'array', uniqueItems: true } } };
    expect(problems(unique, { x: objects(256) })).toEqual([]);
    expect(problems(unique, { x: [{ a: 1 }, { a: 1 }] })).toMatchObject([{ rule: 'uniqueItems' }]);
    const rows = Array.from({ length: 20_000 }, (_, i) => ({ id: i, name: 'x', on: true }));
    const table = {
      type: 'object',
      properties: {
        rows: {
          type: 'array',
          items: {
            type: 'object',
            properties: { id: { type: 'integer' }, name: { type: 'string' }, on: { type: 'boolean' } },
            required: ['id', 'name'],
          },
        },
      },
    };
    expect(problems(table, { rows })).toEqual([]);
  });
  test('TD-06: recursion that branches limits how deep arguments may nest, a plain tree does not', () => {
    const nest = (levels: number): JsonObject => (levels === 0 ? {} : { a: nest(levels - 1) });
    const branching = {
      anyOf: [{ properties: { a: { $ref: '#' }, x: {} } }, { properties: { a: { $ref: '#' }, y: {} } }],
    };
    expect(problems(branching, nest(40))).toMatchObject([{ rule: 'depth' }]);
    expect(problems({ properties: { a: { $ref: '#' } } }, nest(40))).toEqual([]);
  });
  test('one server’s $id is not another server’s reference', () => {
    expect(refusal({ $id: 'https://a.example/s', properties: { a: { type: 'string' } } })).toBe('compiled');
    expect(refusal({ $id: 'https://a.example/s', properties: { a: { type: 'number' } } })).toBe('compiled');
    expect(refusal({ properties: { b: { $ref: 'https://a.example/s' } } })).toBe('schema_external_reference');
    expect(problems({ $id: 'https://a.example/s', properties: { a: { type: 'number' } } }, { a: 1 })).toEqual([]);
  });
  test('no schema, however odd, throws', () => {
    const keyword = fc.constantFrom(
      'type',
      'properties',
      '$ref',
      'items',
      'pattern',
      'allOf',
      'required',
      '$defs',
      'enum',
      'format',
      '$id',
      'not',
    );
    const value = fc.letrec<{ schema: unknown }>((tie) => ({
      schema: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('string', '#', '#/$defs/a', 5, null, true, '['),
        fc.array(tie('schema'), { maxLength: 3 }),
        fc.dictionary(keyword, tie('schema'), { maxKeys: 4 }),
      ),
    })).schema;
    fc.assert(
      fc.property(
        fc.dictionary(keyword, value),
        fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })),
        (schema, args) => {
          const compiled = compileArguments(schema as JsonObject);
          if (compiled.ok) expect(typeof compiled.value.check(args as JsonObject).ok).toBe('boolean');
          else expect(compiled.error.message.length).toBeLessThan(200);
        },
      ),
      { numRuns: 150, seed: 20261121 },
    );
  });
});

test('the check of a schema is made once', () => {
  const schema = { type: 'object', properties: { a: { type: 'string' } } };
  expect(compileArguments(structuredClone(schema))).toBe(compileArguments(schema));
});
