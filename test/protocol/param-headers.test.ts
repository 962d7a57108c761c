import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { headerDeclarations, paramHeadersFor, sensitiveDeclarations } from '../../src/protocol/param-headers.ts';

const of = (properties: JsonObject, rest: JsonObject = {}): JsonObject => ({ type: 'object', properties, ...rest });
const marked = (name: unknown, type: unknown = 'string'): JsonObject => ({ type, 'x-mcp-header': name }) as JsonObject;

describe('declarations', () => {
  test('are found at the root and through nested properties, in the order of the schema', () => {
    const schema = of({ b: marked('B', 'integer'), a: of({ c: marked('C', 'boolean') }), plain: { type: 'string' } });
    expect(headerDeclarations(schema)).toEqual({
      ok: true,
      value: [
        { path: ['b'], name: 'B', type: 'integer' },
        { path: ['a', 'c'], name: 'C', type: 'boolean' },
      ],
    });
    expect(headerDeclarations(schema)).toBe(headerDeclarations(schema));
  });

  test.each<[string, JsonObject]>([
    ['a property that is only named x-mcp-header', of({ 'x-mcp-header': { type: 'string' } })],
    [
      'the keyword inside const, enum, default, examples',
      of({ a: { const: marked('A'), enum: [marked('A')], default: marked('A'), examples: [marked('A')] } }),
    ],
    ['a definition that is only named so', of({}, { $defs: { 'x-mcp-header': { type: 'string' } } })],
  ])('do not come from %s', (_title, schema) => {
    expect(headerDeclarations(schema)).toEqual({ ok: true, value: [] });
  });

  test.each<[string, JsonObject, string, string]>([
    ['at the root', { type: 'object', 'x-mcp-header': 'A' }, 'unreachable', '#'],
    ['under items', of({ a: { type: 'array', items: marked('A') } }), 'unreachable', '#/properties/a/items'],
    ['under prefixItems', of({ a: { prefixItems: [marked('A')] } }), 'unreachable', '#/properties/a/prefixItems/0'],
    ['under anyOf', of({}, { anyOf: [of({ a: marked('A') })] }), 'unreachable', '#/anyOf/0/properties/a'],
    ['under oneOf', of({ a: { oneOf: [marked('A')] } }), 'unreachable', '#/properties/a/oneOf/0'],
    ['under allOf', of({ a: { allOf: [marked('A')] } }), 'unreachable', '#/properties/a/allOf/0'],
    ['under not', of({ a: { not: marked('A') } }), 'unreachable', '#/properties/a/not'],
    ['under if', of({}, { if: of({ a: marked('A') }) }), 'unreachable', '#/if/properties/a'],
    ['under $defs', of({ a: { $ref: '#/$defs/x' } }, { $defs: { x: marked('A') } }), 'unreachable', '#/$defs/x'],
    [
      'under additionalProperties',
      of({}, { additionalProperties: marked('A') }),
      'unreachable',
      '#/additionalProperties',
    ],
    [
      'under patternProperties',
      of({}, { patternProperties: { '^x': marked('A') } }),
      'unreachable',
      '#/patternProperties/^x',
    ],
    ['under a keyword nobody knows', of({ a: { 'x-extra': marked('A') } }), 'unreachable', '#/properties/a/x-extra'],
    ['empty', of({ a: marked('') }), 'not_a_token', '#/properties/a'],
    ['with a space', of({ a: marked('My Region') }), 'not_a_token', '#/properties/a'],
    ['with a line break', of({ a: marked('A\r\nEvil: 1') }), 'not_a_token', '#/properties/a'],
    ['with a colon', of({ a: marked('A:B') }), 'not_a_token', '#/properties/a'],
    ['beyond ASCII', of({ a: marked('Région') }), 'not_a_token', '#/properties/a'],
    ['not a string', of({ a: marked(7) }), 'not_a_string', '#/properties/a'],
    ['on a number', of({ a: marked('A', 'number') }), 'not_primitive', '#/properties/a'],
    ['on an object', of({ a: marked('A', 'object') }), 'not_primitive', '#/properties/a'],
    ['on an array', of({ a: marked('A', 'array') }), 'not_primitive', '#/properties/a'],
    ['on a list of types', of({ a: marked('A', ['string', 'null']) }), 'not_primitive', '#/properties/a'],
    ['on no type', of({ a: { 'x-mcp-header': 'A' } }), 'not_primitive', '#/properties/a'],
    ['twice', of({ a: marked('Same'), b: marked('Same') }), 'not_unique', '#/properties/b'],
    [
      'twice but for case',
      of({ a: marked('Same'), b: of({ c: marked('sAME') }) }),
      'not_unique',
      '#/properties/b/properties/c',
    ],
  ])('C3: are invalid %s', (_title, schema, problem, where) => {
    expect(headerDeclarations(schema)).toEqual({ ok: false, error: { problem, where } });
  });

  test('TD-06: a schema nested beyond all reason is refused, not walked to the end', () => {
    let schema: JsonObject = { type: 'string' };
    for (let i = 0; i < 10_000; i++) schema = of({ a: schema });
    expect(headerDeclarations(schema)).toMatchObject({ ok: false, error: { problem: 'too_deep' } });
  });

  test('TD-06: a value whose name says it is secret is pointed out', () => {
    const schema = of({
      apiKey: marked('Key'),
      region: marked('Region'),
      login: of({ password: marked('P') }),
      x: marked('Access-Token'),
    });
    const found = headerDeclarations(schema);
    expect(found.ok && sensitiveDeclarations(found.value).map(({ name }) => name)).toEqual([
      'Key',
      'P',
      'Access-Token',
    ]);
  });
});

describe('headers for a call', () => {
  const schema = of({
    text: marked('Text'),
    count: marked('Count', 'integer'),
    dry: marked('Dry', 'boolean'),
    deep: of({ text: marked('Deep') }),
  });
  const headersOf = (args: JsonObject) => paramHeadersFor(args, schema);

  test('carry strings, integers and booleans, encoded where needed', () => {
    expect(headersOf({ text: 'grüß', count: -7, dry: true, deep: { text: 'x' }, other: 1 })).toEqual({
      ok: true,
      value: [
        ['Mcp-Param-Text', '=?base64?Z3LDvMOf?='],
        ['Mcp-Param-Count', '-7'],
        ['Mcp-Param-Dry', 'true'],
        ['Mcp-Param-Deep', 'x'],
      ],
    });
  });

  test('leave out null and absent values', () => {
    expect(headersOf({ text: null, deep: {} })).toEqual({ ok: true, value: [] });
    expect(headersOf({ deep: null })).toEqual({ ok: true, value: [] });
  });

  test('do not read what objects inherit', () => {
    expect(paramHeadersFor({}, of({ constructor: marked('C') }))).toEqual({ ok: true, value: [] });
  });

  test('cannot be injected into', () => {
    const result = headersOf({ text: 'a\r\nAuthorization: Bearer x' });
    expect(result.ok && result.value[0]?.[1]).toMatch(/^=\?base64\?[A-Za-z0-9+/=]+\?=$/);
  });

  test.each<[string, JsonObject, object]>([
    ['an object', { text: {} }, { problem: 'not_primitive_value', where: 'text' }],
    ['a fraction', { count: 1.5 }, { problem: 'unsafe_integer', where: 'count' }],
    ['an unsafe integer', { count: 2 ** 53 }, { problem: 'unsafe_integer', where: 'count' }],
    ['a nested list', { deep: { text: [] } }, { problem: 'not_primitive_value', where: 'deep.text' }],
  ])('are refused for %s', (_title, args, error) => {
    expect(headersOf(args)).toEqual({ ok: false, error });
  });

  test('are refused for an invalid declaration', () => {
    expect(paramHeadersFor({ a: 1.5 }, of({ a: marked('A', 'number') }))).toEqual({
      ok: false,
      error: { problem: 'not_primitive', where: '#/properties/a' },
    });
  });
});
